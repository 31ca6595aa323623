"""Runs one trunk of a plan over texts, in three steps that different threads may take.

prepare: rows -> windows -> TokenBatches
compute: TokenBatches -> trunk, depth by depth -> branches -> logits per window -> logits per row
finish:  n-grams of the rows are added, pairs of words scored, and what is not finite is refused

Texts of pairs that are encoded separately run one by one and are compared at the end. A row with
choices runs as pairs of its prompt and each choice. The windows of a long text are merged into one
prediction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import (
    Row,
    TextTokenizer,
    TokenBatch,
    batches,
    groups_of,
)
from adapterhub.model.execution.passes import (
    Keep,
    Kept,
    KeptBatch,
    Logits,
    Requested,
    TapFeatures,
    replay_batch,
    run_batch,
)
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.execution.row_outputs import (
    TrunkOutput,
    add_ngrams,
    context_tokens_of_rows,
    join_choices,
    joined,
    mean_of_windows,
    score_words,
    tokens_of_rows,
)
from adapterhub.model.heads.answers.context import Context, contexts_of
from adapterhub.model.heads.choices import RowChoices
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.ngrams import Ids, ids_by_field
from adapterhub.model.heads.pair_features import Pairs, compared_logits
from adapterhub.model.heads.spans import TaggedText
from adapterhub.plan import Reading, TapName, Trunk

# Features of separately encoded texts are kept until both texts of a pair are done, and are much
# wider than logits: at H 768 this many pairs take up to 100 MB per task.
_PAIRS_AT_ONCE = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class ExecutionContext:
    """Where and how texts are computed.

    Attributes:
        encoder: The backbone on its device.
        tokenizer: The tokenizer of the same backbone.
        max_windows: Maximum windows per text; the rest is truncated.
    """

    encoder: Encoder
    tokenizer: TextTokenizer
    max_windows: int


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows of one trunk that run together, ready for the encoder.

    Attributes:
        reading: The reading of the trunk.
        inputs: The strings of the rows, of rows with choices those of their pairs.
        texts: What is encoded: `inputs`, or the distinct texts of pairs.
        tokens: The tokens of `texts`; empty where nobody needs them.
        trunk: The passes to run; None where all tasks are replayed.
        batches: The windows for the passes, on the CPU.
        replayed: The taps of the tasks that are computed from kept features; None without.
        kept: These features.
        pairs: Which texts make which row; None where rows are encoded as they are.
        requested: Which of `inputs` request which task; None for all.
        choices: How pairs make rows with choices; None where rows have none.
    """

    reading: Reading
    inputs: Sequence[tuple[str, ...]]
    texts: Sequence[tuple[str, ...]]
    tokens: Sequence[Row]
    trunk: Trunk | None
    batches: tuple[TokenBatch, ...]
    replayed: Trunk | None
    kept: Kept
    pairs: Pairs | None
    requested: Requested | None
    choices: RowChoices | None = None

    @property
    def work(self) -> int:
        """Returns the passes to be made times their tokens; 0 only if there is nothing to run."""
        each = 0 if self.trunk is None else max(1, self.trunk.passes)
        return each * sum(batch.tokens for batch in self.batches)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Returns its tasks."""
        both = [part.tasks for part in (self.trunk, self.replayed) if part is not None]
        return tuple(name for tasks in both for name in tasks)


def run_trunk(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    *,
    context: ExecutionContext,
) -> TrunkOutput:
    """Returns the logits of all tasks of one trunk for `inputs`.

    Args:
        trunk: What to compute.
        tasks: The resident tasks by the names in the trunk.
        inputs: One valid string per row and field of the trunk; each choice is a string.
        context: The encoder, its tokenizer and the maximum number of windows.

    Raises:
        NonFiniteError: The logits of a task contain NaN or infinity.
    """
    pieces = prepare_pieces(trunk, tasks, inputs, context=context)
    return joined(
        [
            finish_piece(piece, compute_piece(piece, tasks, encoder=context.encoder), tasks)
            for piece in pieces
        ]
    )


def prepare_pieces(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    *,
    context: ExecutionContext,
    requested: Requested | None = None,
    kept: Kept | None = None,
) -> Iterator[Piece]:
    """Yields the rows of one trunk in pieces that run together.

    Args:
        trunk: What to compute.
        tasks: The resident tasks by the names in the trunk.
        inputs: One valid string per row and field of the trunk; each choice is a string.
        context: The encoder, its tokenizer and the maximum number of windows.
        requested: Which rows request which task, at least one task per row; None for all.
        kept: Features that need not be computed again; not used where there are several pieces.
    """
    parts = list(_parts(trunk.reading, inputs))
    kept = kept if kept is not None and len(parts) < 2 else {}
    for rows in parts:
        part = requested and {name: mask[rows] for name, mask in requested.items()}
        yield _prepare(trunk, tasks, inputs[rows], context, part, kept)


def _parts(reading: Reading, inputs: Sequence[tuple[str, ...]]) -> Iterator[slice]:
    """Yields the rows that run together."""
    if not reading.apart:
        yield from [slice(len(inputs))][: len(inputs)]
        return
    # A pair has one string after the first, a row with choices several, each of which makes a pair.
    sized = groups_of(
        range(len(inputs)), lambda row: len(inputs[row]) - 1, max_tokens=_PAIRS_AT_ONCE
    )
    yield from (slice(rows[0], rows[-1] + 1) for rows in sized)


def _prepare(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    context: ExecutionContext,
    requested: Requested | None,
    kept: Kept,
) -> Piece:
    apart = trunk.reading.apart
    choices = RowChoices.of(inputs) if trunk.reading.choices else None
    if choices is not None:
        inputs, counts = choices.pairs, choices.counts
        requested = requested and {n: np.repeat(own, counts) for n, own in requested.items()}
    pairs = Pairs.of(inputs) if apart else None
    texts = inputs if pairs is None else pairs.texts
    alone = replace(trunk, reading=trunk.reading.alone) if apart else trunk
    from_kept = trunk.replayable(kept)
    to_run = [name for name in trunk.tasks if name not in from_kept]
    tokens: list[Row] = []
    packed: tuple[TokenBatch, ...] = ()
    if to_run or any(tasks[name].weights.ngrams is not None for name in from_kept):
        tokens = context.tokenizer.rows(
            texts,
            reading=alone.reading,
            max_windows=context.max_windows,
            offsets=any(tasks[name].spec.per_token for name in to_run),
        )
    if to_run:
        windows = context.tokenizer.windows(tokens, reading=alone.reading)
        most = context.encoder.batch_tokens
        packed = tuple(batches(windows, max_tokens=most, device=torch.device("cpu")))
    return Piece(
        reading=trunk.reading,
        inputs=inputs,
        texts=texts,
        tokens=tokens,
        trunk=alone.only(to_run) if to_run else None,
        batches=packed,
        replayed=alone.only(from_kept) if from_kept else None,
        kept=kept,
        pairs=pairs,
        requested=requested,
        choices=choices,
    )


def compute_piece(
    piece: Piece,
    tasks: Mapping[str, ResidentTask],
    *,
    encoder: Encoder,
    watch: Callable[[TokenBatch], None] | None = None,
    keep: Keep | None = None,
) -> TrunkOutput:
    """Returns the logits of a piece without those of n-grams; for parsing what pairs are scored by.

    Args:
        piece: What to compute.
        tasks: The resident tasks by the names in the trunk.
        encoder: Runs the passes.
        watch: Called after every batch; what it raises stops the run.
        keep: Receives the features of the trunk's taps that can be kept.
    """
    parts: dict[str, list[Logits]] = {name: [] for name in piece.tasks}
    if piece.replayed is not None:
        for kept in _kept_batches(piece):
            found = replay_batch(piece.replayed, tasks, kept, encoder.device)
            _append(parts, found)
    pooled: dict[TapName, list[Array]] = defaultdict(list)
    collect = None if keep is None else partial(_collect, pooled)
    requested = piece.requested
    if requested is not None and piece.pairs is not None:
        requested = piece.pairs.requested_texts(requested)
    for batch in piece.batches:
        if piece.trunk is not None:
            own = batch.to(encoder.device)
            _append(parts, run_batch(piece.trunk, tasks, own, encoder, requested, collect))
        if watch is not None:
            watch(batch)
    if keep is not None:
        for tap, values in pooled.items():
            keep(piece.reading, tap, _features(piece, values))
    output = _merged(piece, tasks, parts, requested)
    return output if piece.pairs is None else _compared(piece, piece.pairs, tasks, output)


def finish_piece(
    piece: Piece, output: TrunkOutput, tasks: Mapping[str, ResidentTask]
) -> TrunkOutput:
    """Returns the outputs of a piece with logits of n-grams added, of pairs of words, by row."""
    output = score_words(output, tasks)
    if any(tasks[name].weights.ngrams is not None for name in output.logits):
        output = add_ngrams(output, tasks, _ids_by_field(piece))
    return output if piece.choices is None else join_choices(output, piece.choices)


def _ids_by_field(piece: Piece) -> Sequence[Ids]:
    if piece.pairs is None:
        return ids_by_field(piece.tokens)
    sides = (side.tolist() for side in piece.pairs.sides)
    return [[piece.tokens[row].ids for row in side] for side in sides]


def _append(parts: dict[str, list[Logits]], found: Mapping[str, Logits]) -> None:
    for name, logits in found.items():
        parts[name].append(logits)


def _collect(pooled: dict[TapName, list[Array]], tap: TapName, features: torch.Tensor) -> None:
    pooled[tap].append(features.cpu().numpy())


def _features(piece: Piece, values: Sequence[Array]) -> TapFeatures:
    windows = [window for batch in piece.batches for window in batch.windows]
    return TapFeatures(
        values=np.concatenate(values),
        rows=np.fromiter((window.row for window in windows), np.int64, len(windows)),
        firsts=np.fromiter((window.first for window in windows), np.int64, len(windows)),
        sizes=np.fromiter((len(part) for part in values), np.int64, len(values)),
        truncated=np.fromiter((row.truncated for row in piece.tokens), np.bool_),
    )


def _kept_batches(piece: Piece) -> Iterator[KeptBatch]:
    """Yields the kept features in the batches in which they were computed."""
    first = next(iter(piece.kept.values()))
    windows = first.windows()
    start = 0
    for size in first.sizes.tolist():
        part = slice(start, start + size)
        yield KeptBatch(
            windows[part],
            {tap: torch.from_numpy(one.values[part]) for tap, one in piece.kept.items()},
        )
        start += size


def _rows_of(name: str, requested: Requested | None, count: int) -> npt.NDArray[np.int64]:
    return np.arange(count) if requested is None else np.flatnonzero(requested[name])


def _merged(
    piece: Piece,
    tasks: Mapping[str, ResidentTask],
    parts: Mapping[str, Sequence[Logits]],
    requested: Requested | None,
) -> TrunkOutput:
    """Returns logits merged over each text's windows; features for separately encoded texts."""
    counts, cut = _windows_of(piece)
    output: dict[str, RowLogits] = {}
    rows_of: dict[str, tuple[int, ...]] = {}
    contexts = _contexts(piece) if piece.reading.slides_second and piece.batches else []
    texts: dict[int, TaggedText] = {}
    for name, found_parts in parts.items():
        places = _rows_of(name, requested, len(counts))
        rows_of[name] = tuple(places.tolist())
        if not found_parts:
            continue
        values = np.concatenate([part.values.cpu().numpy() for part in found_parts])
        order = [window for part in found_parts for window in part.windows]
        if tasks[name].spec.row.slides_second:
            by_row = context_tokens_of_rows(values, order, len(counts))
            kept = tuple(by_row[row] for row in rows_of[name])
            output[name] = RowLogits(kept, contexts=tuple(contexts[row] for row in rows_of[name]))
        elif tasks[name].spec.per_token:
            tagged = tokens_of_rows(values, order, piece.tokens)
            for row in rows_of[name]:
                text = TaggedText(piece.texts[row][0], piece.tokens[row].offsets)
                texts.setdefault(row, text)
            kept = tuple(tagged[row] for row in rows_of[name])
            output[name] = RowLogits(kept, tuple(texts[row] for row in rows_of[name]))
        else:
            output[name] = RowLogits(mean_of_windows(values, order, counts, places))
    return TrunkOutput(output, rows_of, tuple(counts.tolist()), cut)


def _contexts(piece: Piece) -> list[Context]:
    """Returns the contexts of rows of question and context."""
    windows = [window for batch in piece.batches for window in batch.windows]
    return contexts_of(piece.texts, piece.tokens, sorted(windows, key=lambda one: one.first))


def _windows_of(piece: Piece) -> tuple[npt.NDArray[np.int64], tuple[bool, ...]]:
    """Returns the number of windows of each text, and whether each was truncated."""
    count = len(piece.texts)
    if piece.batches:
        rows = np.concatenate([batch.rows for batch in piece.batches])
        return np.bincount(rows, minlength=count), tuple(row.truncated for row in piece.tokens)
    kept = next(iter(piece.kept.values()))
    return np.bincount(kept.rows, minlength=count), tuple(kept.truncated.tolist())


def _compared(
    piece: Piece, pairs: Pairs, tasks: Mapping[str, ResidentTask], texts: TrunkOutput
) -> TrunkOutput:
    """Returns the logits of pairs from the features of their texts."""
    logits: dict[str, RowLogits] = {}
    rows_of: dict[str, tuple[int, ...]] = {}
    for name in piece.tasks:
        rows = _rows_of(name, piece.requested, len(piece.inputs))
        rows_of[name] = tuple(rows.tolist())
        if name in texts.logits:
            places = [np.searchsorted(texts.rows[name], side[rows]) for side in pairs.sides]
            features = np.asarray(texts.logits[name].values)
            weights = tasks[name].weights
            logits[name] = RowLogits(compared_logits(features, (places[0], places[1]), weights))
    first, second = (side.tolist() for side in pairs.sides)
    both = list(zip(first, second, strict=True))
    windows = tuple(texts.windows[a] + texts.windows[b] for a, b in both)
    cut = tuple(texts.truncated[a] or texts.truncated[b] for a, b in both)
    return TrunkOutput(logits, rows_of, windows, cut)
