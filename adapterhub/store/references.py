"""How a user names a task: `sentiment`, `sentiment@prod`, `sentiment:3`, `hub:…`, `./file`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from adapterhub.errors import UsageError
from adapterhub.specs import TASK_NAME_PATTERN

ReferenceKind = Literal["task", "hub", "file"]

HUB_PREFIX = "hub:"
_NAME = re.compile(TASK_NAME_PATTERN)
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_REPO_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_FILE_STARTS = ("./", "../", "/", "~/", ".\\", "..\\")


@dataclass(frozen=True, slots=True)
class Reference:
    """A task as a user named it; nothing has been looked up.

    Attributes:
        text: What the user wrote.
        kind: Where it points: a task of the registry, a Hub repository, or a head file.
        task: Task name; None for a file, and for a Hub repository named without a task.
        version: Version asked for; with `alias` None too, the newest is meant.
        alias: Alias asked for.
        repo: Hub only: `owner/name`.
        revision: Hub only: commit, branch or tag; None where none was given.
        path: File only: the file, as written.
    """

    text: str
    kind: ReferenceKind
    task: str | None = None
    version: int | None = None
    alias: str | None = None
    repo: str | None = None
    revision: str | None = None
    path: Path | None = None


def parse_reference(text: str) -> Reference:
    """Returns what `text` names. A string with a separator is never guessed at.

    Raises:
        UsageError: It follows none of the forms.
    """
    if text.startswith(HUB_PREFIX):
        return _parse_hub(text)
    if text.startswith(_FILE_STARTS) or Path(text).is_absolute():
        return Reference(text, "file", path=Path(text))
    name, mark, rest = _split(text)
    if not _NAME.fullmatch(name):
        _refuse(text)
    if mark == ":":
        if not _VERSION.fullmatch(rest):
            _refuse(text, f"the version '{rest}' is not a whole number from 1")
        return Reference(text, "task", task=name, version=int(rest))
    if mark == "@":
        if not _NAME.fullmatch(rest):
            _refuse(text, f"the alias '{rest}' is not a name")
        return Reference(text, "task", task=name, alias=rest)
    return Reference(text, "task", task=name)


def check_name(name: str, what: str) -> None:
    """Checks that `name` can be the name of a task or an alias.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"The {what} {name!r} is not allowed: use 1 to 64 of a-z, 0-9, '-' and '_', starting "
            f"with a letter or digit."
        )


def _parse_hub(text: str) -> Reference:
    place, mark, revision = text[len(HUB_PREFIX) :].partition("@")
    parts = place.split("/")
    if len(parts) not in (2, 3) or not all(_REPO_PART.fullmatch(part) for part in parts[:2]):
        _refuse(text, "after 'hub:' comes owner/repository or owner/repository/task")
    if len(parts) == 3 and not _NAME.fullmatch(parts[2]):
        _refuse(text, f"'{parts[2]}' is not a task name")
    if mark and (not _REVISION.fullmatch(revision) or ".." in revision):
        _refuse(text, f"the revision '{revision}' is not a commit, branch or tag")
    return Reference(
        text,
        "hub",
        task=parts[2] if len(parts) == 3 else None,
        repo="/".join(parts[:2]),
        revision=revision or None,
    )


def _split(text: str) -> tuple[str, str, str]:
    at = min((text.index(mark) for mark in ":@" if mark in text), default=len(text))
    return text[:at], text[at : at + 1], text[at + 1 :]


def _refuse(text: str, problem: str = "") -> NoReturn:
    if not problem and "/" in text:
        problem = f"write 'hub:{text}' for the Hub or './{text}' for a file"
    elif not problem and text.endswith(".safetensors"):
        problem = f"write './{text}' for a file"
    raise UsageError(
        f"{text[:200]!r} does not name a task{': ' + problem if problem else ''}. Write name, "
        f"name@alias, name:version, hub:owner/repository/name@commit or ./file.safetensors; names "
        f"are 1 to 64 of a-z, 0-9, '-' and '_'."
    )
