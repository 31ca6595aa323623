"""A task on the device, ready to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.heads.heads import HeadWeights, read_weights
from adapterhub.model.heads.slab import Slot
from adapterhub.results import Provenance
from adapterhub.specs import TaskSpec


@dataclass(frozen=True, eq=False)
class ResidentTask:
    """One task on the device; immutable.

    Attributes:
        spec: The task.
        made_by: Name, version and digest, for results.
        weights: Its tensors; what is computed where there are no slots.
        adapter: What it changes in the block, or None; tasks with one adapter hold the same one.
        slots: Linear heads: the rows in the slab of each depth that is read. Without slots the
            features are gathered and `weights.forward` is called on them.
        bytes: Size of its head on the device; the adapter is counted apart.
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
    """Returns a task that can be run but is in no slab, such as one that was just trained."""
    made_by = Provenance(spec.task, None, "", spec.backbone.fingerprint)
    weights = read_weights(spec, tensors, device=device)
    return ResidentTask(spec, made_by, weights, adapter, slots=(), bytes=0)


def size_of(tasks: Iterable[ResidentTask]) -> int:
    """Returns the size of heads and of distinct adapters, in bytes."""
    held = list(tasks)
    adapters = {task.adapter.digest: task.adapter for task in held if task.adapter is not None}
    return sum(task.bytes for task in held) + sum(one.bytes for one in adapters.values())
