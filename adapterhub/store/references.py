"""References to tasks: `sentiment`, `sentiment@prod`, `sentiment:3`, and those with a place.

`shipped:sentiment` is one of the tasks that ship with adapterhub, whatever the registry;
`./other/registry.yaml:sentiment`, or `./other:sentiment`, one of another registry;
`./sentiment.safetensors` a head file. The task is followed by `@alias` or `:version` everywhere.

A reference with a `/` before its first `:` is to the Hugging Face Hub, and continues as in a
registry: `owner/repo:task`, `owner/repo:task@prod`, `owner/repo:task:3`.
`owner/repo@revision:task` reads the registry at that commit, branch or tag. After the task, `@`
may also give a commit, or a tag where the task has no alias of that name. An address of the Hub,
pasted from a browser, stands for the name of its repository or head file (`hub_urls.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NoReturn

from adapterhub.errors import UsageError, check_type, nearest
from adapterhub.specs import TASK_NAME_PATTERN
from adapterhub.store.hub_urls import is_address, name_of
from adapterhub.store.paths import absolute_path

ReferenceKind = Literal["task", "shipped", "registry", "hub", "file"]

HUB_PREFIX = "hub:"
SHIPPED = "shipped"
SHIPPED_PREFIX = f"{SHIPPED}:"
_NAME = re.compile(TASK_NAME_PATTERN)
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_REPO_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# A name with `:` in it, if it ends in .yaml; else what stands before the first one.
_IN_REGISTRY = re.compile(r"(?s)(.+\.ya?ml|(?:.*[/\\])?[^/\\:]+(?<!\.safetensors)):([^/\\]*)")
_FILE_STARTS = ("./", "../", "/", "~/", ".\\", "..\\")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference to a task, not resolved yet.

    Attributes:
        text: The reference as the user wrote it.
        kind: Whether it is to a task of the registry in use, of those that ship, of another
            registry or of the Hub, or a head file.
        task: Task name; None for a file.
        version: Version; None together with `alias` means the newest version.
        alias: Alias; on the Hub possibly a tag or a branch.
        repo: Hub only: `owner/name`.
        revision: Hub only: commit, branch or tag to read, or None.
        path: File only: the path as written.
        registry: Another registry only: the path of its file as written.
    """

    text: str
    kind: ReferenceKind
    task: str | None = None
    version: int | None = None
    alias: str | None = None
    repo: str | None = None
    revision: str | None = None
    path: Path | None = None
    registry: Path | None = None

    @property
    def place(self) -> str:
        """Returns what stands before a task outside the Hub, in any working folder, or nothing."""
        if self.registry is not None:
            return f"{absolute_path(self.registry, 'registry')}:"
        return SHIPPED_PREFIX if self.kind == "shipped" else ""


def parse_reference(text: str) -> Reference:
    """Returns the parsed reference.

    Raises:
        UsageError: It has none of the documented forms.
    """
    if not isinstance(text, str):
        raise UsageError(f"A task is named by one string; found a {type(text).__name__}.")
    if is_address(text):
        return _parse_hub(name_of(text), text)
    if text.startswith(_FILE_STARTS) or Path(text).is_absolute():
        within = _in_registry(text)
        if within is None:
            return Reference(text, "file", path=Path(text))
        found = _parse_task(within[2], text)
        return replace(found, text=text, kind="registry", registry=Path(within[1]))
    # `shipped:3` was version 3 of a task of that name before tasks could not have it any more.
    if text.startswith(SHIPPED_PREFIX) and not _VERSION.fullmatch(text[len(SHIPPED_PREFIX) :]):
        found = _parse_task(text.removeprefix(SHIPPED_PREFIX), text)
        return replace(found, text=text, kind="shipped")
    if text.startswith(HUB_PREFIX) or "/" in text.partition(":")[0]:
        return _parse_hub(text, text)
    return _parse_task(text, text)


def absolute(text: str) -> str:
    """Returns the reference that names the same task in any working folder.

    Raises:
        UsageError: As `parse_reference`.
    """
    parsed = parse_reference(text)
    if parsed.registry is not None and (within := _in_registry(text)) is not None:
        return parsed.place + within[2]
    return text if parsed.path is None else str(absolute_path(parsed.path))


def _parse_task(part: str, text: str) -> Reference:
    """Returns `part`, which is `text` or its end, parsed as a reference to a registry's task."""
    name, mark, rest = _split(part)
    if mark == ":" and part == text and _means_shipped(name) and not _VERSION.fullmatch(rest):
        _refuse(text, f"for a task that ships with adapterhub write '{SHIPPED_PREFIX}{rest}'")
    if not _NAME.fullmatch(name):
        _refuse(text)
    if mark == ":":
        if not _VERSION.fullmatch(rest):
            other = f", or write './{text}' for a task of a registry in that folder"
            named = part == text and _NAME.fullmatch(_split(rest)[0])
            _refuse(
                text, f"the version '{rest}' is not a whole number from 1{other if named else ''}"
            )
        return Reference(part, "task", task=name, version=int(rest))
    if mark == "@":
        if not _NAME.fullmatch(rest):
            _refuse(text, f"the alias '{rest}' is not a name")
        return Reference(part, "task", task=name, alias=rest)
    return Reference(part, "task", task=name)


def check_name(name: str, what: str) -> None:
    """Checks that `name` is a valid name of a new task or an alias.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"The {what} {name!r} is not allowed: use 1 to 64 of a-z, 0-9, '-' and '_', starting "
            f"with a letter or digit."
        )
    if what == "task" and name == SHIPPED:
        raise UsageError(
            f"The task {name!r} is not allowed: '{SHIPPED_PREFIX}' stands before the tasks that "
            f"ship with adapterhub. Give it another name."
        )


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the Hub.

    Attributes:
        name: `owner/name`.
        revision: Commit, branch or tag, or None for the main branch.
    """

    name: str
    revision: str | None = None


def parse_repository(text: str) -> Repository:
    """Returns the repository that a text names: `owner/name`, `owner/name@revision`, an address.

    Raises:
        UsageError: It names none.
    """
    check_type(text, str, "The repository", "owner/name")
    name = name_of(text) if is_address(text) else text.removeprefix(HUB_PREFIX)
    # The address of a head file is also one of its repository.
    name = name.partition(":")[0] if is_address(text) else name
    repo, at, revision = name.partition("@")
    check_repository(repo)
    if at:
        _check_revision(revision, text)
    return Repository(repo, revision or None)


def check_repository(repo: str) -> None:
    """Checks that `repo` is a valid name of a repository on the Hub: `owner/name`.

    Raises:
        UsageError: It is not.
    """
    check_type(repo, str, "The repository", "owner/name")
    names = repo.split("/")
    if len(names) != 2 or not all(_REPO_PART.fullmatch(name) for name in names):
        raise UsageError(f"{repo[:200]!r} is not a repository on the Hub; write owner/name.")


def _check_revision(revision: str, text: str) -> None:
    if not _REVISION.fullmatch(revision) or ".." in revision:
        _refuse(text, f"the revision '{revision}' is not a commit, branch or tag")


def _parse_hub(name: str, text: str) -> Reference:
    """Returns `name`, which is `text` or what the address `text` stands for, as a reference."""
    place, mark, part = name.removeprefix(HUB_PREFIX).partition(":")
    repo, at, revision = place.partition("@")
    names = repo.split("/")
    if repo.endswith((".yaml", ".yml")) and not text.startswith(HUB_PREFIX):
        # A path without its `./`, more probably than a repository of such a name.
        _refuse(text, f"write './{text}' for a task of that registry")
    if len(names) != 2 or not all(_REPO_PART.fullmatch(name) for name in names):
        hint = f" or './{text}' for a file" if not text.startswith(HUB_PREFIX) else ""
        _refuse(text, f"write 'owner/repository:task' for the Hub{hint}")
    if at:
        _check_revision(revision, text)
    if not mark and names[0] == SHIPPED and _NAME.fullmatch(names[1]):
        _refuse(text, f"for a task that ships with adapterhub write '{SHIPPED_PREFIX}{names[1]}'")
    if not mark:
        hint = "" if is_address(text) else f" or './{text}' for a file"
        _refuse(text, f"write '{place}:task' for a task on the Hub{hint}")
    name, _, rest = part.partition("@")
    if _COMMIT.fullmatch(rest) and not revision:
        part, revision = name, rest
    found = _parse_task(part, text)
    return replace(found, text=text, kind="hub", repo=repo, revision=revision or None)


def _in_registry(text: str) -> re.Match[str] | None:
    """Returns the parts of `./other/registry.yaml:task`; a head file's name ends otherwise."""
    return None if text.endswith(".safetensors") else _IN_REGISTRY.fullmatch(text)


def _means_shipped(word: str) -> bool:
    """Returns whether a word before a task is probably a mistyped `shipped`."""
    return word != SHIPPED and (word == "package" or nearest(word.lower(), [SHIPPED]) is not None)


def _split(text: str) -> tuple[str, str, str]:
    at = min((text.index(mark) for mark in ":@" if mark in text), default=len(text))
    return text[:at], text[at : at + 1], text[at + 1 :]


def _refuse(text: str, problem: str = "") -> NoReturn:
    if not problem and text.endswith(".safetensors"):
        problem = f"write './{text}' for a file"
    raise UsageError(
        f"{text[:200]!r} does not name a task{': ' + problem if problem else ''}. Write name, "
        f"name@alias, name:version, shipped:name, owner/repository:name, "
        f"owner/repository:name@commit or ./file.safetensors; names are 1 to 64 of a-z, 0-9, '-' "
        f"and '_'."
    )
