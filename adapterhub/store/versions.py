"""Adds versions of tasks to a registry: the head file first, then its entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from adapterhub.errors import HeadFileError, RegistryError
from adapterhub.specs import TaskSpec
from adapterhub.store.atomic import make_folder, open_regular, reason, write_atomic
from adapterhub.store.editing import (
    make_entry,
    prepare_registry,
    read_or_empty,
    registry_lock,
    write_registry,
)
from adapterhub.store.entries import (
    BackboneEntry,
    Origin,
    TaskEntry,
    VersionRecord,
    head_file_name,
    version_record,
)
from adapterhub.store.headfile import HeadFile, encode_head, parse_head
from adapterhub.store.references import check_name
from adapterhub.store.registry import Registry, Resolved, inside, read_registry


@dataclass(frozen=True, slots=True)
class NewHead:
    """A version to add to a registry.

    Attributes:
        name: Name of the task.
        data: Bytes of the head file.
        aliases: Aliases that shall point to the version.
        origin: Where on the Hub it comes from; None for a task that was made here.
    """

    name: str
    data: bytes
    aliases: tuple[str, ...] = ()
    origin: Origin | None = None


def add_version(
    path: Path,
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    backbone_key: str,
    backbone_entry: BackboneEntry,
    aliases: Sequence[str] = (),
) -> Resolved:
    """Adds a task, or the next version of one, to a registry; returns what was added.

    One transaction under the registry's lock. All checks are made before the first byte is
    written. The head file is written before the registry, so a crash between the two leaves
    a file that no entry lists, never an entry without its file. If the newest version has
    the same bytes, no version is added; its file is restored where it is missing or damaged.

    Args:
        path: registry.yaml; made where it is missing, with its folder.
        spec: The task.
        tensors: Exactly the tensors of `specs.tensor_shapes(spec)`.
        backbone_key: Key of the backbone in the registry.
        backbone_entry: Entry for it where the key is new; a known key keeps its entry.
        aliases: Aliases that shall point to the version.

    Raises:
        UsageError: An alias is not a name.
        HeadFileError: The content is refused, or the file cannot be written.
        RegistryError: The task or backbone does not fit the entry there is, or the registry
            cannot be read, locked or written.
    """
    head = NewHead(spec.task, encode_head(spec, tensors), tuple(aliases))
    return add_head(path, head, backbone_key=backbone_key, backbone_entry=backbone_entry)


def add_head(
    path: Path,
    new: NewHead,
    *,
    backbone_key: str,
    backbone_entry: BackboneEntry,
    check: Callable[[TaskEntry | None], None] | None = None,
) -> Resolved:
    """Adds the bytes of a head file, as `add_version` does; returns what was added.

    Args:
        path: registry.yaml; made where it is missing, with its folder.
        new: What to add.
        backbone_key: Key of the backbone in the registry.
        backbone_entry: Entry for it where the key is new; a known key keeps its entry.
        check: Raises where the task that there is under the name, if any, must not be followed.

    Raises:
        UsageError: The name or an alias is not a name.
        HeadFileError: The content is refused, or the file cannot be written.
        RegistryError: The task or backbone does not fit the entry there is, or the registry
            cannot be read, locked or written.
    """
    head = parse_head(new.data, source=f"of task '{new.name}'")
    check_name(new.name, "task")
    for alias in new.aliases:
        check_name(alias, "alias")
    _make_folder(path.resolve().parent, path)
    with registry_lock(path) as path:
        old = read_or_empty(path)
        if check is not None:
            check(old.tasks.get(new.name))
        backbone = _fitting_backbone(old, head.spec, backbone_key, backbone_entry)
        entry = _next_entry(old, head, new, backbone_key)
        tasks = {**old.tasks, new.name: entry}
        content = prepare_registry(path, {**old.backbones, backbone_key: backbone}, tasks)
        _put_head(path, entry.versions[entry.newest], new.data)
        if entry != old.tasks.get(new.name):
            write_registry(path, content)
    return read_registry(path).resolve(f"{new.name}:{entry.newest}")


def _fitting_backbone(
    registry: Registry, spec: TaskSpec, key: str, entry: BackboneEntry
) -> BackboneEntry:
    if spec.backbone.fingerprint != entry.fingerprint:
        raise RegistryError(
            registry.path,
            f"task '{spec.task}' was made for the backbone {spec.backbone.fingerprint}, but the "
            f"entry '{key}' to add is {entry.fingerprint}",
        )
    known = registry.backbones.get(key, entry)
    if known.fingerprint != entry.fingerprint:
        raise RegistryError(
            registry.path,
            f"the backbone '{key}' is {known.fingerprint} here; task '{spec.task}' was made for "
            f"{entry.fingerprint}. Add it under another backbone key.",
        )
    return known


def _next_entry(registry: Registry, head: HeadFile, new: NewHead, backbone_key: str) -> TaskEntry:
    spec = head.spec
    old = registry.tasks.get(new.name)
    if old is not None and (old.kind, old.backbone) != (spec.kind, backbone_key):
        raise RegistryError(
            registry.path,
            f"task '{new.name}' is {old.kind} on the backbone '{old.backbone}'; a version that is "
            f"{spec.kind} on '{backbone_key}' cannot be added. Give the new task another name.",
        )
    versions = dict(old.versions) if old is not None else {}
    if old is None or old.versions[old.newest].sha256 != head.sha256:
        version = 1 if old is None else old.newest + 1
        file = head_file_name(new.name, version)
        record = version_record(spec, file, size=head.size, sha256=head.sha256)
        versions[version] = record.model_copy(update={"origin": new.origin})
    elif new.origin is not None:
        # The same bytes asked for in another way: by a version, say, and so never to be updated.
        versions[old.newest] = versions[old.newest].model_copy(update={"origin": new.origin})
    aliases = {**(old.aliases if old else {}), **dict.fromkeys(new.aliases, max(versions))}
    return make_entry(spec, backbone_key, aliases=aliases, versions=versions, place=registry.path)


def _put_head(registry: Path, record: VersionRecord, data: bytes) -> None:
    path = registry.parent / record.file
    inside(registry, str(Path(record.file).parent))
    if _holds(path, data):
        return
    # Either no entry lists this file, or it lost the bytes that its entry promises.
    try:
        make_folder(path.parent)
        write_atomic(path, data, replace=True, under_lock=True)
    except OSError as error:
        raise HeadFileError(path, f"it cannot be written: {reason(error)}") from error
    # On an error after this the file stays: the registry may already list it.


def _holds(path: Path, data: bytes) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(len(data) + 1) == data
    except OSError:
        return False


def _make_folder(folder: Path, path: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise RegistryError(path, f"its folder cannot be made: {reason(error)}") from error
