"""Adds versions of tasks to a registry in one transaction: head files first, then the entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import HeadFileError, RegistryError
from adapterhub.specs import TaskSpec
from adapterhub.store.agreement import with_own_name
from adapterhub.store.atomic import make_folder, open_regular, reason, sync_folder, write_atomic
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
    Retired,
    TaskEntry,
    backbone_key,
    head_file_name,
    version_record,
)
from adapterhub.store.headfile import HeadFile, encode_head, parse_head
from adapterhub.store.references import check_name
from adapterhub.store.registry import Registry, Resolved, inside
from adapterhub.store.retired import come_back

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Addition:
    """A task, or the next version of one, that `add_versions` adds to a registry.

    Attributes:
        spec: The task.
        tensors: Exactly the tensors of `shapes.tensor_shapes(spec)`.
        backbone_entry: Entry of the backbone where the registry does not list it yet; a listed
            backbone keeps its entry.
        backbone_key: Key of the backbone in the registry; None for the key that lists the same
            fingerprint, or else a new one made of the backbone's name.
        aliases: Aliases that will point to the version.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    backbone_entry: BackboneEntry
    backbone_key: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NewHead:
    """The bytes of a head file that `add_heads` adds to a registry.

    Attributes:
        name: Name of the task in the registry.
        data: Bytes of the head file.
        backbone_entry: As in `Addition`.
        backbone_key: As in `Addition`.
        aliases: Aliases that will point to the version.
        origin: Where on the Hub it was fetched from; None for a task that was made locally.
        check: Called under the lock with the task's current entry, or None; raises to refuse.
    """

    name: str
    data: bytes
    backbone_entry: BackboneEntry
    backbone_key: str | None = None
    aliases: tuple[str, ...] = ()
    origin: Origin | None = None
    check: Callable[[TaskEntry | None], None] | None = None


def add_version(
    path: Path,
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    *,
    backbone_key: str,
    backbone_entry: BackboneEntry,
    aliases: Sequence[str] = (),
) -> Resolved:
    """Adds a task, or the next version of one, to a registry; returns the added version.

    This is `add_versions` with one addition, whose fields are the arguments.

    Raises:
        UsageError: An alias is not a valid name.
        HeadFileError: The content is refused, or the file cannot be written.
        RegistryError: The task or backbone conflicts with the current entry, or the registry
            cannot be read, locked or written.
    """
    addition = Addition(spec, tensors, backbone_entry, backbone_key, tuple(aliases))
    return add_versions(path, [addition])[0]


def add_versions(path: Path, additions: Iterable[Addition]) -> tuple[Resolved, ...]:
    """Adds versions of any number of tasks in one transaction; returns them in the same order.

    Readers see all additions or none. All checks are made before the first byte is written. The
    head files are written before the registry, so a crash in between leaves files that no
    entry lists, never an entry without its file. Where the newest version has the same
    bytes, no version is added; its file is restored if it is missing or damaged. The bytes of
    all head files are held in memory.

    Args:
        path: registry.yaml; created with its folder where it is missing.
        additions: What to add; several versions of one task are numbered in this order.

    Raises:
        UsageError: An alias is not a valid name.
        HeadFileError: The content is refused, or a file cannot be written.
        RegistryError: A task or backbone conflicts with the current entry, or the registry
            cannot be read, locked or written.
    """
    heads = [
        NewHead(
            one.spec.task,
            encode_head(one.spec, one.tensors),
            one.backbone_entry,
            one.backbone_key,
            one.aliases,
        )
        for one in additions
    ]
    return add_heads(path, heads)


def add_heads(path: Path, heads: Sequence[NewHead]) -> tuple[Resolved, ...]:
    """Adds the bytes of head files in one transaction, as `add_versions` does.

    Raises:
        UsageError: A name or an alias is not valid.
        HeadFileError: The content is refused, or a file cannot be written.
        RegistryError: A task or backbone conflicts with the current entry, or the registry
            cannot be read, locked or written.
    """
    if not heads:
        return ()
    files = [_checked(head) for head in heads]
    _make_folder(path.resolve().parent, path)
    with registry_lock(path) as path:
        old = read_or_empty(path)
        backbones, tasks = dict(old.backbones), dict(old.tasks)
        versions = [
            _merge(path, backbones, tasks, head=head, file=file, gone=old.retired.get(head.name))
            for head, file in zip(heads, files, strict=True)
        ]
        changed = tasks != old.tasks
        retired = {name: one for name, one in old.retired.items() if name not in tasks}
        new = prepare_registry(old, backbones, tasks, retired=retired) if changed else old
        # On an error after this the files stay: the registry may already list some of them.
        _put_heads(new, heads, versions)
        if changed:
            write_registry(new)
    placed = zip(heads, versions, strict=True)
    return tuple(new.resolve(f"{head.name}:{version}") for head, version in placed)


def _checked(head: NewHead) -> HeadFile:
    """Returns a head's file after all checks that need no registry."""
    file = parse_head(head.data, source=f"of task '{head.name}'")
    check_name(head.name, "task")
    for alias in head.aliases:
        check_name(alias, "alias")
    # A transaction may hold many heads, and only the bytes of each are needed from here on.
    return replace(file, tensors={})


def _merge(
    place: Path,
    backbones: dict[str, BackboneEntry],
    tasks: dict[str, TaskEntry],
    *,
    head: NewHead,
    file: HeadFile,
    gone: Retired | None,
) -> int:
    """Adds a head to the content of a registry; returns its version, above those of `gone`."""
    known = tasks.get(head.name)
    if head.check is not None:
        head.check(known)
    own = None if known is None else known.backbone
    key = head.backbone_key or backbone_key(backbones, file.spec.backbone, prefer=own)
    backbones[key] = _fitting_backbone(
        place, file.spec, head.backbone_entry, backbones.get(key), key
    )
    used = 0 if gone is None else gone.last
    entry = _next_entry(place, known, file, head, key, used=used)
    tasks[head.name] = entry if known is not None else come_back(entry, gone)
    return entry.newest


def _fitting_backbone(
    place: Path, spec: TaskSpec, entry: BackboneEntry, known: BackboneEntry | None, key: str
) -> BackboneEntry:
    """Returns the entry of a head's backbone: the registry's, or the head's where it is new."""
    if spec.backbone.fingerprint != entry.fingerprint:
        raise RegistryError(
            place,
            f"task '{spec.task}' was trained on the backbone {spec.backbone.fingerprint}, but the "
            f"entry '{key}' to add is {entry.fingerprint}",
        )
    if known is not None and known.fingerprint != entry.fingerprint:
        raise RegistryError(
            place,
            f"the backbone '{key}' is {known.fingerprint} here; task '{spec.task}' was trained on "
            f"{entry.fingerprint}. Add it under another backbone key.",
        )
    return known or entry


def _next_entry(
    place: Path, old: TaskEntry | None, file: HeadFile, head: NewHead, key: str, *, used: int
) -> TaskEntry:
    """Returns a task's entry with a head as its newest version, whose number is above `used`."""
    spec, newest = file.spec, None if old is None else old.versions[old.newest]
    if old is not None and (old.kind, old.backbone) != (spec.kind, key):
        raise RegistryError(
            place,
            f"task '{head.name}' is {old.kind} on the backbone '{old.backbone}'; a version that is "
            f"{spec.kind} on '{key}' cannot be added. Give the new task another name.",
        )
    versions = {} if old is None else dict(old.versions)
    if newest is None or newest.sha256 != file.sha256:
        version = (used if old is None else old.last) + 1
        path = head_file_name(head.name, version)
        record = version_record(spec, path, size=file.size, sha256=file.sha256)
        record = record.model_copy(update={"origin": head.origin})
        versions[version] = with_own_name(record, head.name, spec)
    elif head.origin is not None:
        # The same bytes under another reference, for instance one that no update follows.
        record = newest.model_copy(update={"origin": head.origin})
        versions[max(versions)] = with_own_name(record, head.name, spec)
    aliases = {**(old.aliases if old else {}), **dict.fromkeys(head.aliases, max(versions))}
    return make_entry(spec, key, aliases=aliases, versions=versions, place=place, old=old)


def _put_heads(registry: Registry, heads: Sequence[NewHead], versions: Sequence[int]) -> None:
    """Writes the head files that are not there yet, and flushes them to disk."""
    path, written = registry.path, set()
    try:
        for head, version in zip(heads, versions, strict=True):
            file = registry.tasks[head.name].versions[version].file
            path = registry.path.parent / file
            inside(registry.path, str(Path(file).parent))
            if not _holds(path, head.data):
                # Either no entry lists this file, or the file was damaged.
                make_folder(path.parent)
                write_atomic(path, head.data, replace=True, sync_name=False)
                written.add(path.parent)
        for path in written:
            sync_folder(path)
    except OSError as error:
        raise HeadFileError(path, f"it cannot be written: {reason(error)}") from error


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
