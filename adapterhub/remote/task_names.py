"""What the names of tasks mean for one Hub: registries here, or repositories on the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapterhub.inputs import read_names
from adapterhub.remote.named_tasks import NamedTasks, find_named
from adapterhub.results import TaskInfo
from adapterhub.store.references import absolute
from adapterhub.store.registries import Registries, locate_registries


@dataclass(frozen=True, slots=True)
class TaskNames:
    """The names that a Hub knows; plain values, which can be pickled.

    Attributes:
        paths: The registry.yaml files; where the tasks were named on the Hub, that of the first
            repository, in the cache.
        named: The tasks that were named on the Hub; None where there are registries.
        opened: The tasks that the Hub was opened with, which a call without names means.
        opens_all: Whether these are all for the backbone.
    """

    paths: tuple[Path, ...]
    named: NamedTasks | None = None
    opened: tuple[str, ...] = ()
    opens_all: bool = False

    @property
    def given(self) -> str | list[str] | TaskNames:
        """Returns what opens a Hub with these again."""
        if self.named is not None or self.opens_all:
            return self
        paths = [str(path) for path in self.paths]
        return paths[0] if len(paths) == 1 else paths

    def known(self, *, any_backbone: bool) -> Registries:
        """Returns registries that list the backbones to choose from.

        Args:
            any_backbone: Whether another one will be opened.

        Raises:
            UsageError: The tasks that were named belong to several backbones.
            BackboneError: Their backbone is a folder of their publisher.
        """
        if self.named is not None:
            return Registries([self.named.registry(any_backbone=any_backbone)])
        return Registries(self.paths)

    def on(self, fingerprint: str) -> TaskNames:
        """Returns the names for the backbone that was opened."""
        if self.named is None:
            return replace(self, opened=self._fitting(fingerprint)) if self.opens_all else self
        named = self.named.on(fingerprint)
        return replace(self, named=named, opened=named.names())

    def full(self, name: str) -> str:
        """Returns the name of a task that is the same in any working folder.

        Raises:
            UsageError: It is malformed, or there is no such task in the named repositories.
        """
        return absolute(name if self.named is None else self.named.full_name(name))

    def own(self, tasks: str | Sequence[str] | None) -> dict[str, str]:
        """Returns the full names of a call by what the user calls them.

        Raises:
            UsageError: As `full`; or no task was given, and the Hub was opened with none.
        """
        given = self.opened if tasks is None else tasks
        return {name: self.full(name) for name in read_names(given)}

    def saved(self, tasks: str | Sequence[str] | None, fingerprint: str) -> list[str]:
        """Returns the names to save: the given, else the opened, else all for the backbone."""
        return read_names((self.opened or self._fitting(fingerprint)) if tasks is None else tasks)

    def to_score(self, tasks: str | Sequence[str] | None) -> list[str]:
        """Returns the full names to score a file with; none for all that can read it."""
        is_all = tasks is None and not self.opened
        return [] if is_all else list(self.own(tasks).values())

    def infos(self, resident: Sequence[str]) -> list[TaskInfo]:
        """Returns all tasks of the registries or of the named repositories.

        Args:
            resident: Full names of the tasks that are resident.
        """
        if self.named is not None:
            return self.named.infos(resident)
        return Registries(self.paths).infos(resident=resident)

    def _fitting(self, fingerprint: str) -> tuple[str, ...]:
        """Returns the tasks for a backbone, without those that are deprecated."""
        found = []
        for one in Registries(self.paths).tasks():
            entry = one.registry.tasks[one.task]
            is_mine = one.registry.backbones[entry.backbone].fingerprint == fingerprint
            if is_mine and entry.deprecated is None:
                found.append(one.name)
        return tuple(found)


def names_in(registry: object, *, opens_all: bool = False) -> TaskNames:
    """Returns the names of registries, as `locate_registries` finds them."""
    if isinstance(registry, TaskNames):
        return registry
    return TaskNames(locate_registries(registry), opens_all=opens_all)


def names_on_hub(names: Sequence[str | Sequence[str]], revision: str | None) -> TaskNames:
    """Returns the names of tasks on the Hub, also given as a list; see `find_named`."""
    given: list[Any] = []
    for part in names:
        given += part if isinstance(part, list | tuple) else [part]
    named = find_named(given, revision=revision)
    return TaskNames((named.path(),), named)
