"""Resolves names that users type to registry, task specs and backbone, without importing torch.

Only the header of a head file is parsed, which is fast.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterhub.errors import BackboneError, UsageError
from adapterhub.specs import TaskSpec
from adapterhub.store.header import read_bytes, read_header
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import Registry, Resolved, locate_registry, read_registry


@dataclass(frozen=True, slots=True)
class ChosenTask:
    """A requested task with its spec.

    Attributes:
        reference: The name that the user gave.
        spec: The task, from the header of its head file.
        found: Its place in the registry; None for a file or a task on the Hub.
    """

    reference: str
    spec: TaskSpec
    found: Resolved | None


def open_registry(registry: Path | None) -> Registry:
    """Returns the given registry, else the nearest in a parent folder, else the shipped one.

    Raises:
        RegistryError: It cannot be read, or is not valid.
    """
    return read_registry(locate_registry(registry))


def choose_task(registry: Registry, reference: str) -> ChosenTask:
    """Returns a task by name.

    Raises:
        UnknownTaskError: There is no such task, version or alias.
        HeadFileError: Its file is damaged.
    """
    parsed = parse_reference(reference)
    if parsed.kind == "hub":
        from adapterhub.remote.repository import find_task, read_remote

        remote = find_task(parsed)
        return ChosenTask(reference, read_header(read_remote(remote), remote.source).spec, None)
    if parsed.path is not None:
        return ChosenTask(reference, read_spec(Path(os.path.expanduser(parsed.path))), None)
    found = registry.resolve(parsed)
    record = found.record
    return ChosenTask(reference, read_spec(found.path, record.sha256, record.size), found)


def choose_tasks(registry: Registry, references: Iterable[str]) -> list[ChosenTask]:
    """Returns tasks that one call can run, by name.

    Raises:
        UsageError: They belong to different backbones.
        AdapterHubError: As `choose_task`.
    """
    tasks = [choose_task(registry, reference) for reference in references]
    for task in tasks[1:]:
        wanted, other = tasks[0].spec, task.spec
        if other.backbone.fingerprint != wanted.backbone.fingerprint:
            raise UsageError(
                f"Task '{task.reference}' belongs to the backbone {other.backbone.name}, task "
                f"'{tasks[0].reference}' to {wanted.backbone.name}; one call runs one backbone."
            )
    return tasks


def choose_backbone_key(
    registry: Registry, tasks: Sequence[ChosenTask], backbone: str | None
) -> str | None:
    """Returns the key of the backbone to run: the given one, else that of the first task."""
    if backbone is not None or not tasks:
        return backbone
    first = tasks[0]
    if first.found is not None:
        return first.found.entry.backbone
    for key, entry in registry.backbones.items():
        if entry.fingerprint == first.spec.backbone.fingerprint:
            return key
    raise BackboneError(
        first.spec.backbone.name,
        f"task '{first.reference}' was made for it, and the registry {registry.path} does not list "
        f"it. Give its place with --backbone.",
    )


def column_names(tasks: Sequence[ChosenTask]) -> Mapping[str, str]:
    """Returns the output name of each task by reference: the task's name if it is unique."""
    # A task that came from the Hub may have another name here than in its file.
    own = [task.spec.task if task.found is None else task.found.task for task in tasks]
    return {
        task.reference: name if own.count(name) == 1 else task.reference
        for task, name in zip(tasks, own, strict=True)
    }


def read_spec(path: Path, sha256: str | None = None, size: int | None = None) -> TaskSpec:
    """Returns the task spec of a head file, without reading its tensors.

    Args:
        path: The file.
        sha256: Digest that its bytes must have, if known.
        size: Size in bytes that it must have, if known.

    Raises:
        IntegrityError: The bytes have another digest or size.
        HeadFileError: It cannot be read, or is not a head file.
    """
    data = read_bytes(path, sha256=sha256, size=size)
    return read_header(data, str(path)).spec
