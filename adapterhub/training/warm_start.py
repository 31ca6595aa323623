"""The adapter of a task that exists: for a new head to read, or for a new adapter to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from adapterhub.errors import BackboneMismatchError, UsageError
from adapterhub.remote.find import find
from adapterhub.specs import AdapterSpec, BackboneSpec, EarlierTask
from adapterhub.store.headfile import HeadFile, adapter_tensors


@dataclass(frozen=True, slots=True, eq=False)
class Existing:
    """An adapter that a new one begins with.

    Attributes:
        spec: What it changes.
        tensors: By the names of a head file.
        record: Its task, as the new one's head file names it.
    """

    spec: AdapterSpec
    tensors: Mapping[str, torch.Tensor]
    record: EarlierTask

    def check_like(self, other: AdapterSpec) -> None:
        """Checks that its numbers mean the same in an adapter with `other`'s settings.

        Raises:
            UsageError: A setting is another one, or they change no map in common.
        """
        named = f"the adapter of '{self.record.task}'"
        mine, new = _meaning(self.spec), _meaning(other)
        for name in sorted(mine.keys() | new.keys()):
            there, here = mine.get(name), new.get(name)
            if there != here:
                raise UsageError(
                    f"It cannot go on from {named}: {name} is {there} there and {here} here. "
                    f"Leave the options of its shape away to take them over."
                )
        depths, sites = set(self.spec.depths), set(self.spec.sites)
        if not depths & set(other.depths) or not sites & set(other.sites):
            raise UsageError(
                f"It cannot go on from {named}, which changes {_places(self.spec)}; this one "
                f"changes {_places(other)}."
            )


def read_existing(reference: str, *, registry: Path, backbone: BackboneSpec) -> HeadFile:
    """Returns the head file of a task with an adapter for `backbone`.

    Args:
        reference: A task of the registry, a head file, or a task on the Hub.
        registry: The registry.yaml for names without a place.
        backbone: What the new task runs on.

    Raises:
        UsageError: The task has no adapter, or the name follows none of the forms.
        BackboneMismatchError: It was made for another backbone.
        HeadFileError: The file is damaged.
    """
    head = find(reference, registry).load()
    if head.spec.adapter is None:
        raise UsageError(f"Task '{reference}' has no adapter; its head reads the frozen trunk.")
    if head.spec.backbone.fingerprint != backbone.fingerprint:
        raise BackboneMismatchError(reference, head.spec.backbone.name, backbone.name)
    return head


def existing_of(head: HeadFile) -> Existing:
    """Returns the adapter of a head file that has one."""
    spec, training = head.spec.adapter, head.spec.training
    assert spec is not None
    record = EarlierTask(
        task=head.spec.task,
        adapter=spec.digest,
        dataset=None if training is None else training.dataset,
        dataset_license=None if training is None else training.dataset_license,
    )
    return Existing(spec, adapter_tensors(head.tensors), record)


def _meaning(spec: AdapterSpec) -> dict[str, object]:
    """Returns the settings that say what an adapter's numbers compute."""
    config = {
        name: value
        for name, value in spec.config.items()
        if not name.startswith("init_") and not name.endswith("dropout")
    }
    return {"method": spec.method, "tie_depths": spec.tie_depths, **config}


def _places(spec: AdapterSpec) -> str:
    return f"{', '.join(spec.sites)} at depths {spec.depths[0]} to {spec.depths[-1]}"
