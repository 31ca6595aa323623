"""Adds tasks of the Hub to a local registry: copies the head file, records commit and sha256.

A pinned task changes only by an explicit update. An older version must be allowed explicitly;
other bytes under a known version are always refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapterhub.errors import AdapterHubError, RemoteContentError, RemoteError, UsageError
from adapterhub.remote.repository import RemoteTask, find_task, read_remote
from adapterhub.store.editing import read_or_empty
from adapterhub.store.entries import Origin, TaskEntry, backbone_key, is_portable, portable_entry
from adapterhub.store.headfile import parse_head
from adapterhub.store.references import check_name, parse_reference
from adapterhub.store.registry import Registry, Resolved
from adapterhub.store.versions import NewHead, add_head

ALLOW_OLDER = "--allow-older"

State = Literal["current", "updated", "fixed", "refused"]


@dataclass(frozen=True, slots=True)
class Updated:
    """The result of an update for one pinned task.

    Attributes:
        task: Its local name.
        origin: The repository, commit and version that it is pinned to now.
        state: `current`, `updated`, `fixed` (by version, tag or commit: never updated), `refused`.
        problem: Why it was refused, or None.
    """

    task: str
    origin: Origin
    state: State
    problem: str | None = None


def pin(registry: Path, reference: str, *, name: str | None, allow_older: bool = False) -> Resolved:
    """Adds a task of the Hub to a registry; returns what was added.

    Args:
        registry: Path of registry.yaml; created if it is missing.
        reference: Its name on the Hub.
        name: Its local name; None for the same.
        allow_older: Whether an older version may replace a newer one.

    Raises:
        UsageError: It is not a name on the Hub, or the local name belongs to another task.
        RemoteError: It cannot be fetched, or is refused.
        RegistryError: It does not fit the registry.
    """
    parsed = parse_reference(reference)
    if parsed.kind != "hub" or parsed.task is None:
        raise UsageError(f"'{reference}' is not on the Hub; write owner/repository:task.")
    name = name or parsed.task
    check_name(name, "task")
    known = read_or_empty(registry.resolve())
    remote = find_task(parsed)
    check_history(known.tasks.get(name), name, remote, allow_older=allow_older)
    return _add(registry, known, name, remote, allow_older=allow_older)


def update(registry: Registry, names: tuple[str, ...], *, allow_older: bool) -> Iterator[Updated]:
    """Updates pinned tasks and yields the result of each; a refused one does not change.

    Args:
        registry: The local registry.
        names: Their local names; none for all pinned tasks.
        allow_older: Whether an older version may replace a newer one.

    Raises:
        UsageError: A task was not added from the Hub.
        UnknownTaskError: There is no such task.
    """
    for name in names:
        if _origin(registry.resolve(name).entry) is None:
            raise UsageError(f"Task '{name}' was not added from the Hub; nothing can update it.")
    for name in names or registry.names():
        origin = _origin(registry.tasks[name])
        if origin is None:
            continue
        try:
            yield _update(registry, name, origin, allow_older=allow_older)
        except AdapterHubError as error:
            yield Updated(name, origin, "refused", str(error))


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
    mine = [r for r in pinned if r.origin and (r.origin.repo, r.origin.task) == (repo, remote.task)]
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
    if newest is not None and remote.version < newest.version and not allow_older:
        raise RemoteError(
            str(remote.commit),
            f"'{remote.task}' is version {remote.version} there, older than version "
            f"{newest.version} that '{name}' has here. To go back, repeat with {ALLOW_OLDER}.",
        )


def _update(registry: Registry, name: str, origin: Origin, *, allow_older: bool) -> Updated:
    if origin.fixed:
        return Updated(name, origin, "fixed")
    alias = f"@{origin.alias}" if origin.alias else ""
    remote = find_task(parse_reference(f"{origin.repo}:{origin.task}{alias}"))
    entry = registry.tasks[name]
    check_history(entry, name, remote, allow_older=allow_older)
    if remote.record.sha256 == entry.versions[entry.newest].sha256:
        return Updated(name, origin, "current")
    added = _add(registry.path, registry, name, remote, allow_older=allow_older).record.origin
    return Updated(name, added or origin, "updated")


def _add(
    path: Path, registry: Registry, name: str, remote: RemoteTask, *, allow_older: bool
) -> Resolved:
    data = read_remote(remote)
    spec = parse_head(data, source=remote.source).spec
    key = backbone_key(registry.backbones, spec.backbone)
    if key not in registry.backbones and not is_portable(spec.backbone):
        raise RemoteContentError(
            str(remote.commit),
            f"task '{remote.task}' belongs to the backbone {spec.backbone.name} "
            f"({spec.backbone.fingerprint[:19]}…), a folder of its publisher. Add that backbone to "
            f"{path} first, or load the task with Hub(backbone=…).",
        )
    origin = Origin(
        repo=remote.commit.repo,
        commit=remote.commit.oid,
        task=remote.task,
        version=remote.version,
        alias=remote.alias if remote.follows == "alias" else None,
        fixed=remote.follows == "fixed",
    )
    new = NewHead(name, data, origin=origin)
    return add_head(
        path,
        new,
        backbone_key=key,
        backbone_entry=portable_entry(spec.backbone),
        # Again under the lock: another process may have added a task during the download.
        check=lambda entry: check_history(entry, name, remote, allow_older=allow_older),
    )


def _origin(entry: TaskEntry) -> Origin | None:
    return entry.versions[entry.newest].origin
