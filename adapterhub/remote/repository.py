"""Repositories on the Hub: finding them, their registry at a commit, the bytes of their heads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

from adapterhub.errors import (
    AdapterHubError,
    RemoteContentError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    UsageError,
)
from adapterhub.remote.calls import Place, call, current_place
from adapterhub.remote.faults import Action
from adapterhub.remote.fetch import Commit, Promise, fetch, find_commit, is_cached
from adapterhub.specs import TaskSpec
from adapterhub.store.agreement import contradiction
from adapterhub.store.entries import BackboneEntry, RegistryContent, TaskEntry, VersionRecord
from adapterhub.store.references import Reference
from adapterhub.store.registry import REGISTRY_NAME, parse_registry
from adapterhub.store.retired import current_name, notice, pick_version

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npz"})
"""Suffixes of files that may run code when they are read."""

_LIBRARY = "adapterhub"
_log = logging.getLogger("adapterhub")

Follows = Literal["newest", "alias", "fixed"]


@dataclass(frozen=True, slots=True)
class RemoteTask:
    """One version of a task on the Hub.

    Attributes:
        commit: The commit of the repository.
        task: Name of the task.
        former: Names that the task had before.
        version: Its version in the repository's registry.
        alias: The alias in the reference, or None.
        follows: Whether the reference can later resolve to another version.
        entry: The task's entry.
        record: The version's record.
        backbone: The backbone's entry.
    """

    commit: Commit
    task: str
    version: int
    alias: str | None
    follows: Follows
    entry: TaskEntry
    record: VersionRecord
    backbone: BackboneEntry
    former: frozenset[str] = frozenset()

    @property
    def source(self) -> str:
        """Returns the place of the head file, for messages."""
        return f"{self.commit}/{self.record.file}"


class Lookup:
    """The commits and registries of one call: each is looked up once, so its tasks agree."""

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or current_place()
        self._commits: dict[tuple[str, str | None], Commit] = {}
        self._registries: dict[str, RegistryContent] = {}

    def commit(self, repo: str, revision: str | None) -> Commit:
        """Returns the commit of a revision; None is the main branch."""
        key = (repo, revision)
        if key not in self._commits:
            self._commits[key] = find_commit(self.place, repo, revision)
        return self._commits[key]

    def registry(self, commit: Commit) -> RegistryContent:
        """Returns the registry of a repository at a commit."""
        key = str(commit)
        if key not in self._registries:
            self._registries[key] = read_registry_at(commit)
        return self._registries[key]


@dataclass(frozen=True, slots=True)
class Listed:
    """A repository that the Hub lists, and its registry.

    Attributes:
        commit: Its newest commit.
        content: Its registry; None if it cannot be read.
        problem: Why it cannot be read, or None.
    """

    commit: Commit
    content: RegistryContent | None
    problem: str | None = None


def find_task(reference: Reference, lookup: Lookup | None = None) -> RemoteTask:
    """Returns the task on the Hub that a reference resolves to.

    Args:
        reference: The name.
        lookup: What the same call has looked up before; None where this is its only name.

    Raises:
        UsageError: It is not a name on the Hub.
        UnknownTaskError: The repository has no such task, version or alias.
        RemoteError: The repository cannot be read, or is refused.
        RegistryError: Its registry is not valid.
    """
    repo, task = reference.repo, reference.task
    if repo is None or task is None:
        raise UsageError(f"'{reference.text}' does not name a task on the Hub.")
    lookup = lookup or Lookup()
    commit = lookup.commit(repo, reference.revision)
    alias, fixed = reference.alias, reference.revision is not None
    content = lookup.registry(commit)
    name, entry = _entry(content, task, commit)
    if alias is not None and alias not in entry.aliases and not fixed:
        commit, alias, fixed = _tagged(lookup, repo, name, alias, entry), None, True
        content = lookup.registry(commit)
        name, entry = _entry(content, task, commit)
    wanted = replace(reference, alias=alias)
    version = pick_version(name, entry, wanted, str(commit))
    follows: Follows = "alias" if alias is not None else "newest"
    return RemoteTask(
        commit=commit,
        task=name,
        version=version,
        alias=alias,
        follows="fixed" if fixed or reference.version is not None else follows,
        entry=entry,
        record=entry.versions[version],
        backbone=content.backbones[entry.backbone],
        former=frozenset(old for old, one in content.retired.items() if one.renamed == name),
    )


def read_remote(task: RemoteTask) -> bytes:
    """Returns the bytes of a head file, verified by the size and sha256 in the registry.

    Raises:
        IntegrityError: Even a second download has other bytes.
        RemoteError: They cannot be downloaded.
    """
    record = task.record
    return fetch(task.commit, record.file, Promise(record.size, record.sha256))


def check_agreement(task: RemoteTask, spec: TaskSpec) -> None:
    """Checks that an entry of a repository is of the task in its head file.

    Raises:
        RemoteContentError: It is of another one.
    """
    problem = contradiction(
        spec, task.task, version=task.version, entry=task.entry, backbone=task.backbone
    )
    if problem:
        raise RemoteContentError(
            str(task.commit),
            f"the entry of '{task.task}:{task.version}' is not of its file {task.record.file}: "
            f"{problem}. Its owner can publish the task again.",
        )


def read_registry_at(commit: Commit) -> RegistryContent:
    """Returns the registry of a repository, which is refused if it contains unsafe files.

    Raises:
        RemoteNotFoundError: There is no registry.
        RemoteContentError: The repository contains pickles.
        RegistryError: The registry is not valid.
    """
    if not commit.place.offline and not is_cached(commit, REGISTRY_NAME):
        check_files(commit, list_files(commit))
    try:
        data = fetch(commit, REGISTRY_NAME)
    except RemoteNotFoundError as error:
        if REGISTRY_NAME not in error.problem:
            raise
        raise RemoteNotFoundError(
            str(commit), f"it has no {REGISTRY_NAME}, so adapterhub published no task there"
        ) from error
    return parse_registry(data, Path(f"{commit}/{REGISTRY_NAME}"))


def list_files(commit: Commit) -> tuple[str, ...]:
    """Returns the paths of all files of a commit, sorted.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    action = Action(commit.repo, "listing its files", commit.oid[:12])
    info = call(commit.place, action, lambda api: api.model_info(commit.repo, revision=commit.oid))
    return tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))


def check_files(commit: Commit, files: Iterable[str]) -> None:
    """Checks that a repository has no file that may run code.

    Raises:
        RemoteContentError: It has one.
    """
    pickles = [file for file in files if PurePosixPath(file.lower()).suffix in PICKLES]
    if pickles:
        more = f" and {len(pickles) - 1} more" if len(pickles) > 1 else ""
        raise RemoteContentError(
            str(commit),
            f"it holds {pickles[0]}{more}, a kind of file that can run code when it is read. "
            f"adapterhub loads nothing from such a repository; its owner can remove the file.",
        )


def list_repositories(
    place: Place, *, tags: Sequence[str] = (), author: str | None = None, limit: int = 20
) -> list[Listed]:
    """Returns repositories with the tags adapterhub and `tags`, last modified first.

    Raises:
        RemoteError: The Hub cannot be reached. An unreadable repository is no error.
    """
    if place.offline:
        raise RemoteUnavailableError(
            place.endpoint, "searching needs the network, and HF_HUB_OFFLINE is set"
        )
    found = call(
        place,
        Action(place.endpoint, "listing repositories"),
        lambda api: list(
            islice(
                api.list_models(
                    filter=[_LIBRARY, *tags],
                    author=author,
                    sort="last_modified",
                    limit=limit,
                    full=True,
                ),
                limit,
            )
        ),
    )
    commits = [Commit(model.id, model.sha, place) for model in found if model.sha is not None]
    return [_read_listed(commit) for commit in commits]


def _entry(content: RegistryContent, task: str, commit: Commit) -> tuple[str, TaskEntry]:
    """Returns the name that a task has now, and its entry; says what its users should know."""
    name = current_name(task, content.tasks, content.retired, str(commit))
    text = notice(task, name, content.tasks[name], commit.repo)
    if text is not None:
        _log.warning("%s", text)
    return name, content.tasks[name]


def _tagged(lookup: Lookup, repo: str, task: str, name: str, entry: TaskEntry) -> Commit:
    """Returns the commit of a tag or branch, for a name after `@` that is no alias."""
    try:
        return lookup.commit(repo, name)
    except (RemoteNotFoundError, RemoteUnavailableError) as error:
        known = ", ".join(sorted(entry.aliases)) or "none"
        raise RemoteNotFoundError(
            repo,
            f"'{name}' is neither an alias of its task '{task}' (there: {known}) nor a tag or "
            f"branch: {error.problem}",
        ) from error


def _read_listed(commit: Commit) -> Listed:
    try:
        return Listed(commit, read_registry_at(commit))
    except AdapterHubError as error:
        return Listed(commit, None, str(error))
