"""One batch of windows: the trunk, depth by depth, and its branches.

A branch starts from the trunk's hidden states at its fork. Branches run stacked, in groups of at
most `Encoder.stack_tokens` tokens, each from its fork to its stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.errors import ResidentError
from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.encoder.depth_loop import Places, Route, States, run_routes
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.pooling import POOLINGS, pool_attentive
from adapterhub.model.encoder.tokens import TokenBatch, Window, groups_of
from adapterhub.model.execution.resident import ResidentTask
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.slab import Slab
from adapterhub.plan import KEPT_POOLINGS, Branch, Reading, Tap, TapName, Trunk

Requested = Mapping[str, npt.NDArray[np.bool_]]
"""(N,) mask of the rows that request a task, by task; None in its place: all rows, all tasks."""


Pooled = Callable[[TapName, torch.Tensor], None]
"""Takes the features of one batch on one tap of the trunk, (N, H) fp32 on the device."""


@dataclass(frozen=True, slots=True, eq=False)
class TapFeatures:
    """The pooled features of some texts on one tap of a trunk: W windows of T texts.

    For pairs that are encoded separately, the texts are their distinct ones, see `Pairs`.

    Attributes:
        values: (W, H) fp32, in the order in which they were computed.
        rows: (W,) int64, the text of each window.
        firsts: (W,) int64, the first token of each window in its text.
        sizes: (B,) int64, the number of windows of each batch.
        truncated: (T,) bool, whether a part of each text is in no window.
    """

    values: Array
    rows: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]

    def windows(self) -> tuple[Window, ...]:
        """Returns the windows without their tokens."""
        places = zip(self.rows.tolist(), self.firsts.tolist(), strict=True)
        return tuple(Window(row, first, first, [], []) for row, first in places)


Kept = Mapping[TapName, TapFeatures]
"""Features of texts by tap, all with the same windows in the same batches."""

Keep = Callable[[Reading, TapName, TapFeatures], None]
"""Takes the features of one tap after the passes; the reading is that of the trunk."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptBatch:
    """One batch of windows whose features on some taps of the trunk are known.

    Attributes:
        windows: The windows in the order of the features; their tokens are not needed.
        features: (N, H) fp32 on the CPU by tap.
    """

    windows: tuple[Window, ...]
    features: Mapping[TapName, torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """The logits of one task for one batch.

    Attributes:
        values: (N, K) per window, or (P, K) per token for tagging and (P, W) for parsing, whose
            pairs of words are scored later; fp32.
        windows: The windows in the order of the values.
    """

    values: torch.Tensor
    windows: tuple[Window, ...]


class Readers:
    """Sums the logits, or features, of each task over its taps on the trunk and on branches."""

    def __init__(self, tasks: Mapping[str, ResidentTask], requested: Requested | None) -> None:
        self._tasks = tasks
        self._requested = requested
        self._sums: dict[str, torch.Tensor] = {}
        self._windows: dict[str, tuple[Window, ...]] = {}

    def places(self, batch: TokenBatch, tasks: Sequence[str]) -> Places | None:
        """Returns the windows that request one of `tasks`; None where all do."""
        if self._requested is None:
            return None
        mask = np.zeros(len(batch.windows), np.bool_)
        for name in tasks:
            mask |= self._requested[name][batch.rows]
        return None if mask.all() else np.flatnonzero(mask)

    def adapter_of(self, branch: Branch) -> Adapter:
        """Returns the adapter of a branch from one of its tasks.

        Raises:
            ResidentError: The task has none.
        """
        adapter = self._tasks[branch.tasks[0]].adapter
        if adapter is None:
            raise ResidentError(f"Task '{branch.tasks[0]}' is resident without its adapter.")
        return adapter

    def read(self, states: States, taps: Sequence[Tap], pooled: Pooled | None = None) -> None:
        """Adds the taps at this depth; `pooled` receives the features that can be kept."""
        for tap in (tap for tap in taps if tap.depth == states.depth):
            if tap.pooling == "attentive":
                self._read_attentive(states, tap)
                continue
            features = POOLINGS[tap.pooling](states.hidden, states.batch)
            if pooled is not None and tap.pooling in KEPT_POOLINGS:
                pooled(tap.name, features)
            self.read_features(tap, features, states.batch)

    def read_features(
        self, tap: Tap, features: torch.Tensor, batch: TokenBatch | KeptBatch
    ) -> None:
        """Adds one tap: logits of tasks in a slab, features of all others."""
        products: dict[Slab, torch.Tensor] = {}
        for name in tap.tasks:
            task = self._tasks[name]
            if not task.slots:
                self._add(name, tap, features * _share(task, tap.depth), batch)
                continue
            slot = task.slots[task.spec.head.depths.index(tap.depth)]
            if slot.slab not in products:
                products[slot.slab] = slot.slab.forward(features)
            self._add(name, tap, products[slot.slab][:, slot.start : slot.stop], batch)

    def logits(self) -> dict[str, Logits]:
        """Returns the logits by task, of the tasks that some window requests.

        Tasks that encode two texts separately get features instead: (N, H), one row per window.
        """
        logits = {}
        for name, total in self._sums.items():
            task = self._tasks[name]
            # The head of separately encoded texts reads the features of both, later.
            values = total if task.slots or task.spec.apart else task.weights.forward(total)
            logits[name] = Logits(values, self._windows[name])
        return logits

    def _read_attentive(self, states: States, tap: Tap) -> None:
        for name in tap.tasks:
            task = self._tasks[name]
            if task.weights.query is not None:
                features = pool_attentive(states.hidden, states.batch, task.weights.query)
                self._add(name, tap, features * _share(task, tap.depth), states.batch)

    def _add(self, name: str, tap: Tap, value: torch.Tensor, batch: TokenBatch | KeptBatch) -> None:
        """Adds `value`, one row per window or token of a batch, for the requesting windows."""
        windows = batch.windows
        places = None if isinstance(batch, KeptBatch) else self.places(batch, (name,))
        if places is not None and isinstance(batch, TokenBatch):
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
    requested: Requested | None = None,
    pooled: Pooled | None = None,
) -> dict[str, Logits]:
    """Returns fp32 logits by task: (N, K) per window, or (P, K) per token; see `Logits`.

    With `requested`, a window runs only to the deepest depth that a requested task of its row
    reads, and a task gets logits for its own windows only; a task without windows is missing.
    `pooled` receives the features of the trunk's taps that can be kept.
    """
    readers = Readers(tasks, requested)
    forks = {branch.fork for branch in trunk.branches}
    stops = tuple(sorted(forks | {tap.depth for tap in trunk.taps}))
    route = Route(States(batch, 0, encoder.embed(batch)), stops)
    starts: list[tuple[Branch, States]] = []
    kept = partial(_kept_on_trunk, trunk, readers)
    for _, states in run_routes([route], encoder=encoder, kept=kept):
        readers.read(states, trunk.taps, pooled)
        for branch in (branch for branch in trunk.branches if branch.fork == states.depth):
            own = states.only(readers.places(states.batch, branch.tasks))
            starts += [(branch, own)] if own.batch.windows else []
    _run_branches(starts, readers, encoder)
    return readers.logits()


@inference
def replay_batch(
    trunk: Trunk, tasks: Mapping[str, ResidentTask], batch: KeptBatch, device: torch.device
) -> dict[str, Logits]:
    """Returns the logits of tasks without an adapter from kept features, bit-equal to `run_batch`.

    A batch has the windows that it had when its features were computed, so that the products have
    the same shapes.
    """
    readers = Readers(tasks, None)
    for tap in trunk.taps:
        # A copy is aligned as the features were that pooling returned.
        features = batch.features[tap.name].clone().to(device)
        readers.read_features(tap, features, batch)
    return readers.logits()


def _run_branches(
    starts: Sequence[tuple[Branch, States]], readers: Readers, encoder: Encoder
) -> None:
    """Runs branches from their states at the fork to their stops and reads their taps."""
    max_tokens = encoder.stack_tokens
    for group in groups_of(starts, lambda start: start[1].batch.tokens, max_tokens=max_tokens):
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
    """Returns the windows to keep: those that request a task which reads `depth` or deeper."""
    taps = branches[index].taps
    return readers.places(batch, [name for tap in taps if tap.depth >= depth for name in tap.tasks])


def _kept_on_trunk(
    trunk: Trunk, readers: Readers, _: int, batch: TokenBatch, depth: int
) -> Places | None:
    """Returns the windows to keep: those that request a task which needs the trunk at `depth`."""
    names = [name for tap in trunk.taps if tap.depth >= depth for name in tap.tasks]
    names += [name for branch in trunk.branches if branch.fork >= depth for name in branch.tasks]
    return readers.places(batch, names)


def _share(task: ResidentTask, depth: int) -> float:
    return task.weights.mix[task.spec.head.depths.index(depth)]
