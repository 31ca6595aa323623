"""Text -> token ids -> windows -> TokenBatches.

A TokenBatch has no padding: its P tokens are concatenated and windows of equal length are adjacent,
so that attention runs on (n, L) views of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer as FastTokenizer
from transformers import PreTrainedTokenizerFast

from adapterhub.model.encoder.long_texts import ReadText, read_texts
from adapterhub.model.encoder.offsets import Offsets, TextAligner, restored
from adapterhub.model.tokenizers.special_tokens import special_tokens
from adapterhub.plan import Reading

Item = TypeVar("Item")

# Characters that no tokenizer drops; a text without them is tokenized to see what it leaves.
_SURE = re.compile("[0-9A-Za-z\u4e00-\u9fff]")
_FEW = 32


@dataclass(frozen=True, slots=True)
class Row:
    """One tokenised text or pair, without special tokens.

    Attributes:
        ids: Token ids of the first field.
        pair_ids: Token ids of the second field, or None.
        offsets: Start and end of each token of the first field, or of the second one where that
            slides, in code points; empty where they were not requested.
        truncated: Whether a part of the text, or of its pair, is in no window.
    """

    ids: list[int]
    pair_ids: list[int] | None
    offsets: list[tuple[int, int]]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Window:
    """One input sequence of the encoder: a row, or a part of a long one.

    Attributes:
        row: Index of its row.
        first: First token of the field that slides.
        last: The token after its last one.
        ids: Token ids with special tokens.
        type_ids: The type of each token: 0, for a second text the one that the tokenizer gives it.
        place: Index in `ids` of the token `first`.
    """

    row: int
    first: int
    last: int
    ids: list[int]
    type_ids: list[int]
    place: int = 1


@dataclass(frozen=True, slots=True)
class Bucket:
    """Adjacent windows of equal length in a TokenBatch.

    Attributes:
        start: Index of their first token among the P packed ones.
        windows: Their number n.
        length: Their length L in tokens.
    """

    start: int
    windows: int
    length: int

    @property
    def stop(self) -> int:
        """Returns the index after their last token."""
        return self.start + self.windows * self.length


@dataclass(frozen=True, slots=True, eq=False)
class TokenBatch:
    """N windows as P packed tokens, sorted by length.

    Attributes:
        windows: The windows in packed order.
        input_ids: (P,) int64.
        token_type_ids: (P,) int64.
        position_ids: (P,) int64, from 0 in every window.
        starts: (N,) int64, index of the first token of each window.
        buckets: The runs of equal length, which cover all P tokens.
        rows: (N,) int64, index of the row of each window.
    """

    windows: tuple[Window, ...]
    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    position_ids: torch.Tensor
    starts: torch.Tensor
    buckets: tuple[Bucket, ...]
    rows: npt.NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """Returns the number P of packed tokens."""
        return self.input_ids.shape[0]

    def to(self, device: torch.device) -> TokenBatch:
        """Returns the batch with its tensors on a device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            token_type_ids=self.token_type_ids.to(device),
            position_ids=self.position_ids.to(device),
            starts=self.starts.to(device),
        )

    def tokens_of(self, places: npt.NDArray[np.int64]) -> torch.Tensor:
        """Returns the packed indices of all tokens of the windows `places`, on the device."""
        starts = self.starts.cpu().numpy()
        parts = [np.arange(starts[i], starts[i] + len(self.windows[i].ids)) for i in places]
        none = np.zeros(0, np.int64)
        return torch.from_numpy(np.concatenate(parts or [none])).to(self.starts.device)


class TextTokenizer:
    """Turns texts into windows of token ids; thread-safe.

    It has its own copy of the fast tokenizer without truncation and padding, which are state that
    calls would share; special tokens and windows are added here.

    Attributes:
        special: The special tokens of a window.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.special = special_tokens(tokenizer)
        self._fast = FastTokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._fast.no_truncation()
        self._fast.no_padding()
        # It only adds special tokens, and changes offsets in ways that its settings may have wrong.
        self._fast.post_processor = None
        self._aligner = TextAligner(self._fast)

    def rows(
        self,
        inputs: Sequence[tuple[str, ...]],
        *,
        reading: Reading,
        max_windows: int,
        offsets: bool = True,
    ) -> list[Row]:
        """Returns the tokens of each input, truncated to what fits in `max_windows` windows.

        Args:
            inputs: One or two valid strings per row, the same number in all rows.
            reading: The length and the overlap of windows.
            max_windows: Maximum number of windows per row.
            offsets: Whether the offsets of tokens are needed, as in tagging.
        """
        room = self._room(reading)
        budget = _budget(room, reading.overlap, max_windows)
        fields = list(zip(*inputs, strict=True))
        read = [read_texts(self._fast, texts, budget=budget) for texts in fields]
        aligned = 1 if reading.slides_second else 0
        rows = []
        for found in zip(*read, strict=True):
            ids = [text.encoding.ids for text in found]
            kept = _kept([len(tokens) for tokens in ids], room, reading, max_windows)
            cut = any(len(tokens) > size for tokens, size in zip(ids, kept, strict=True))
            ids = [tokens[:size] for tokens, size in zip(ids, kept, strict=True)]
            at = self._offsets(found[aligned], kept[aligned]) if offsets else []
            rows.append(Row(ids[0], ids[1] if len(ids) > 1 else None, at, cut))
        return rows

    def _offsets(self, read: ReadText, tokens: int) -> Offsets:
        """Returns the offsets of the first tokens in the text as given."""
        offsets = self._aligner.offsets(read.text, read.encoding, tokens=tokens)
        return restored(offsets, read.gaps)

    def has_tokens(self, text: str) -> bool:
        """Returns whether a text leaves any token; one of dropped characters leaves none."""
        if _SURE.search(text):
            return True
        # The start of a text decides nearly always.
        parts = (text[:_FEW], text)
        return any(len(self._fast.encode(part, add_special_tokens=False)) for part in parts)

    def windows(self, rows: Sequence[Row], *, reading: Reading) -> list[Window]:
        """Returns the windows of all rows, in row order."""
        windows: list[Window] = []
        for index, row in enumerate(rows):
            if row.pair_ids is None:
                windows.extend(self._single(index, row.ids, reading))
            else:
                windows.extend(self._pair(index, row.ids, row.pair_ids, reading))
        return windows

    def _single(self, row: int, ids: list[int], reading: Reading) -> Iterator[Window]:
        for first, last in _spans(len(ids), self._room(reading), reading.overlap):
            window = self.special.around(ids[first:last])
            yield Window(row, first, last, *window, place=len(self.special.before))

    def _pair(self, row: int, a: list[int], b: list[int], reading: Reading) -> Iterator[Window]:
        """Yields windows of parts of the field that slides with the whole other one."""
        first_slides = _first_slides(len(a), len(b), reading)
        still, sliding = (b, a) if first_slides else (a, b)
        place = len(self.special.before)
        if not first_slides:
            place += len(still) + len(self.special.between)
        for first, last in _spans(len(sliding), self._room(reading) - len(still), reading.overlap):
            part = sliding[first:last]
            one, two = (part, still) if first_slides else (still, part)
            yield Window(row, first, last, *self.special.around_pair(one, two), place=place)

    def _room(self, reading: Reading) -> int:
        """Returns the number of tokens that a window holds without special tokens."""
        return reading.max_length - self.special.count(len(reading.fields))


def batches(
    windows: Sequence[Window], *, max_tokens: int, device: torch.device
) -> Iterator[TokenBatch]:
    """Yields TokenBatches of at most `max_tokens` tokens, or one window, longest windows first."""
    ordered = sorted(windows, key=lambda window: -len(window.ids))
    for chunk in groups_of(ordered, lambda window: len(window.ids), max_tokens=max_tokens):
        yield pack(chunk, device=device)


def groups_of(
    items: Iterable[Item], tokens_of: Callable[[Item], int], *, max_tokens: int
) -> Iterator[list[Item]]:
    """Yields consecutive items in groups of at most `max_tokens` tokens, or of one item."""
    group: list[Item] = []
    total = 0
    for item in items:
        tokens = tokens_of(item)
        if group and total + tokens > max_tokens:
            yield group
            group, total = [], 0
        group.append(item)
        total += tokens
    if group:
        yield group


def pack(windows: Sequence[Window], *, device: torch.device) -> TokenBatch:
    """Returns a TokenBatch of windows that are sorted by length."""
    lengths = np.fromiter((len(window.ids) for window in windows), np.int64, len(windows))
    tokens = int(lengths.sum())
    starts = np.cumsum(lengths) - lengths
    ids = np.fromiter(chain.from_iterable(w.ids for w in windows), np.int64, tokens)
    types = np.fromiter(chain.from_iterable(w.type_ids for w in windows), np.int64, tokens)
    positions = np.arange(tokens) - np.repeat(starts, lengths)
    buckets = []
    start = 0
    for length, group in groupby(lengths.tolist()):
        bucket = Bucket(start=start, windows=len(list(group)), length=length)
        buckets.append(bucket)
        start = bucket.stop
    return TokenBatch(
        windows=tuple(windows),
        input_ids=torch.from_numpy(ids).to(device),
        token_type_ids=torch.from_numpy(types).to(device),
        position_ids=torch.from_numpy(positions).to(device),
        starts=torch.from_numpy(starts).to(device),
        buckets=tuple(buckets),
        rows=np.fromiter((window.row for window in windows), np.int64, len(windows)),
    )


def _budget(room: int, overlap: int, max_windows: int) -> int:
    """Returns the number of tokens that `max_windows` windows of `room` tokens cover."""
    return room + (max_windows - 1) * _step(room, overlap)


def _kept(lengths: Sequence[int], room: int, reading: Reading, max_windows: int) -> list[int]:
    """Returns the number of tokens of each field that go into windows.

    The field of a pair that does not slide is in every window; it is truncated only where it fills
    more than half of one, which the other one does not leave free.
    """
    if len(lengths) == 1:
        return [_budget(room, reading.overlap, max_windows)]
    if sum(lengths) <= room:
        return list(lengths)
    first_slides = _first_slides(lengths[0], lengths[1], reading)
    still, sliding = reversed(lengths) if first_slides else lengths
    still = min(still, max(room // 2, room - sliding))
    sliding = _budget(room - still, reading.overlap, max_windows)
    return [sliding, still] if first_slides else [still, sliding]


def _first_slides(first: int, second: int, reading: Reading) -> bool:
    """Returns whether the first field of a pair slides, because it is longer."""
    return first > second and not reading.slides_second


def _spans(tokens: int, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yields the token ranges of windows of `room` tokens over `tokens` tokens."""
    first = 0
    while True:
        last = min(first + room, tokens)
        yield first, last
        if last == tokens:
            return
        first += _step(room, overlap)


def _step(room: int, overlap: int) -> int:
    """Returns the stride of windows, at least half of `room`, also for a long pair."""
    return room - min(overlap, room // 2)
