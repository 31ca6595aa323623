"""Names that users type -> registry, task specs and backbone, without importing torch.

A task is known by the header of its head file, so that asking about tasks is quick.
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
    """A task that was asked for, looked up.

    Attributes:
        reference: The name as the user gave it.
        spec: The task, as the header of its head file says.
        found: Where the registry has it; None for a file.
    """

    reference: str
    spec: TaskSpec
    found: Resolved | None


def open_registry(registry: Path | None) -> Registry:
    """Returns the registry that was asked for, the nearest upwards, or the shipped one.

    Raises:
        RegistryError: It cannot be read, or is not valid.
    """
    return read_registry(locate_registry(registry))


def choose_task(registry: Registry, reference: str) -> ChosenTask:
    """Returns one task by its name.

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
    """Returns tasks that run together, by their names.

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
    """Returns the backbone that `tasks` run on: the one asked for, or that of the first task."""
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
        f"task '{first.reference}' was made for it, and the registry {registry.path} does not name "
        f"it. Say where it is with --backbone.",
    )


def column_names(tasks: Sequence[ChosenTask]) -> Mapping[str, str]:
    """Returns the name of each task's answers by reference: the task's own where it is unique."""
    # A task that came from the Hub may have another name here than in its file.
    own = [task.spec.task if task.found is None else task.found.task for task in tasks]
    return {
        task.reference: name if own.count(name) == 1 else task.reference
        for task, name in zip(tasks, own, strict=True)
    }


def read_spec(path: Path, sha256: str | None = None, size: int | None = None) -> TaskSpec:
    """Returns the task spec of a head file; its tensors are not looked at.

    Args:
        path: The file.
        sha256: Digest that its bytes must have, if known.
        size: Size in bytes that it must have, if known.

    Raises:
        IntegrityError: The bytes are not those promised.
        HeadFileError: It cannot be read, or is no head file.
    """
    data = read_bytes(path, sha256=sha256, size=size)
    return read_header(data, str(path)).spec
