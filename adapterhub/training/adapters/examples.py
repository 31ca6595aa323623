"""Rows for the training of an adapter: windows, and the tokens of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.choices.rows import choice_counts, choice_pairs
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.encoder.tokens import Row, TextTokenizer, TokenBatch, Window, pack
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.plan import Reading
from adapterhub.training.features.choice_items import SIDES, ChoiceItems, PairItems, RowItems
from adapterhub.training.features.shards import text_key

Indices = npt.NDArray[np.int64]

# Rows are sorted by length within chunks of this many batches: like lengths share a batch, and
# batches still differ from epoch to epoch.
_SORTED_BATCHES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """The N rows of one split.

    Attributes:
        keys: Key of each row's texts in the cache.
        windows: All windows, in the order of rows and of the texts of a row.
        sides: Texts that make a pair by being encoded separately: 2 for pairs apart, else 1.
        texts: (N + 1,) index of each row's first text; the last is their number T. A row is one
            text, a pair apart two, and so is one whose texts are read by themselves; each choice is
            one, and apart the prompt another.
        first: (T + 1,) index of each text's first window; the last is their number.
        tokens: (N + 1,) index of each row's first token among those of all windows.
        words: (N + 1,) index of each row's first word; None but for kinds that read every token. Of
            a context all tokens, and the first one of each window, stand in the place of words.
        places: (words, 2) per word its window and its token in it; None but for these.
        choices: (N,) number of choices of each row; None except for multiple choice.
        of_pairs: Whether each text of a row has logits of its own.
    """

    keys: tuple[bytes, ...]
    windows: tuple[Window, ...]
    sides: int
    texts: Indices
    first: Indices
    tokens: Indices
    words: Indices | None
    places: Indices | None
    choices: Indices | None = None
    of_pairs: bool = False

    def __len__(self) -> int:
        """Returns the number N of rows."""
        return len(self.keys)

    @property
    def predictions(self) -> int:
        """Returns the number of predictions: one per row, or per word for tagging and parsing."""
        return len(self) if self.places is None else len(self.places)

    def lengths(self) -> Indices:
        """Returns the number of tokens of each row in all its windows: (N,)."""
        return np.diff(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class ExampleBatch:
    """B rows as one packed batch.

    Attributes:
        tokens: Their windows.
        order: (P,) for each packed token its index among the rows' tokens in row order.
        sides: As in `Examples`.
        texts: (W,) for each packed window the index of its text, among those of the rows in order.
        counts: (texts,) fp32 windows of each text.
        picks: Tagging and parsing: (M,) the packed token of each word, in row order; else None.
        targets: (B,) or (M,) indices into the targets of the split.
        sizes: (B,) words of each row; None where `picks` is.
        items: The choices of each row, or its two texts; None where a row is one item.
    """

    tokens: TokenBatch
    order: torch.Tensor
    sides: int
    texts: torch.Tensor
    counts: torch.Tensor
    picks: torch.Tensor | None
    targets: torch.Tensor
    sizes: torch.Tensor | None = None
    items: RowItems | None = None


def read_examples(
    inputs: Sequence[tuple[str, ...]],
    *,
    kind: Kind,
    tokenizer: TextTokenizer,
    reading: Reading,
    max_windows: int,
) -> Examples:
    """Returns rows cut into windows as in scoring; of pairs apart each text by itself."""
    keys = tuple(text_key(texts) for texts in inputs)
    sides, choices = len(reading.fields) if reading.apart else 1, None
    of_pairs = KINDS[kind].of_vectors
    of_row = np.full(len(inputs), SIDES if of_pairs else sides)
    if reading.choices:
        choices = np.array(choice_counts(inputs), np.int64)
        of_row = choices + (sides - 1)
    if reading.apart or of_pairs:
        inputs, reading = [(text,) for texts in inputs for text in texts], reading.alone
    elif reading.choices:
        inputs = choice_pairs(inputs)
    texts = np.concatenate([[0], np.cumsum(of_row)]).astype(np.int64)
    rows = tokenizer.rows(inputs, reading=reading, max_windows=max_windows)
    windows = tokenizer.windows(rows, reading=reading)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    sizes = np.concatenate([[0], np.cumsum([len(window.ids) for window in windows])])
    words = places = None
    if KINDS[kind].per_token:
        slides = reading.slides_second
        found = [
            _context_places(windows, range(*first[index : index + 2]))
            if slides
            else _word_places(own[0], row, windows, range(*first[index : index + 2]))
            for index, (own, row) in enumerate(zip(inputs, rows, strict=True))
        ]
        words = np.concatenate([[0], np.cumsum([len(one) for one in found])]).astype(np.int64)
        places = np.array([place for one in found for place in one], np.int64).reshape(-1, 2)
    tokens = sizes[first[texts]].astype(np.int64)
    own = (texts, first, tokens, words, places, choices, of_pairs)
    return Examples(keys, tuple(windows), sides, *own)


def make_batch(examples: Examples, rows: Sequence[int], *, device: torch.device) -> ExampleBatch:
    """Returns some rows as one packed batch."""
    texts = np.concatenate([np.arange(*examples.texts[row : row + 2]) for row in rows])
    chosen = [w for text in texts for w in range(*examples.first[text : text + 2])]
    order = sorted(range(len(chosen)), key=lambda place: -len(examples.windows[chosen[place]].ids))
    tokens = pack([examples.windows[chosen[place]] for place in order], device=device)
    lengths = np.array([len(examples.windows[window].ids) for window in chosen], np.int64)
    starts = np.cumsum(lengths) - lengths  # of the chosen windows in row order
    packed = np.concatenate([np.arange(starts[p], starts[p] + lengths[p]) for p in order])
    counts = np.diff(examples.first)[texts]
    of_text = np.repeat(np.arange(len(texts)), counts)
    targets: Indices = np.asarray(rows, np.int64)
    picks = sizes = None
    if examples.words is not None and examples.places is not None:
        spans = [np.arange(*examples.words[row : row + 2]) for row in rows]
        targets = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        where = np.full(len(packed), -1, np.int64)
        where[packed] = np.arange(len(packed))
        start_of = dict(zip(chosen, starts.tolist(), strict=True))
        places = examples.places[targets]
        unpacked = [start_of[window] + token for window, token in places.tolist()]
        picks = torch.from_numpy(where[np.array(unpacked, np.int64)]).to(device)
        sizes = torch.from_numpy(np.array([len(span) for span in spans], np.int64)).to(device)
    return ExampleBatch(
        tokens=tokens,
        order=torch.from_numpy(packed),
        sides=examples.sides,
        texts=torch.from_numpy(of_text[order]).to(device),
        counts=torch.from_numpy(counts.astype(np.float32)).to(device),
        picks=picks,
        targets=torch.from_numpy(targets).to(device),
        sizes=sizes,
        items=_items(examples, rows, device),
    )


def _items(examples: Examples, rows: Sequence[int], device: torch.device) -> RowItems | None:
    if examples.of_pairs:
        return PairItems()
    counts = examples.choices
    if counts is None:
        return None
    return ChoiceItems.of(counts[list(rows)].tolist(), most=int(counts.max())).to(device)


def training_order(lengths: Indices, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Returns the rows of each step of one epoch, a pure function; like lengths share a step.

    Args:
        lengths: Tokens of every row, (N,).
        batch_size: Rows per step.
        seed: Of the order.
        epoch: Every epoch has another order.
    """
    draw = np.random.default_rng((seed, epoch))
    rows = draw.permutation(len(lengths))
    steps: list[list[int]] = []
    for start in range(0, len(rows), batch_size * _SORTED_BATCHES):
        part = rows[start : start + batch_size * _SORTED_BATCHES]
        part = part[np.argsort(lengths[part], kind="stable")].tolist()
        steps += [part[place : place + batch_size] for place in range(0, len(part), batch_size)]
    return [steps[place] for place in draw.permutation(len(steps))]


def reading_order(lengths: Indices, rows: Sequence[int], *, max_tokens: int) -> list[list[int]]:
    """Returns some rows in batches of `max_tokens` tokens (or one row), longest first.

    Args:
        lengths: Tokens of every row.
        rows: Which of them.
        max_tokens: Tokens per batch at most.
    """
    batches: list[list[int]] = []
    tokens = max_tokens
    for row in sorted(rows, key=lambda row: -int(lengths[row])):
        if tokens + lengths[row] > max_tokens:
            batches.append([])
            tokens = 0
        batches[-1].append(row)
        tokens += int(lengths[row])
    return batches


def _word_places(
    text: str, row: Row, windows: Sequence[Window], own: range
) -> list[tuple[int, int]]:
    """Returns window and token of each word of a row, in the window with most context around it."""
    best = [(-1, 0, 0)] * len(row.ids)
    for index in own:
        window = windows[index]
        size = window.last - window.first
        for place in range(size):
            around = min(place, size - 1 - place)
            if around > best[window.first + place][0]:
                best[window.first + place] = (around, index, place + 1)  # after [CLS]
    words = words_of(TaggedText(text, row.offsets))
    return [best[word.token][1:] for word in words]


def _context_places(windows: Sequence[Window], own: range) -> list[tuple[int, int]]:
    """Returns window and token of the first token of each window of a row, and of its context."""
    return [
        (index, token)
        for index in own
        for window in (windows[index],)
        for token in (0, *range(window.place, window.place + window.last - window.first))
    ]
