"""Several registries in one call: which of them has a task or a backbone."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import UnknownTaskError, UsageError
from adapterhub.results import TaskInfo
from adapterhub.specs import BackboneSpec
from adapterhub.store.entries import BackboneEntry, backbone_key
from adapterhub.store.references import SHIPPED_PREFIX, Reference, parse_reference
from adapterhub.store.registry import (
    Registry,
    Resolved,
    locate_registry,
    read_registry,
    shipped_registry,
    task_info,
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A task of one of several registries.

    Attributes:
        name: What names it where all of them are in use: its name, if only one has it.
        task: Its name in its registry.
        registry: The registry that has it.
    """

    name: str
    task: str
    registry: Registry


class Registries:
    """The registries of one call, each in one state: a file is read when it is first needed.

    A name without a place is looked up in the given ones. It must be in one of them only.
    """

    def __init__(self, given: Iterable[Registry | Path]) -> None:
        """Starts with what is given; a registry that is given twice counts once.

        Args:
            given: Registries that were read, or absolute paths of registry.yaml files.
        """
        self._given = tuple(given)
        self._read: dict[Path, Registry] = {}

    @property
    def given(self) -> tuple[Registry, ...]:
        """Returns the given registries.

        Raises:
            RegistryError: One cannot be read, or is not valid.
        """
        found = [
            self._kept(one) if isinstance(one, Registry) else self.at(one) for one in self._given
        ]
        return tuple({one.path: one for one in found}.values())

    @property
    def paths(self) -> tuple[Path, ...]:
        """Returns the paths of the given registries."""
        return tuple(one.path for one in self.given)

    @property
    def is_one(self) -> bool:
        """Returns whether one registry is given."""
        return len(self.given) == 1

    @property
    def noun(self) -> str:
        """Returns what a message calls them."""
        return "registry" if self.is_one else "registries"

    @property
    def keys(self) -> str:
        """Returns the keys of the backbones for a message."""
        named = [key if self.is_one else f"{key} of {at.path}" for at, key, _ in self.backbones]
        return ", ".join(named) or "none"

    @property
    def text(self) -> str:
        """Returns the paths of the given registries for a message."""
        return " and ".join(map(str, self.paths))

    @property
    def backbones(self) -> tuple[tuple[Registry, str, BackboneEntry], ...]:
        """Returns the backbones of the given registries, each with its registry and its key."""
        return tuple(
            (one, key, entry) for one in self.given for key, entry in one.backbones.items()
        )

    def backbone_key(self, backbone: BackboneSpec) -> str:
        """Returns the key that lists a backbone, or one that lists none."""
        known: dict[str, BackboneEntry] = {}
        for _, key, entry in self.backbones:
            if known.setdefault(key, entry).fingerprint != entry.fingerprint:
                del known[key]
        return backbone_key(known, backbone)

    def at(self, path: Path) -> Registry:
        """Returns the registry at a path, in the state of the first time that it was needed.

        Raises:
            RegistryError: It cannot be read, or is not valid.
        """
        if path not in self._read:
            self._read[path] = self._kept(read_registry(path))
        return self._read[path]

    def _kept(self, registry: Registry) -> Registry:
        # Links may lead to one file in several ways.
        return self._read.setdefault(registry.path, registry)

    def shipped(self) -> Registry:
        """Returns the registry that ships with adapterhub."""
        return self.at(shipped_registry())

    def tasks(self) -> tuple[Listed, ...]:
        """Returns the tasks of the given registries, each with a name that is its own."""
        given = self.given
        if len(given) == 1:
            return tuple(Listed(name, name, given[0]) for name in given[0].tasks)
        found = [(name, one) for one in given for name in one.tasks]
        times = Counter(name for name, _ in found)
        return tuple(
            Listed(name if times[name] == 1 else self._named(name, one), name, one)
            for name, one in found
        )

    def infos(self, *, resident: Iterable[str]) -> list[TaskInfo]:
        """Returns summaries of `tasks()`, with those marked that references in `resident` name."""
        live = self.named(map(parse_reference, resident))
        return [
            replace(task_info(one.registry, one.task, resident=one.name in live), name=one.name)
            for one in self.tasks()
        ]

    def named(self, references: Iterable[Reference]) -> frozenset[str]:
        """Returns the names of those of `tasks()` that references name, in any version."""
        wanted: set[tuple[Path | None, str | None]] = set()
        for one in references:
            if one.kind == "task":
                wanted.add((None, one.task))
            elif one.kind == "shipped":
                wanted.add((shipped_registry().resolve(), one.task))
            elif one.registry is not None:
                wanted.add((locate_registry(one.registry).resolve(), one.task))
        return frozenset(
            one.name
            for one in self.tasks()
            if not wanted.isdisjoint({(None, one.name), (one.registry.path, one.task)})
        )

    def resolve(self, reference: Reference) -> tuple[Registry, Resolved]:
        """Returns the version that a reference names, and the registry that has it.

        Raises:
            UsageError: Several of the given registries have a task of this name.
            UnknownTaskError: There is no such task, version or alias.
            RegistryError: A registry cannot be read, or is not valid.
        """
        registry = self._holder(reference)
        return registry, registry.resolve(replace(reference, kind="task"))

    def _holder(self, reference: Reference) -> Registry:
        task = reference.task or ""
        if reference.registry is not None:
            path = locate_registry(reference.registry)
            return self._having(task, self.at(path), f" -r {shlex.quote(str(path))}")
        if reference.kind == "shipped":
            return self._having(task, self.shipped(), f" -r {SHIPPED_PREFIX}")
        # A former name counts as one that a task has now, since it leads to the task: another
        # registry's new task must not take its place in silence. A removed task's does not.
        holders = [one for one in self.given if task in one.tasks or _leads_on(one, task)]
        holders = holders or [one for one in self.given if task in one.retired]
        if len(holders) > 1:
            raise UsageError(self._ambiguous(reference, holders))
        return holders[0] if holders else self._unknown(task)

    def _having(self, task: str, registry: Registry, place: str) -> Registry:
        if task not in registry.tasks and task not in registry.retired:
            written = {name: self._named(name, registry) for name in registry.tasks}
            raise UnknownTaskError(task, written, written=written, place=place)
        return registry

    def _unknown(self, task: str) -> Registry:
        shipped = self.shipped()
        known = {name: name for one in self.given for name in one.tasks}
        for name in () if shipped in self.given else shipped.tasks:
            known.setdefault(name, f"{SHIPPED_PREFIX}{name}")
        raise UnknownTaskError(task, known, written=known)

    def _named(self, task: str, registry: Registry) -> str:
        """Returns a name of a task that does not depend on what is given."""
        is_shipped = registry.path == shipped_registry().resolve()
        return f"{SHIPPED_PREFIX if is_shipped else f'{registry.path}:'}{task}"

    def _ambiguous(self, reference: Reference, holders: Sequence[Registry]) -> str:
        task = reference.task or ""
        end = reference.text.removeprefix(task)
        places = ", ".join(str(one.path) for one in holders)
        named = " or ".join(f"'{self._named(task, one)}{end}'" for one in holders)
        return f"Task '{task}' is in {len(holders)} registries: {places}. Write {named}."


def _leads_on(registry: Registry, name: str) -> bool:
    former = registry.retired.get(name)
    return former is not None and former.renamed is not None


def as_registries(given: Registries | Registry | Path | Sequence[Path]) -> Registries:
    """Returns what was given as the registries of one call."""
    if isinstance(given, Registries):
        return given
    return Registries([given] if isinstance(given, Registry | Path) else given)


def locate_registries(given: object) -> tuple[Path, ...]:
    """Returns the registry.yaml files to read, each once; None as in `locate_registry`.

    Args:
        given: A file or its folder, None, or a sequence of files and folders.

    Raises:
        UsageError: One is no path, or there is none.
    """
    if not isinstance(given, list | tuple):
        return (locate_registry(given),)  # type: ignore[arg-type]
    if not given or None in given:
        raise UsageError(f"The registries are {given}; expected paths, or None alone.")
    return tuple(dict.fromkeys(map(locate_registry, given)))


def open_registries(given: Sequence[Path] | None) -> Registries:
    """Returns the given registries, or without any that of `locate_registry`, all of them read.

    Raises:
        RegistryError: One cannot be read, or is not valid.
    """
    opened = Registries(locate_registries(list(given) if given else None))
    return Registries(opened.given)


def source_of(entry: BackboneEntry, registry: Path) -> str | Path:
    """Returns what opens the backbone of an entry, wherever the process works.

    Args:
        entry: The entry.
        registry: The registry.yaml that has it; a folder is relative to its own.
    """
    if entry.revision is not None:
        return f"{entry.source}@{entry.revision}"
    return entry.source if entry.source.startswith("package:") else registry.parent / entry.source
