"""Tasks that should not be used, were removed or have another name now; what users are told."""

from __future__ import annotations

from collections.abc import Mapping

from adapterhub.errors import RemovedTaskError, UnknownTaskError
from adapterhub.store.entries import Deprecation, Retired, TaskEntry
from adapterhub.store.references import Reference

_MOST_STEPS = 100


def current_name(
    name: str, tasks: Mapping[str, TaskEntry], retired: Mapping[str, Retired], place: str = ""
) -> str:
    """Returns the name that a task has now.

    Args:
        name: Its name, or one that it had.
        tasks: The tasks of a registry.
        retired: The names that tasks of it had.
        place: The repository, for messages; empty for a local registry.

    Raises:
        UnknownTaskError: There is no such task.
        RemovedTaskError: It was removed.
    """
    now, found = name, None
    for _ in range(_MOST_STEPS):
        if now in tasks:
            return now
        found = retired.get(now)
        if found is None or found.renamed is None:
            break
        now = found.renamed
    of_place = f" of {place}" if place else ""
    if found is None:
        raise UnknownTaskError(name, sorted(tasks), what=f"task{of_place}")
    use = _named(found.use, place.partition("@")[0])
    raise RemovedTaskError(name, f"Task '{name}'{of_place}", found.reason, use)


def pick_version(task: str, entry: TaskEntry, wanted: Reference, place: str = "") -> int:
    """Returns the version of a task that a reference means.

    Raises:
        UnknownTaskError: There is no such version or alias.
        RemovedTaskError: The version was removed.
    """
    in_place = f" in {place}" if place else ""
    if wanted.alias is not None:
        if wanted.alias not in entry.aliases:
            what = f"alias of '{task}'{in_place}"
            raise UnknownTaskError(wanted.alias, entry.aliases, what=what)
        return entry.aliases[wanted.alias]
    version = wanted.version
    why = None if version is None else entry.removal(version)
    if why is not None:
        what = f"Version {version} of '{task}'{in_place}"
        raise RemovedTaskError(f"{task}:{version}", what, why)
    if version is not None and version not in entry.versions:
        known = [str(number) for number in sorted(entry.versions)]
        raise UnknownTaskError(str(version), known, what=f"version of '{task}'{in_place}")
    return version or entry.newest


def come_back(entry: TaskEntry, gone: Retired | None) -> TaskEntry:
    """Returns the entry of a new task, which says of the removed one of its name what was said.

    Args:
        entry: The entry of the new task, whose versions are above those of the removed one.
        gone: What is known of the name; None for one that no task had.
    """
    if gone is None or gone.renamed is not None:
        return entry
    return entry.model_copy(update={"removed": {**entry.removed, gone.last: gone.reason}})


def notice(asked: str, name: str, entry: TaskEntry, place: str = "") -> str | None:
    """Returns what to tell a user of a task: that it is renamed or deprecated, or None.

    Args:
        asked: The name that the user gave.
        name: The name that the task has.
        entry: Its entry.
        place: The repository, for messages; empty for a local registry.
    """
    where = f"{place}:" if place else ""
    parts = []
    if asked != name:
        parts.append(f"Task '{where}{asked}' was renamed to '{where}{name}'; use that name.")
    if entry.deprecated is not None:
        text = deprecation_text(entry.deprecated, place)
        parts.append(f"Task '{where}{name}' is deprecated: {text}")
    return " ".join(parts) or None


def deprecation_text(found: Deprecation | None, place: str = "") -> str | None:
    """Returns the reason of a deprecation and what to use instead, or None.

    Args:
        found: The deprecation, or None.
        place: The repository of the task; empty for a local registry.
    """
    if found is None:
        return None
    reason = found.reason.rstrip()
    end = "" if reason.endswith((".", "!", "?", "。")) else "."
    use = _named(found.use, place)
    return f"{reason}{end}" + (f" Use '{use}' instead." if use else "")


def owners_word(found: Deprecation | None, repo: str) -> Deprecation | None:
    """Returns the deprecation of a task on the Hub as a copy of the task elsewhere has it."""
    if found is None:
        return None
    return Deprecation(reason=found.reason, use=_named(found.use, repo), by_owner=True)


def _named(use: str | None, place: str) -> str | None:
    """Returns the name of another task of a repository for those who are not in it."""
    is_beside = use is not None and "/" not in use.partition(":")[0]
    return f"{place}:{use}" if place and is_beside else use
