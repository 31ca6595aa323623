"""Rows -> the windows that are encoded, and the items that probes predict."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapterhub.errors import DataError
from adapterhub.inputs import is_invisible
from adapterhub.model.encoder.tokens import Row, TextTokenizer, Window
from adapterhub.plan import Reading
from adapterhub.probing.control import ControlTask, make_control, types_of
from adapterhub.probing.items import NO_LABEL, ROOT, SPLITS, ProbeItems, Split
from adapterhub.probing.rows import ProbeRow, ProbeRows

_Places = Sequence[int | None]


@dataclass(frozen=True, slots=True, eq=False)
class MadeItems:
    """What is encoded and predicted.

    Attributes:
        windows: One window for each text of a split, in order.
        items: The items of each split.
        label_counts: Training items of each label; none where heads are predicted.
        notes: What was left out or cut.
    """

    windows: Mapping[Split, tuple[Window, ...]]
    items: Mapping[Split, ProbeItems]
    label_counts: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of a text.

    Attributes:
        tokens: Tokens that it reads, counted from the first of its window; none for a whole text.
        label: As in `ProbeItems`.
        kind: Its type in the control task.
    """

    tokens: tuple[int, ...]
    label: int
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A text with its items, whether it was cut, and how many words have no token."""

    row: ProbeRow
    window: Window
    items: tuple[_Item, ...]
    cut: bool
    lost: int


def make_items(
    rows: ProbeRows, *, tokenizer: TextTokenizer, reading: Reading, seed: int
) -> MadeItems:
    """Returns windows and items of all rows.

    A text is cut to one window. A word is read at its first token, as in tagging; words without
    one are left out, and so are texts without items.

    Args:
        rows: The rows.
        tokenizer: Of the backbone.
        reading: The fields and the window.
        seed: Of the control task.

    Raises:
        DataError: No items are left in a split.
    """
    texts = {split: _texts(rows, split, tokenizer, reading) for split in SPLITS}
    notes = tuple(_notes([text for part in texts.values() for text in part], reading))
    texts = {split: [one for one in part if _has_labels(one)] for split, part in texts.items()}
    for split, part in texts.items():
        if not part:
            raise DataError(rows.name, f"nothing is left to predict in the {split} rows")
    classes = None if rows.what == "head" else len(rows.labels)
    own = [item.label for text in texts["training"] for item in text.items]
    control = make_control([text.row for text in texts["training"]], own, classes, seed)
    return MadeItems(
        {split: tuple(text.window for text in part) for split, part in texts.items()},
        {split: _items(part, control) for split, part in texts.items()},
        () if classes is None else tuple(np.bincount(own, minlength=classes).tolist()),
        notes,
    )


def _texts(
    rows: ProbeRows, split: Split, tokenizer: TextTokenizer, reading: Reading
) -> list[_Text]:
    own = rows.splits[split]
    inputs = [row.inputs for row in own]
    found = tokenizer.rows(inputs, reading=reading, max_windows=1, offsets=bool(own[0].words))
    # A pair is cut to a budget of tokens, which may be more than one window.
    windows = [one for one in tokenizer.windows(found, reading=reading) if one.first == 0]
    index = {label: place for place, label in enumerate(rows.labels)}
    texts = []
    for row, tokens, window in zip(own, found, windows, strict=True):
        if not row.words:
            items: tuple[_Item, ...] = (_Item((), index[row.labels[0]], types_of(row)[0]),)
            texts.append(_Text(row, window, items, tokens.truncated, 0))
            continue
        first = len(tokenizer.special.before)
        at = [
            None if place is None else first + place
            for place in first_tokens(row.inputs[0], tokens, row.words)
        ]
        make = {"head": _heads, "relation": _relations}.get(rows.what, _tags)
        items = tuple(make(row, at, index))
        texts.append(_Text(row, window, items, tokens.truncated, at.count(None)))
    return texts


def first_tokens(text: str, row: Row, words: Sequence[tuple[int, int]]) -> list[int | None]:
    """Returns the first token of each word, or None where it has none.

    It is the first that starts in the word, else the one in which the word lies.

    Args:
        text: The text.
        row: Its tokens, with offsets.
        words: Start and end of each word.
    """
    kept: list[tuple[int, int, int]] = []
    for token, (start, end) in enumerate(row.offsets):
        # SentencePiece includes the space before a word in its first piece.
        while start < end and is_invisible(text[start]):
            start += 1
        if start < end:
            kept.append((start, end, token))
    starts = [start for start, _, _ in kept]
    found: list[int | None] = []
    for start, end in words:
        place = bisect_left(starts, start)
        if place < len(kept) and starts[place] < end:
            found.append(kept[place][2])
        else:
            found.append(kept[place - 1][2] if place and kept[place - 1][1] > start else None)
    return found


def _tags(row: ProbeRow, at: _Places, index: Mapping[str, int]) -> Iterator[_Item]:
    for place, label, kind in zip(at, row.labels, types_of(row), strict=True):
        if place is not None and label in index:
            yield _Item((place,), index[label], kind)


def _relations(row: ProbeRow, at: _Places, index: Mapping[str, int]) -> Iterator[_Item]:
    """Yields the words that have a head: that of the root is no word to read."""
    for place, label, kind, head in zip(at, row.labels, types_of(row), row.heads, strict=True):
        other = at[head - 1] if head else None
        if place is not None and other is not None and label in index:
            yield _Item((place, other), index[label], kind)


def _heads(row: ProbeRow, at: _Places, index: Mapping[str, int]) -> Iterator[_Item]:
    """Yields all words; one whose head has no token is not predicted."""
    del index
    read = [word for word, place in enumerate(at) if place is not None]
    order = {word: number for number, word in enumerate(read)}
    kinds = types_of(row)
    for word in read:
        head = row.heads[word]
        label = order.get(head - 1, NO_LABEL) if head else ROOT
        yield _Item((at[word] or 0,), label, kinds[word])


def _has_labels(text: _Text) -> bool:
    return any(item.label != NO_LABEL for item in text.items)


def _items(texts: Sequence[_Text], control: ControlTask) -> ProbeItems:
    lengths = np.array([len(text.window.ids) for text in texts], np.int64)
    starts = np.cumsum(lengths) - lengths
    items = [(number, item) for number, text in enumerate(texts) for item in text.items]
    read = [[starts[number] + token for token in item.tokens] for number, item in items]
    numbers = {kind: n for n, kind in enumerate(dict.fromkeys(item.kind for _, item in items))}
    return ProbeItems(
        lengths=lengths,
        places=np.array(read, np.int64) if read[0] else None,
        sentences=np.array([number for number, _ in items], np.int64),
        labels=np.array([item.label for _, item in items], np.int64),
        control=np.array(
            [
                control.label_of(item.kind, place, len(text.items))
                for text in texts
                for place, item in enumerate(text.items)
            ],
            np.int64,
        ),
        types=np.array([numbers[item.kind] for _, item in items], np.int64),
        novel=np.array([item.kind not in control.known for _, item in items], np.bool_),
    )


def _notes(texts: Sequence[_Text], reading: Reading) -> Iterator[str]:
    cut, lost = sum(text.cut for text in texts), sum(text.lost for text in texts)
    if cut:
        yield (
            f"{cut:,} of {len(texts):,} texts are cut to {reading.max_length} tokens, one window."
        )
    if lost:
        yield f"{lost:,} words are left out: they have no token, or stand behind the cut."
