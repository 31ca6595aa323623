"""Finding a task by its name: in the registry, in a file, or on the Hub. Without torch.

Only the header of a head file is parsed, which is fast.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import BackboneError, UsageError
from adapterhub.specs import TaskSpec, identity
from adapterhub.store.agreement import check_agreement
from adapterhub.store.header import Header, read_bytes, read_header
from adapterhub.store.paths import absolute_path
from adapterhub.store.references import Reference, absolute, parse_reference
from adapterhub.store.registries import Registries, as_registries, source_of
from adapterhub.store.registry import Registry, Resolved
from adapterhub.store.retired import notice

if TYPE_CHECKING:
    from adapterhub.remote.repository import RemoteTask
    from adapterhub.store.entries import BackboneEntry
    from adapterhub.store.headfile import HeadFile

_log = logging.getLogger("adapterhub")


@dataclass(frozen=True, slots=True, eq=False)
class FoundTask:
    """A task that was looked up: the bytes of its head file, read and checked once.

    Attributes:
        reference: The name as the user gave it.
        name: Its name where it was found; for a file the one in its header.
        alias: The alias in the reference, or None.
        header: What the header of its head file says.
        data: The bytes of the head file.
        sha256: Their digest.
        source: Where they came from, for messages.
        version: Its version where it was found; None for a file.
        origin: Repository and commit on the Hub, `owner/name@commit`, or None.
        found: Where its registry has it; None for a file and a task on the Hub.
        registry: The registry.yaml that has it; None for a file and a task on the Hub.
        backbone: The entry of its backbone where it was found; None for a file.
    """

    reference: str
    name: str
    alias: str | None
    header: Header
    data: bytes
    sha256: str
    source: str
    version: int | None = None
    origin: str | None = None
    found: Resolved | None = None
    registry: Path | None = None
    backbone: BackboneEntry | None = None

    @property
    def spec(self) -> TaskSpec:
        """Returns the task, as the header of its head file says."""
        return self.header.spec

    @property
    def pinned(self) -> str:
        """Returns the name of this very version, in any working folder; of a file its path."""
        if self.version is None:
            return absolute(self.reference)
        parsed = parse_reference(self.reference)
        place = parsed.place if self.origin is None else f"{self.origin}:"
        return f"{place}{self.name}:{self.version}"

    def load(self) -> HeadFile:
        """Returns the head file with its tensors; this imports torch.

        Raises:
            HeadFileError: The tensors are damaged, or not those of the header.
        """
        from adapterhub.store.headfile import read_tensors

        return read_tensors(self.data, self.header, sha256=self.sha256, source=self.source)


def find(reference: str, registry: Registries | Registry | Path) -> FoundTask:
    """Returns the task that a name means; see `find_all`."""
    return find_all([reference], registry)[0]


def find_all(
    references: Iterable[str], registry: Registries | Registry | Path | Sequence[Path]
) -> list[FoundTask]:
    """Returns the tasks that names mean; each head file is read, hashed and parsed once.

    Args:
        references: As `store.references` says.
        registry: The registries, or their registry.yaml files, for names without a place. All
            tasks are of one state of each file.

    Raises:
        UsageError: The name follows none of the forms, or several registries have it.
        UnknownTaskError: There is no such task, version or alias.
        HeadFileError: The head file is damaged, or not the one that its registry promises.
        RegistryError: An entry is of another task than its head file.
        RemoteError: The Hub refuses it or is out of reach.
    """
    parsed = [parse_reference(reference) for reference in references]
    registries = as_registries(registry)
    # The Hub last: a name that is wrong here is refused without waiting for it.
    found = {one: _find(one, registries) for one in parsed if one.kind != "hub"}
    found |= _on_the_hub([one for one in parsed if one.kind == "hub"])
    return [found[one] for one in parsed]


def _find(reference: Reference, registries: Registries) -> FoundTask:
    if reference.path is not None:
        path = absolute_path(reference.path)
        return replace(task_in(read_bytes(path), str(path)), reference=reference.text)
    known, found = registries.resolve(reference)
    text = notice(reference.task or found.task, found.task, found.entry)
    if text is not None:
        _log.warning("%s", text)
    record, source = found.record, str(found.path)
    data = read_bytes(found.path, sha256=record.sha256, size=record.size)
    header = read_header(data, source)
    check_agreement(found, header.spec, known.path)
    return FoundTask(
        reference=reference.text,
        name=found.task,
        alias=found.alias,
        header=header,
        data=data,
        sha256=record.sha256,
        source=source,
        version=found.version,
        found=found,
        registry=known.path,
        backbone=found.backbone,
    )


def task_in(data: bytes, source: str, *, alias: str | None = None) -> FoundTask:
    """Returns the task whose head file has these bytes, by the name that the file says.

    Raises:
        HeadFileError: They are no head file.
    """
    header = read_header(data, source)
    digest = hashlib.sha256(data).hexdigest()
    return FoundTask(source, header.spec.task, alias, header, data, digest, source)


def _on_the_hub(references: Sequence[Reference]) -> dict[Reference, FoundTask]:
    """Returns tasks of the Hub, all of one state of their repositories."""
    if not references:
        return {}
    # The Hub's client takes most of a second to import.
    from adapterhub.remote.repository import lookup_of_call, read_tasks

    read = read_tasks(references, lookup_of_call())
    return {
        reference: _checked(reference, remote, data)
        for reference, (remote, data) in zip(references, read, strict=True)
    }


def _checked(reference: Reference, remote: RemoteTask, data: bytes) -> FoundTask:
    from adapterhub.remote.repository import check_agreement

    header = read_header(data, remote.source)
    check_agreement(remote, header.spec)
    return FoundTask(
        reference=reference.text,
        name=remote.task,
        alias=remote.alias,
        header=header,
        data=data,
        sha256=remote.record.sha256,
        source=remote.source,
        version=remote.version,
        origin=f"{remote.commit.repo}@{remote.commit.oid}",
        backbone=remote.backbone,
    )


def choose_tasks(registry: Registries | Registry, references: Iterable[str]) -> list[FoundTask]:
    """Returns tasks that run together, by their names.

    Raises:
        UsageError: They belong to different backbones.
        AdapterHubError: As `find_all`.
    """
    tasks = find_all(references, registry)
    for task in tasks[1:]:
        wanted, other = tasks[0].spec.backbone, task.spec.backbone
        if other.fingerprint != wanted.fingerprint:
            one, two = other.name, wanted.name
            if one == two:
                one, two = identity(other), identity(wanted)
            raise UsageError(
                f"Task '{task.reference}' belongs to the backbone {one}, task "
                f"'{tasks[0].reference}' to {two}; one call runs one backbone."
            )
    return tasks


def choose_backbone_key(
    registry: Registries | Registry, tasks: Sequence[FoundTask], backbone: str | None
) -> str | Path | None:
    """Returns the backbone to run: the given one, else the key or the source of the tasks' one.

    Tasks of one registry have its key. A key that several registries have for different backbones
    says nothing, and a backbone that only the registry of a task lists has no key at all; the
    source is returned then.

    Raises:
        BackboneError: No registry lists it.
    """
    if backbone is not None or not tasks:
        return backbone
    registries, first = as_registries(registry), tasks[0]
    fingerprint = first.spec.backbone.fingerprint
    listed = [one for one in registries.backbones if one[2].fingerprint == fingerprint]
    if listed:
        own = None if first.found is None else first.found.entry.backbone
        place, key, entry = min(
            listed, key=lambda one: (one[0].path, one[1]) != (first.registry, own)
        )
        meant = {e.fingerprint for _, k, e in registries.backbones if k == key}
        return key if len(meant) == 1 else source_of(entry, place.path)
    for task in tasks:
        if task.found is not None and task.registry is not None:
            return source_of(task.found.backbone, task.registry)
    shipped = registries.shipped()
    for entry in shipped.backbones.values():
        if entry.fingerprint == fingerprint:
            return source_of(entry, shipped.path)
    for task in tasks:
        if task.origin is not None and task.backbone is not None and task.backbone.is_portable:
            return source_of(task.backbone, shipped.path)
    raise BackboneError(
        first.spec.backbone.name,
        f"task '{first.reference}' was made for it, and the {registries.noun} {registries.text} "
        f"{'does' if registries.is_one else 'do'} not list it. Give its place with --backbone.",
    )


def column_names(tasks: Sequence[FoundTask]) -> Mapping[str, str]:
    """Returns the output name of each task by reference: the task's name if it is unique."""
    # Not those in the files: a task that was added or renamed may have another one there.
    own = [task.name for task in tasks]
    return {
        task.reference: name if own.count(name) == 1 else task.reference
        for task, name in zip(tasks, own, strict=True)
    }
