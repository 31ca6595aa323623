"""Reads labelled rows as token ids with targets of any kind, from JSON lines.

The keys of a row determine its form: `label`, `labels`, `score`, `tags` or `upos` with `tokens`.
Rows of other forms (questions with a context, multiple choice) serve as text only.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from transformers import AlbertTokenizer

from adapterhub.errors import DataError
from recipes.backbone.vocabulary import HAN

TuningKind = Literal["labels", "number", "tags", "text", "vectors"]
Row = dict[str, Any]

RESTRICTED = ("ag_news", "c3", "cola", "conll2003_ner", "dream", "mrpc", "ud_chinese_gsd")
"""Sets whose stated terms are for research or not for commerce, or a vendor's own.

Their rows must not shape weights that are given away.
"""
NO_TAG = -100
"""Target of a token that is not the first piece of a word."""
_BATCH = 1024  # rows that are tokenised in one call
_HAN_SHARE = 0.2  # from this share of Han characters on, words are joined without spaces


@dataclass(frozen=True, eq=False)
class TuningSet:
    """Encoded rows of one set; row n is `ids[starts[n]:starts[n + 1]]`.

    Attributes:
        name: Of the set.
        kind: What is learned from it.
        outputs: K, the outputs that its head has; 0 for text.
        ids: (T,) uint16, all rows one after the other, special tokens included.
        starts: (N + 1,) int64.
        seconds: (N,) int64, where the second segment of a row starts; its length if it has none.
        targets: labels (N, K) float32, shares that add up to 1; number (N, 1) float32, mean 0 and
            variance 1; tags (T,) int64; vectors (N, K) float32 of length 1; text (0,).
        head: Name of its head; sets of the same task share one.
    """

    name: str
    kind: TuningKind
    outputs: int
    ids: npt.NDArray[np.uint16]
    starts: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.int64]
    targets: npt.NDArray[Any]
    head: str

    def __len__(self) -> int:
        """Returns the number N of rows."""
        return len(self.starts) - 1

    @property
    def paired(self) -> bool:
        """Returns whether its rows are two texts with a target."""
        has_answer = self.kind in ("labels", "number")
        return has_answer and bool((self.seconds < np.diff(self.starts)).all())


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a `.jsonl.gz` file.

    Raises:
        DataError: The file is missing.
    """
    if not path.is_file():
        raise DataError(path, "not found; expected JSON lines, gzipped")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_sets(
    folder: Path, tokenizer: AlbertTokenizer, *, max_length: int, leave_out: Iterable[str] = ()
) -> list[TuningSet]:
    """Returns the training rows of every `<folder>/<set>/train.jsonl.gz`, in order of name.

    Args:
        folder: Folder of the data sets.
        tokenizer: Of the model.
        max_length: Tokens of a row, special ones included; longer rows are cut.
        leave_out: Names of sets that are not read.

    Raises:
        DataError: No set is there, or a set to leave out is not.
    """
    names = sorted(path.parent.name for path in folder.glob("*/train.jsonl.gz"))
    missing = sorted(set(leave_out) - set(names))
    if missing or not names:
        found = ", ".join(names) or "none"
        problem = f"sets found: {found}; to be left out: {', '.join(missing) or 'none'}. Check them"
        raise DataError(folder, problem)
    return [
        make_set(name, list(read_rows(folder / name / "train.jsonl.gz")), tokenizer, max_length)
        for name in names
        if name not in set(leave_out)
    ]


def make_set(
    name: str, rows: Sequence[Row], tokenizer: AlbertTokenizer, max_length: int
) -> TuningSet:
    """Returns the encoded rows of one set.

    Raises:
        DataError: There is no row.
    """
    if not rows:
        raise DataError(name, "has no rows; expected at least one")
    key = next((key for key in ("tags", "upos") if key in rows[0]), None)
    if key is not None:
        return _make_tags(name, rows, tokenizer, max_length, key)
    ids, starts, seconds = encode([_texts(row) for row in rows], tokenizer, max_length)
    kind, targets = _targets(rows)
    outputs = targets.shape[1] if targets.ndim == 2 else 0
    return TuningSet(name, kind, outputs, ids, starts, seconds, targets, head=name)


def encode(
    texts: Sequence[tuple[str, ...]], tokenizer: AlbertTokenizer, max_length: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns ids, starts and seconds, as in `TuningSet`, of texts or pairs of texts."""
    parts: list[npt.NDArray[np.uint16]] = []
    seconds: list[int] = []
    for first in range(0, len(texts), _BATCH):
        some = texts[first : first + _BATCH]
        pairs = [row[1] for row in some] if len(some[0]) == 2 else None
        found = tokenizer(
            [row[0] for row in some],
            pairs,
            truncation=True,
            max_length=max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        parts += [np.asarray(ids, dtype=np.uint16) for ids in found["input_ids"]]
        seconds += [len(types) - sum(types) for types in found["token_type_ids"]]
    starts = np.cumsum([0, *map(len, parts)])
    return np.concatenate(parts), starts, np.asarray(seconds, dtype=np.int64)


def join_words(words: Sequence[str]) -> tuple[str, list[int]]:
    """Returns the text of a row of words and where each word starts in it."""
    han = sum(HAN.match(char) is not None for word in words for char in word)
    space = "" if han > _HAN_SHARE * sum(map(len, words)) else " "
    starts = np.cumsum([0, *(len(word) + len(space) for word in words)])
    return space.join(words), starts[:-1].tolist()


def _texts(row: Row) -> tuple[str, ...]:
    if "question" in row:
        return (row["question"], row["context"])
    if "choices" in row:
        return (row["prompt"], row["choices"][int(row["label"])])
    return (row["text"], row["text_pair"]) if "text_pair" in row else (row["text"],)


def _targets(rows: Sequence[Row]) -> tuple[TuningKind, npt.NDArray[Any]]:
    if "score" in rows[0]:
        scores = np.array([[row["score"]] for row in rows], dtype=np.float32)
        return "number", (scores - scores.mean()) / max(float(scores.std()), 1e-6)
    if "text" not in rows[0] or rows[0].keys().isdisjoint(("label", "labels")):
        return "text", np.zeros(0, np.float32)
    labels = [row["labels"] if "labels" in row else [row["label"]] for row in rows]
    names = sorted({name for found in labels for name in found})
    places = {name: place for place, name in enumerate(names)}
    targets = np.zeros((len(rows), len(names)), dtype=np.float32)
    for target, found in zip(targets, labels, strict=True):
        target[[places[name] for name in found]] = 1.0 / max(1, len(found))
    return "labels", targets


def _make_tags(
    name: str, rows: Sequence[Row], tokenizer: AlbertTokenizer, max_length: int, key: str
) -> TuningSet:
    names = sorted({tag for row in rows for tag in row[key]})
    places = {tag: place for place, tag in enumerate(names)}
    joined = [join_words(row["tokens"]) for row in rows]
    found = tokenizer([text for text, _ in joined], truncation=True, max_length=max_length)
    space = tokenizer.convert_tokens_to_ids("▁")
    parts, targets = [], []
    for number, (row, (_, places_in_text)) in enumerate(zip(rows, joined, strict=True)):
        ids = np.asarray(found["input_ids"][number], dtype=np.uint16)
        tags = np.full(len(ids), NO_TAG, dtype=np.int64)
        for start, tag in zip(places_in_text, row[key], strict=True):
            place = found.char_to_token(number, start)
            if place is None:
                continue  # cut off
            if ids[place] == space:  # the word itself is the next piece
                place += 1
            if tags[place] == NO_TAG and place < len(ids) - 1:
                tags[place] = places[tag]
        parts.append(ids)
        targets.append(tags)
    starts = np.cumsum([0, *map(len, parts)])
    return TuningSet(
        name,
        "tags",
        len(names),
        np.concatenate(parts),
        starts,
        np.diff(starts),
        np.concatenate(targets),
        head=name,
    )
