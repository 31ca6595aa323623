"""Trained or imported tasks -> head files and entries in a registry; checks need no torch."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from adapterhub.errors import HeadFileError, RegistryError, check_type
from adapterhub.model.backbone.sources import SHIPPED, check_backbone, check_source
from adapterhub.specs import Kind, TaskSpec
from adapterhub.store.entries import BackboneEntry, backbone_key
from adapterhub.store.header import SUFFIX
from adapterhub.store.headfile import write_head
from adapterhub.store.registry import NEAREST, Registry, Resolved, read_registry, registry_to_write
from adapterhub.store.room import check_kind
from adapterhub.store.versions import Addition, add_versions

if TYPE_CHECKING:
    import torch

    from adapterhub.model.backbone.open_backbone import Backbone


def open_for(registry: str | Path | None, backbone: str | Path | Backbone | None) -> Backbone:
    """Returns the backbone of a new task: the given one, the registry's, or the shipped one.

    Raises:
        UsageError: None is given, and the registry lists several.
        BackboneError: It cannot be opened.
    """
    # Imported here: it takes seconds, and the checks need none of it.
    from adapterhub.model.backbone.open_backbone import Backbone, choose_backbone, open_backbone

    if isinstance(backbone, Backbone):
        return backbone
    known = _with_backbones(registry)
    if known is not None:
        return choose_backbone(known, backbone)
    return open_backbone(SHIPPED if backbone is None else backbone)


def check_backbone_for(registry: str | Path | None, backbone: object) -> int | None:
    """Checks, without torch, the backbone that `open_for` opens, as far as its files say.

    Returns:
        The number of its depths, where that is known.

    Raises:
        UsageError: None is given, and the registry lists several.
        BackboneError: The name is malformed, the folder is missing, or it is no encoder's.
    """
    if not isinstance(backbone, str | Path | None):
        spec = getattr(backbone, "spec", None)
        return None if spec is None else spec.num_hidden_layers
    known = _with_backbones(registry)
    if known is not None:
        return check_backbone(known, backbone)
    return check_source(SHIPPED if backbone is None else backbone)


def _with_backbones(registry: str | Path | None) -> Registry | None:
    """Returns a registry if it is there and lists backbones."""
    path = None if registry is None else registry_to_write(registry)
    if path is None or not path.is_file() or not path.stat().st_size:
        return None
    known = read_registry(path)
    return known if known.backbones else None


@runtime_checkable
class FinishedTask(Protocol):
    """A task that can be saved, for instance a `TrainedTask`."""

    @property
    def spec(self) -> TaskSpec:
        """Returns the whole task."""

    @property
    def tensors(self) -> Mapping[str, torch.Tensor]:
        """Returns exactly the tensors of `shapes.tensor_shapes(spec)`."""

    @property
    def backbone(self) -> Backbone:
        """Returns the backbone that the task was trained on."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Returns the aliases that will point to the saved version."""


def save_tasks(
    tasks: Iterable[FinishedTask], registry: str | Path = NEAREST
) -> tuple[Resolved, ...]:
    """Adds tasks to a registry in one transaction; returns their versions in the same order.

    Readers see all of the tasks or none. For many tasks this is much faster than saving each.

    Args:
        tasks: The tasks; an existing one gets its next version.
        registry: As `train` takes it.

    Raises:
        UsageError: One is no such task.
        RegistryError: The registry cannot be written, or a task conflicts with its entry.
        HeadFileError: A head file cannot be written.
    """
    path = registry_to_write(registry)
    check_type(tasks, Iterable, "What is saved", "a list of trained or imported tasks")
    tasks = tuple(tasks)
    for task in tasks:
        check_type(task, FinishedTask, "A task to save", "what train or import_task returned")
    return add_versions(
        path,
        (
            Addition(
                task.spec,
                task.tensors,
                _backbone_entry(task.backbone, path),
                aliases=tuple(task.aliases),
            )
            for task in tasks
        ),
    )


def check_place(registry: Path, task: str, kind: Kind, backbone: Backbone) -> None:
    """Checks, before hours of training, that a registry will accept a new version of a task.

    Raises:
        RegistryError: It has a task of this name with another kind or another backbone.
    """
    known = check_kind(registry, task, kind)
    if known is None:
        return
    entry = known.tasks[task]
    key = backbone_key(known.backbones, backbone.spec, prefer=entry.backbone)
    if entry.backbone != key:
        raise RegistryError(
            registry,
            f"task '{task}' is {entry.kind} on the backbone '{entry.backbone}'; a version that is "
            f"{kind} on '{key}' cannot be added. Give the new task another name.",
        )


def write_elsewhere(task: FinishedTask) -> Path:
    """Writes a task that its registry refuses to a head file here, or in a temporary folder.

    Raises:
        HeadFileError: It cannot be written there either.
        OSError: There is no temporary folder.
    """
    with contextlib.suppress(HeadFileError, OSError):
        return _write_new(Path.cwd(), task)
    return _write_new(Path(tempfile.mkdtemp(prefix="adapterhub-")), task)


def _write_new(folder: Path, task: FinishedTask) -> Path:
    path = folder / f"{task.spec.task}{SUFFIX}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{task.spec.task}.{number}{SUFFIX}"
    write_head(path, task.spec, task.tensors)
    return path


def _backbone_entry(backbone: Backbone, registry: Path) -> BackboneEntry:
    """Returns the registry's entry of a backbone; a folder below the registry's is relative."""
    spec = backbone.spec
    source = spec.name
    if not spec.name.startswith("package:") and spec.revision is None:
        folder, root = backbone.root.resolve(), registry.resolve().parent
        inside = folder.is_relative_to(root)
        source = f"./{folder.relative_to(root).as_posix()}" if inside else str(folder)
    return BackboneEntry(source=source, revision=spec.revision, fingerprint=spec.fingerprint)
