"""Reads a task by name: from the registry, from a file, or from the Hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from adapterhub.store.header import read_bytes
from adapterhub.store.headfile import HeadFile, parse_head
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import read_registry


@dataclass(frozen=True, slots=True, eq=False)
class ReadTask:
    """A task with its verified head file.

    Attributes:
        name: Its name in the registry; for a file the name in its header.
        alias: The alias in the reference, or None.
        head: Its head file.
        data: The bytes of the head file.
        version: Its version in the registry; None for a file.
        origin: Repository and commit on the Hub, `owner/name@commit`, or None.
    """

    name: str
    alias: str | None
    head: HeadFile
    data: bytes
    version: int | None = None
    origin: str | None = None


def read_task(reference: str, registry: Path) -> ReadTask:
    """Returns a task by name.

    Args:
        reference: A name in one of the forms of `store.references`.
        registry: The registry.yaml for names without a place.

    Raises:
        UsageError: The name has none of the forms.
        UnknownTaskError: There is no such task, version or alias.
        HeadFileError: The head file is damaged, or differs from the digest in the registry.
        RemoteError: The Hub refuses it or cannot be reached.
    """
    parsed = parse_reference(reference)
    if parsed.path is not None:
        path = Path(os.path.expanduser(parsed.path))
        data = read_bytes(path)
        head = parse_head(data, source=str(path))
        return ReadTask(head.spec.task, None, head, data)
    if parsed.kind == "hub":
        from adapterhub.remote.repository import find_task, read_remote

        remote = find_task(parsed)
        data = read_remote(remote)
        head = parse_head(data, source=remote.source)
        origin = f"{remote.commit.repo}@{remote.commit.oid}"
        return ReadTask(remote.task, remote.alias, head, data, remote.version, origin)
    found = read_registry(registry).resolve(parsed)
    data = read_bytes(found.path, sha256=found.record.sha256, size=found.record.size)
    head = parse_head(data, source=str(found.path))
    return ReadTask(found.task, found.alias, head, data, found.version)
