"""Runs one trunk of a plan over texts: exactly the passes, taps and products it names.

rows -> windows -> TokenBatches -> trunk, depth by depth -> branches -> logits per window -> per row

Pairs that are read apart go through it text by text, and are compared at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.errors import NonFiniteError
from adapterhub.model.branches import Branched, Logits, View, run_branches
from adapterhub.model.encoder import Encoder
from adapterhub.model.gathering import mean_of_windows, tokens_of_rows
from adapterhub.model.heads import Array, RowLogits
from adapterhub.model.ngrams import RowGrams, grams_of
from adapterhub.model.pairing import Pairs, compared_logits
from adapterhub.model.spans import TaggedText
from adapterhub.model.task import ResidentTask
from adapterhub.model.tokens import TextTokenizer, TokenBatch, batches
from adapterhub.plan import Trunk

Wanted = Mapping[str, npt.NDArray[np.bool_]]
"""Whether a task is asked of a row, by task: (N,); without it every task is asked of every row."""

_PAIRS_AT_ONCE = 16_384
"""Texts of pairs that are read apart have features, much wider than logits, until they are met."""


@dataclass(frozen=True, slots=True, eq=False)
class Answering:
    """What a call answers with.

    Attributes:
        encoder: The backbone on its device.
        tokenizer: Of the same backbone.
        max_windows: Windows per text at most.
    """

    encoder: Encoder
    tokenizer: TextTokenizer
    max_windows: int


@dataclass(frozen=True, slots=True, eq=False)
class TrunkOutput:
    """What one trunk gave for N rows.

    Attributes:
        logits: Raw outputs by task, of the rows that it was asked of.
        rows: Which rows these are, ascending, by task.
        windows: (N,) number of windows of each row; of both texts where they are read apart.
        truncated: (N,) whether the row, or one of its texts, was longer than all its windows.
    """

    logits: Mapping[str, RowLogits]
    rows: Mapping[str, tuple[int, ...]]
    windows: tuple[int, ...]
    truncated: tuple[bool, ...]

    def then(self, other: TrunkOutput) -> TrunkOutput:
        """Returns the outputs for these rows and the rows of `other` after them; no tags."""
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
    answering: Answering,
    wanted: Wanted | None = None,
) -> TrunkOutput:
    """Returns the logits of all tasks of one trunk for `inputs`.

    Args:
        trunk: What to compute.
        tasks: The resident task behind each name of the trunk.
        inputs: One or two valid strings per row, as many as the trunk reads fields.
        answering: Where to compute it; longer texts than its windows are truncated.
        wanted: Which task is asked of which row; every row is asked for something.

    Raises:
        NonFiniteError: A task gave NaN or infinity.
    """
    if trunk.reading.apart:
        parts = []
        for start in range(0, len(inputs), _PAIRS_AT_ONCE):
            rows = slice(start, start + _PAIRS_AT_ONCE)
            asked = wanted and {name: mask[rows] for name, mask in wanted.items()}
            parts.append(_run_apart(trunk, tasks, inputs[rows], answering, asked))
        output = reduce(TrunkOutput.then, parts)
    else:
        output = _run_windows(trunk, tasks, inputs, answering, wanted)
    for name, logits in output.logits.items():
        _check_finite(name, logits, output.rows[name])
    return output


def _run_apart(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    answering: Answering,
    wanted: Wanted | None,
) -> TrunkOutput:
    """Returns the logits of pairs: each distinct text is encoded once, alone."""
    pairs = Pairs.of(inputs)
    asked_texts = None if wanted is None else pairs.asked_texts(wanted)
    alone = replace(trunk, reading=trunk.reading.alone)
    texts = _run_windows(alone, tasks, pairs.texts, answering, asked_texts)
    logits: dict[str, RowLogits] = {}
    asked: dict[str, tuple[int, ...]] = {}
    for name in trunk.tasks:
        rows = np.arange(len(inputs)) if wanted is None else np.flatnonzero(wanted[name])
        asked[name] = tuple(rows.tolist())
        if name in texts.logits:
            places = [np.searchsorted(texts.rows[name], side[rows]) for side in pairs.sides]
            features = np.asarray(texts.logits[name].values)
            weights = tasks[name].weights
            logits[name] = RowLogits(compared_logits(features, (places[0], places[1]), weights))
    first, second = (side.tolist() for side in pairs.sides)
    both = list(zip(first, second, strict=True))
    windows = tuple(texts.windows[a] + texts.windows[b] for a, b in both)
    cut = tuple(texts.truncated[a] or texts.truncated[b] for a, b in both)
    return TrunkOutput(logits, asked, windows, cut)


def _run_windows(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    answering: Answering,
    wanted: Wanted | None,
) -> TrunkOutput:
    """Returns what the windows of each row give; of a text of a pair read apart, its features."""
    encoder, tokenizer = answering.encoder, answering.tokenizer
    rows = tokenizer.rows(inputs, reading=trunk.reading, max_windows=answering.max_windows)
    windows = tokenizer.windows(rows, reading=trunk.reading)
    parts: dict[str, list[Logits]] = {name: [] for name in trunk.tasks}
    for batch in batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device):
        for name, found in run_batch(trunk, tasks, batch, encoder, wanted).items():
            parts[name].append(found)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    output: dict[str, RowLogits] = {}
    asked: dict[str, tuple[int, ...]] = {}
    grams: RowGrams | None = None
    for name, found_parts in parts.items():
        places = np.arange(len(rows)) if wanted is None else np.flatnonzero(wanted[name])
        asked[name] = tuple(places.tolist())
        if not found_parts:
            continue
        values = np.concatenate([_to_array(part.values) for part in found_parts])
        order = [window for part in found_parts for window in part.windows]
        if tasks[name].spec.kind == "tagging":
            tagged = tokens_of_rows(values, order, rows)
            texts = tuple(TaggedText(inputs[row][0], rows[row].offsets) for row in asked[name])
            output[name] = RowLogits(tuple(tagged[row] for row in asked[name]), texts)
        else:
            means = mean_of_windows(values, order, counts, places)
            ngrams = tasks[name].weights.ngrams
            if ngrams is not None:
                grams = grams or grams_of([row.ids for row in rows])
                means = means + ngrams.logits(grams)[places]
            output[name] = RowLogits(means)
    cut = tuple(row.truncated for row in rows)
    return TrunkOutput(output, asked, tuple(counts.tolist()), cut)


@torch.inference_mode()
def run_batch(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    batch: TokenBatch,
    encoder: Encoder,
    wanted: Wanted | None = None,
) -> dict[str, Logits]:
    """Returns fp32 logits by task: (N, K) per window, or (P, K) per token for tagging.

    With `wanted`, a window takes part only as deep as a task that is asked of its row reads,
    and a task has logits of its own windows only; it is missing where it has none.
    """
    view = View(batch, encoder.embed(batch), _asked(batch, wanted))
    found = Branched(tasks)
    waiting: list[tuple[int, View]] = []
    depth = 0
    forks = {branch.fork for branch in trunk.branches}
    for stop in sorted(forks | {tap.depth for tap in trunk.taps}):
        left = view.only(_readers(trunk, stop))
        if left is None:
            break
        view = left.at(encoder.run(left.hidden, left.batch, depth, stop))
        depth = stop
        found.read(view, [tap for tap in trunk.taps if tap.depth == stop])
        for index, branch in enumerate(trunk.branches):
            if branch.fork == stop and (own := view.only(branch.tasks)) is not None:
                waiting.append((index, own))
    run_branches([(trunk.branches[index], own) for index, own in waiting], found, encoder)
    return found.logits()


def _asked(batch: TokenBatch, wanted: Wanted | None) -> Wanted | None:
    """Returns `wanted` for the windows of a batch."""
    if wanted is None:
        return None
    rows = np.fromiter((window.row for window in batch.windows), np.int64, len(batch.windows))
    return {name: asked[rows] for name, asked in wanted.items()}


def _readers(trunk: Trunk, depth: int) -> tuple[str, ...]:
    """Returns the tasks that need the trunk at `depth` or deeper."""
    names = [name for tap in trunk.taps if tap.depth >= depth for name in tap.tasks]
    names += [name for branch in trunk.branches if branch.fork >= depth for name in branch.tasks]
    return tuple(dict.fromkeys(names))


def _to_array(logits: torch.Tensor) -> Array:
    array: Array = logits.cpu().numpy()
    return array


def _check_finite(task: str, logits: RowLogits, rows: Sequence[int]) -> None:
    for row, values in zip(rows, logits.values, strict=True):
        if not np.isfinite(values).all():
            raise NonFiniteError(task, row)
