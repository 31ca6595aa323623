"""Changes to the registry: one writer at a time, and the whole file or nothing.

A change makes a new state out of the old one and renders and checks only the entries that differ.
Nothing here imports torch; adding a version, which does, is in `versions.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import yaml
from filelock import Timeout
from pydantic import ValidationError

from adapterhub.errors import RegistryError
from adapterhub.specs import TaskSpec
from adapterhub.store import changes
from adapterhub.store.atomic import reason, stray_files, sweep, write_atomic
from adapterhub.store.changes import Change, Tasks
from adapterhub.store.deleting import delete_unlisted
from adapterhub.store.entries import (
    BACKBONES_FOLDER,
    BackboneEntry,
    RegistryContent,
    Retired,
    TaskEntry,
    VersionRecord,
    inconsistency,
    listed_files,
    schema_of,
)
from adapterhub.store.header import SUFFIX
from adapterhub.store.locks import held_by, hold_lock
from adapterhub.store.registry import (
    Registry,
    Resolved,
    parse_registry,
    place_to_write,
    read_registry,
    remember,
)
from adapterhub.store.yamlsafe import MAX_BYTES, MAX_NODES, count_value_ends

HEADS_FOLDER = "heads"
"""Beside registry.yaml."""
LOCK_TIMEOUT = 30.0
"""Seconds that a writer waits for other writers."""

_COMMENT = (
    b"# adapterhub registry: written by `adapterhub`, which keeps values but no comments. "
    b"Format: docs/head-file.md\n"
)
_TASKS = b"tasks:\n"
_NO_TASKS = b"tasks: {}\n"


@contextlib.contextmanager
def registry_lock(path: Path, *, timeout: float | None = None) -> Iterator[Path]:
    """Holds the registry's write lock; yields its path with symbolic links resolved.

    The kernel frees the lock when its holder dies. Temporary files of dead writers are removed.

    Args:
        path: registry.yaml.
        timeout: Seconds to wait for other writers; None for LOCK_TIMEOUT.

    Raises:
        RegistryError: Another writer held the lock for that long, or the folder is read-only.
    """
    path = place_to_write(path)
    timeout = LOCK_TIMEOUT if timeout is None else timeout
    lock_path = path.with_name(f"{path.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(lock_path, timeout=timeout))
        except Timeout as error:
            raise RegistryError(
                path,
                f"another process has held the lock {lock_path} for {timeout:g} s"
                f"{held_by(lock_path)}. Wait for it, or stop it; do not remove the lock file "
                f"while it runs.",
            ) from error
        except OSError as error:
            problem = f"its lock {lock_path} cannot be opened: {reason(error)}"
            raise RegistryError(path, f"{problem}. Writers need write access here.") from error
        sweep(path.parent)
        sweep(path.parent / HEADS_FOLDER)
        yield path


def read_or_empty(path: Path) -> Registry:
    """Returns the registry at `path`, or one without tasks where there is no such file.

    Raises:
        RegistryError: It cannot be read, or is not valid.
    """
    return read_registry(path) if path.exists() else Registry(path, {}, {})


def prepare_registry(
    old: Registry,
    backbones: Mapping[str, BackboneEntry],
    tasks: Mapping[str, TaskEntry],
    *,
    retired: Mapping[str, Retired] | None = None,
) -> Registry:
    """Returns the state that follows `old`, after every check that a reader will make.

    Entries that are the very objects of `old` keep their text. All other entries are rendered,
    and are in the new state as a strict parse of that text returns them.

    Args:
        old: The state before.
        backbones: Backbone by key.
        tasks: Task by name.
        retired: Names that tasks had; None for those of `old`.

    Raises:
        RegistryError: The new state is inconsistent, too big, or does not survive a round trip.
    """
    path = old.path
    retired = old.retired if retired is None else retired
    texts = {name: text for name, text in old.texts.items() if name in tasks}
    changed = {
        name: entry
        for name, entry in tasks.items()
        if name not in texts or entry is not old.tasks[name]
    }
    try:
        make_content(backbones, changed, {})
    except ValidationError as error:
        raise refused_change(error, path) from error
    problem = inconsistency(backbones, tasks, retired)
    if problem is not None:
        raise RegistryError(path, f"the change was refused, nothing was written: {problem}")
    texts |= {name: _entry_text(name, entry) for name, entry in changed.items()}
    new = Registry(
        path,
        backbones,
        MappingProxyType(dict(sorted(tasks.items()))),
        MappingProxyType(dict(sorted(retired.items()))),
        MappingProxyType(texts),
    )
    data = registry_bytes(new)
    if len(data) > MAX_BYTES:
        raise RegistryError(path, f"it would be {len(data)} bytes long; at most {MAX_BYTES}")
    # Kept texts were parsed when they were fresh. Each is a block of whole lines, so its meaning
    # does not depend on the blocks around it; only the number of values adds up.
    part = new if _may_have_more_values(data, MAX_NODES) else replace(new, tasks=changed)
    parsed = parse_registry(registry_bytes(part), path)
    same = (part.backbones, part.tasks, part.retired)
    if (parsed.backbones, parsed.tasks, parsed.retired) != same:
        raise RegistryError(path, "it would not read back as it was written; nothing was changed")
    entries = MappingProxyType({**new.tasks, **parsed.tasks})
    return replace(new, backbones=parsed.backbones, tasks=entries)


def registry_bytes(registry: Registry) -> bytes:
    """Returns registry.yaml as UTF-8 text; equal content gives equal bytes.

    The text is flat and sorted by name, with one line per value.
    """
    backbones = {
        key: {"source": entry.source, "revision": entry.revision, "fingerprint": entry.fingerprint}
        for key, entry in sorted(registry.backbones.items())
    }
    head: dict[str, object] = {
        "schema": schema_of(registry.tasks, registry.retired),
        "backbones": backbones,
    }
    if registry.retired:
        head["retired"] = {
            name: _LineMap(one.model_dump(exclude_defaults=True))
            for name, one in sorted(registry.retired.items())
        }
    tasks = b"".join(registry.texts[name] for name in registry.tasks)
    return b"".join((_COMMENT, _yaml(head), _TASKS if tasks else _NO_TASKS, tasks))


def make_content(
    backbones: Mapping[str, BackboneEntry],
    tasks: Mapping[str, TaskEntry],
    retired: Mapping[str, Retired],
) -> RegistryContent:
    """Returns the content of a registry in the oldest schema that can hold it."""
    return RegistryContent(
        schema=schema_of(tasks, retired),
        backbones=dict(backbones),
        retired=dict(retired),
        tasks=dict(tasks),
    )


def _may_have_more_values(data: bytes, limit: int) -> bool:
    """Returns False if text of `registry_bytes` certainly has at most `limit` YAML values."""
    return len(data) > limit and count_value_ends(data) > limit


def refused_change(error: ValidationError, path: Path) -> RegistryError:
    """Returns the error for a change that would make the registry invalid."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    text = f"{place}: {problem}" if place else problem
    return RegistryError(path, f"the change was refused, nothing was written: {text}")


def write_registry(registry: Registry) -> None:
    """Writes a state that `prepare_registry` made, whole or not at all. The caller holds the lock.

    Raises:
        RegistryError: The system cannot write it.
    """
    data = registry_bytes(registry)
    try:
        write_atomic(registry.path, data, replace=True)
    except OSError as error:
        raise RegistryError(registry.path, f"it cannot be written: {reason(error)}") from error
    remember(registry, data)


def change_registry(path: Path, change: Change) -> Registry:
    """Applies a change to a registry, whole or not at all; returns its new state.

    Head files that no entry lists any more are deleted, after the registry was written.

    Raises:
        UsageError: The change is not allowed.
        UnknownTaskError: There is no such task, version or alias.
        RegistryError: The registry cannot be read, locked or written.
    """
    read_registry(path)  # before the lock, whose file would make a mistyped folder
    with registry_lock(path) as path:
        old = read_registry(path)
        before = Tasks(old.tasks, old.retired)
        after = change(before)
        if after is before:
            return old
        new = prepare_registry(old, old.backbones, after.entries, retired=after.retired)
        write_registry(new)
        delete_unlisted(old, new)
    return new


def set_alias(path: Path, task: str, alias: str, version: int) -> Resolved:
    """Points an alias of a task to a version; returns that version.

    Raises:
        UsageError: The alias is not a name.
        UnknownTaskError: There is no such task or version.
        RegistryError: The registry cannot be read, locked or written.
    """
    return change_registry(path, changes.set_alias(task, alias, str(version))).resolve(
        f"{task}@{alias}"
    )


def unlisted_files(path: Path) -> list[Path]:
    """Returns the files that no entry lists, sorted.

    They are head files whose writer was stopped before it wrote the registry, which the next
    version of the same task replaces, folders of backbones of such a writer, and temporary files,
    which the next writer removes.

    Raises:
        RegistryError: The registry cannot be read, or is not valid.
    """
    registry = read_registry(path)
    folder = registry.path.parent
    listed = {folder / file for file in listed_files(registry.tasks)}
    heads = folder / HEADS_FOLDER
    found = [file for file in heads.glob(f"*{SUFFIX}") if file not in listed]
    sources = {folder / entry.source for entry in registry.backbones.values()}
    made = (folder / BACKBONES_FOLDER).glob("*-[0-9]*")
    found += [path for path in made if path not in sources and (path / "config.json").is_file()]
    places = (heads, folder, folder / BACKBONES_FOLDER)
    return sorted([*found, *(stray for place in places for stray in stray_files(place))])


def make_entry(
    spec: TaskSpec,
    backbone_key: str,
    *,
    aliases: Mapping[str, int],
    versions: Mapping[int, VersionRecord],
    place: Path,
    old: TaskEntry | None = None,
) -> TaskEntry:
    """Returns the entry of a task as the spec of its newest version describes it.

    Args:
        spec: The newest version.
        backbone_key: Key of its backbone.
        aliases: Version by alias.
        versions: Record by version.
        place: The registry, for messages.
        old: The entry before, whose deprecation and removed versions are kept; None for a new one.

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
            deprecated=None if old is None else old.deprecated,
            removed={} if old is None else dict(old.removed),
            versions=dict(versions),
        )
    except ValidationError as error:
        raise refused_change(error, place) from error


class _Line(list[object]):
    """A list that is rendered on one line."""


class _LineMap(dict[object, object]):
    """A mapping that is rendered on one line."""


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes text that any YAML reader would take for another type."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML names it
        return True


_Dumper.add_representer(
    _Line,
    lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True),
)
_Dumper.add_representer(
    _LineMap,
    lambda dumper, data: dumper.represent_mapping(
        "tag:yaml.org,2002:map", data.items(), flow_style=True
    ),
)


def _yaml(value: object) -> bytes:
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=1_000_000,
    )
    return text.encode()


def _entry_text(name: str, entry: TaskEntry) -> bytes:
    """Returns the lines of a task in the mapping `tasks`, indented as there."""
    return _yaml({"tasks": {name: _plain_task(entry)}}).removeprefix(_TASKS)


def _plain_task(entry: TaskEntry) -> dict[str, object]:
    """Returns the fields of an entry in the order of their declaration, without empty ones."""
    plain: dict[str, object] = {
        **dict(entry),
        "languages": _Line(entry.languages),
        "aliases": _LineMap(sorted(entry.aliases.items())),
        "deprecated": entry.deprecated
        and _LineMap(entry.deprecated.model_dump(exclude_defaults=True)),
        "removed": _LineMap(sorted(entry.removed.items())),
        "versions": {
            version: _plain_record(record) for version, record in sorted(entry.versions.items())
        },
    }
    return {key: value for key, value in plain.items() if value not in ("", None, [], {})}


def _plain_record(record: VersionRecord) -> dict[str, object]:
    origin = record.origin and _LineMap(record.origin.model_dump(exclude_defaults=True))
    lines = {"depths": _Line(record.depths), "metrics": _LineMap(record.metrics), "origin": origin}
    plain: dict[str, object] = {**dict(record), **lines}
    return {key: value for key, value in plain.items() if value is not None and value != {}}
