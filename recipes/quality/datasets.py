"""The data sets of a folder, as all systems read them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.heads.spans import is_han
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.options import MetricName, TrainingOptions

# Rows that have all keys of one of these are of a label, labels, a number or entities.
_KEYS = ({"text", "label"}, {"text", "labels"}, {"text", "score"}, {"tokens", "tags"})
# Those of choices, questions and trees, which not every comparison is made for.
_OTHER_KEYS = (
    {"prompt", "choices", "label"},
    {"question", "context", "answers"},
    {"tokens", "head", "deprel"},
)
_TREEBANK_KEYS = {"tokens", "upos"}


def chosen_sets(
    folder: Path, only: Sequence[str] | None, *, of_any_kind: bool = False
) -> list[str]:
    """Returns the names of the data sets of a label, labels, a number or entities per row.

    Args:
        folder: Holds a folder per data set.
        only: Names of data sets; None for all.
        of_any_kind: Whether multiple choice, questions and trees are among them.

    Raises:
        UsageError: `only` names a set that does not exist or is not among these.
    """
    forms = (*_KEYS, *_OTHER_KEYS) if of_any_kind else _KEYS
    known = [name for name, keys in _keys_of_sets(folder) if any(form <= keys for form in forms)]
    unknown = sorted(set(only or ()) - set(known))
    if unknown:
        raise UsageError(
            f"{folder} has no data set '{unknown[0]}' that a head can be trained on; "
            f"known: {', '.join(known) or 'none'}."
        )
    return [name for name in known if only is None or name in only]


def treebanks(folder: Path) -> list[str]:
    """Returns the names of the data sets with a part of speech per word."""
    return [name for name, keys in _keys_of_sets(folder) if keys >= _TREEBANK_KEYS]


def is_treebank(folder: Path) -> bool:
    """Returns whether a data set has a part of speech per word."""
    return _first_keys(training_file(folder)) >= _TREEBANK_KEYS


def training_file(folder: Path) -> Path:
    """Returns the file with the training rows of a data set."""
    return folder / "train.jsonl.gz"


def options_for(folder: Path, max_rows: int) -> TrainingOptions:
    """Returns the options that all systems share on a data set."""
    return TrainingOptions(
        validation=folder / "validation.jsonl.gz",
        test_fraction=0,
        dataset=folder.name,
        max_rows=max_rows,
        poolings=("mean", "max"),
        skip_unseen=True,
    )


def compared_metric(kind: Kind) -> MetricName:
    """Returns the metric that is compared on sets of a kind."""
    return "macro_f1" if kind == "single_label" else KINDS[kind].metrics[0]


def language_of(dataset: Dataset) -> str:
    """Returns `zh` where many of its first texts' signs are Han, else `en`."""
    texts = "".join(row[0] for row in dataset.inputs[:100])
    return "zh" if sum(map(is_han, texts)) > len(texts) / 4 else "en"


def _keys_of_sets(folder: Path) -> Iterator[tuple[str, set[str]]]:
    for path in sorted(folder.glob("*/train.jsonl.gz")):
        yield path.parent.name, _first_keys(path)


def _first_keys(path: Path) -> set[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return set(json.loads(next(lines)))
