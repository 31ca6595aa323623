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

# The rows of these kinds have these keys; other sets (questions, parses) are left out.
_KEYS = ({"text", "label"}, {"text", "labels"}, {"text", "score"}, {"tokens", "tags"})
_CHOICE_KEYS = {"prompt", "choices", "label"}
_FOREIGN_KEYS = {"prompt", "question", "head"}
_TREEBANK_KEYS = {"tokens", "upos"}


def chosen_sets(
    folder: Path, only: Sequence[str] | None, *, with_choices: bool = False
) -> list[str]:
    """Returns the names of the data sets that a head can be trained on, or those of `only`.

    Those of multiple choice are among them where they are wanted.

    Raises:
        UsageError: `only` names a set that does not exist or that no head can be trained on.
    """
    known = list(_data_sets(folder, with_choices=with_choices))
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


def _data_sets(folder: Path, *, with_choices: bool) -> Iterator[str]:
    for name, keys in _keys_of_sets(folder):
        if (with_choices and keys >= _CHOICE_KEYS) or (
            any(needed <= keys for needed in _KEYS) and not keys & _FOREIGN_KEYS
        ):
            yield name


def _keys_of_sets(folder: Path) -> Iterator[tuple[str, set[str]]]:
    for path in sorted(folder.glob("*/train.jsonl.gz")):
        yield path.parent.name, _first_keys(path)


def _first_keys(path: Path) -> set[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return set(json.loads(next(lines)))
