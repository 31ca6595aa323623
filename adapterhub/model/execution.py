"""Runs one trunk of a plan over texts: exactly the passes, taps and products it names.

rows -> windows -> TokenBatches -> trunk, depth by depth -> logits per window -> per row
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from adapterhub.errors import NonFiniteError
from adapterhub.model.encoder import Encoder
from adapterhub.model.heads import Array, RowLogits
from adapterhub.model.pooling import POOLINGS, pool_attentive
from adapterhub.model.resident import ResidentTask, unplaced
from adapterhub.model.slab import Slab
from adapterhub.model.spans import TaggedText
from adapterhub.model.tokens import Row, TextTokenizer, TokenBatch, Window, batches
from adapterhub.plan import Reading, Tap, Trunk, make_plan
from adapterhub.specs import TaskSpec


@dataclass(frozen=True, slots=True, eq=False)
class TrunkOutput:
    """What one trunk gave for N rows.

    Attributes:
        logits: Raw outputs by task.
        windows: (N,) number of windows of each row.
        truncated: (N,) whether the row was longer than all its windows.
    """

    logits: Mapping[str, RowLogits]
    windows: tuple[int, ...]
    truncated: tuple[bool, ...]


def run_trunk(
    trunk: Trunk,
    tasks: Mapping[str, ResidentTask],
    inputs: Sequence[tuple[str, ...]],
    *,
    encoder: Encoder,
    tokenizer: TextTokenizer,
    max_windows: int,
) -> TrunkOutput:
    """Returns the logits of all tasks of one trunk for `inputs`.

    Args:
        trunk: What to compute.
        tasks: The resident task behind each name of the trunk.
        inputs: One or two valid strings per row, as many as the trunk reads fields.
        encoder: Where to compute it.
        tokenizer: Of the same backbone.
        max_windows: Greatest number of windows per row; longer texts are truncated.

    Raises:
        NonFiniteError: A task gave NaN or infinity.
    """
    rows = tokenizer.rows(inputs, reading=trunk.reading, max_windows=max_windows)
    windows = tokenizer.windows(rows, reading=trunk.reading)
    parts: dict[str, list[Array]] = {name: [] for name in trunk.tasks}
    order: list[Window] = []
    for batch in batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device):
        order.extend(batch.windows)
        for name, logits in run_batch(trunk, tasks, batch, encoder).items():
            parts[name].append(_to_array(logits))
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    output: dict[str, RowLogits] = {}
    for name in trunk.tasks:
        values = np.concatenate(parts[name])
        if tasks[name].spec.kind == "tagging":
            texts = tuple(
                TaggedText(texts[0], row.offsets) for texts, row in zip(inputs, rows, strict=True)
            )
            output[name] = RowLogits(_tokens_of_rows(values, order, rows), texts)
        else:
            output[name] = RowLogits(_mean_of_windows(values, order, counts))
        _check_finite(name, output[name])
    return TrunkOutput(output, tuple(counts.tolist()), tuple(row.truncated for row in rows))


@torch.inference_mode()
def run_batch(
    trunk: Trunk, tasks: Mapping[str, ResidentTask], batch: TokenBatch, encoder: Encoder
) -> dict[str, torch.Tensor]:
    """Returns fp32 logits by task: (N, K) per window, or (P, K) per token for tagging."""
    hidden = encoder.embed(batch)
    depth = 0
    sums: dict[str, torch.Tensor] = {}
    for tap in trunk.taps:
        hidden = encoder.run(hidden, batch, depth, tap.depth)
        depth = tap.depth
        _read_tap(tap, tasks, hidden, batch, sums)
    return {
        name: total if tasks[name].slots else tasks[name].weights.forward(total)
        for name, total in sums.items()
    }


def answer_probes(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    encoder: Encoder,
    tokenizer: TextTokenizer,
) -> list[Array]:
    """Returns the logits of a task that is not resident: (1, K) or (tokens, K) per input.

    This is what known answers are made with and checked against.
    """
    task = unplaced(spec, tensors, device=encoder.device)
    output = run_trunk(
        make_plan({spec.task: spec}).trunks[0],
        {spec.task: task},
        inputs,
        encoder=encoder,
        tokenizer=tokenizer,
        max_windows=1,
    )
    values = output.logits[spec.task].values
    return list(values) if isinstance(values, tuple) else list(values[:, None])


def encode_rows(
    inputs: Sequence[tuple[str, ...]],
    *,
    tap: Tap,
    reading: Reading,
    encoder: Encoder,
    tokenizer: TextTokenizer,
    max_windows: int,
) -> Array | tuple[Array, ...]:
    """Returns the features that a head on `tap` would read, in fp32.

    (N, H), the mean over a row's windows; for `tokens` one (tokens, H) array per row.
    """
    rows = tokenizer.rows(inputs, reading=reading, max_windows=max_windows)
    windows = tokenizer.windows(rows, reading=reading)
    order: list[Window] = []
    parts: list[Array] = []
    for batch in batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device):
        order.extend(batch.windows)
        hidden = encoder.run(encoder.embed(batch), batch, 0, tap.depth)
        parts.append(_to_array(POOLINGS[tap.pooling](hidden, batch)))
    values = np.concatenate(parts)
    if tap.pooling == "tokens":
        return _tokens_of_rows(values, order, rows)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    return _mean_of_windows(values, order, counts)


def _read_tap(
    tap: Tap,
    tasks: Mapping[str, ResidentTask],
    hidden: torch.Tensor,
    batch: TokenBatch,
    sums: dict[str, torch.Tensor],
) -> None:
    """Adds to `sums` what each task takes from one tap: logits if linear, else features."""
    if tap.pooling == "attentive":
        for name in tap.tasks:
            query = tasks[name].weights.query
            if query is not None:
                share = _share(tasks[name], tap.depth)
                _add(sums, name, pool_attentive(hidden, batch, query) * share)
        return
    features = POOLINGS[tap.pooling](hidden, batch)
    products: dict[Slab, torch.Tensor] = {}
    for name in tap.tasks:
        task = tasks[name]
        if not task.slots:
            _add(sums, name, features * _share(task, tap.depth))
            continue
        slot = task.slots[task.spec.head.depths.index(tap.depth)]
        if slot.slab not in products:
            products[slot.slab] = slot.slab.forward(features)
        _add(sums, name, products[slot.slab][:, slot.start : slot.stop])


def _share(task: ResidentTask, depth: int) -> float:
    return task.weights.mix[task.spec.head.depths.index(depth)]


def _add(sums: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> None:
    sums[name] = sums[name] + value if name in sums else value


def _to_array(logits: torch.Tensor) -> Array:
    array: Array = logits.cpu().numpy()
    return array


def _mean_of_windows(values: Array, order: Sequence[Window], counts: np.ndarray) -> Array:
    """Returns the mean logits of each row's windows: (windows, K) -> (N, K)."""
    rows = np.fromiter((window.row for window in order), np.int64, len(order))
    if len(rows) == len(counts):
        single = np.empty_like(values)
        single[rows] = values
        return single
    firsts = np.fromiter((window.first for window in order), np.int64, len(order))
    by_row = np.lexsort((firsts, rows))
    starts = np.cumsum(counts) - counts
    sums: Array = np.add.reduceat(values[by_row], starts, axis=0)
    mean: Array = np.divide(sums, counts[:, None], dtype=np.float32)
    return mean


def _tokens_of_rows(
    values: Array, order: Sequence[Window], rows: Sequence[Row]
) -> tuple[Array, ...]:
    """Returns each row's token logits, each token's from the window that shows most around it.

    Args:
        values: (P, K) of all windows, special tokens included.
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


def _check_finite(task: str, logits: RowLogits) -> None:
    for row, values in enumerate(logits.values):
        if not np.isfinite(values).all():
            raise NonFiniteError(task, row)
