"""The registry as an immutable value, parsed at most once per state of the file.

Nothing here imports torch, so listing tasks starts fast.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from adapterhub.errors import RegistryError, UsageError, check_type
from adapterhub.results import TaskInfo
from adapterhub.specs import KINDS, Kind
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.entries import (
    SCHEMA_VERSION,
    BackboneEntry,
    RegistryContent,
    Retired,
    TaskEntry,
    VersionRecord,
)
from adapterhub.store.paths import absolute_path, is_in_snapshot, without_links, working_folder
from adapterhub.store.references import SHIPPED_PREFIX, Reference, parse_reference
from adapterhub.store.retired import current_name, deprecation_text, pick_version
from adapterhub.store.yamlsafe import MAX_BYTES, Document, Key, read_yaml

REGISTRY_NAME = "registry.yaml"

_SETTLED_AFTER = 2.0
_MAX_CACHED = 16


@dataclass(frozen=True, slots=True)
class Resolved:
    """One version of one task, found in a registry.

    Attributes:
        task: Name of the task.
        version: Its version.
        alias: The alias in the reference, or None.
        entry: The task's entry.
        record: The version's record: file, size, sha256, depths and pooling.
        backbone: The backbone's entry.
        path: Absolute path of the head file, inside the registry's folder.
    """

    task: str
    version: int
    alias: str | None
    entry: TaskEntry
    record: VersionRecord
    backbone: BackboneEntry
    path: Path


@dataclass(frozen=True, slots=True)
class Registry:
    """One state of a registry.

    Attributes:
        path: Absolute path of registry.yaml, symbolic links resolved.
        backbones: Backbone by key.
        tasks: Task by name, sorted by name.
        retired: Names that tasks had, by name.
        texts: UTF-8 text of an entry by task name, where this process wrote the entry itself.
            A writer copies it instead of rendering the entry again.
    """

    path: Path
    backbones: Mapping[str, BackboneEntry]
    tasks: Mapping[str, TaskEntry]
    retired: Mapping[str, Retired] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def names(self) -> tuple[str, ...]:
        """Returns the names of all tasks, sorted."""
        return tuple(self.tasks)

    def search(self, language: str | None = None, kind: Kind | None = None) -> tuple[str, ...]:
        """Returns the names of the tasks of one language and kind, sorted.

        Args:
            language: Language tag in any case; `en` and `en-US` match each other. None matches any.
            kind: Kind of task. None matches any.

        Raises:
            UsageError: The kind is unknown, or the language is empty.
        """
        check_type(language, (str, type(None)), "The language", "a language tag")
        if kind is not None and kind not in KINDS:
            raise UsageError(f"Unknown kind '{kind}'. Known: {', '.join(KINDS)}.")
        return tuple(
            name for name, entry in self.tasks.items() if fits(entry, language=language, kind=kind)
        )

    def resolve(self, reference: str | Reference) -> Resolved:
        """Returns the version that `reference` names; a plain name means the newest version.

        A name that a task had before it was renamed means the task.

        Raises:
            UsageError: The reference is malformed, or names a file or a task on the Hub.
            UnknownTaskError: There is no such task, version or alias.
            RegistryError: The entry's file lies outside the registry's folder.
        """
        wanted = reference if isinstance(reference, Reference) else parse_reference(reference)
        if wanted.kind != "task" or wanted.task is None:
            raise UsageError(f"'{wanted.text}' does not name a task of the registry {self.path}.")
        name = current_name(wanted.task, self.tasks, self.retired)
        entry = self.tasks[name]
        version = pick_version(name, entry, wanted)
        record = entry.versions[version]
        return Resolved(
            task=name,
            version=version,
            alias=wanted.alias,
            entry=entry,
            record=record,
            backbone=self.backbones[entry.backbone],
            path=inside(self.path, record.file),
        )


def fits(entry: TaskEntry, *, language: str | None, kind: Kind | None) -> bool:
    """Returns whether a task has a language and a kind; None matches any.

    Raises:
        UsageError: The language is empty.
    """
    if language == "":
        raise UsageError("The language is empty; expected a language tag such as 'en'.")
    matches = language is None or any(_same_language(tag, language) for tag in entry.languages)
    return matches and kind in (None, entry.kind)


def find_registry(start: Path) -> Path | None:
    """Returns the registry.yaml in `start` or the nearest folder above it, or None."""
    folder = start.resolve()
    for candidate in (folder, *folder.parents):
        path = candidate / REGISTRY_NAME
        if path.is_file():
            return path
    return None


def read_registry(path: str | Path) -> Registry:
    """Returns the registry at `path`; a file in a state that was seen before is not parsed again.

    Raises:
        RegistryError: The file cannot be read, or is not a valid registry.
    """
    path = absolute_path(path, "registry")
    try:
        path = without_links(path)
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            cached = _CACHE.get(path)
            if cached is not None and cached.settled and cached.stamp == stamp:
                return cached.registry
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RegistryError(
            path, "there is no such file. `adapterhub train` makes one; or give another path."
        ) from error
    except OSError as error:
        raise RegistryError(path, f"it cannot be read: {reason(error)}") from error
    except RuntimeError as error:  # until Python 3.13
        raise RegistryError(path, "it cannot be read: links that lead in a circle") from error
    digest = hashlib.sha256(data).digest()
    if cached is not None and cached.digest == digest:
        registry = cached.registry
    else:
        content = parse_registry(data, path)
        registry = Registry(
            path,
            content.backbones,
            MappingProxyType(dict(sorted(content.tasks.items()))),
            content.retired,
        )
    # A file written a moment ago can change again within one tick of the clock and keep its
    # size and even its inode, so its stamp proves nothing yet.
    settled = time.time() - status.st_mtime > _SETTLED_AFTER
    _cache(_Cached(stamp, digest, settled, registry))
    return registry


def place_to_write(path: Path) -> Path:
    """Returns the path of a registry that may be changed, with its links resolved.

    Raises:
        RegistryError: It is in a cache, whose files do not change.
    """
    real = path.resolve()
    if is_in_snapshot(real, path.parent.resolve()):
        raise RegistryError(
            path,
            "it is in the cache of the Hub's client, whose files do not change. Add its tasks to a "
            "registry of yours with `adapterhub add owner/repo:task`.",
        )
    return real


def remember(registry: Registry, data: bytes) -> None:
    """Caches a registry as the content of `data`, which were just written to its path.

    Nothing is assumed about the file: the next reader hashes its bytes and parses them unless
    they are `data`.
    """
    _cache(_Cached(None, hashlib.sha256(data).digest(), False, registry))


def parse_registry(data: bytes, path: Path) -> RegistryContent:
    """Returns the content of the bytes of a registry.

    Raises:
        RegistryError: The bytes are not a valid registry; names the line where one is known.
    """
    document = read_yaml(data, path)
    if document.value is None:
        raise RegistryError(path, "it is empty. Restore it from a copy, or remove the file.")
    if not isinstance(document.value, dict):
        raise RegistryError(path, "it is not a mapping; expected schema, backbones and tasks")
    schema = document.value.get("schema")
    if type(schema) is int and schema > SCHEMA_VERSION:
        raise RegistryError(
            path,
            f"made by a newer adapterhub (schema {schema}; this one reads {SCHEMA_VERSION}). "
            f"Upgrade with `pip install -U adapterhub`.",
            document.line(("schema",)),
        )
    try:
        return RegistryContent.model_validate(document.value)
    except ValidationError as error:
        raise _invalid(error, document, path) from error


def inside(registry: Path, file: str) -> Path:
    """Returns the absolute path of `file` below the registry's folder.

    Raises:
        RegistryError: A link leads out of the folder.
    """
    try:
        path = (registry.parent / file).resolve()
    except (OSError, RuntimeError) as error:
        raise RegistryError(registry, f"the file '{file}' cannot be found: {error}") from error
    if is_in_snapshot(path, registry.parent):
        return registry.parent / file  # the content has no suffix
    if not path.is_relative_to(registry.parent):
        raise RegistryError(
            registry, f"the file '{file}' is a link out of the registry's folder; copy it in"
        )
    return path


@dataclass(frozen=True, slots=True)
class _Cached:
    """A registry with the state of the file that it was read from or written to."""

    stamp: tuple[int, int, int, int] | None
    digest: bytes
    settled: bool
    registry: Registry


_CACHE: dict[Path, _Cached] = {}


def _cache(entry: _Cached) -> None:
    path = entry.registry.path
    if len(_CACHE) >= _MAX_CACHED and path not in _CACHE:
        _CACHE.clear()
    _CACHE[path] = entry


def _same_language(tag: str, language: str) -> bool:
    tag, language = f"{tag}-".lower(), f"{language}-".lower()
    return tag.startswith(language) or language.startswith(tag)


def _invalid(error: ValidationError, document: Document, path: Path) -> RegistryError:
    first = error.errors(include_url=False, include_context=False)[0]
    place: tuple[Key, ...] = tuple(part for part in first["loc"] if part != "[key]")
    problem = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    if first["type"] == "string_type" and isinstance(found, int | float | bool):
        problem += f", found {found!r}; put it in quotes"
    elif isinstance(found, str | int | float) and not problem.count(str(found)[:40]):
        problem += f", found {ascii(found)[:80]}"
    name = ".".join(str(part) for part in place)
    return RegistryError(path, f"{name}: {problem}" if name else problem, document.line(place))


NEAREST = "nearest"
"""The nearest registry.yaml upwards, or a new one in the working folder."""


def locate_registry(registry: str | Path | None) -> Path:
    """Returns the registry.yaml to read: the given one, the nearest upwards, or the shipped one.

    The path is absolute. A folder means the registry.yaml in it, `shipped:` the shipped one.

    Raises:
        UsageError: It is no path, or the working folder was removed.
    """
    if registry is not None:
        return _given_registry(registry)
    return find_registry(working_folder()) or shipped_registry()


def registry_to_write(registry: str | Path = NEAREST) -> Path:
    """Returns the absolute path of the registry.yaml to add to, which may not exist yet.

    Args:
        registry: A file or its folder, or NEAREST.

    Raises:
        UsageError: It is no path, or the working folder was removed.
    """
    if str(registry) == SHIPPED_PREFIX:
        raise UsageError(
            f"The tasks that ship with adapterhub are not changed. Name another registry; "
            f"`adapterhub add {SHIPPED_PREFIX}NAME` copies a task into yours."
        )
    if registry != NEAREST:
        return _given_registry(registry)
    here = working_folder()
    return find_registry(here) or here / REGISTRY_NAME


def _given_registry(registry: str | Path) -> Path:
    if str(registry) == SHIPPED_PREFIX:
        return shipped_registry()
    path = absolute_path(registry, "registry")
    return path / REGISTRY_NAME if path.is_dir() else path


def shipped_registry() -> Path:
    """Returns the registry.yaml that ships with adapterhub."""
    package = Path(str(files("adapterhub")))
    installed = package / "shipped" / REGISTRY_NAME
    # In a source checkout the registry is beside the package.
    return installed if installed.is_file() else package.parent / REGISTRY_NAME


def task_info(registry: Registry, name: str, *, resident: bool = False) -> TaskInfo:
    """Returns a summary of the newest version of a task."""
    found = registry.resolve(name)
    return TaskInfo(
        name=name,
        version=found.version,
        kind=found.entry.kind,
        languages=found.entry.languages,
        description=found.entry.description,
        depths=found.record.depths,
        pooling=found.record.pooling,
        aliases=dict(found.entry.aliases),
        metrics=dict(found.record.metrics),
        size=found.record.size,
        resident=resident,
        measured_on=found.record.measured_on,
        deprecated=deprecation_text(found.entry.deprecated),
    )
