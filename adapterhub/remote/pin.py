"""Pinned tasks: head files copied from the Hub to a registry, with commit, size and sha256.

A pinned task changes only by `add` and `update`. An older version is refused unless it is allowed
explicitly, and other bytes under a version that was added before are always refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from adapterhub.errors import (
    AdapterHubError,
    RemoteContentError,
    RemoteError,
    RemovedTaskError,
    UsageError,
)
from adapterhub.remote.operation import operation
from adapterhub.remote.parallel import in_parallel
from adapterhub.remote.repository import (
    Lookup,
    RemoteTask,
    check_agreement,
    find_task,
    find_tasks,
    lookup_of_call,
    read_remote,
)
from adapterhub.store.changes import Tasks, follow_owners
from adapterhub.store.copying import file_to_add, task_to_add
from adapterhub.store.editing import change_registry, read_or_empty
from adapterhub.store.entries import Deprecation, Origin, TaskEntry, portable_entry
from adapterhub.store.headfile import parse_head
from adapterhub.store.paths import absolute_path
from adapterhub.store.references import Reference, check_name, parse_reference
from adapterhub.store.registries import Registries
from adapterhub.store.registry import Registry, Resolved
from adapterhub.store.retired import deprecation_text, owners_word
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
        there: The task on the Hub, or None where it was not found.
    """

    task: str
    origin: Origin
    state: State
    problem: str | None = None
    there: TaskEntry | None = None

    @property
    def deprecated(self) -> str | None:
        """Returns why its owner deprecated it, or None."""
        found = None if self.there is None else self.there.deprecated
        return deprecation_text(found, self.origin.repo)


def pin(
    registry: Path, *references: str, name: str | None = None, allow_older: bool = False
) -> tuple[Resolved, ...]:
    """Adds tasks to a registry in one transaction; returns the added versions.

    Args:
        registry: registry.yaml; created where it is missing.
        references: Names of tasks on the Hub, of those that ship and of other registries, or
            paths of head files.
        name: Name in the registry, for one reference only; None keeps the task's own.
        allow_older: Whether an older version may follow a newer one.

    Raises:
        UsageError: A reference is none of these, or a name belongs to another task.
        RemoteError: A task cannot be fetched, or is refused; nothing was added then.
        RegistryError: A task conflicts with the registry.
    """
    if name is not None and len(references) != 1:
        raise UsageError(f"The name '{name}' is for one task; {len(references)} were given.")
    parsed = [parse_reference(reference) for reference in references]
    sources = Registries(())
    for one in parsed:
        if one.kind == "task":
            shipped = f", for instance shipped:{one.task}" * (one.task in sources.shipped().tasks)
            raise UsageError(
                f"'{one.text}' has no place to take it from; write owner/repository:task, "
                f"shipped:task{shipped}, ./other/registry.yaml:task or ./file.safetensors."
            )
    known = read_or_empty(registry.resolve())
    older = None if allow_older else ALLOW_OLDER
    far = {one.text: one for one in parsed if one.kind == "hub"}
    fetched = _fetched(known, list(far.values()), name, allow_older=allow_older)
    heads = []
    for one in parsed:
        if one.path is not None:
            heads.append(file_to_add(known, absolute_path(one.path), name=name))
        elif one.kind == "hub":
            heads.append(fetched[one.text][0])
        else:
            head = task_to_add(known, one, name=name, sources=sources, allow_older=older)
            heads.append(head)
    added = add_heads(registry, heads)
    _follow_owners(registry, {head.name: owner for head, owner in fetched.values()})
    return added


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
    own = [registry.resolve(name).task for name in names] or registry.names()
    pinned = {name: _origin(registry.tasks[name]) for name in own}
    done = {
        name: Updated(name, origin, "fixed" if origin.fixed else "current")
        for name, origin in pinned.items()
        if origin is not None
    }
    found = _newer(registry, done, allow_older=allow_older)
    done |= {name: update for name, (update, _) in found.items()}
    heads = [head for _, head in found.values() if head is not None]
    problems = _add(registry.path, heads)
    for head in heads:
        problem, origin = problems.get(head.name), head.origin or done[head.name].origin
        if problem is not None:
            done[head.name] = replace(done[head.name], state="refused", problem=problem)
        else:
            done[head.name] = replace(done[head.name], origin=origin, state="updated")
    said = {
        name: owners_word(one.there.deprecated, one.origin.repo)
        for name, one in done.items()
        if one.there is not None
    }
    _follow_owners(registry.path, said)
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
    why = remote.entry.removal(newest.version)
    if why is not None:
        raise RemovedTaskError(
            f"{remote.task}:{newest.version}",
            f"Version {newest.version} of '{remote.task}' in {remote.commit}",
            why,
            back=f"To go back to version {remote.version}, repeat with {ALLOW_OLDER}.",
        )
    raise RemoteError(
        str(remote.commit),
        f"'{remote.task}' is version {remote.version} there, older than version "
        f"{newest.version} that '{name}' has here. To go back, repeat with {ALLOW_OLDER}.",
    )


def _newer(
    registry: Registry, pinned: Mapping[str, Updated], *, allow_older: bool
) -> dict[str, tuple[Updated, NewHead | None]]:
    """Returns what became of pinned tasks that follow the Hub, and the versions to update to."""
    found: dict[str, tuple[Updated, NewHead | None]] = {}
    follow = {name: _reference(one.origin) for name, one in pinned.items() if not one.origin.fixed}
    with operation():
        lookup, remotes = lookup_of_call(), {}
        fixed = {} if lookup.place.offline else _fixed(pinned)
        lookup.prepare([*follow.values(), *fixed.values()])
        for name, reference in fixed.items():
            found[name] = _still_there(pinned[name], reference, lookup), None
        for name, reference in follow.items():
            try:
                remote = find_task(reference, lookup)
                found[name] = replace(pinned[name], there=remote.entry), None
                check_history(registry.tasks[name], name, remote, allow_older=allow_older)
            except AdapterHubError as error:
                found[name] = _kept(found.get(name, (pinned[name],))[0], error), None
                continue
            if _is_other(registry.tasks[name], remote):
                remotes[name] = remote
        read = in_parallel(_try_to_read, remotes.values())
    for (name, remote), data in zip(remotes.items(), read, strict=True):
        try:
            if isinstance(data, AdapterHubError):
                raise data
            head = _head(registry, name, remote, data, allow_older=allow_older)
            found[name] = found[name][0], head
        except AdapterHubError as error:
            found[name] = _kept(found[name][0], error), None
    return found


def _fixed(pinned: Mapping[str, Updated]) -> dict[str, Reference]:
    """Returns the versions on the Hub of tasks that are never updated, by name."""
    fixed = {name: one.origin for name, one in pinned.items() if one.origin.fixed}
    return {
        name: parse_reference(f"{origin.repo}:{origin.task}:{origin.version}")
        for name, origin in fixed.items()
    }


def _still_there(update: Updated, reference: Reference, lookup: Lookup) -> Updated:
    """Returns the outcome for a task that is never updated: what its owner says of it now."""
    try:
        remote = find_task(reference, lookup)
    except RemovedTaskError as error:
        return _kept(update, error)
    except AdapterHubError:
        return update  # it needs nothing of the Hub
    return replace(update, there=remote.entry)


def _reference(origin: Origin) -> Reference:
    alias = f"@{origin.alias}" if origin.alias else ""
    return parse_reference(f"{origin.repo}:{origin.task}{alias}")


def _is_other(entry: TaskEntry, remote: RemoteTask) -> bool:
    """Returns whether a task has other bytes or another name than the pinned one."""
    pinned = entry.versions[entry.newest]
    renamed = pinned.origin is not None and pinned.origin.task != remote.task
    return renamed or remote.record.sha256 != pinned.sha256


def _kept(update: Updated, error: AdapterHubError) -> Updated:
    """Returns the outcome for a task that stays as it is because of an error."""
    if isinstance(error, RemovedTaskError):
        problem = f"{error} '{update.task}' stays here as it is."
        return replace(update, state="removed", problem=problem)
    return replace(update, state="refused", problem=str(error))


def _try_to_read(remote: RemoteTask) -> bytes | AdapterHubError:
    """Returns the bytes of a head file, or why they cannot be read."""
    try:
        return read_remote(remote)
    except AdapterHubError as error:
        return error


def _fetched(
    known: Registry, references: Sequence[Reference], name: str | None, *, allow_older: bool
) -> dict[str, tuple[NewHead, Deprecation | None]]:
    """Returns tasks of the Hub as they are added, and their owners' deprecations, by reference."""
    own = {one.text: name or one.task or "" for one in references}
    for one in own.values():
        check_name(one, "task")
    if not references:
        return {}
    with operation():
        remotes = dict(zip(own.items(), find_tasks(references, lookup_of_call()), strict=True))
        for (_, one), remote in remotes.items():
            check_history(known.tasks.get(one), one, remote, allow_older=allow_older)
        read = in_parallel(read_remote, remotes.values())
    return {
        text: (
            _head(known, one, remote, data, allow_older=allow_older),
            owners_word(remote.entry.deprecated, remote.commit.repo),
        )
        for ((text, one), remote), data in zip(remotes.items(), read, strict=True)
    }


def _head(
    registry: Registry, name: str, remote: RemoteTask, data: bytes, *, allow_older: bool
) -> NewHead:
    """Returns a task of the Hub as it is added to a registry under a name."""
    spec = parse_head(data, source=remote.source).spec
    check_agreement(remote, spec)
    backbone = spec.backbone
    entry = remote.backbone if remote.backbone.is_portable else portable_entry(backbone)
    listed = any(e.fingerprint == backbone.fingerprint for e in registry.backbones.values())
    if not listed and not entry.is_portable:
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
        entry,
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


def _follow_owners(path: Path, said: Mapping[str, Deprecation | None]) -> None:
    """Writes what owners say of their tasks to a registry, if it says anything else of them."""
    change, now = follow_owners(said), read_or_empty(path)
    before = Tasks(now.tasks, now.retired)
    # Without need no lock: the folder of a registry may be read-only.
    if change(before) is not before:
        change_registry(path, change)


def _origin(entry: TaskEntry) -> Origin | None:
    return entry.versions[entry.newest].origin
