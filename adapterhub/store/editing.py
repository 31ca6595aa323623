"""Changes to the registry: one writer at a time, and the whole file or nothing.

Nothing here imports torch; adding a version, which does, is in `versions.py`.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from adapterhub.errors import RegistryError
from adapterhub.specs import TaskSpec
from adapterhub.store.atomic import open_regular, reason, stray_files, sweep, write_atomic
from adapterhub.store.entries import (
    SCHEMA_VERSION,
    BackboneEntry,
    RegistryContent,
    TaskEntry,
    VersionRecord,
)
from adapterhub.store.header import SUFFIX
from adapterhub.store.references import check_name
from adapterhub.store.registry import Registry, Resolved, parse_registry, read_registry
from adapterhub.store.registry_text import render_registry
from adapterhub.store.yamlsafe import MAX_BYTES

HEADS_FOLDER = "heads"
LOCK_TIMEOUT = 30.0
"""Seconds that a writer waits for the writers before it."""

_LOCK_POLL = 0.01


@contextlib.contextmanager
def registry_lock(path: Path) -> Iterator[Path]:
    """Holds the right to change the registry; yields its path with links resolved.

    The kernel frees the lock when its holder dies. Temporary files of dead writers are swept.

    Raises:
        RegistryError: Another writer holds the lock for too long, or the folder is read-only.
    """
    path = path.resolve()
    lock_path = path.with_name(f"{path.name}.lock")
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=LOCK_TIMEOUT, poll_interval=_LOCK_POLL)
    except Timeout as error:
        raise RegistryError(
            path,
            f"another process has held the lock {lock_path} for {LOCK_TIMEOUT:g} s"
            f"{_holder(lock_path)}. Wait for it, or stop it; do not remove the lock file while it "
            f"runs.",
        ) from error
    except OSError as error:
        problem = f"its lock {lock_path} cannot be opened: {reason(error)}"
        raise RegistryError(path, f"{problem}. Writers need write access here.") from error
    try:
        with _named_holder(lock_path):
            sweep(path.parent)
            sweep(path.parent / HEADS_FOLDER)
            yield path
    finally:
        lock.release()


@contextlib.contextmanager
def _named_holder(lock_path: Path) -> Iterator[None]:
    """Says beside the lock file who holds it; those who wait empty the lock file itself."""
    note = _holder_path(lock_path)
    # For the message of others only, so a full disk shall not stop a writer here.
    with contextlib.suppress(OSError):
        note.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink(missing_ok=True)


def _holder(lock_path: Path) -> str:
    """Returns who holds a lock, for a message; an empty text where nobody said so."""
    try:
        with open_regular(_holder_path(lock_path)) as file:
            text = file.read(200).decode("utf-8", "replace")
    except OSError:
        return ""
    shown = "".join(sign if sign.isprintable() else "?" for sign in text)
    return f": {shown}" if shown else ""


def _holder_path(lock_path: Path) -> Path:
    return lock_path.with_name(f"{lock_path.name}-holder")


def read_or_empty(path: Path) -> Registry:
    """Returns the registry at `path`, or one without tasks where there is no such file.

    Raises:
        RegistryError: It cannot be read, or is not valid.
    """
    return read_registry(path) if path.exists() else Registry(path, {}, {})


def prepare_registry(
    path: Path, backbones: Mapping[str, BackboneEntry], tasks: Mapping[str, TaskEntry]
) -> bytes:
    """Returns the bytes of a registry, after every check that a reader will make.

    Raises:
        RegistryError: It would be too big, inconsistent, or not read back as the same.
    """
    try:
        content = RegistryContent(
            schema=SCHEMA_VERSION, backbones=dict(backbones), tasks=dict(tasks)
        )
    except ValidationError as error:
        raise refused_change(error, path) from error
    data = render_registry(content)
    if len(data) > MAX_BYTES:
        raise RegistryError(path, f"it would be {len(data)} bytes long; at most {MAX_BYTES}")
    if parse_registry(data, path) != content:
        raise RegistryError(path, "it would not read back as it was written; nothing was changed")
    return data


def refused_change(error: ValidationError, path: Path) -> RegistryError:
    """Returns the error for a change that would make the registry invalid."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    text = f"{place}: {problem}" if place else problem
    return RegistryError(path, f"the change was refused, nothing was written: {text}")


def write_registry(path: Path, data: bytes) -> None:
    """Writes the registry, whole or not at all. The caller holds the lock.

    Raises:
        RegistryError: The system cannot write it.
    """
    try:
        write_atomic(path, data, replace=True, under_lock=True)
    except OSError as error:
        raise RegistryError(path, f"it cannot be written: {reason(error)}") from error


def set_alias(path: Path, task: str, alias: str, version: int) -> Resolved:
    """Points an alias of a task to a version; returns what it now resolves to.

    Raises:
        UsageError: The alias is not a name.
        UnknownTaskError: There is no such task or version.
        RegistryError: The registry cannot be read or written.
    """
    check_name(alias, "alias")
    read_registry(path)  # before the lock, whose file would make a mistyped folder
    with registry_lock(path) as path:
        registry = read_registry(path)
        registry.resolve(f"{task}:{version}")
        entry = registry.tasks[task]
        if entry.aliases.get(alias) != version:
            tasks = {**registry.tasks, task: with_aliases(entry, {alias: version})}
            write_registry(path, prepare_registry(path, registry.backbones, tasks))
    return read_registry(path).resolve(f"{task}@{alias}")


def with_aliases(entry: TaskEntry, aliases: Mapping[str, int]) -> TaskEntry:
    """Returns `entry` with some aliases moved or added."""
    return entry.model_copy(update={"aliases": {**entry.aliases, **aliases}})


def unlisted_files(path: Path) -> list[Path]:
    """Returns files that a writer left behind and no entry lists, sorted.

    These are head files whose writer was stopped before it wrote the registry, and temporary
    files. The next writer of the same task replaces the one and sweeps the other.

    Raises:
        RegistryError: The registry cannot be read, or is not valid.
    """
    registry = read_registry(path)
    folder = registry.path.parent
    listed = {
        folder / record.file
        for entry in registry.tasks.values()
        for record in entry.versions.values()
    }
    heads = folder / HEADS_FOLDER
    found = [file for file in heads.glob(f"*{SUFFIX}") if file not in listed]
    return sorted([*found, *stray_files(heads), *stray_files(folder)])


def make_entry(
    spec: TaskSpec,
    backbone_key: str,
    *,
    aliases: Mapping[str, int],
    versions: Mapping[int, VersionRecord],
    place: Path,
) -> TaskEntry:
    """Returns the entry of a task as its newest spec describes it.

    Raises:
        RegistryError: The registry at `place` cannot hold it.
    """
    try:
        return TaskEntry(
            kind=spec.kind,
            backbone=backbone_key,
            description=spec.description,
            languages=spec.languages,
            license=spec.license,
            aliases=dict(aliases),
            versions=dict(versions),
        )
    except ValidationError as error:
        raise refused_change(error, place) from error
