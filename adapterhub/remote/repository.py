"""Repositories on the Hub: finding them, their registry at a commit, the bytes of their heads."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from adapterhub.errors import (
    AdapterHubError,
    RemoteContentError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    UsageError,
)
from adapterhub.remote.cache import find_cached
from adapterhub.remote.calls import Place, call, current_place
from adapterhub.remote.download_count import count_download
from adapterhub.remote.faults import Action
from adapterhub.remote.fetch import (
    Commit,
    Promise,
    fetch,
    find_commit,
    is_cached,
    keep_commit,
    paths_of,
    use_older,
)
from adapterhub.remote.operation import operation
from adapterhub.remote.parallel import in_parallel
from adapterhub.specs import TaskSpec
from adapterhub.store.agreement import contradiction
from adapterhub.store.entries import BackboneEntry, RegistryContent, TaskEntry, VersionRecord
from adapterhub.store.references import Reference
from adapterhub.store.registry import REGISTRY_NAME, parse_registry
from adapterhub.store.retired import current_name, notice, pick_version

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npz"})
"""Suffixes of files that may run code when they are read."""

_log = logging.getLogger("adapterhub")

Key = TypeVar("Key")
Value = TypeVar("Value")
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
    """The commits and registries of one call: each is looked up once, so its tasks agree.

    What failed is not tried again either. Different ones may be looked up in several threads.
    """

    def __init__(self, place: Place | None = None) -> None:
        self.place = place or current_place()
        self._commits: dict[tuple[str, str | None], Commit | AdapterHubError] = {}
        self._registries: dict[Commit, RegistryContent | AdapterHubError] = {}

    def commit(self, repo: str, revision: str | None) -> Commit:
        """Returns the commit of a revision; None is the main branch."""
        return _once(
            self._commits, (repo, revision), lambda: find_commit(self.place, repo, revision)
        )

    def registry(self, commit: Commit) -> RegistryContent:
        """Returns the registry of a repository at a commit."""
        return _once(self._registries, commit, lambda: read_registry_at(commit))

    def prepare(self, references: Iterable[Reference]) -> None:
        """Looks up the repositories of several references at once; errors come when one is used."""

        def look_up(key: tuple[str, str | None]) -> None:
            with contextlib.suppress(AdapterHubError):
                self.registry(self.commit(*key))

        keys = {(one.repo, one.revision): None for one in references}
        in_parallel(look_up, [(repo, revision) for repo, revision in keys if repo is not None])

    def step_back(self, why: str) -> bool:
        """Uses older commits, which are in the cache, for those that cannot be fetched.

        Returns:
            Whether there was one.
        """
        older = {
            key: found
            for key, commit in self._commits.items()
            if isinstance(commit, Commit) and (found := use_older(commit, why)) is not None
        }
        self._commits.update(older)
        return bool(older)


def lookup_of_call() -> Lookup:
    """Returns what the running operation has looked up, or a new one outside of any."""
    place = current_place()
    with operation() as running:
        found: Lookup = running.kept.setdefault(place, Lookup(place))
    return found


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


def find_tasks(references: Sequence[Reference], lookup: Lookup) -> list[RemoteTask]:
    """Returns the tasks on the Hub that references resolve to; see `find_task`."""
    lookup.prepare(references)
    return [find_task(reference, lookup) for reference in references]


def read_tasks(references: Sequence[Reference], lookup: Lookup) -> list[tuple[RemoteTask, bytes]]:
    """Returns tasks on the Hub and the bytes of their head files.

    Where the newest commit of a repository cannot be fetched any more, an older one is used if it
    is in the cache.

    Raises:
        AdapterHubError: As `find_task` and `read_heads`.
    """
    with operation():
        try:
            tasks = find_tasks(references, lookup)
            return list(zip(tasks, read_heads(tasks), strict=True))
        except RemoteUnavailableError as error:
            if not lookup.step_back(error.problem):
                raise
        tasks = find_tasks(references, lookup)
        return list(zip(tasks, read_heads(tasks), strict=True))


def read_remote(task: RemoteTask) -> bytes:
    """Returns the bytes of a head file; see `read_heads`."""
    return read_heads([task])[0]


def read_heads(tasks: Sequence[RemoteTask]) -> list[bytes]:
    """Returns the bytes of head files, verified by size and sha256 in the registry.

    Raises:
        IntegrityError: Even a second download has other bytes.
        RemoteError: They cannot be downloaded.
    """
    with operation():
        files = {(task.commit, task.record.file): task.record for task in tasks}
        new = {commit for (commit, file), record in files.items() if _is_new(commit, file, record)}
        read = in_parallel(_read_head, files.items())
        in_parallel(count_download, new)
    for commit in dict.fromkeys(task.commit for task in tasks):
        keep_commit(commit)
    data = dict(zip(files, read, strict=True))
    return [data[task.commit, task.record.file] for task in tasks]


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
        check_files(commit, list_files(commit) if commit.files is None else commit.files)
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
    return paths_of(info) or ()


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


def _once(
    known: dict[Key, Value | AdapterHubError], key: Key, look_up: Callable[[], Value]
) -> Value:
    """Returns or raises what a look-up came to, which is made once."""
    if key not in known:
        try:
            known[key] = look_up()
        except AdapterHubError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, AdapterHubError):
        raise found
    return found


def _is_new(commit: Commit, file: str, record: VersionRecord) -> bool:
    return find_cached(commit.place, commit.repo, commit.oid, file, record.sha256) is None


def _read_head(item: tuple[tuple[Commit, str], VersionRecord]) -> bytes:
    (commit, file), record = item
    return fetch(commit, file, Promise(record.size, record.sha256))


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
