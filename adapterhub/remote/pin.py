"""Pinned tasks: head files copied from the Hub to a registry, with commit, size and sha256.

A pinned task changes only by `add` and `update`. An older version is refused unless it is allowed
explicitly, and other bytes under a version that was added before are always refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from adapterhub.errors import (
    AdapterHubError,
    HeadFileError,
    RemoteContentError,
    RemoteError,
    RemovedTaskError,
    UsageError,
)
from adapterhub.remote.repository import Lookup, RemoteTask, check_agreement, find_task, read_remote
from adapterhub.store.editing import read_or_empty
from adapterhub.store.entries import Origin, TaskEntry, is_portable, portable_entry
from adapterhub.store.header import read_bytes
from adapterhub.store.headfile import parse_head
from adapterhub.store.references import check_name, parse_reference
from adapterhub.store.registry import Registry, Resolved
from adapterhub.store.retired import deprecation_text
from adapterhub.store.versions import NewHead, add_heads

ALLOW_OLDER = "--allow-older"

State = Literal["current", "updated", "fixed", "refused", "removed"]


@dataclass(frozen=True, slots=True)
class Updated:
    """The outcome of an update for one pinned task.

    Attributes:
        task: Its name in the registry.
        origin: Where on the Hub it is pinned now.
        state: `current`, `updated`, `fixed` (pinned by version, tag or commit, so never updated),
            `refused`, or `removed` (its owner removed it; it stays here as it is).
        problem: Why it was refused or removed, or None.
        deprecated: Why its owner deprecated it, or None.
    """

    task: str
    origin: Origin
    state: State
    problem: str | None = None
    deprecated: str | None = None


def pin(
    registry: Path, *references: str, name: str | None = None, allow_older: bool = False
) -> tuple[Resolved, ...]:
    """Adds tasks to a registry in one transaction; returns the added versions.

    Args:
        registry: registry.yaml; created where it is missing.
        references: Names of the tasks on the Hub, or paths of head files.
        name: Name in the registry, for one reference only; None keeps the name on the Hub.
        allow_older: Whether an older version may follow a newer one.

    Raises:
        UsageError: A reference is neither, or a name belongs to another task.
        RemoteError: A task cannot be fetched, or is refused; nothing was added then.
        RegistryError: A task conflicts with the registry.
    """
    if name is not None and len(references) != 1:
        raise UsageError(f"The name '{name}' is for one task; {len(references)} were given.")
    parsed = [parse_reference(reference) for reference in references]
    for one in parsed:
        if one.kind == "task":
            forms = "owner/repository:task, or ./file.safetensors"
            raise UsageError(f"'{one.text}' is not on the Hub; write {forms}.")
    known = read_or_empty(registry.resolve())
    heads, lookup = [], Lookup()
    for one in parsed:
        if one.path is not None:
            heads.append(_local(known, name, Path(os.path.expanduser(one.path))))
            continue
        own = name or one.task or ""
        check_name(own, "task")
        remote = find_task(one, lookup)
        check_history(known.tasks.get(own), own, remote, allow_older=allow_older)
        heads.append(_fetch(known, own, remote, allow_older=allow_older))
    return add_heads(registry, heads)


def update(registry: Registry, names: tuple[str, ...], *, allow_older: bool) -> tuple[Updated, ...]:
    """Updates pinned tasks in one transaction; a task that is refused stays as it is.

    Args:
        registry: Where they are pinned.
        names: Their names; none for all pinned tasks.
        allow_older: Whether an older version may follow a newer one.

    Raises:
        UsageError: A task was not added from the Hub.
        UnknownTaskError: There is no such task.
    """
    for name in names:
        if _origin(registry.resolve(name).entry) is None:
            raise UsageError(f"Task '{name}' was not added from the Hub; nothing can update it.")
    done: dict[str, Updated] = {}
    heads: list[NewHead] = []
    lookup = Lookup()
    for name in names or registry.names():
        origin = _origin(registry.tasks[name])
        if origin is None:
            continue
        try:
            remote = None if origin.fixed else _follow(origin, lookup)
            head = None
            if remote is not None:
                head = _newer(registry, name, remote, allow_older=allow_older)
        except RemovedTaskError as error:
            told = f"{error} '{name}' stays here as it is."
            done[name] = Updated(name, origin, "removed", told)
            continue
        except AdapterHubError as error:
            done[name] = Updated(name, origin, "refused", str(error))
            continue
        why = None if remote is None else deprecation_text(remote.entry.deprecated)
        state: State = "fixed" if origin.fixed else "current"
        done[name] = Updated(name, origin, state, deprecated=why)
        heads += [] if head is None else [head]
    problems = _add(registry.path, heads)
    for head in heads:
        name, problem = head.name, problems.get(head.name)
        origin = done[name].origin if problem or head.origin is None else head.origin
        state = "refused" if problem else "updated"
        done[name] = replace(done[name], origin=origin, state=state, problem=problem)
    return tuple(done.values())


def check_history(
    entry: TaskEntry | None, name: str, remote: RemoteTask, *, allow_older: bool
) -> None:
    """Checks that a version may be added to the history of a pinned task.

    Raises:
        UsageError: The name belongs to another task.
        RemoteContentError: The bytes of a version have changed since it was added.
        RemoteError: It is older than the pinned version.
    """
    if entry is None:
        return
    repo = remote.commit.repo
    pinned = [record for record in entry.versions.values() if record.origin is not None]
    names = {remote.task, *remote.former}
    mine = [r for r in pinned if r.origin and r.origin.repo == repo and r.origin.task in names]
    if len(mine) < len(entry.versions):
        raise UsageError(
            f"The registry has a task '{name}' that was not added from {repo}:{remote.task}. Give "
            f"another name with --as."
        )
    for record in mine:
        same = record.origin is not None and record.origin.version == remote.version
        if same and record.sha256 != remote.record.sha256:
            raise RemoteContentError(
                str(remote.commit),
                f"version {remote.version} of '{remote.task}' had the sha256 "
                f"{record.sha256[:12]}… when it was added here and has "
                f"{remote.record.sha256[:12]}… now. Versions never change, so the repository "
                f"was recreated, perhaps by somebody else; '{name}' is left unchanged.",
            )
    newest = entry.versions[entry.newest].origin
    if newest is None or remote.version >= newest.version or allow_older:
        return
    if newest.version in remote.entry.removed:
        raise RemovedTaskError(
            f"{remote.task}:{newest.version}",
            f"Version {newest.version} of '{remote.task}' in {remote.commit}",
            remote.entry.removed[newest.version],
            back=f"To go back to version {remote.version}, repeat with {ALLOW_OLDER}.",
        )
    raise RemoteError(
        str(remote.commit),
        f"'{remote.task}' is version {remote.version} there, older than version "
        f"{newest.version} that '{name}' has here. To go back, repeat with {ALLOW_OLDER}.",
    )


def _follow(origin: Origin, lookup: Lookup) -> RemoteTask:
    """Returns the version that a pinned task follows, as it is now."""
    alias = f"@{origin.alias}" if origin.alias else ""
    return find_task(parse_reference(f"{origin.repo}:{origin.task}{alias}"), lookup)


def _newer(
    registry: Registry, name: str, remote: RemoteTask, *, allow_older: bool
) -> NewHead | None:
    """Returns the version that a pinned task can be updated to, or None."""
    entry = registry.tasks[name]
    check_history(entry, name, remote, allow_older=allow_older)
    pinned = entry.versions[entry.newest]
    renamed = pinned.origin is not None and pinned.origin.task != remote.task
    if remote.record.sha256 == pinned.sha256 and not renamed:
        return None
    return _fetch(registry, name, remote, allow_older=allow_older)


def _local(registry: Registry, name: str | None, path: Path) -> NewHead:
    """Returns the task of a head file as it is added to a registry."""
    data = read_bytes(path)
    spec = parse_head(data, source=str(path)).spec
    same = (e for e in registry.backbones.values() if e.fingerprint == spec.backbone.fingerprint)
    entry = next(same, None)
    if entry is None and not is_portable(spec.backbone):
        raise HeadFileError(
            path,
            f"it belongs to the backbone {spec.backbone.name} ({spec.backbone.fingerprint[:19]}…), "
            f"a folder that {registry.path} does not list. Train a task there with --backbone "
            f"FOLDER, or list the folder in it, and add this file again.",
        )
    return NewHead(name or spec.task, data, entry or portable_entry(spec.backbone))


def _fetch(registry: Registry, name: str, remote: RemoteTask, *, allow_older: bool) -> NewHead:
    """Returns a task of the Hub as it is added to a registry under a name."""
    data = read_remote(remote)
    spec = parse_head(data, source=remote.source).spec
    check_agreement(remote, spec)
    backbone = spec.backbone
    listed = any(e.fingerprint == backbone.fingerprint for e in registry.backbones.values())
    if not listed and not is_portable(backbone):
        raise RemoteContentError(
            str(remote.commit),
            f"task '{remote.task}' belongs to the backbone {backbone.name} "
            f"({backbone.fingerprint[:19]}…), a folder of its publisher. Add that backbone to "
            f"{registry.path} first, or load the task with Hub(backbone=…).",
        )
    origin = Origin(
        repo=remote.commit.repo,
        commit=remote.commit.oid,
        task=remote.task,
        version=remote.version,
        alias=remote.alias if remote.follows == "alias" else None,
        fixed=remote.follows == "fixed",
    )
    return NewHead(
        name,
        data,
        portable_entry(backbone),
        origin=origin,
        # Once more under the lock: another process may have added a task since the first check.
        check=lambda entry: check_history(entry, name, remote, allow_older=allow_older),
    )


def _add(registry: Path, heads: Sequence[NewHead]) -> dict[str, str]:
    """Adds heads in one transaction, or each alone if one is refused; returns problems by task."""
    try:
        add_heads(registry, heads)
    except AdapterHubError as error:
        # A lock that is held or a full disk concerns all of them, so none is tried again.
        if isinstance(error.__cause__, OSError):
            raise
        if len(heads) == 1:
            return {heads[0].name: str(error)}
        alone = [_add(registry, [head]) for head in heads]
        return {name: problem for problems in alone for name, problem in problems.items()}
    return {}


def _origin(entry: TaskEntry) -> Origin | None:
    return entry.versions[entry.newest].origin
