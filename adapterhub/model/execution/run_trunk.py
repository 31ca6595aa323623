"""Runs one trunk of a plan over texts.

rows -> windows -> TokenBatches -> trunk, depth by depth -> branches -> logits per window -> per row

Texts of pairs that are encoded separately run one by one and are compared at the end. The windows
of a long text are merged into one prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from adapterhub.errors import NonFiniteError
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Row, TextTokenizer, Window, batches
from adapterhub.model.execution.passes import Logits, Requested, run_batch
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.heads.heads import Array, RowLogits
from adapterhub.model.heads.ngrams import Ids, RowGrams, ids_by_field, row_grams, token_grams
from adapterhub.model.heads.pair_features import Pairs, compared_logits
from adapterhub.model.heads.spans import TaggedText
from adapterhub.plan import Trunk


def mean_of_windows(
    values: Array,
    order: Sequence[Window],
    counts: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
) -> Array:
    """Returns the mean over the windows of each row in `places`: (windows, K) -> (N, K) fp32."""
    rows = np.fromiter((window.row for window in order), np.int64, len(order))
    if len(rows) == len(places):
        by_row = np.argsort(rows)
        single: Array = values[by_row]
        return single
    firsts = np.fromiter((window.first for window in order), np.int64, len(order))
    by_row = np.lexsort((firsts, rows))
    own = counts[places]
    starts = np.cumsum(own) - own
    sums: Array = np.add.reduceat(values[by_row], starts, axis=0)
    mean: Array = np.divide(sums, own[:, None], dtype=np.float32)
    return mean


def tokens_of_rows(
    values: Array, order: Sequence[Window], rows: Sequence[Row]
) -> tuple[Array, ...]:
    """Returns a (tokens, K) array per row; of overlapping windows, the one with most context wins.

    Args:
        values: (P, K) fp32 of all windows, special tokens included.
        order: The windows in packed order.
        rows: All rows.
    """
    merged = [np.zeros((len(row.ids), values.shape[1]), np.float32) for row in rows]
    context = [np.full(len(row.ids), -1, np.int64) for row in rows]
    start = 0
    for window in order:
        size = window.last - window.first
        logits = values[start + 1 : start + 1 + size]  # after [CLS]
        start += len(window.ids)
        if size == len(rows[window.row].ids):
            merged[window.row] = logits
            continue
        places = np.arange(size)
        around = np.minimum(places, size - 1 - places)
        part = slice(window.first, window.last)
        better = around > context[window.row][part]
        merged[window.row][part][better] = logits[better]
        context[window.row][part][better] = around[better]
    return tuple(merged)


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
class TrunkOutput:
    """The outputs of one trunk for N rows.

    Attributes:
        logits: Logits by task, for the rows that request it.
        rows: Indices of these rows by task, ascending.
        windows: (N,) number of windows per row, summed over separately encoded texts.
        truncated: (N,) whether a text of the row was truncated.
    """

    logits: Mapping[str, RowLogits]
    rows: Mapping[str, tuple[int, ...]]
    windows: tuple[int, ...]
    truncated: tuple[bool, ...]

    def concatenate(self, other: TrunkOutput) -> TrunkOutput:
        """Returns the outputs of these rows followed by those of `other`; not for tagging."""
        logits = {**self.logits, **other.logits}
        for name in self.logits.keys() & other.logits.keys():
            both = [np.asarray(one.logits[name].values) for one in (self, other)]
            logits[name] = RowLogits(np.concatenate(both))
        count = len(self.windows)
        rows = {
            name: (*own, *(count + row for row in other.rows[name]))
            for name, own in self.rows.items()
        }
        windows, cut = self.windows + other.windows, self.truncated + other.truncated
        return TrunkOutput(logits, rows, windows, cut)


def run_trunk(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    *,
    context: ExecutionContext,
    requested: Requested | None = None,
) -> TrunkOutput:
    """Returns the logits of all tasks of one trunk for `inputs`.

    Args:
        trunk: What to compute.
        tasks: The resident tasks by the names in the trunk.
        inputs: One valid string per row and field of the trunk.
        context: The encoder, its tokenizer and the maximum number of windows.
        requested: Which rows request which task, at least one task per row; None for all.

    Raises:
        NonFiniteError: The logits of a task contain NaN or infinity.
    """
    if trunk.reading.apart:
        parts = []
        for start in range(0, len(inputs), _PAIRS_AT_ONCE):
            rows = slice(start, start + _PAIRS_AT_ONCE)
            part = requested and {name: mask[rows] for name, mask in requested.items()}
            parts.append(_run_apart(trunk, tasks, inputs[rows], context, part))
        output = reduce(TrunkOutput.concatenate, parts)
    else:
        tokens = _tokens(trunk, inputs, context)
        output = _run_windows(trunk, tasks, inputs, tokens, context, requested)
        output = _add_ngrams(output, tasks, ids_by_field(tokens))
    for name, logits in output.logits.items():
        _check_finite(name, logits, output.rows[name])
    return output


def _run_apart(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    context: ExecutionContext,
    requested: Requested | None,
) -> TrunkOutput:
    """Returns the logits of pairs: each distinct text is encoded once, by itself."""
    pairs = Pairs.of(inputs)
    requested_texts = None if requested is None else pairs.requested_texts(requested)
    alone = replace(trunk, reading=trunk.reading.alone)
    tokens = _tokens(alone, pairs.texts, context)
    texts = _run_windows(alone, tasks, pairs.texts, tokens, context, requested_texts)
    logits: dict[str, RowLogits] = {}
    rows_of: dict[str, tuple[int, ...]] = {}
    for name in trunk.tasks:
        rows = _rows_of(name, requested, len(inputs))
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
    output = TrunkOutput(logits, rows_of, windows, cut)
    return _add_ngrams(
        output, tasks, [[tokens[row].ids for row in side] for side in (first, second)]
    )


def _tokens(
    trunk: Trunk, inputs: Sequence[tuple[str, ...]], context: ExecutionContext
) -> list[Row]:
    return context.tokenizer.rows(inputs, reading=trunk.reading, max_windows=context.max_windows)


def _rows_of(name: str, requested: Requested | None, count: int) -> npt.NDArray[np.int64]:
    return np.arange(count) if requested is None else np.flatnonzero(requested[name])


def _add_ngrams(
    output: TrunkOutput, tasks: Mapping[str, ResidentTask], fields: Sequence[Ids]
) -> TrunkOutput:
    """Returns the outputs with the n-gram logits added; `fields` are the token ids of all rows."""
    grams: RowGrams | None = None
    around: RowGrams | None = None
    logits = dict(output.logits)
    for name, found in output.logits.items():
        ngrams, rows = tasks[name].weights.ngrams, list(output.rows[name])
        if ngrams is None:
            continue
        if isinstance(found.values, tuple):
            around = around or token_grams(fields[0])
            of_rows = np.split(ngrams.logits(around), np.cumsum(list(map(len, fields[0]))))
            added = zip(found.values, (of_rows[row] for row in rows), strict=True)
            logits[name] = RowLogits(tuple(own + more for own, more in added), found.texts)
        else:
            grams = grams or row_grams(fields)
            logits[name] = RowLogits(found.values + ngrams.logits(grams)[rows])
    return replace(output, logits=logits)


def _run_windows(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    rows: Sequence[Row],
    context: ExecutionContext,
    requested: Requested | None,
) -> TrunkOutput:
    """Returns logits merged over each row's windows; features for separately encoded texts."""
    encoder = context.encoder
    windows = context.tokenizer.windows(rows, reading=trunk.reading)
    parts: dict[str, list[Logits]] = {name: [] for name in trunk.tasks}
    for batch in batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device):
        for name, found in run_batch(trunk, tasks, batch, encoder, requested).items():
            parts[name].append(found)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    output: dict[str, RowLogits] = {}
    rows_of: dict[str, tuple[int, ...]] = {}
    texts: dict[int, TaggedText] = {}
    for name, found_parts in parts.items():
        places = _rows_of(name, requested, len(rows))
        rows_of[name] = tuple(places.tolist())
        if not found_parts:
            continue
        values = np.concatenate([part.values.cpu().numpy() for part in found_parts])
        order = [window for part in found_parts for window in part.windows]
        if tasks[name].spec.kind == "tagging":
            tagged = tokens_of_rows(values, order, rows)
            for row in places.tolist():
                texts.setdefault(row, TaggedText(inputs[row][0], rows[row].offsets))
            kept = tuple(tagged[row] for row in rows_of[name])
            output[name] = RowLogits(kept, tuple(texts[row] for row in rows_of[name]))
        else:
            output[name] = RowLogits(mean_of_windows(values, order, counts, places))
    cut = tuple(row.truncated for row in rows)
    return TrunkOutput(output, rows_of, tuple(counts.tolist()), cut)


def _check_finite(task: str, logits: RowLogits, rows: Sequence[int]) -> None:
    for row, values in zip(rows, logits.values, strict=True):
        if not np.isfinite(values).all():
            raise NonFiniteError(task, row)
