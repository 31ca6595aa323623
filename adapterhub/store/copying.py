"""Head files, and tasks of other registries, as they are added to a registry."""

from __future__ import annotations

import os
from pathlib import Path

from adapterhub.errors import HeadFileError, UsageError
from adapterhub.store.agreement import check_agreement
from adapterhub.store.entries import BackboneEntry, TaskEntry, is_portable, portable_entry
from adapterhub.store.header import read_bytes
from adapterhub.store.headfile import parse_head
from adapterhub.store.references import Reference, check_name
from adapterhub.store.registries import Registries, source_of
from adapterhub.store.registry import Registry, Resolved
from adapterhub.store.versions import NewHead


def file_to_add(known: Registry, path: Path, *, name: str | None) -> NewHead:
    """Returns the task of a head file as it is added to a registry.

    Args:
        known: The registry.
        path: The head file.
        name: Name of the task there; None for the one in the file.

    Raises:
        HeadFileError: It is no head file, or no registry says where its backbone is.
    """
    data = read_bytes(path)
    spec = parse_head(data, source=str(path)).spec
    entry = _listed(known, spec.backbone.fingerprint)
    if entry is None and not is_portable(spec.backbone):
        raise HeadFileError(
            path,
            f"it belongs to the backbone {spec.backbone.name} ({spec.backbone.fingerprint[:19]}…), "
            f"a folder that {known.path} does not list. Train a task there with --backbone "
            f"FOLDER, or list the folder in it, and add this file again; or add it by its name in "
            f"a registry that lists the folder: ./other/registry.yaml:{spec.task}.",
        )
    return NewHead(name or spec.task, data, entry or portable_entry(spec.backbone))


def task_to_add(
    known: Registry,
    reference: Reference,
    *,
    name: str | None,
    sources: Registries,
    allow_older: str | None,
) -> NewHead:
    """Returns a task of another registry, or one that ships, as it is added to a registry.

    Args:
        known: The registry.
        reference: The task.
        name: Name of the task there; None for its own.
        sources: Reads the registry that has it.
        allow_older: None where an older version may follow a newer one, else the option that
            allows it.

    Raises:
        UnknownTaskError: There is no such task, version or alias.
        UsageError: The name belongs to another task, or the version is older than the one there.
        HeadFileError: The head file is damaged, or not the one that its registry promises.
        RegistryError: The entry is of another task than its head file.
    """
    registry, found = sources.resolve(reference)
    own = name or found.task
    check_name(own, "task")
    data = read_bytes(found.path, sha256=found.record.sha256, size=found.record.size)
    spec = parse_head(data, source=str(found.path)).spec
    check_agreement(found, spec, registry.path)

    def check(entry: TaskEntry | None) -> None:
        _check_history(entry, own, found, reference.text, allow_older)

    check(known.tasks.get(own))
    entry = _listed(known, spec.backbone.fingerprint)
    return NewHead(
        own,
        data,
        entry or _moved(found.backbone, registry.path, known.path),
        origin=found.record.origin,
        # Once more under the lock: another process may have added a task since the first check.
        check=check,
    )


def _check_history(
    entry: TaskEntry | None, name: str, found: Resolved, given: str, allow_older: str | None
) -> None:
    if entry is None:
        return
    there = {record.sha256: version for version, record in found.entry.versions.items()}
    newest = there.get(entry.versions[entry.newest].sha256)
    if newest is None:
        raise UsageError(
            f"The registry has a task '{name}' whose newest version was not added from '{given}'. "
            f"Give another name with --as."
        )
    if found.version < newest and allow_older is not None:
        raise UsageError(
            f"'{given}' is version {found.version} there, older than version {newest} that "
            f"'{name}' has here. To go back, repeat with {allow_older}."
        )


def _listed(known: Registry, fingerprint: str) -> BackboneEntry | None:
    entries = known.backbones.values()
    return next((entry for entry in entries if entry.fingerprint == fingerprint), None)


def _moved(entry: BackboneEntry, of: Path, to: Path) -> BackboneEntry:
    """Returns an entry of one registry for another; a folder below the other's is relative."""
    source = source_of(entry, of)
    if isinstance(source, str):
        return entry
    folder, root = Path(os.path.normpath(source)), to.parent
    inside = folder.is_relative_to(root)
    text = f"./{folder.relative_to(root).as_posix()}" if inside else str(folder)
    return entry.model_copy(update={"source": text})
