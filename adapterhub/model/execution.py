"""Runs one trunk of a plan over texts: exactly the passes, taps and products it names.

rows -> windows -> TokenBatches -> trunk, depth by depth -> branches -> logits per window -> per row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.errors import NonFiniteError
from adapterhub.model.adapters import Adapter
from adapterhub.model.branches import Branched, Logits, View, run_branches
from adapterhub.model.compiling import compile_adapter
from adapterhub.model.encoder import Encoder
from adapterhub.model.gathering import mean_of_windows, tokens_of_rows
from adapterhub.model.heads import Array, RowLogits
from adapterhub.model.pooling import POOLINGS
from adapterhub.model.spans import TaggedText
from adapterhub.model.task import ResidentTask, unplaced
from adapterhub.model.tokens import TextTokenizer, TokenBatch, Window, batches
from adapterhub.plan import Reading, Tap, Trunk, make_plan
from adapterhub.specs import TaskSpec

Wanted = Mapping[str, npt.NDArray[np.bool_]]
"""Whether a task is asked of a row, by task: (N,); without it every task is asked of every row."""


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
        windows: (N,) number of windows of each row.
        truncated: (N,) whether the row was longer than all its windows.
    """

    logits: Mapping[str, RowLogits]
    rows: Mapping[str, tuple[int, ...]]
    windows: tuple[int, ...]
    truncated: tuple[bool, ...]


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
            output[name] = RowLogits(mean_of_windows(values, order, counts, places))
        _check_finite(name, output[name], asked[name])
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


def answer_probes(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    encoder: Encoder,
    tokenizer: TextTokenizer,
    adapter: Adapter | None = None,
) -> list[Array]:
    """Returns the logits of a task that is not resident: (1, K) or (tokens, K) per input.

    This is what known answers are made with and checked against. `adapter` is the task's,
    compiled; without it, it is compiled here.
    """
    if adapter is None and spec.adapter is not None:
        adapter = compile_adapter(spec.adapter, tensors, encoder=encoder, source=spec.task)
    task = unplaced(spec, tensors, device=encoder.device, adapter=adapter)
    output = run_trunk(
        make_plan({spec.task: spec}).trunks[0],
        {spec.task: task},
        inputs,
        answering=Answering(encoder, tokenizer, max_windows=1),
    )
    values = output.logits[spec.task].values
    return list(values) if isinstance(values, tuple) else list(values[:, None])


def encode_rows(
    inputs: Sequence[tuple[str, ...]],
    *,
    tap: Tap,
    reading: Reading,
    answering: Answering,
) -> Array | tuple[Array, ...]:
    """Returns the features that a head on `tap` would read, in fp32.

    (N, H), the mean over a row's windows; for `tokens` one (tokens, H) array per row.
    """
    encoder, tokenizer = answering.encoder, answering.tokenizer
    rows = tokenizer.rows(inputs, reading=reading, max_windows=answering.max_windows)
    windows = tokenizer.windows(rows, reading=reading)
    order: list[Window] = []
    parts: list[Array] = []
    for batch in batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device):
        order.extend(batch.windows)
        hidden = encoder.run(encoder.embed(batch), batch, 0, tap.depth)
        parts.append(_to_array(POOLINGS[tap.pooling](hidden, batch)))
    values = np.concatenate(parts)
    if tap.pooling == "tokens":
        return tokens_of_rows(values, order, rows)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    return mean_of_windows(values, order, counts, np.arange(len(rows)))


def _to_array(logits: torch.Tensor) -> Array:
    array: Array = logits.cpu().numpy()
    return array


def _check_finite(task: str, logits: RowLogits, rows: Sequence[int]) -> None:
    for row, values in zip(rows, logits.values, strict=True):
        if not np.isfinite(values).all():
            raise NonFiniteError(task, row)
