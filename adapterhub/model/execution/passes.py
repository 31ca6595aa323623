"""One batch of windows: the trunk, depth by depth, and the branches that leave it.

Each branch starts from the trunk's states at its fork. Live branches run stacked, in groups whose
tokens fit in the encoder's buffers; a branch joins its stack at its fork and leaves at its stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.errors import ResidentError
from adapterhub.model.encoder.changes import Adapter, Applied, stack_batches
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.inference import inference
from adapterhub.model.encoder.pooling import POOLINGS, pool_attentive
from adapterhub.model.encoder.tokens import TokenBatch, Window, pack
from adapterhub.model.execution.resident_task import ResidentTask
from adapterhub.model.heads.slab import Slab
from adapterhub.plan import Branch, Tap, Trunk

Asked = Mapping[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Windows that take part, with their hidden states.

    Attributes:
        batch: The windows.
        hidden: (P, H) at some depth.
        asked: By task, whether it is asked of each window; None where all are asked of all.
    """

    batch: TokenBatch
    hidden: torch.Tensor
    asked: Asked | None

    def at(self, hidden: torch.Tensor) -> View:
        """Returns the same windows with other hidden states."""
        return replace(self, hidden=hidden)

    def places(self, tasks: Sequence[str]) -> npt.NDArray[np.int64] | None:
        """Returns the windows of which one of `tasks` is asked; None where that is all."""
        if self.asked is None:
            return None
        mask = np.zeros(len(self.batch.windows), np.bool_)
        for name in tasks:
            mask |= self.asked[name]
        return None if mask.all() else np.flatnonzero(mask)

    def only(self, tasks: Sequence[str]) -> View | None:
        """Returns the windows of which one of `tasks` is asked; None where there is none."""
        places = self.places(tasks)
        if places is None:
            return self
        if not len(places):
            return None
        tokens = _tokens_of(self.batch, places)
        batch = pack([self.batch.windows[place] for place in places], device=self.hidden.device)
        asked = {name: mask[places] for name, mask in (self.asked or {}).items()}
        return View(batch, self.hidden.index_select(0, tokens), asked)


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What one task gave for one batch.

    Attributes:
        values: (N, K) per window, or (P, K) per token for tagging; fp32.
        windows: The windows, in the order of the values.
    """

    values: torch.Tensor
    windows: tuple[Window, ...]


class Branched:
    """Sums up what each task takes from its taps, on the trunk and on branches."""

    def __init__(self, tasks: Mapping[str, ResidentTask]) -> None:
        self._tasks = tasks
        self._sums: dict[str, torch.Tensor] = {}
        self._windows: dict[str, tuple[Window, ...]] = {}

    def adapter_of(self, branch: Branch) -> Adapter:
        """Returns the adapter of a branch, as its tasks hold it."""
        adapter = self._tasks[branch.tasks[0]].adapter
        if adapter is None:
            raise ResidentError(f"Task '{branch.tasks[0]}' is resident without its adapter.")
        return adapter

    def read(self, view: View, taps: Sequence[Tap]) -> None:
        """Adds what the tasks of `taps` take: logits if linear, else features.

        Args:
            view: Windows and states at the depth of the taps.
            taps: What is read there.
        """
        for tap in taps:
            if tap.pooling == "attentive":
                self._read_attentive(view, tap)
                continue
            features = POOLINGS[tap.pooling](view.hidden, view.batch)
            products: dict[Slab, torch.Tensor] = {}
            for name in tap.tasks:
                task = self._tasks[name]
                if not task.slots:
                    self._add(name, tap, features * _share(task, tap.depth), view)
                    continue
                slot = task.slots[task.spec.head.depths.index(tap.depth)]
                if slot.slab not in products:
                    products[slot.slab] = slot.slab.forward(features)
                self._add(name, tap, products[slot.slab][:, slot.start : slot.stop], view)

    def logits(self) -> dict[str, Logits]:
        """Returns the logits by task, of the tasks that were asked of some window.

        Tasks that read two texts apart have features here: (N, H) of each window.
        """
        return {
            name: Logits(self._finish(self._tasks[name], total), self._windows[name])
            for name, total in self._sums.items()
        }

    @staticmethod
    def _finish(task: ResidentTask, total: torch.Tensor) -> torch.Tensor:
        # A text of a pair that is read apart has features only, until the other one is there.
        return total if task.slots or task.spec.apart else task.weights.forward(total)

    def _read_attentive(self, view: View, tap: Tap) -> None:
        for name in tap.tasks:
            task = self._tasks[name]
            if task.weights.query is not None:
                features = pool_attentive(view.hidden, view.batch, task.weights.query)
                self._add(name, tap, features * _share(task, tap.depth), view)

    def _add(self, name: str, tap: Tap, value: torch.Tensor, view: View) -> None:
        """Adds `value`, one row per window or token of `view`, for the windows asked."""
        places = view.places((name,))
        windows = view.batch.windows
        if places is not None:
            if not len(places):
                return
            per_token = tap.pooling == "tokens"
            index = _tokens_of(view.batch, places) if per_token else torch.from_numpy(places)
            value = value.index_select(0, index.to(value.device))
            windows = tuple(windows[place] for place in places)
        if name in self._sums:
            self._sums[name] = self._sums[name] + value
        else:
            self._sums[name] = value
            self._windows[name] = windows


def run_branches(starts: Sequence[tuple[Branch, View]], found: Branched, encoder: Encoder) -> None:
    """Runs branches from their forks to their stops and reads their taps.

    Args:
        starts: Branches with their windows and the trunk's states at the fork.
        found: Where their tasks' logits are added.
        encoder: Where they run.
    """
    for group in _groups(starts, encoder.stack_tokens):
        _run_group(group, found, encoder)


def _groups(
    starts: Sequence[tuple[Branch, View]], max_tokens: int
) -> Iterator[list[tuple[Branch, View]]]:
    """Yields branches whose tokens together are at most `max_tokens`, or one branch."""
    group: list[tuple[Branch, View]] = []
    tokens = 0
    for branch, view in starts:
        if group and tokens + view.batch.tokens > max_tokens:
            yield group
            group, tokens = [], 0
        group.append((branch, view))
        tokens += view.batch.tokens
    if group:
        yield group


def _run_group(group: list[tuple[Branch, View]], found: Branched, encoder: Encoder) -> None:
    depths = {branch.fork for branch, _ in group}
    depths |= {tap.depth for branch, _ in group for tap in branch.taps}
    live: list[tuple[Branch, View]] = []
    ordered = sorted(depths)
    for depth, following in zip(ordered, [*ordered[1:], None], strict=True):
        live += [start for start in group if start[0].fork == depth]
        for branch, view in live:
            found.read(view, [tap for tap in branch.taps if tap.depth == depth])
        live = [(branch, view) for branch, view in live if branch.stop > depth]
        if following is not None and live:
            live = _advance(live, depth, following, found, encoder)


def _advance(
    live: list[tuple[Branch, View]], start: int, stop: int, found: Branched, encoder: Encoder
) -> list[tuple[Branch, View]]:
    """Returns live branches, all at depth `start`, at depth `stop`."""
    # Windows leave when no task that is asked of them reads deeper.
    views = [(branch, view.only(_branch_readers(branch, stop))) for branch, view in live]
    kept = [(branch, view) for branch, view in views if view is not None]
    if not kept:
        return []
    stack = stack_batches([view.batch for _, view in kept])
    hidden = kept[0][1].hidden if len(kept) == 1 else torch.cat([view.hidden for _, view in kept])
    adapters = [
        Applied(found.adapter_of(branch), rows)
        for (branch, _), rows in zip(kept, stack.rows, strict=True)
    ]
    hidden = encoder.run(hidden, stack, start, stop, adapters)
    return [
        (branch, view.at(hidden[rows]))
        for (branch, view), rows in zip(kept, stack.rows, strict=True)
    ]


def _branch_readers(branch: Branch, depth: int) -> tuple[str, ...]:
    """Returns the tasks that read a branch at `depth` or deeper."""
    return tuple(name for tap in branch.taps if tap.depth >= depth for name in tap.tasks)


def _tokens_of(batch: TokenBatch, places: npt.NDArray[np.int64]) -> torch.Tensor:
    """Returns the packed places of all tokens of some windows."""
    starts = batch.starts.cpu().numpy()
    parts = [
        np.arange(starts[place], starts[place] + len(batch.windows[place].ids)) for place in places
    ]
    return torch.from_numpy(np.concatenate(parts)).to(batch.starts.device)


def _share(task: ResidentTask, depth: int) -> float:
    return task.weights.mix[task.spec.head.depths.index(depth)]


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
