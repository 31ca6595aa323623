"""Runs one batch of windows: the trunk, depth by depth, and its branches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from adapterhub.model.branches import Branched, Logits, View, run_branches
from adapterhub.model.encoder import Encoder
from adapterhub.model.inference import inference
from adapterhub.model.task import ResidentTask
from adapterhub.model.tokens import TokenBatch
from adapterhub.plan import Trunk

Wanted = Mapping[str, npt.NDArray[np.bool_]]
"""Whether a task is asked of a row, by task: (N,); without it every task is asked of every row."""


@inference
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
