"""The outputs of a trunk: those of windows become those of rows.

Then n-grams are added, pairs of words are scored, and pairs of a prompt and a choice make rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from adapterhub.errors import NonFiniteError
from adapterhub.model.encoder.tokens import Row, Window
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.heads.choices import RowChoices
from adapterhub.model.heads.heads import Array, RowLogits, join_logits
from adapterhub.model.heads.ngrams import Ids, RowGrams, row_grams, token_grams
from adapterhub.model.heads.parses import parse_units


@dataclass(frozen=True, slots=True, eq=False)
class TrunkOutput:
    """The outputs of one trunk for N rows.

    Attributes:
        logits: Logits by task, for the rows that request it.
        rows: Indices of these rows by task, ascending.
        windows: (N,) number of windows per row, summed over separately encoded texts and over the
            pairs of a row with choices.
        truncated: (N,) whether a text of the row was truncated.
    """

    logits: Mapping[str, RowLogits]
    rows: Mapping[str, tuple[int, ...]]
    windows: tuple[int, ...]
    truncated: tuple[bool, ...]

    def concatenate(self, other: TrunkOutput) -> TrunkOutput:
        """Returns the outputs of these rows followed by those of `other`; not for tokens."""
        logits = {**self.logits, **other.logits}
        for name in self.logits.keys() & other.logits.keys():
            logits[name] = join_logits([self.logits[name], other.logits[name]])
        count = len(self.windows)
        rows = {
            name: (*own, *(count + row for row in other.rows[name]))
            for name, own in self.rows.items()
        }
        windows, cut = self.windows + other.windows, self.truncated + other.truncated
        return TrunkOutput(logits, rows, windows, cut)


def joined(outputs: Sequence[TrunkOutput]) -> TrunkOutput:
    """Returns the outputs of all pieces of a trunk, of which there is one at least.

    Raises:
        NonFiniteError: The logits of a task contain NaN or infinity.
    """
    output = reduce(TrunkOutput.concatenate, outputs)
    for name, logits in output.logits.items():
        _check_finite(name, logits, output.rows[name])
    return output


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


def context_tokens_of_rows(values: Array, order: Sequence[Window], rows: int) -> tuple[Array, ...]:
    """Returns a (tokens, K) array per row: of each window its first token, then the context's.

    Args:
        values: (P, K) fp32 of all windows, special tokens included.
        order: The windows in packed order.
        rows: The number of rows.
    """
    sizes = np.fromiter((len(window.ids) for window in order), np.int64, len(order))
    starts = np.cumsum(sizes) - sizes
    found: list[list[Array]] = [[] for _ in range(rows)]
    by_first = sorted(range(len(order)), key=lambda place: order[place].first)
    for place in by_first:
        window, start = order[place], int(starts[place])
        inside = start + window.place
        found[window.row] += [
            values[start : start + 1],
            values[inside : inside + window.last - window.first],
        ]
    none = values[:0]
    return tuple(np.concatenate(parts) if parts else none for parts in found)


def add_ngrams(
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


def score_words(output: TrunkOutput, tasks: Mapping[str, ResidentTask]) -> TrunkOutput:
    """Returns the outputs with the logits of parsing tasks in the place of their hidden layer."""
    logits = dict(output.logits)
    for name, found in output.logits.items():
        biaffine = tasks[name].weights.biaffine
        if biaffine is not None:
            rows = zip(found.values, found.texts, strict=True)
            parsed = [parse_units(tokens, text, biaffine) for tokens, text in rows]
            values = tuple(row for row, _ in parsed)
            logits[name] = RowLogits(values, found.texts, tuple(heads for _, heads in parsed))
    return replace(output, logits=logits)


def join_choices(output: TrunkOutput, choices: RowChoices) -> TrunkOutput:
    """Returns the outputs of rows with choices, given those of their pairs."""
    rows = {name: choices.rows_of(pairs) for name, pairs in output.rows.items()}
    logits = {}
    for name, found in output.logits.items():
        values = choices.split(np.asarray(found.values), rows[name])
        logits[name] = RowLogits(values, choices=tuple(choices.choices[r] for r in rows[name]))
    windows = np.add.reduceat(output.windows, choices.starts)
    cut = np.logical_or.reduceat(output.truncated, choices.starts)
    return TrunkOutput(logits, rows, tuple(windows.tolist()), tuple(cut.tolist()))


def _check_finite(task: str, logits: RowLogits, rows: Sequence[int]) -> None:
    for row, values in zip(rows, logits.values, strict=True):
        if not np.isfinite(values).all():
            raise NonFiniteError(task, row)
