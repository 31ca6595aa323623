"""Parsers beside a baseline without an encoder, over the treebanks of a folder."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from adapterhub.diagnostics import figure_text
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import BackboneSpec, Spec
from adapterhub.store.atomic import write_atomic
from adapterhub.training.data.dataset import Dataset, Splits, read_splits
from adapterhub.training.data.labels import Target
from adapterhub.training.data.words.trees import Arc
from adapterhub.training.evaluation.attachment import attachment_figures
from adapterhub.training.options import TrainingOptions
from adapterhub.training.train import train
from recipes.quality.datasets import training_file, treebanks
from recipes.quality.untouched import listed_sets


class ParserRow(Spec):
    """One treebank.

    Attributes:
        name: Its folder.
        train: Training sentences used.
        test: Sentences that only measure.
        depths: The depths that the parser reads.
        parser: LAS, UAS and word F1 of the parser.
        baseline: LAS and UAS of `attach_by_word` on gold words.
    """

    name: str
    train: int
    test: int
    depths: tuple[int, ...]
    parser: tuple[float, float, float]
    baseline: tuple[float, float]


class Parsers(Spec):
    """The parsers of one backbone.

    Attributes:
        backbone: What they were trained on.
        max_rows: Sentences of each split at most; None for all.
        listed: Treebanks whose training sentences had a part in the backbone.
        rows: One per treebank.
    """

    backbone: BackboneSpec
    max_rows: int | None
    listed: tuple[str, ...] = ()
    rows: tuple[ParserRow, ...] = ()


def measure_parsers(
    folder: Path,
    *,
    backbone: str | Path,
    only: Sequence[str] | None,
    max_rows: int | None,
    record: Path,
) -> Parsers:
    """Returns the metrics of a parser per treebank of a folder, and adds each to `record`.

    A tenth of the training file chooses; the validation file is a test set.

    Args:
        folder: Holds a folder per data set.
        backbone: As `open_backbone` takes it.
        only: Names of treebanks; None for all.
        max_rows: Sentences of each split at most; None for all.
        record: File of the metrics; treebanks in it are not measured again.
    """
    opened = open_backbone(backbone)
    encoder = Encoder(opened)
    shaped = set(listed_sets(opened.folder))
    listed = tuple(name for name in treebanks(folder) if name in shaped)
    known = Parsers(backbone=opened.spec, max_rows=max_rows, listed=listed)
    if record.is_file():
        found = Parsers.model_validate_json(record.read_bytes())
        known = found if found.model_copy(update={"rows": ()}) == known else known
    done = {row.name: row for row in known.rows}
    for name in treebanks(folder):
        if name in done or (only is not None and name not in only):
            continue
        options = TrainingOptions(
            kind="parsing",
            test=folder / name / "validation.jsonl.gz",
            validation_fraction=0.1,
            dataset=name,
            max_rows=max_rows,
        )
        splits = read_splits(training_file(folder / name), options)
        trained = train(
            training_file(folder / name),
            task="parsing",
            options=options,
            registry=None,
            backbone=opened,
            encoder=encoder,
        )
        figures = {metric.name: metric.value for metric in trained.metrics}
        assert splits.test is not None  # the options name one
        guessed = attachment_figures(attach_by_word(splits.train, splits.test), splits.test.trees())
        done[name] = ParserRow(
            name=name,
            train=len(splits.train),
            test=len(splits.test),
            depths=trained.spec.head.depths,
            parser=(figures["las"], figures["uas"], figures["word_f1"]),
            baseline=(guessed["las"], guessed["uas"]),
        )
        known = known.model_copy(update={"rows": tuple(done[key] for key in sorted(done))})
        write_atomic(record, known.model_dump_json(indent=1).encode(), replace=True)
    return known


def predict_trees(splits: Splits) -> tuple[Target, ...]:
    """Returns the trees of the test rows by `attach_by_word`."""
    assert splits.test is not None
    return tuple(map(tuple, attach_by_word(splits.train, splits.test)))


def attach_by_word(train: Dataset, test: Dataset) -> list[list[Arc]]:
    """Returns trees in which each word has its most frequent relation and distance to the head.

    A word that no training row has takes those that are most frequent among all words.

    Args:
        train: The training rows.
        test: The rows to parse; their words are given, not their heads.
    """
    counts: defaultdict[str, Counter[tuple[int, str]]] = defaultdict(Counter)
    every: Counter[tuple[int, str]] = Counter()
    for (text,), arcs in zip(train.inputs, train.trees(), strict=True):
        for place, arc in enumerate(arcs, start=1):
            # At the root there is no distance.
            habit = (arc.head - place if arc.head else 0, arc.relation)
            counts[text[arc.start : arc.end].lower()][habit] += 1
            every[habit] += 1
    common = every.most_common(1)[0][0]
    rows = []
    for (text,), arcs in zip(test.inputs, test.trees(), strict=True):
        row = []
        for place, arc in enumerate(arcs, start=1):
            known = counts.get(text[arc.start : arc.end].lower())
            distance, relation = known.most_common(1)[0][0] if known else common
            head = place + distance if distance else 0
            row.append(Arc(arc.start, arc.end, head if 0 <= head <= len(arcs) else 0, relation))
        rows.append(row)
    return rows


def render(figures: Parsers) -> str:
    """Returns the section of the page."""
    limit = "" if figures.max_rows is None else f" --max-rows {figures.max_rows}"
    lines = [
        "## Dependency trees",
        "",
        "Parsers on the frozen backbone, measured on sentences that had no part in training or "
        "selection, as the CoNLL 2018 shared task measures (words are predicted too). The "
        "baseline is given the words, and gives each the relation and the distance to the head "
        "that it most often has; a parser cannot be right where its words are others (words F1). "
        r"\*: training sentences of the treebank had a part in the backbone. Made by "
        f"`scripts/quality DATA --parsing{limit}`.",
        "",
        "| treebank | training sentences | test sentences | depths | LAS | UAS | words F1 | "
        "baseline LAS | baseline UAS |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in figures.rows:
        depths = "-".join(map(str, sorted({row.depths[0], row.depths[-1]})))
        values = " | ".join(figure_text(100 * value, 1) for value in (*row.parser, *row.baseline))
        mark = r"\*" if row.name in figures.listed else ""
        lines.append(f"| {row.name}{mark} | {row.train:,} | {row.test:,} | {depths} | {values} |")
    return "\n".join(lines)
