"""The adapter of an existing task: for a new head to read, or for a new adapter to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from adapterhub.errors import BackboneMismatchError, UsageError
from adapterhub.remote.find import find
from adapterhub.specs import AdapterSpec, BackboneSpec, EarlierTask
from adapterhub.store.headfile import adapter_tensors


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """The adapter of an existing task.

    Attributes:
        spec: What it changes.
        tensors: By the names of a head file.
        record: Its task, as in the head file of a task that starts from it.
        source: Its head file, for messages.
    """

    spec: AdapterSpec
    tensors: Mapping[str, torch.Tensor]
    record: EarlierTask
    source: str

    def check_fits(self, other: AdapterSpec) -> None:
        """Checks that its weights mean the same in an adapter with `other`'s settings.

        Raises:
            UsageError: A setting differs, or the two change no linear map in common.
        """
        named = f"the adapter of '{self.record.task}'"
        mine, new = _settings(self.spec), _settings(other)
        for name in sorted(mine.keys() | new.keys()):
            there, here = mine.get(name), new.get(name)
            if there != here:
                raise UsageError(
                    f"It cannot continue from {named}: {name} is {there} there and {here} here. "
                    f"Leave out the options of its shape to take them over."
                )
        depths, sites = set(self.spec.depths), set(self.spec.sites)
        if not depths & set(other.depths) or not sites & set(other.sites):
            raise UsageError(
                f"It cannot continue from {named}, which changes {_places(self.spec)}; this one "
                f"changes {_places(other)}."
            )


def read_warm_start(reference: str, *, registry: Path, backbone: BackboneSpec) -> WarmStart:
    """Returns the adapter of a task on `backbone`.

    Args:
        reference: Its name, as in `Hub.load`.
        registry: The registry.yaml for names without a place.
        backbone: What the new task runs on.

    Raises:
        UsageError: The task has no adapter, or the name follows none of the forms.
        BackboneMismatchError: It was made for another backbone.
        HeadFileError: The file is damaged.
    """
    head = find(reference, registry).load()
    spec, training = head.spec.adapter, head.spec.training
    if spec is None:
        raise UsageError(f"Task '{reference}' has no adapter; its head reads the frozen trunk.")
    if head.spec.backbone.fingerprint != backbone.fingerprint:
        raise BackboneMismatchError(reference, head.spec.backbone.name, backbone.name)
    record = EarlierTask(
        task=head.spec.task,
        adapter=spec.digest,
        dataset=None if training is None else training.dataset,
        dataset_license=None if training is None else training.dataset_license,
    )
    return WarmStart(spec, adapter_tensors(head.tensors), record, head.source)


def _settings(spec: AdapterSpec) -> dict[str, object]:
    """Returns the settings that decide what an adapter's weights compute."""
    config = {
        name: value
        for name, value in spec.config.items()
        if not name.startswith("init_") and not name.endswith("dropout")
    }
    return {"method": spec.method, "tie_depths": spec.tie_depths, **config}


def _places(spec: AdapterSpec) -> str:
    return f"{', '.join(spec.sites)} at depths {spec.depths[0]} to {spec.depths[-1]}"
