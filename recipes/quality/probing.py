"""Probes of one backbone on words, trees, texts and sentence pairs, English and Chinese.

A stopped run resumes: each result is recorded when it is there.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.probing.options import ProbeOptions, What
from adapterhub.probing.probe import probe
from adapterhub.probing.result import ProbeFit, ProbeResult
from adapterhub.specs import BackboneSpec, Spec
from adapterhub.store.atomic import write_atomic
from recipes.backbone.corpus import iter_documents
from recipes.quality.datasets import training_file
from recipes.quality.untouched import listed_sets

ORDER = "sentence order"
LANGUAGES = {"en": "English", "zh": "Chinese"}

WORD_ROWS, TEXT_ROWS = 400, 500
"""Rows of each split where words and where texts are read: few enough for an hour or two on two
cores, most of which attention probes take."""

MOST_PARAGRAPHS = 1_200
"""Paragraphs of a language, drawn by a fixed seed, of which the probes of sentence order read
pairs."""

_DIGITS = 4
"""Decimals of recorded figures: far within their standard errors."""


@dataclass(frozen=True, slots=True)
class ProbedSet:
    """What is probed on one data set.

    Attributes:
        title: On the page.
        language: `en` or `zh`.
        name: Folder of the data set; empty for the corpus.
        what: What is predicted.
        target: The column of it; None for the usual one.
    """

    title: str
    language: str
    name: str
    what: What
    target: str | None = None

    @property
    def key(self) -> str:
        """Returns its name in the record."""
        return f"{self.title}, {self.language}"


_TREEBANKS = {"en": "ud_english_ewt", "zh": "ud_chinese_gsd"}
PROBED_SETS = (
    *(ProbedSet("part of speech", lang, name, "tag", "upos") for lang, name in _TREEBANKS.items()),
    *(
        ProbedSet("relation to the head", lang, name, "relation")
        for lang, name in _TREEBANKS.items()
    ),
    *(ProbedSet("head of a word", lang, name, "head") for lang, name in _TREEBANKS.items()),
    ProbedSet("entity type", "en", "conll2003_ner", "tag"),
    ProbedSet("entity type", "zh", "msra_ner", "tag"),
    ProbedSet("sentiment", "en", "sst2", "label"),
    ProbedSet("sentiment", "zh", "waimai_10k", "label"),
    ProbedSet(ORDER, "en", "", "order"),
    ProbedSet(ORDER, "zh", "", "order"),
)


class ProbedResults(Spec):
    """All results of one backbone.

    Attributes:
        backbone: Its identity.
        listed: The sets that its model card lists as those of its tuning.
        max_rows: Rows of each split at most, by what is read: words, or texts.
        results: By `ProbedSet.key`.
    """

    backbone: BackboneSpec
    listed: tuple[str, ...]
    max_rows: tuple[int, int]
    results: Mapping[str, ProbeResult] = {}

    def with_result(self, key: str, result: ProbeResult) -> ProbedResults:
        """Returns the same with one result more."""
        return self.model_copy(update={"results": {**self.results, key: result}})


def probe_sets(
    data: Path,
    *,
    corpus: Path | None,
    backbone: str | Path,
    only: Sequence[str] | None,
    max_rows: tuple[int, int],
    record: Path,
) -> ProbedResults:
    """Returns the probes of all sets, and records each.

    Args:
        data: Holds a folder per data set.
        corpus: Folder of the corpus of pretraining; None leaves sentence order out.
        backbone: As `open_backbone` takes it.
        only: Names of data sets; None for all.
        max_rows: Rows of each split at most: where words are read, where texts are.
        record: File of the results; those in it are not computed again.

    Raises:
        UsageError: `only` names another set, or the record cannot be read.
        DataError: The rows of a set cannot be used.
    """
    chosen = [one for one in PROBED_SETS if only is None or (one.name or ORDER) in only]
    unknown = sorted(set(only or ()) - {one.name or ORDER for one in PROBED_SETS})
    if unknown:
        known = ", ".join(dict.fromkeys(one.name or ORDER for one in PROBED_SETS))
        raise UsageError(f"No probe is made of '{unknown[0]}'; known: {known}.")
    opened = open_backbone(backbone)
    encoder = Encoder(opened)
    new = ProbedResults(backbone=opened.spec, listed=listed_sets(opened.folder), max_rows=max_rows)
    found = read_record(record, new)
    record.parent.mkdir(parents=True, exist_ok=True)
    for one in chosen:
        if one.key in found.results or (one.what == "order" and corpus is None):
            continue
        rows, options = _rows(one, data, corpus, is_tuned=one.name in found.listed)
        options["max_rows"] = max_rows[one.what in ("label", "order")]
        result = _probe(one, rows, options, opened, encoder)
        found = found.with_result(one.key, result)
        write_record(record, found)
    return found


def _rows(
    one: ProbedSet, data: Path, corpus: Path | None, *, is_tuned: bool
) -> tuple[object, dict[str, Any]]:
    """Returns rows, and the options by which they are read.

    Of sets whose training rows were in the tuning of the backbone, the validation rows are cut into
    three: states of rows that it was tuned on are easier to tell apart than those of others, so
    that probes of them are too sure.
    """
    given: dict[str, Any] = {"what": one.what, "target": one.target}
    if one.what == "order" and corpus is not None:
        return [{"text": text} for text in paragraphs(corpus, one.language)], given
    validation = data / one.name / "validation.jsonl.gz"
    if is_tuned:
        return validation, given
    return training_file(data / one.name), {**given, "validation": validation}


def _probe(
    one: ProbedSet,
    rows: object,
    options: Mapping[str, Any],
    backbone: Backbone,
    encoder: Encoder,
) -> ProbeResult:
    runs = [
        probe(
            rows,
            options=ProbeOptions(**options, **chosen),
            backbone=backbone,
            registry=None,
            encoder=encoder,
        )
        for chosen in _runs(backbone.spec.num_hidden_layers)
    ]
    fits = {
        (fit.weights, fit.depth, fit.probe, fit.target): fit
        for run in runs
        for fit in run.fits
        # A control of the other control is on no page.
        if fit.weights == "backbone" or fit.target == "labels"
    }
    name = one.name or f"corpus, {one.language}"
    seconds = sum(run.seconds for run in runs)
    return runs[0].model_copy(
        update={"data": name, "fits": tuple(fits.values()), "seconds": seconds}
    )


def _runs(depths: int) -> tuple[dict[str, Any], ...]:
    """Returns the options of the runs of one set.

    Attention probes take nine tenths of the time, so that their controls are at three depths only.
    """
    attention = {"probes": ("attention",)}
    few = tuple(sorted({0, depths // 2, depths}))
    return (
        {"probes": ("linear", "mlp")},
        {**attention, "random": False, "control": False},
        {**attention, "depths": few, "mix": False},
    )


def paragraphs(corpus: Path, language: str) -> list[str]:
    """Returns paragraphs of documents that had no part in pretraining, drawn by a fixed seed."""
    found = [
        text for document in iter_documents(corpus, language, split="eval") for text in document
    ]
    return random.Random(0).sample(found, min(MOST_PARAGRAPHS, len(found)))


_PACKED = tuple(ProbeFit.model_fields)


def write_record(path: Path, found: ProbedResults) -> None:
    """Writes results as packed JSON; the fits of a run are rows of one table."""
    values = found.model_dump(mode="json")
    for result in values["results"].values():
        rows = [[_rounded(fit[name]) for name in _PACKED] for fit in result["fits"]]
        result["fits"] = {"columns": list(_PACKED), "rows": rows}
        result["entropy"], result["seconds"] = map(_rounded, (result["entropy"], result["seconds"]))
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    # A line for each fit, so that a change of a record can be read; the same bytes at any time.
    text = text.replace('"rows":[[', '"rows":[\n[').replace("],[", "],\n[")
    write_atomic(path, gzip.compress(f"{text}\n".encode(), mtime=0), replace=True)


def read_record(path: Path, new: ProbedResults) -> ProbedResults:
    """Returns the results of a record to go on with, or the new, empty ones.

    Raises:
        UsageError: The record is of another version.
    """
    if not path.is_file():
        return new
    try:
        values = json.loads(gzip.decompress(path.read_bytes()))
        for result in values["results"].values():
            table = result["fits"]
            result["fits"] = [
                dict(zip(table["columns"], row, strict=True)) for row in table["rows"]
            ]
        known = ProbedResults.model_validate_json(json.dumps(values))
    except (ValidationError, ValueError, KeyError, TypeError, OSError, EOFError):
        raise UsageError(f"{path} is of another version; remove it to measure anew.") from None
    same = known.backbone.fingerprint == new.backbone.fingerprint
    return known if same and known.max_rows == new.max_rows else new


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, _DIGITS) if isinstance(value, float) else value
