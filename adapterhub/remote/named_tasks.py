"""Tasks opened by their names on the Hugging Face Hub: no registry of the user takes part.

The registries of their repositories, each at the one commit that was read, stand in the place of
the user's: they say which backbone to open, and which tasks a plain name can mean.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adapterhub.errors import (
    BackboneError,
    RemoteUnavailableError,
    UnknownTaskError,
    UsageError,
    check_type,
)
from adapterhub.remote.cache import pointer
from adapterhub.remote.calls import current_place
from adapterhub.remote.fetch import Commit, fetch
from adapterhub.remote.repository import Lookup, find_task, lookup_of_call, read_registry_at
from adapterhub.results import TaskInfo
from adapterhub.store.entries import BackboneEntry, RegistryContent
from adapterhub.store.hub_urls import is_address, name_of
from adapterhub.store.references import HUB_PREFIX, parse_reference, parse_repository
from adapterhub.store.registry import REGISTRY_NAME, Registry, task_info

_FOLDER_STARTS = ("./", "../", "/", "~", ".\\", "..\\")


@dataclass(frozen=True, slots=True)
class NamedTask:
    """A task that was named, or is one of a repository that was.

    Attributes:
        name: Its name on the Hub, `owner/repo:task` and what follows.
        task: Its plain name.
        fingerprint: Of its backbone.
        is_explicit: Whether it was named itself.
    """

    name: str
    task: str
    fingerprint: str
    is_explicit: bool


@dataclass(frozen=True, slots=True)
class NamedRepository:
    """A repository at one commit.

    Attributes:
        place: `owner/repo` or `owner/repo@revision`, as named.
        repo: `owner/repo`.
        oid: The commit.
        tasks: Plain names of its tasks, also those that they had before.
    """

    place: str
    repo: str
    oid: str
    tasks: frozenset[str]

    @property
    def commit(self) -> Commit:
        """Returns its commit on the Hub of the current environment."""
        return Commit(self.repo, self.oid, current_place())


@dataclass(frozen=True, slots=True)
class NamedTasks:
    """Tasks by name on the Hub, and their repositories; plain values, which can be pickled.

    Attributes:
        tasks: The tasks, in the given order.
        repositories: The repositories, each once.
        backbone: Key and entry of their backbone in the registry of the first repository.
    """

    tasks: tuple[NamedTask, ...]
    repositories: tuple[NamedRepository, ...]
    backbone: tuple[str, BackboneEntry]

    def names(self) -> tuple[str, ...]:
        """Returns the shortest name of each task that means no other one."""
        plain = [task.task for task in self.tasks]
        return tuple(task.task if plain.count(task.task) == 1 else task.name for task in self.tasks)

    def on(self, fingerprint: str) -> NamedTasks:
        """Returns these without tasks of other backbones that were not named themselves."""
        kept = (task for task in self.tasks if task.is_explicit or task.fingerprint == fingerprint)
        return replace(self, tasks=tuple(kept))

    def full_name(self, text: str) -> str:
        """Returns the name on the Hub that a plain name means; other names as they are.

        Raises:
            UsageError: It is malformed, or several repositories have such a task.
            UnknownTaskError: None has.
        """
        reference = parse_reference(text)
        if reference.kind != "task":
            return text
        mine = (one for one in self.tasks if text in (one.task, one.name.partition(":")[2]))
        found = [one.name for one in mine] or [
            f"{one.place}:{text}" for one in self.repositories if reference.task in one.tasks
        ]
        if len(found) > 1:
            raise UsageError(f"'{text}' can mean {' or '.join(found)}; write the whole name.")
        if not found:
            known = sorted({name for one in self.repositories for name in one.tasks})
            places = " or ".join(one.place for one in self.repositories)
            raise UnknownTaskError(str(reference.task), known, what=f"task of {places}")
        return found[0]

    def registry(self, *, any_backbone: bool) -> Registry:
        """Returns a registry that lists the backbone alone; its file is in the cache.

        Args:
            any_backbone: Whether another backbone will be opened than this one.

        Raises:
            UsageError: The tasks belong to several backbones.
            BackboneError: The backbone is a folder of its publisher.
        """
        if not any_backbone:
            self._check_one()
            self._check_source()
        key, entry = self.backbone
        return Registry(self.path(), {key: entry}, {})

    def path(self) -> Path:
        """Returns the registry.yaml of the first repository in the cache.

        Raises:
            RemoteError: It is not there any more, and cannot be fetched.
        """
        commit = self.repositories[0].commit
        fetch(commit, REGISTRY_NAME)
        return pointer(commit.place, commit.repo, commit.oid, REGISTRY_NAME)

    def infos(self, resident: Collection[str]) -> list[TaskInfo]:
        """Returns all tasks of the repositories for this backbone.

        Args:
            resident: Names on the Hub of the tasks that are resident.
        """
        live = {self._plain(name) for name in resident}
        several = {
            name
            for number, one in enumerate(self.repositories)
            for other in self.repositories[:number]
            for name in one.tasks & other.tasks
        }
        infos = []
        for one in self.repositories:
            content = read_registry_at(one.commit)
            registry = Registry(Path(REGISTRY_NAME).absolute(), content.backbones, content.tasks)
            for name in sorted(self._fitting(content)):
                info = task_info(registry, name, resident=(one.repo, name) in live)
                shown = f"{one.place}:{name}" if name in several else name
                infos.append(replace(info, name=shown))
        return infos

    def _check_one(self) -> None:
        first = self.tasks[0]
        for task in self.tasks[1:]:
            if task.fingerprint != first.fingerprint:
                raise UsageError(
                    f"{first.name} and {task.name} belong to different backbones, and a Hub has "
                    f"one. Name the tasks of one of them, or pass backbone=…"
                )

    def _check_source(self) -> None:
        key, entry = self.backbone
        if not entry.source.startswith(_FOLDER_STARTS):
            return
        repo = self.repositories[0].repo
        raise BackboneError(
            key,
            f"the tasks of {repo} belong to a backbone that its publisher has as a folder "
            f"({entry.fingerprint[:19]}…), and that is not named on the Hub. Pass your copy with "
            f"backbone=… (a folder, or owner/name@commit). Its publisher can put it on the Hub: "
            f"`adapterhub publish-backbone`, then `publish --base-model`.",
        )

    def _fitting(self, content: RegistryContent) -> Iterable[str]:
        wanted = self.backbone[1].fingerprint
        for name, entry in content.tasks.items():
            if content.backbones[entry.backbone].fingerprint == wanted:
                yield name

    def _plain(self, name: str) -> tuple[str | None, str | None]:
        reference = parse_reference(name)
        return reference.repo, reference.task


def find_named(names: Sequence[str], *, revision: str | None = None) -> NamedTasks:
    """Returns the tasks that names on the Hub mean.

    Args:
        names: `owner/repo` for all its tasks but those that are deprecated, or names of tasks;
            each also with a revision, or as an address.
        revision: Commit, branch or tag for the names without one.

    Raises:
        UsageError: A name is malformed, or a repository has no tasks.
        UnknownTaskError: There is no such task, version or alias.
        RemoteError: A repository cannot be read, or is refused.
    """
    if not names:
        raise UsageError("Nothing was named; write owner/repo or owner/repo:task.")
    places = [_split(name, revision) for name in names]
    lookup = lookup_of_call()
    try:
        return _find(places, lookup)
    except RemoteUnavailableError as error:
        if not lookup.step_back(error.problem):
            raise
    return _find(places, lookup)


def _find(places: Sequence[tuple[str, str]], lookup: Lookup) -> NamedTasks:
    """Returns tasks by their `owner/repo[@revision]` and the rest of their names."""
    lookup.prepare(parse_reference(f"{place}:any") for place, _ in places)
    tasks: dict[str, NamedTask] = {}
    repositories: dict[str, NamedRepository] = {}
    backbones: dict[str, tuple[str, BackboneEntry]] = {}
    for place, task in places:
        repo = parse_repository(place)
        commit = lookup.commit(repo.name, repo.revision)
        content = lookup.registry(commit)
        known = frozenset((*content.tasks, *content.retired))
        found = NamedRepository(place, repo.name, commit.oid, known)
        repositories.setdefault(place, found)
        every = (name for name, entry in content.tasks.items() if entry.deprecated is None)
        for one in [task] if task else sorted(every):
            remote = find_task(parse_reference(f"{place}:{one}"), lookup)
            own = NamedTask(f"{place}:{one}", remote.task, remote.backbone.fingerprint, bool(task))
            tasks.setdefault(own.name, own)
            backbones.setdefault(own.fingerprint, (remote.entry.backbone, remote.backbone))
    if not tasks:
        raise UsageError(f"{' and '.join(repositories)} has no tasks to open.")
    first = next(iter(tasks.values())).fingerprint
    return NamedTasks(tuple(tasks.values()), tuple(repositories.values()), backbones[first])


def is_folder_of_tasks(name: str | Path, revision: str | None) -> bool:
    """Returns whether a name means a folder here, or a registry.yaml, and not the Hub.

    Raises:
        UsageError: It does, and a revision is named, which a folder does not have.
    """
    check_type(name, (str, Path), "The name", "owner/repo or a folder")
    text = str(name)
    if not isinstance(name, Path) and (is_address(text) or text.startswith(HUB_PREFIX)):
        return False
    is_folder = (
        isinstance(name, Path)
        or text.startswith(_FOLDER_STARTS)
        or "/" not in text.partition(":")[0]
        or os.path.isfile(text)
        or os.path.isfile(os.path.join(text, REGISTRY_NAME))
    )
    if is_folder and revision is not None:
        raise UsageError(f"'{text}' is a folder here, which has no revision {revision!r}.")
    return is_folder


def _split(name: str, revision: str | None) -> tuple[str, str]:
    """Returns `owner/repo[@revision]` and the rest, which is empty for all tasks."""
    if not isinstance(name, str):
        raise UsageError(f"A task is named by one string; found a {type(name).__name__}.")
    text = name_of(name) if is_address(name) else name.removeprefix(HUB_PREFIX)
    place, _, task = text.partition(":")
    if name.startswith(_FOLDER_STARTS) or "/" not in place.partition("@")[0]:
        raise UsageError(
            f"{name[:200]!r} is not on the Hub; write owner/repo or owner/repo:task. "
            f"Hub(…) opens a registry, Hub.from_pretrained(…) also a folder."
        )
    given = parse_repository(place)
    if revision is not None and given.revision not in (None, revision):
        raise UsageError(
            f"'{name}' names the revision {given.revision}, and revision={revision!r} another."
        )
    wanted = given.revision or revision
    place = given.name if wanted is None else f"{given.name}@{wanted}"
    parse_reference(f"{HUB_PREFIX}{place}:{task or 'all'}")  # refuses what is malformed
    return place, task
