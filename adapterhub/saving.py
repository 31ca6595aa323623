"""Writes a new task as a head file and an entry in a registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from adapterhub.errors import RegistryError
from adapterhub.model.backbone.open_backbone import (
    SHIPPED,
    Backbone,
    choose_backbone,
    open_backbone,
)
from adapterhub.specs import Kind, TaskSpec
from adapterhub.store.entries import BackboneEntry, backbone_key
from adapterhub.store.registry import Resolved, read_registry, registry_to_write
from adapterhub.store.versions import add_version


def open_for(registry: str | Path | None, backbone: str | Path | Backbone | None) -> Backbone:
    """Opens the backbone of a new task: the given one, the registry's, or the shipped one.

    Raises:
        UsageError: `backbone` is None, and the registry has several.
        BackboneError: It cannot be opened.
    """
    if isinstance(backbone, Backbone):
        return backbone
    path = None if registry is None else registry_to_write(registry)
    if path is not None and path.is_file() and path.stat().st_size:
        known = read_registry(path)
        if known.backbones:
            return choose_backbone(known, backbone)
    return open_backbone(SHIPPED if backbone is None else backbone)


def place_task(
    registry: Path,
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    backbone: Backbone,
    aliases: Sequence[str] = (),
) -> Resolved:
    """Writes a head file and its registry entry; adds the backbone to the registry if missing.

    Raises:
        RegistryError: The registry cannot be written, or has another task of this name.
        HeadFileError: The head file cannot be written.
    """
    known = read_registry(registry) if registry.is_file() else None
    return add_version(
        registry,
        spec,
        tensors,
        backbone_key=backbone_key({} if known is None else known.backbones, backbone.spec),
        backbone_entry=_backbone_entry(backbone, registry),
        aliases=aliases,
    )


def check_place(registry: Path, task: str, kind: Kind, backbone: Backbone) -> None:
    """Checks before training that a registry can take a new version of a task.

    Raises:
        RegistryError: It has a task of this name of another kind or for another backbone.
    """
    known = read_registry(registry) if registry.is_file() else None
    if known is None or task not in known.tasks:
        return
    entry = known.tasks[task]
    key = backbone_key(known.backbones, backbone.spec)
    if (entry.kind, entry.backbone) != (kind, key):
        raise RegistryError(
            registry,
            f"task '{task}' is {entry.kind} on the backbone '{entry.backbone}'; a version that is "
            f"{kind} on '{key}' cannot be added. Give the new task another name.",
        )


def _backbone_entry(backbone: Backbone, registry: Path) -> BackboneEntry:
    """Returns the registry entry of a backbone; a folder is relative where it is inside."""
    spec = backbone.spec
    source = spec.name
    if not spec.name.startswith("package:") and spec.revision is None:
        folder, root = backbone.folder.resolve(), registry.resolve().parent
        inside = folder.is_relative_to(root)
        source = f"./{folder.relative_to(root).as_posix()}" if inside else str(folder)
    return BackboneEntry(source=source, revision=spec.revision, fingerprint=spec.fingerprint)
