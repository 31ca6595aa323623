"""Tasks on the device: loaded, replaced and unloaded while other threads score."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from adapterhub.errors import ResidentError
from adapterhub.model.backbone.caller_state import ForkedLock
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.heads.heads import HeadWeights, read_weights
from adapterhub.model.heads.slab import SLAB_ROWS, Slab, Slot, TapKey
from adapterhub.results import Provenance
from adapterhub.shapes import head_bytes
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import HeadFile


@dataclass(frozen=True, eq=False)
class ResidentTask:
    """One task on the device; immutable.

    Attributes:
        spec: The task.
        made_by: Name, version and digest, for results.
        weights: The head's tensors, used where there are no slots.
        adapter: The compiled adapter, or None; tasks that share an adapter share this object.
        slots: Linear heads: the head's rows in the slab of each depth. Without slots
            `weights.forward` is applied to the summed features.
        bytes: Size of the head on the device, without the adapter.
    """

    spec: TaskSpec
    made_by: Provenance
    weights: HeadWeights
    adapter: Adapter | None
    slots: tuple[Slot, ...]
    bytes: int


def unplaced(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    device: torch.device,
    adapter: Adapter | None,
) -> ResidentTask:
    """Returns a task that can be run without a place in a slab, such as a newly trained one."""
    made_by = Provenance(spec.task, None, "", spec.backbone.fingerprint)
    weights = read_weights(spec, tensors, device=device)
    return ResidentTask(spec, made_by, weights, adapter, slots=(), bytes=0)


def size_of(tasks: Iterable[ResidentTask]) -> int:
    """Returns the size of heads and of distinct adapters, in bytes."""
    counted = list(tasks)
    adapters = {task.adapter.digest: task.adapter for task in counted if task.adapter is not None}
    return sum(task.bytes for task in counted) + sum(one.bytes for one in adapters.values())


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What is resident at one moment: origin by reference, task by origin.

    Tasks are keyed by origin, not digest: two versions may have the same bytes, and results name
    the version that made them.
    """

    origins: Mapping[str, Provenance] = field(default_factory=lambda: MappingProxyType({}))
    tasks: Mapping[Provenance, ResidentTask] = field(default_factory=lambda: MappingProxyType({}))


class ResidentTasks:
    """The tasks on one device, under a byte budget; safe to use from any thread."""

    def __init__(
        self, *, hidden_size: int, device: torch.device, max_bytes: int | None = None
    ) -> None:
        """Starts with no tasks.

        Args:
            hidden_size: Width H of the features.
            device: Where the heads are.
            max_bytes: Maximum total size of heads and adapters; None for no limit.
        """
        self.max_bytes = max_bytes
        self._hidden_size = hidden_size
        self._device = device
        self._lock = ForkedLock()
        self._snapshot = _Snapshot()
        self._slabs: dict[TapKey, list[Slab]] = defaultdict(list)
        self._last_used: dict[Provenance, int] = {}
        self._clock = 0

    @property
    def bytes(self) -> int:
        """Returns the size of all resident heads and adapters, in bytes."""
        return size_of(self._snapshot.tasks.values())

    def names(self) -> tuple[str, ...]:
        """Returns the references under which tasks are resident."""
        return tuple(self._snapshot.origins)

    def get(self, reference: str) -> ResidentTask | None:
        """Returns the task that a reference names now, or None if it is not resident."""
        snapshot = self._snapshot
        origin = snapshot.origins.get(reference)
        return None if origin is None else snapshot.tasks[origin]

    def acquire(self, references: Sequence[str]) -> dict[str, ResidentTask] | None:
        """Returns all of the tasks from one snapshot, or None if one is not resident."""
        snapshot = self._snapshot
        if not all(reference in snapshot.origins for reference in references):
            return None
        origins = {reference: snapshot.origins[reference] for reference in references}
        with self._lock:
            self._touch(origins.values())
        return {reference: snapshot.tasks[origin] for reference, origin in origins.items()}

    def adapter(self, digest: str) -> Adapter | None:
        """Returns the adapter with this digest, or None if no resident task has it."""
        adapters = (task.adapter for task in self._snapshot.tasks.values())
        return next((one for one in adapters if one and one.digest == digest), None)

    def load(
        self,
        heads: Mapping[str, tuple[HeadFile, Provenance]],
        *,
        adapters: Mapping[str, Adapter] = MappingProxyType({}),
        keep: Sequence[str] = (),
    ) -> None:
        """Makes head files resident under their references, all in one step or none.

        Args:
            heads: Head file and origin by reference; replaces what the reference named before.
            adapters: The compiled adapters of these head files, by digest.
            keep: References that must not be evicted, those of the same call.

        Raises:
            ResidentError: All of them together do not fit in `max_bytes`.
        """
        with self._lock:
            self._snapshot = self._with(heads, adapters, keep)
            self._tidy()

    def unload(self, reference: str) -> bool:
        """Drops a reference, and its task if no other reference names it.

        Returns:
            Whether it was resident. Running calls keep the task until they end.
        """
        with self._lock:
            origins = dict(self._snapshot.origins)
            if origins.pop(reference, None) is None:
                return False
            self._snapshot = _make_snapshot(origins, self._snapshot.tasks)
            self._tidy()
            return True

    def _with(
        self,
        heads: Mapping[str, tuple[HeadFile, Provenance]],
        adapters: Mapping[str, Adapter],
        keep: Sequence[str],
    ) -> _Snapshot:
        """Returns the snapshot with `heads` added, within the budget."""
        tasks = dict(self._snapshot.tasks)
        origins = dict(self._snapshot.origins)
        for reference, (head, made_by) in heads.items():
            if made_by not in tasks:
                tasks[made_by] = self._place(head, made_by, _adapter_of(head, adapters))
            origins[reference] = made_by
        needed = {origins[name] for name in (*heads, *keep) if name in origins}
        self._touch(needed)
        return _make_snapshot(self._evict(origins, tasks, needed), tasks)

    def _tidy(self) -> None:
        """Drops what only the snapshot before this one used."""
        tasks = self._snapshot.tasks
        self._last_used = {origin: self._last_used.get(origin, 0) for origin in tasks}
        for key in list(self._slabs):
            self._slabs[key] = [slab for slab in self._slabs[key] if not slab.is_empty()]
            if not self._slabs[key]:
                del self._slabs[key]

    def _touch(self, origins: Iterable[Provenance]) -> None:
        self._clock += 1
        self._last_used.update(dict.fromkeys(origins, self._clock))

    def _evict(
        self,
        origins: Mapping[str, Provenance],
        tasks: Mapping[Provenance, ResidentTask],
        needed: set[Provenance],
    ) -> dict[str, Provenance]:
        """Returns `origins` without the least recently used tasks that do not fit.

        Raises:
            ResidentError: The `needed` ones do not fit by themselves.
        """
        if self.max_bytes is None:
            return dict(origins)
        live = set(origins.values())
        total = size_of(tasks[origin] for origin in live)
        for origin in sorted(live - needed, key=lambda found: self._last_used.get(found, 0)):
            if total <= self.max_bytes:
                break
            live.discard(origin)
            total = size_of(tasks[one] for one in live)
        if total > self.max_bytes:
            raise ResidentError(
                f"The requested tasks take {total} bytes, max_bytes is {self.max_bytes}. "
                f"Ask for fewer tasks in one call, or raise max_bytes."
            )
        return {reference: origin for reference, origin in origins.items() if origin in live}

    def _place(self, head: HeadFile, made_by: Provenance, adapter: Adapter | None) -> ResidentTask:
        weights = read_weights(head.spec, head.tensors, device=self._device)
        # A slab multiplies the features of one text; pairs are compared first.
        is_placed = weights.is_linear and not head.spec.apart
        slots = self._fill_slots(head.spec, weights) if is_placed else ()
        size = head_bytes(head.spec)
        task = ResidentTask(head.spec, made_by, weights, adapter, slots, size)
        for slot in slots:
            weakref.finalize(task, slot.slab.give_back, slot.start, slot.stop)
        return task

    def _fill_slots(self, spec: TaskSpec, weights: HeadWeights) -> tuple[Slot, ...]:
        """Returns the rows in the slab of each depth; a mix of depths is a sum of products."""
        slots = []
        for index, (depth, share) in enumerate(zip(spec.head.depths, weights.mix, strict=True)):
            bias = weights.bias if index == 0 else torch.zeros_like(weights.bias)
            branched = spec.adapter is not None and depth > spec.adapter.from_depth
            digest = spec.adapter.digest if branched and spec.adapter else None
            key = TapKey(depth, spec.head.pooling, digest)
            slots.append(self._fill(key, weights.weight * share, bias))
        return tuple(slots)

    def _fill(self, key: TapKey, weight: torch.Tensor, bias: torch.Tensor) -> Slot:
        for slab in self._slabs[key]:
            slot = slab.put(weight, bias)
            if slot is not None:
                return slot
        # Few heads share a branch, mostly one; many share the trunk.
        rows = weight.shape[0] if key.adapter else max(SLAB_ROWS, weight.shape[0])
        slab = Slab(rows, self._hidden_size, self._device)
        self._slabs[key].append(slab)
        slot = slab.put(weight, bias)
        if slot is None:
            raise ResidentError("A new slab has no room for its first head.")
        return slot


def _make_snapshot(
    origins: Mapping[str, Provenance], tasks: Mapping[Provenance, ResidentTask]
) -> _Snapshot:
    live = {origin: tasks[origin] for origin in dict.fromkeys(origins.values())}
    return _Snapshot(MappingProxyType(dict(origins)), MappingProxyType(live))


def _adapter_of(head: HeadFile, adapters: Mapping[str, Adapter]) -> Adapter | None:
    spec = head.spec.adapter
    if spec is None:
        return None
    if spec.digest not in adapters:
        raise ResidentError(f"Task '{head.spec.task}' cannot be resident without its adapter.")
    return adapters[spec.digest]
