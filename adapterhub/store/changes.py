"""What an owner does with a task that is there: alias, deprecate, remove, rename.

Each change makes new entries out of the old ones and does nothing else, so that it is the same in
a local registry (`editing.py`) and in a repository on the Hub (`publishing/remote_changes.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from adapterhub.errors import UnknownTaskError, UsageError, check_type
from adapterhub.store.agreement import renamed
from adapterhub.store.entries import Deprecation, Retired, TaskEntry
from adapterhub.store.references import check_name, parse_reference
from adapterhub.store.retired import current_name, pick_version


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks of a registry.

    Attributes:
        entries: Task by name.
        retired: Names that tasks had, by name.
        place: The repository, for messages; empty for a local registry.
    """

    entries: Mapping[str, TaskEntry]
    retired: Mapping[str, Retired]
    place: str = ""

    def find(self, name: str) -> tuple[str, TaskEntry]:
        """Returns the name that a task has now, and its entry.

        Raises:
            UnknownTaskError: There is no such task, or it was removed.
        """
        now = current_name(name, self.entries, self.retired, self.place)
        return now, self.entries[now]

    def with_entry(self, name: str, **changes: object) -> Tasks:
        """Returns the tasks with fields of one entry changed; the very same where none differs."""
        entry = self.entries[name]
        if all(getattr(entry, field) == value for field, value in changes.items()):
            return self
        # Validated again, which a copy is not.
        changed = TaskEntry.model_validate({**dict(entry), **changes})
        return replace(self, entries={**self.entries, name: changed})


Change = Callable[[Tasks], Tasks]
"""Returns the tasks after a change; the very same where there is nothing to change."""


def set_alias(name: str, alias: str, target: str) -> Change:
    """Returns the change that points an alias of a task to a version.

    Args:
        name: The task.
        alias: The alias.
        target: The version, or another alias that points to it.

    Raises:
        UsageError: The alias is not a valid name.
    """
    check_name(alias, "alias")
    if alias.isdigit():
        raise UsageError(f"The alias {alias!r} would look like a version; use another name.")
    mark = ":" if target.isascii() and target.isdigit() else "@"
    wanted = parse_reference(f"{name}{mark}{target.removeprefix('@')}")

    def change(tasks: Tasks) -> Tasks:
        now, entry = tasks.find(name)
        version = pick_version(now, entry, wanted, tasks.place)
        return tasks.with_entry(now, aliases={**entry.aliases, alias: version})

    return change


def remove_alias(name: str, alias: str) -> Change:
    """Returns the change that removes an alias of a task.

    Raises:
        UsageError: The alias is no string.
    """
    check_type(alias, str, "The alias", "a name")

    def change(tasks: Tasks) -> Tasks:
        now, entry = tasks.find(name)
        if alias not in entry.aliases:
            raise UnknownTaskError(alias, entry.aliases, what=f"alias of '{now}'")
        left = {one: version for one, version in entry.aliases.items() if one != alias}
        return tasks.with_entry(now, aliases=left)

    return change


def deprecate(name: str, reason: str | None, use: str | None = None) -> Change:
    """Returns the change that deprecates a task.

    Args:
        name: The task.
        reason: Why it should not be used any more; None takes the deprecation back.
        use: The task to use instead, or None.

    Raises:
        UsageError: The reason or the other task is not valid.
    """
    found = None if reason is None else _deprecation(reason, use)

    def change(tasks: Tasks) -> Tasks:
        now, _ = tasks.find(name)
        _check_other(tasks, now, use)
        return tasks.with_entry(now, deprecated=found)

    return change


def follow_owners(said: Mapping[str, Deprecation | None]) -> Change:
    """Returns the change that deprecates copies as the owners of the tasks do on the Hub.

    What somebody said here of a copy stays.

    Args:
        said: What its owner says of each copy, as `owners_word` returns it.
    """

    def change(tasks: Tasks) -> Tasks:
        for name, found in said.items():
            entry = tasks.entries.get(name)
            if entry is not None and (entry.deprecated is None or entry.deprecated.by_owner):
                tasks = tasks.with_entry(name, deprecated=found)
        return tasks

    return change


def remove(name: str, version: int | None, reason: str = "", use: str | None = None) -> Change:
    """Returns the change that removes a task, or one version of it.

    Their numbers are not used again, so whoever has a copy never takes other bytes for it.

    Args:
        name: The task.
        version: The version, or None for the whole task.
        reason: Why.
        use: The task to use instead, or None.

    Raises:
        UsageError: The reason or the other task is not valid.
    """
    check_type(reason, str, "The reason", "a sentence")
    if reason:
        _deprecation(reason, use)

    def change(tasks: Tasks) -> Tasks:
        now, entry = tasks.find(name)
        if now != name:
            raise UsageError(
                f"'{name}' is a former name of '{now}'; remove '{now}' if you mean it."
            )
        if version is not None:
            return _without_version(tasks, name, version, reason)
        _check_other(tasks, name, use)
        entries = {one: found for one, found in tasks.entries.items() if one != name}
        gone = Retired(last=entry.last, reason=reason, use=use)
        return replace(tasks, entries=entries, retired={**tasks.retired, name: gone})

    return change


def rename(old: str, new: str) -> Change:
    """Returns the change that gives a task another name; the old name leads to it from then on.

    Raises:
        UsageError: The new name is not valid.
    """
    check_name(new, "task")

    def change(tasks: Tasks) -> Tasks:
        now, entry = tasks.find(old)
        if now == new:
            return tasks
        if now != old:
            raise UsageError(f"'{old}' was renamed to '{now}' already; rename '{now}'.")
        if new in tasks.entries:
            raise UsageError(f"There is a task '{new}' already; choose another name.")
        former = tasks.retired.get(new)
        if former is not None and former.renamed != old:
            raise UsageError(
                f"'{new}' was the name of another task, whose versions may be pinned; choose "
                f"another name."
            )
        records = {number: renamed(one, old, new) for number, one in entry.versions.items()}
        moved = entry.model_copy(update={"versions": records})
        entries = {name: found for name, found in tasks.entries.items() if name != old}
        retired = {name: found for name, found in tasks.retired.items() if name != new}
        retired |= {
            name: found.model_copy(update={"renamed": new})
            for name, found in retired.items()
            if found.renamed == old
        }
        retired[old] = Retired(last=entry.last, renamed=new)
        return replace(tasks, entries={**entries, new: moved}, retired=retired)

    return change


def _without_version(tasks: Tasks, name: str, version: int, reason: str) -> Tasks:
    entry = tasks.entries[name]
    pick_version(name, entry, parse_reference(f"{name}:{version}"), tasks.place)
    aliases = [alias for alias, number in entry.aliases.items() if number == version]
    if aliases:
        raise UsageError(
            f"The alias '{aliases[0]}' of '{name}' points to version {version}; move it to another "
            f"version or remove it first: `adapterhub alias`."
        )
    left = {number: record for number, record in entry.versions.items() if number != version}
    if not left:
        raise UsageError(
            f"Version {version} is the only one of '{name}'; remove the task, without a version."
        )
    return tasks.with_entry(name, versions=left, removed={**entry.removed, version: reason})


def _deprecation(reason: str, use: str | None) -> Deprecation:
    if use is not None and parse_reference(use).kind == "file":
        raise UsageError(f"'{use}' is a file; name a task to use instead.")
    reason = " ".join(reason.split()) if isinstance(reason, str) else reason
    try:
        return Deprecation(reason=reason, use=use)
    except ValidationError as error:
        raise UsageError(
            "The reason is not valid; write 1 to 500 characters on one line, without control "
            "characters."
        ) from error


def _check_other(tasks: Tasks, name: str, use: str | None) -> None:
    """Checks that a task of the same registry that is to be used instead exists."""
    other = None if use is None else parse_reference(use)
    if other is None or other.kind != "task" or other.task is None:
        return
    now, entry = tasks.find(other.task)
    if now == name:
        raise UsageError(f"'{use}' is the same task; name another one to use instead.")
    pick_version(now, entry, other, tasks.place)
