"""Trained or imported tasks -> head files and entries in a registry; checks need no torch."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from adapterhub.errors import AdapterHubError, RegistryError, check_type
from adapterhub.model.backbone.sources import SHIPPED, check_backbone, check_source
from adapterhub.specs import BackboneSpec, Kind, TaskSpec
from adapterhub.store.atomic import reason
from adapterhub.store.entries import BACKBONES_FOLDER, BackboneEntry, backbone_key
from adapterhub.store.header import SUFFIX
from adapterhub.store.headfile import write_head
from adapterhub.store.new_folder import is_free, new_folder
from adapterhub.store.registry import (
    NEAREST,
    REGISTRY_NAME,
    Registry,
    Resolved,
    read_registry,
    registry_to_write,
)
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
    with written_backbones([task.backbone for task in tasks], path) as written:
        return add_versions(path, (_addition(task, path, written) for task in tasks))


def _addition(task: FinishedTask, path: Path, written: Mapping[str, Path]) -> Addition:
    spec, backbone = task.spec, task.backbone
    folder = written.get(spec.backbone.fingerprint)
    if folder is None:
        entry = _backbone_entry(backbone.spec, backbone.root, path)
    else:
        named = spec.backbone.model_copy(update={"name": folder.name})
        spec = spec.model_copy(update={"backbone": named})
        entry = _backbone_entry(named, folder, path)
    return Addition(spec, task.tensors, entry, aliases=tuple(task.aliases))


def own_backbone_name(registry: Path | None, task: str) -> str:
    """Returns the name of the backbone that the training of a task makes: the first free one."""
    if registry is None:
        return f"{task}-1"
    return _free_folder(registry, task).name


def _free_folder(registry: Path, task: str) -> Path:
    top = registry.resolve().parent / BACKBONES_FOLDER
    return next(path for n in count(1) if is_free(path := top / f"{task}-{n}"))


@contextlib.contextmanager
def written_backbones(backbones: Iterable[Backbone], registry: Path) -> Iterator[dict[str, Path]]:
    """Writes backbones that are in memory beside a registry, and yields their folders.

    If the block fails, they are removed again, unless the registry lists them by then.

    Args:
        backbones: Those in a folder, and those that the registry lists, are left out.
        registry: The registry.yaml.

    Yields:
        The folder of each new backbone by its fingerprint.

    Raises:
        RegistryError: They cannot be written.
        BackboneError: The files of the backbone that they were trained from have changed.
    """
    from adapterhub.model.backbone.open_backbone import write_backbone

    new = {one.spec.fingerprint: one for one in backbones if one.base is not None}
    listed = {entry.fingerprint for entry in _listed(registry)}
    written: dict[str, Path] = {}
    try:
        for digest, backbone in new.items():
            if digest not in listed:
                folder = _free_folder(registry, backbone.spec.name.rpartition("-")[0])
                with new_folder(folder) as temp:
                    write_backbone(backbone, temp)
                written[digest] = folder
        yield written
    except BaseException as error:
        # By folder: another process may have listed the same weights in a folder of its own.
        kept = {(registry.resolve().parent / entry.source).resolve() for entry in _listed(registry)}
        for folder in written.values():
            if folder.resolve() not in kept:
                shutil.rmtree(folder, ignore_errors=True)
                with contextlib.suppress(OSError):
                    folder.parent.rmdir()
        if isinstance(error, OSError):
            problem = f"its backbone cannot be written: {reason(error)}"
            raise RegistryError(registry, problem) from error
        raise


def _listed(registry: Path) -> Collection[BackboneEntry]:
    """Returns the backbones that a registry lists."""
    if not registry.is_file() or not registry.stat().st_size:
        return ()
    return read_registry(registry).backbones.values()


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


def own_folder(saved: Resolved) -> Path:
    """Returns the folder of the backbone that was saved with a task."""
    return saved.path.parent.parent / saved.backbone.source


def write_elsewhere(task: FinishedTask) -> Path:
    """Writes a task that its registry refuses to a head file here, or in a temporary folder.

    One with a backbone of its own gets a registry of its own instead, in a folder.

    Raises:
        AdapterHubError: It cannot be written there either.
        OSError: There is no temporary folder.
    """
    with contextlib.suppress(AdapterHubError, OSError):
        return _write_new(Path.cwd(), task)
    return _write_new(Path(tempfile.mkdtemp(prefix="adapterhub-")), task)


def _write_new(folder: Path, task: FinishedTask) -> Path:
    own = task.backbone.base is not None
    suffix = "" if own else SUFFIX
    path = folder / f"{task.spec.task}{suffix}"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{task.spec.task}.{number}{suffix}"
    if own:
        save_tasks((task,), path / REGISTRY_NAME)
        return path / REGISTRY_NAME
    write_head(path, task.spec, task.tensors)
    return path


def _backbone_entry(spec: BackboneSpec, root: Path, registry: Path) -> BackboneEntry:
    """Returns the registry's entry of a backbone; a folder below the registry's is relative."""
    source = spec.name
    if not spec.name.startswith("package:") and spec.revision is None:
        folder, top = root.resolve(), registry.resolve().parent
        inside = folder.is_relative_to(top)
        source = f"./{folder.relative_to(top).as_posix()}" if inside else str(folder)
    return BackboneEntry(source=source, revision=spec.revision, fingerprint=spec.fingerprint)
