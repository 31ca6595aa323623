"""One batch of windows: the trunk, depth by depth, and the branches that leave it.

Each branch starts from the trunk's states at its fork. Live branches run stacked, in groups whose
tokens fit in the encoder's buffers; a branch joins its stack at its fork and leaves at its stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.errors import ResidentError
from adapterhub.model.backbone.devices import inference
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.encoder.depth_loop import Places, Route, States, run_routes
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.pooling import POOLINGS, pool_attentive
from adapterhub.model.encoder.tokens import TokenBatch, Window
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.heads.slab import Slab
from adapterhub.plan import Branch, Tap, Trunk

Wanted = Mapping[str, npt.NDArray[np.bool_]]
"""Whether a task is asked of a row, by task: (N,); without it every task is asked of every row."""


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What one task gave for one batch.

    Attributes:
        values: (N, K) per window, or (P, K) per token for tagging; fp32.
        windows: The windows, in the order of the values.
    """

    values: torch.Tensor
    windows: tuple[Window, ...]


class Readers:
    """Sums up what each task reads at its taps, on the trunk and on branches."""

    def __init__(self, tasks: Mapping[str, ResidentTask], wanted: Wanted | None) -> None:
        self._tasks = tasks
        self._wanted = wanted
        self._sums: dict[str, torch.Tensor] = {}
        self._windows: dict[str, tuple[Window, ...]] = {}

    def places(self, batch: TokenBatch, tasks: Sequence[str]) -> Places | None:
        """Returns the windows of which one of `tasks` is asked; None where that is all."""
        if self._wanted is None:
            return None
        mask = np.zeros(len(batch.windows), np.bool_)
        for name in tasks:
            mask |= self._wanted[name][batch.rows]
        return None if mask.all() else np.flatnonzero(mask)

    def adapter_of(self, branch: Branch) -> Adapter:
        """Returns the adapter of a branch, as its tasks hold it."""
        adapter = self._tasks[branch.tasks[0]].adapter
        if adapter is None:
            raise ResidentError(f"Task '{branch.tasks[0]}' is resident without its adapter.")
        return adapter

    def read(self, states: States, taps: Sequence[Tap]) -> None:
        """Adds what the tasks of the taps at this depth read: logits if linear, else features."""
        for tap in (tap for tap in taps if tap.depth == states.depth):
            if tap.pooling == "attentive":
                self._read_attentive(states, tap)
                continue
            features = POOLINGS[tap.pooling](states.hidden, states.batch)
            products: dict[Slab, torch.Tensor] = {}
            for name in tap.tasks:
                task = self._tasks[name]
                if not task.slots:
                    self._add(name, tap, features * _share(task, tap.depth), states.batch)
                    continue
                slot = task.slots[task.spec.head.depths.index(tap.depth)]
                if slot.slab not in products:
                    products[slot.slab] = slot.slab.forward(features)
                self._add(name, tap, products[slot.slab][:, slot.start : slot.stop], states.batch)

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

    def _read_attentive(self, states: States, tap: Tap) -> None:
        for name in tap.tasks:
            task = self._tasks[name]
            if task.weights.query is not None:
                features = pool_attentive(states.hidden, states.batch, task.weights.query)
                self._add(name, tap, features * _share(task, tap.depth), states.batch)

    def _add(self, name: str, tap: Tap, value: torch.Tensor, batch: TokenBatch) -> None:
        """Adds `value`, one row per window or token of a batch, for the windows asked."""
        places, windows = self.places(batch, (name,)), batch.windows
        if places is not None:
            if not len(places):
                return
            per_token = tap.pooling == "tokens"
            index = batch.tokens_of(places) if per_token else torch.from_numpy(places)
            value = value.index_select(0, index.to(value.device))
            windows = tuple(windows[place] for place in places)
        if name in self._sums:
            self._sums[name] = self._sums[name] + value
        else:
            self._sums[name] = value
            self._windows[name] = windows


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
    readers = Readers(tasks, wanted)
    forks = {branch.fork for branch in trunk.branches}
    stops = tuple(sorted(forks | {tap.depth for tap in trunk.taps}))
    route = Route(States(batch, 0, encoder.embed(batch)), stops)
    at_fork: dict[int, States] = {}
    kept = partial(_kept_on_trunk, trunk, readers)
    for _, states in run_routes([route], encoder=encoder, kept=kept):
        readers.read(states, trunk.taps)
        if states.depth in forks:
            at_fork[states.depth] = states
    _run_branches(trunk, at_fork, readers, encoder)
    return readers.logits()


def _run_branches(
    trunk: Trunk, at_fork: Mapping[int, States], readers: Readers, encoder: Encoder
) -> None:
    """Runs branches from their forks to their stops and reads their taps."""
    starts: list[tuple[Branch, States]] = []
    for branch in trunk.branches:
        # A fork is missing where no window went on to it.
        if branch.fork in at_fork:
            states = at_fork[branch.fork]
            own = states.only(readers.places(states.batch, branch.tasks))
            starts += [(branch, own)] if own.batch.windows else []
    for group in _groups(starts, encoder.stack_tokens):
        branches = [branch for branch, _ in group]
        routes = [
            Route(states, tuple(sorted({tap.depth for tap in one.taps})), readers.adapter_of(one))
            for one, states in group
        ]
        kept = partial(_kept_on_branches, branches, readers)
        for index, states in run_routes(routes, encoder=encoder, kept=kept):
            readers.read(states, branches[index].taps)


def _kept_on_branches(
    branches: Sequence[Branch], readers: Readers, index: int, batch: TokenBatch, depth: int
) -> Places | None:
    """Returns the windows that stay: those of which a task is asked that reads at or beyond."""
    taps = branches[index].taps
    return readers.places(batch, [name for tap in taps if tap.depth >= depth for name in tap.tasks])


def _kept_on_trunk(
    trunk: Trunk, readers: Readers, _: int, batch: TokenBatch, depth: int
) -> Places | None:
    """Returns the windows that stay: those of which a task is asked that needs the trunk there."""
    names = [name for tap in trunk.taps if tap.depth >= depth for name in tap.tasks]
    names += [name for branch in trunk.branches if branch.fork >= depth for name in branch.tasks]
    return readers.places(batch, names)


def _groups(
    starts: Sequence[tuple[Branch, States]], max_tokens: int
) -> Iterator[list[tuple[Branch, States]]]:
    """Yields branches whose tokens together are at most `max_tokens`, or one branch."""
    group: list[tuple[Branch, States]] = []
    tokens = 0
    for branch, states in starts:
        if group and tokens + states.batch.tokens > max_tokens:
            yield group
            group, tokens = [], 0
        group.append((branch, states))
        tokens += states.batch.tokens
    if group:
        yield group


def _share(task: ResidentTask, depth: int) -> float:
    return task.weights.mix[task.spec.head.depths.index(depth)]
