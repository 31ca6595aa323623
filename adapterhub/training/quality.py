"""A table of heads beside the TF-IDF baseline, over a folder of data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from adapterhub.model.backbone import Backbone, open_backbone
from adapterhub.model.encoder import Encoder
from adapterhub.specs import BackboneSpec, Kind, Spec, TaskSpec
from adapterhub.store.atomic import write_atomic
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from adapterhub.training.baseline import baseline
from adapterhub.training.comparison.page import write_section
from adapterhub.training.comparison.sets import (
    chosen_sets,
    compared_metric,
    language_of,
    options_for,
    training_file,
)
from adapterhub.training.data import read_splits
from adapterhub.training.options import MetricName
from adapterhub.training.train import train


class QualityRow(Spec):
    """One data set.

    Attributes:
        name: Its folder.
        kind: What it asks.
        pair: Whether on text pairs.
        language: `zh` where most of its signs are Han, else `en`.
        train: Training rows used.
        validation: Validation rows.
        metric: The figure that is compared.
        head: What the hub's head reached.
        baseline: What TF-IDF + logistic regression reached.
        depths: The depths that the head reads.
        pooling: How it pools.
        hidden_width: Width of its hidden layer, or None.
        apart: Whether it reads the two texts of a pair each alone.
    """

    name: str
    kind: Kind
    pair: bool
    language: str
    train: int
    validation: int
    metric: MetricName
    head: float
    baseline: float
    depths: tuple[int, ...]
    pooling: str
    hidden_width: int | None
    apart: bool = False


class Quality(Spec):
    """All figures of one backbone.

    Attributes:
        backbone: What the heads were fitted on.
        max_rows: Training rows, and validation rows, at most.
        rows: One per data set.
    """

    backbone: BackboneSpec
    max_rows: int
    rows: tuple[QualityRow, ...] = ()


def measure_folder(
    folder: Path,
    *,
    backbone: str | Path,
    registry: Path | None,
    only: Sequence[str] | None,
    max_rows: int,
    record: Path,
) -> Quality:
    """Returns the figures of every data set in `folder`, and writes them to `record` as it goes.

    Args:
        folder: Holds a folder per data set.
        backbone: As `open_backbone` takes it.
        registry: Tasks in it that were trained on these very rows are taken as they are.
        only: Names of data sets; None for all.
        max_rows: Training rows, and validation rows, at most; drawn by a fixed seed.
        record: Where the figures are kept; sets in it are not measured again.
    """
    opened = open_backbone(backbone)
    encoder = Encoder(opened)
    known = _read_record(record, opened.spec, max_rows)
    done = {row.name: row for row in known.rows}
    ready = {} if registry is None else _trained_tasks(registry, opened.spec)
    for name in chosen_sets(folder, only):
        if name not in done:
            done[name] = _measure(folder / name, opened, encoder, ready, max_rows)
            rows = tuple(done[key] for key in sorted(done))
            known = Quality(backbone=opened.spec, max_rows=max_rows, rows=rows)
            write_atomic(record, known.model_dump_json(indent=1).encode(), replace=True)
    return known


def _measure(
    folder: Path,
    backbone: Backbone,
    encoder: Encoder,
    ready: Mapping[str, TaskSpec],
    max_rows: int,
) -> QualityRow:
    """Returns the figures of one data set: the same rows for the head and the baseline."""
    train_file, options = training_file(folder), options_for(folder, max_rows)
    splits = read_splits(train_file, options)
    metric = compared_metric(splits.train.kind)
    spec = ready.get(splits.train.digest())
    if spec is None:
        spec = train(
            train_file,
            task="quality",
            options=options.model_copy(update={"metric": metric}),
            registry=None,
            backbone=backbone,
            encoder=encoder,
        ).spec
    reached = {found.name: found.value for found in spec.metrics}
    other = {found.name: found.value for found in baseline(splits, metric=metric)}
    return QualityRow(
        name=folder.name,
        kind=spec.kind,
        pair=len(spec.fields) == 2,
        language=language_of(splits.train),
        train=len(splits.train),
        validation=len(splits.validation),
        metric=metric,
        head=reached[metric],
        baseline=other[metric],
        depths=spec.head.depths,
        pooling=spec.head.pooling,
        hidden_width=spec.head.hidden_width,
        apart=spec.apart,
    )


def _trained_tasks(registry: Path, backbone: BackboneSpec) -> dict[str, TaskSpec]:
    """Returns the newest version of each task without an adapter, by the digest of its rows."""
    known = read_registry(registry)
    found = [known.resolve(name) for name in known.names()]
    specs = [read_head(one.path, sha256=one.record.sha256).spec for one in found]
    return {
        spec.training.data_digest: spec
        for spec in specs
        if spec.training is not None
        and spec.adapter is None
        and spec.backbone.fingerprint == backbone.fingerprint
    }


def _read_record(record: Path, backbone: BackboneSpec, max_rows: int) -> Quality:
    if record.is_file():
        known = Quality.model_validate_json(record.read_bytes())
        same = known.backbone.fingerprint == backbone.fingerprint
        if same and known.max_rows == max_rows:
            return known
    return Quality(backbone=backbone, max_rows=max_rows)


def write_table(figures: Quality, path: Path) -> None:
    """Writes the figures as Markdown; other sections of the page stay."""
    write_section(path, "heads", "\n".join([*_head(figures), *_table(figures)]))


def _head(figures: Quality) -> Iterator[str]:
    yield "# Quality of heads on the frozen backbone"
    yield ""
    yield (
        f"Backbone `{figures.backbone.name}` ({figures.backbone.fingerprint[:19]}…), "
        f"{figures.backbone.num_hidden_layers} depths of width {figures.backbone.hidden_size}. "
        f"At most {figures.max_rows:,} training and as many validation rows per set, the same "
        f"for both systems. The validation rows choose among the candidates of both, and the "
        f"same rows are measured here, so both columns flatter: the head a little more, since "
        f"it is chosen among more candidates. Sets of shipped tasks have the shipped head. "
        f"Made by `scripts/quality`."
    )
    yield ""
    for language in ("en", "zh"):
        rows = [row for row in figures.rows if row.language == language]
        if rows:
            won = sum(row.head > row.baseline for row in rows)
            mean = 100 * sum(row.head - row.baseline for row in rows) / len(rows)
            yield (
                f"- `{language}`: the head is ahead on {won} of {len(rows)} sets, by {mean:+.1f} "
                f"points on average."
            )
    yield ""


def _table(figures: Quality) -> Iterator[str]:
    yield "| set | language | kind | rows | metric | TF-IDF + LR | head | points | reads |"
    yield "| --- | --- | --- | ---: | --- | ---: | ---: | ---: | --- |"
    for row in figures.rows:
        kind = f"{row.kind}, pair" if row.pair else row.kind
        hidden = f", hidden layer {row.hidden_width}" if row.hidden_width else ""
        apart = "apart, " if row.apart else ""
        depths = "+".join(map(str, row.depths))
        yield (
            f"| {row.name} | {row.language} | {kind} | {row.train:,} + {row.validation:,} | "
            f"{row.metric} | {row.baseline:.3f} | {row.head:.3f} | "
            f"{100 * (row.head - row.baseline):+.1f} | "
            f"{apart}depth {depths} {row.pooling}{hidden} |"
        )
