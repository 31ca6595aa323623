"""A trained task, and where it goes: a head file and an entry in a registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from adapterhub.errors import RegistryError
from adapterhub.model.backbone import Backbone
from adapterhub.specs import Kind, Metric, TaskSpec
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.locating import NEAREST, registry_to_write
from adapterhub.store.registry import Registry, Resolved, read_registry
from adapterhub.store.versions import add_version
from adapterhub.training.adapters.table import AdapterTable
from adapterhub.training.table import SearchTable


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTask:
    """A task that was just trained.

    Attributes:
        spec: The whole task, as its head file says it.
        tensors: Its tensors by name.
        table: All heads, or adapters, that were tried.
        backbone: What it was trained on.
        aliases: Aliases that shall point to it.
        saved: Where it stands in a registry, or None.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    table: SearchTable | AdapterTable
    backbone: Backbone
    aliases: tuple[str, ...] = ()
    saved: Resolved | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Returns what the task reached on the validation rows."""
        return self.spec.metrics

    def save(self, registry: str | Path = NEAREST) -> Resolved:
        """Writes the head file and the registry's entry, as the next version of the task.

        Args:
            registry: As `train` takes it.

        Raises:
            RegistryError: The registry cannot be written, or has another task of this name.
            HeadFileError: The head file cannot be written.
        """
        return place_task(
            registry_to_write(registry),
            self.spec,
            self.tensors,
            backbone=self.backbone,
            aliases=self.aliases,
        )


def place_task(
    registry: Path,
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    backbone: Backbone,
    aliases: Sequence[str] = (),
) -> Resolved:
    """Writes a head file and its entry in a registry, which may name the backbone or not yet.

    Raises:
        RegistryError: The registry cannot be written, or has another task of this name.
        HeadFileError: The head file cannot be written.
    """
    known = read_registry(registry) if registry.is_file() else None
    return add_version(
        registry,
        spec,
        tensors,
        backbone_key=_backbone_key(backbone, known),
        backbone_entry=_backbone_entry(backbone, registry),
        aliases=aliases,
    )


def check_place(registry: Path, task: str, kind: Kind, backbone: Backbone) -> None:
    """Checks, before hours are spent, that a registry will take a new version of a task.

    Raises:
        RegistryError: It has a task of this name that answers something else, or that belongs
            to another backbone.
    """
    known = read_registry(registry) if registry.is_file() else None
    entry = None if known is None else known.tasks.get(task)
    if entry is None:
        return
    key = _backbone_key(backbone, known)
    if (entry.kind, entry.backbone) != (kind, key):
        raise RegistryError(
            registry,
            f"task '{task}' is {entry.kind} on the backbone '{entry.backbone}'; a version that is "
            f"{kind} on '{key}' cannot be added. Give the new task another name.",
        )


def _backbone_key(backbone: Backbone, registry: Registry | None) -> str:
    """Returns the key that the registry has for a backbone, or a new one made of its name."""
    known = {} if registry is None else registry.backbones
    for key, entry in known.items():
        if entry.fingerprint == backbone.spec.fingerprint:
            return key
    name = backbone.spec.name.removeprefix("package:").rsplit("/", 1)[-1].lower()
    key = re.sub(r"[^a-z0-9._-]+", "-", name).strip("._-")[:40] or "backbone"
    if key not in known:
        return key
    digest = backbone.spec.fingerprint.removeprefix("sha256:")
    return f"{key}-{digest[:8]}"


def _backbone_entry(backbone: Backbone, registry: Path) -> BackboneEntry:
    """Returns how a registry says where a backbone is."""
    spec = backbone.spec
    source = spec.name
    if not spec.name.startswith("package:") and spec.revision is None:
        folder, root = backbone.folder.resolve(), registry.resolve().parent
        inside = folder.is_relative_to(root)
        source = f"./{folder.relative_to(root).as_posix()}" if inside else str(folder)
    return BackboneEntry(source=source, revision=spec.revision, fingerprint=spec.fingerprint)
