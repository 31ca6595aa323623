"""The data sets, and rows of them, that had no part in the weights of a backbone.

A backbone whose model card lists the labelled sets of its tuning (`recipes/backbone/export.py`
writes the list) is measured only on other sets. A row of such a set is measured only if none of its
texts is a training row of a listed set: two sets may share a source.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from adapterhub.errors import DataError, UsageError
from adapterhub.training.options import TrainingOptions
from recipes.quality.datasets import chosen_sets, is_treebank, training_file, treebanks

Row = Mapping[str, Any]

_LIST = re.compile(r"^- training rows of (\d+) public sets: (.+)$", re.MULTILINE)
_LISTED = re.compile(r"([\w-]+) [\d,]+(?:, |$)")
_TEXTS = ("text", "text_pair", "question", "context", "prompt")
_SHORTEST = 13
"""Letters and digits of the shortest text that counts as shared: shorter ones, such as greetings,
are in many sets."""


@dataclass(frozen=True, slots=True)
class MeasuredRows:
    """The rows of one set on which systems are measured.

    Attributes:
        rows: The rows of its validation file that had no part in the backbone.
        shared: Number of the rows that were left out since a listed set has a text of theirs.
    """

    rows: tuple[Row, ...]
    shared: int


def listed_sets(backbone: Path) -> tuple[str, ...]:
    """Returns the labelled sets that the model card of a backbone lists; none without a list.

    Args:
        backbone: Folder of the backbone.

    Raises:
        DataError: The list cannot be read.
    """
    card = backbone / "README.md"
    found = _LIST.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    if found is None:
        return ()
    names = tuple(_LISTED.findall(found[2]))
    if len(names) != int(found[1]):
        raise DataError(card, f"lists {len(names)} sets, but says {found[1]}. Check the card")
    return names


def untouched_sets(
    data: Path, listed: Sequence[str], only: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Returns the names of the data sets in a folder that a model card does not list.

    Those are sets that heads support, and treebanks, whose parts of speech are tags of words.

    Args:
        data: Holds a folder per data set.
        listed: The sets of the model card.
        only: Names of data sets; None for all.

    Raises:
        UsageError: `only` names another set.
    """
    known = sorted({*chosen_sets(data, None), *treebanks(data)} - set(listed))
    for name in only or ():
        if name not in known:
            why = "had a part in the backbone" if name in listed else "cannot be used here"
            raise UsageError(f"Set '{name}' {why}; known: {', '.join(known) or 'none'}.")
    if not known:
        raise UsageError(f"{data} has no data set that had no part in the backbone.")
    return tuple(name for name in known if only is None or name in only)


def listed_texts(data: Path, listed: Sequence[str]) -> frozenset[str]:
    """Returns the texts of all training rows of the listed sets, as `measured_rows` compares them.

    Sets that are not in the folder are left out.
    """
    files = (training_file(data / name) for name in listed)
    rows = (row for file in files if file.is_file() for row in _read(file))
    return frozenset(text for row in rows for text in _folded_texts(row))


def measured_rows(folder: Path, texts: frozenset[str]) -> MeasuredRows:
    """Returns the validation rows of a data set without those that share a text.

    Args:
        folder: The data set.
        texts: As `listed_texts` returns them.
    """
    rows = list(_read(folder / "validation.jsonl.gz"))
    kept = tuple(row for row in rows if texts.isdisjoint(_folded_texts(row)))
    return MeasuredRows(kept, len(rows) - len(kept))


def measured_options(folder: Path, rows: MeasuredRows, max_rows: int) -> TrainingOptions:
    """Returns the options that all systems share on a data set.

    A tenth of the training file chooses; the measured rows are a test set. Heads are searched as in
    `datasets.options_for`; everything else is as `train` has it by default.
    """
    options = TrainingOptions(
        test=list(rows.rows),
        dataset=folder.name,
        max_rows=max_rows,
        folds=0,
        poolings=("mean", "max"),
        skip_unseen=True,
    )
    if is_treebank(folder):
        return options.model_copy(update={"kind": "tagging", "target": "upos"})
    return options


def _folded_texts(row: Row) -> Iterator[str]:
    """Yields the texts of a row as `folded` has them."""
    texts = [row[key] for key in _TEXTS if key in row]
    if "tokens" in row:
        texts.append("".join(row["tokens"]))
    texts += row.get("choices", ())
    yield from folded(texts)


def folded(texts: Iterable[str]) -> Iterator[str]:
    """Yields texts as far as they tell rows apart: letters and digits only, without short ones."""
    for text in texts:
        plain = re.sub(r"[\W_]+", "", normalize("NFKC", text).casefold())
        if len(plain) >= _SHORTEST:
            yield plain


def _read(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
