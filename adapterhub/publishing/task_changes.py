"""What an owner does with a task by its name, in a local registry or on the Hub.

A name with a repository, `owner/repo:task` or an address of the Hub, is changed there in one
commit; any other name is of a registry.yaml. The shipped registry is changed only where it is
given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterhub.errors import UsageError
from adapterhub.option_models import parse_options
from adapterhub.publishing.publication import CommitOptions, on_branch
from adapterhub.store import changes
from adapterhub.store.changes import Change, Tasks
from adapterhub.store.editing import change_registry
from adapterhub.store.entries import TaskEntry, listed_files
from adapterhub.store.paths import working_folder
from adapterhub.store.references import SHIPPED_PREFIX, Reference, parse_reference
from adapterhub.store.registries import Registries
from adapterhub.store.registry import find_registry, locate_registry, read_registry


@dataclass(frozen=True, slots=True)
class TaskChange:
    """What a change of a task did, or would do.

    Attributes:
        place: The registry.yaml, or the repository.
        changed: Whether anything had to change.
        deleted: Paths of files that were deleted.
        commit: On the Hub: the commit with the change; None for a dry run that would make one.
        pull_request: On the Hub: address of the pull request, or None.
        branch: On the Hub: the branch, or None for main.
        dry_run: Whether nothing was changed.
    """

    place: str
    changed: bool
    deleted: tuple[str, ...] = ()
    commit: str | None = None
    pull_request: str | None = None
    branch: str | None = None
    dry_run: bool = False


def set_alias(
    task: str,
    alias: str,
    version: int | str | None = None,
    *,
    registry: str | Path | None = None,
    **options: Any,
) -> TaskChange:
    """Points an alias of a task to a version.

    Args:
        task: Its name, `owner/repo:task` for one on the Hub; may end in `:version`.
        alias: The alias, made if it is new.
        version: The version, or another alias that points to it; None for that in the name.
        registry: The registry.yaml of a local task; None for the nearest from here upwards.
        options: Of `CommitOptions`, for a task on the Hub.

    Raises:
        UsageError: The alias or an option is not allowed.
        UnknownTaskError: There is no such task or version.
        RegistryError: The registry cannot be read, locked or written.
        RemoteError: The Hub refuses it or cannot be reached; nothing was changed.
    """
    found = parse_reference(task)
    if version is None:
        version = found.version if found.alias is None else f"@{found.alias}"
    elif found.version is not None or found.alias is not None:
        raise UsageError(f"'{task}' names a version itself; give it once.")
    if version is None:
        raise UsageError(f"Give the version that '{alias}' is to point to, or another alias.")
    change = changes.set_alias(_task(found), alias, str(version))
    title = f"Point @{alias} of {found.task} to {version}"
    return _apply(found, change, title, registry=registry, options=options, alias=alias)


def remove_alias(
    task: str, alias: str, *, registry: str | Path | None = None, **options: Any
) -> TaskChange:
    """Removes an alias of a task; arguments and errors as of `set_alias`."""
    found = _whole(task, "its alias is removed")
    title = f"Remove the alias @{alias} of {found.task}"
    change = changes.remove_alias(_task(found), alias)
    return _apply(found, change, title, registry=registry, options=options)


def deprecate_task(
    task: str,
    reason: str | None,
    *,
    use: str | None = None,
    registry: str | Path | None = None,
    **options: Any,
) -> TaskChange:
    """Marks a task as one that should not be used any more; whoever loads it is told why.

    Args:
        task: As in `set_alias`, without a version.
        reason: Why; None takes the deprecation back.
        use: The task to use instead, of the same registry or `owner/repo:task`.
        registry: As in `set_alias`.
        options: As in `set_alias`.

    Raises:
        UsageError: The reason, the other task or an option is not allowed.
        AdapterHubError: As `set_alias`.
    """
    found = _whole(task, "all versions are deprecated together")
    change = changes.deprecate(_task(found), reason, use)
    title = f"{'Undo the deprecation of' if reason is None else 'Deprecate'} {found.task}"
    return _apply(found, change, title, registry=registry, options=options)


def remove_task(
    task: str,
    reason: str = "",
    *,
    use: str | None = None,
    registry: str | Path | None = None,
    **options: Any,
) -> TaskChange:
    """Removes a task, or one version of it, with its files.

    Copies that others pinned keep working, and their next update says that it was removed and
    why. The numbers of removed versions are not used again.

    Args:
        task: As in `set_alias`; with `:version`, that version alone is removed.
        reason: Why.
        use: The task to use instead, of the same registry or `owner/repo:task`.
        registry: As in `set_alias`.
        options: As in `set_alias`.

    Raises:
        UsageError: An alias points to the version, or it is the only one.
        AdapterHubError: As `set_alias`.
    """
    found = parse_reference(task)
    if found.alias is not None:
        raise UsageError(
            f"'{task}' names an alias; write the version to remove, or the task alone."
        )
    number = "" if found.version is None else f" version {found.version}"
    change = changes.remove(_task(found), found.version, reason, use)
    title = f"Remove {found.task}{number}"
    return _apply(found, change, title, registry=registry, options=options)


def rename_task(
    task: str, new: str, *, registry: str | Path | None = None, **options: Any
) -> TaskChange:
    """Gives a task another name; the old one leads to it from then on, also for pinned copies.

    Args:
        task: As in `set_alias`, without a version.
        new: The new name, in the same registry or repository.
        registry: As in `set_alias`.
        options: As in `set_alias`.

    Raises:
        UsageError: The new name is taken or not allowed.
        AdapterHubError: As `set_alias`.
    """
    found = _whole(task, "all versions are renamed together")
    if found.repo is not None and ("/" in new or ":" in new):
        target = _whole(new, "all versions are renamed together")
        if (target.repo, target.revision) != (found.repo, found.revision):
            raise UsageError(f"'{new}' is not in {found.repo}; a task is renamed where it is.")
        new = _task(target)
    change = changes.rename(_task(found), new)
    title = f"Rename {found.task} to {new}"
    return _apply(found, change, title, registry=registry, options=options)


def task_entry(task: str, *, registry: str | Path | None = None) -> tuple[str, TaskEntry]:
    """Returns the name that a task has now, and its entry; changes nothing.

    Raises:
        AdapterHubError: As `set_alias`.
    """
    found = _whole(task, "its aliases are shown")
    if found.repo is None:
        _, resolved = Registries([locate_registry(registry)]).resolve(found)
        return resolved.task, resolved.entry
    from adapterhub.remote.repository import Lookup

    lookup = Lookup()
    commit = lookup.commit(found.repo, found.revision)
    content = lookup.registry(commit)
    return Tasks(content.tasks, content.retired, str(commit)).find(_task(found))


def _apply(
    found: Reference,
    change: Change,
    title: str,
    *,
    registry: str | Path | None,
    options: Mapping[str, Any],
    alias: str | None = None,
) -> TaskChange:
    given = parse_options(CommitOptions, options)
    if found.repo is None:
        return _apply_here(change, own_registry(found, registry), given)
    if registry is not None:
        raise UsageError(f"'{found.text}' is on the Hub; a registry is of local tasks.")
    # The Hub's client takes most of a second to import.
    from adapterhub.publishing.remote_changes import change_repository

    given = on_branch(given, found.revision)
    done = change_repository(found.repo, change, title, given, alias=alias)
    return TaskChange(
        place=done.repo,
        changed=bool(done.written or done.deleted),
        deleted=done.deleted,
        commit=done.commit,
        pull_request=done.pull_request,
        branch=done.branch,
        dry_run=done.dry_run,
    )


def own_registry(found: Reference, registry: str | Path | None) -> Path:
    """Returns the registry.yaml that may be changed for a local task.

    Raises:
        UsageError: There is none.
    """
    if found.kind == "shipped" or str(registry or "").startswith(SHIPPED_PREFIX):
        raise UsageError(
            "Tasks that ship with adapterhub are not changed; `adapterhub add shipped:NAME` copies "
            "one to a registry of yours."
        )
    if found.registry is not None and registry is not None:
        raise UsageError(f"'{found.text}' names its registry itself; give no other.")
    given = found.registry or registry
    path = locate_registry(given) if given is not None else find_registry(working_folder())
    if path is None:
        raise UsageError(
            "There is no registry.yaml here or in a folder above, and tasks that ship with "
            "adapterhub are not changed. Name the registry, or a task on the Hub: "
            "owner/repository:task."
        )
    return path


def _apply_here(change: Change, path: Path, given: CommitOptions) -> TaskChange:
    of_hub = sorted(given.model_dump(exclude_defaults=True).keys() - {"dry_run"})
    if of_hub:
        raise UsageError(f"{of_hub[0]} is for tasks on the Hub; write owner/repository:task.")
    before = read_registry(path)
    if given.dry_run:
        old = Tasks(before.tasks, before.retired)
        after = change(old)
        is_new, tasks = after is not old, after.entries
    else:
        new = change_registry(path, change)
        is_new, tasks = new != before, new.tasks
    deleted = sorted(listed_files(before.tasks) - listed_files(tasks))
    return TaskChange(str(before.path), is_new, tuple(deleted), dry_run=given.dry_run)


def _whole(task: str, why: str) -> Reference:
    found = parse_reference(task)
    if found.version is not None or found.alias is not None:
        raise UsageError(f"'{task}' names a version; {why}, so name the task alone.")
    return found


def _task(found: Reference) -> str:
    if found.task is None:
        raise UsageError(f"'{found.text}' is a file; name a task of a registry or on the Hub.")
    return found.task
