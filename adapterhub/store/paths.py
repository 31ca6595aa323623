"""Paths of the caller, made absolute once, where they enter."""

from __future__ import annotations

import os
from pathlib import Path

from adapterhub.errors import UsageError


def absolute_path(path: object, what: str = "path") -> Path:
    """Returns a path that stays the same file or folder wherever the process works from now on.

    `~` is expanded. Links and `..` are kept: the system resolves them at every use, so that a link
    may be moved to another release.

    Args:
        path: A string or a Path.
        what: What an error calls it.

    Raises:
        UsageError: It is no path, or it is relative and the working folder was removed, or it
            begins with `~/` and there is no home.
    """
    if not isinstance(path, str | Path) or "\0" in str(path):
        raise UsageError(f"The {what} is {repr(path)[:80]}; expected a path, as a string or Path.")
    expanded = Path(os.path.expanduser(path))
    if expanded.parts[:1] == ("~",):
        # Otherwise a folder of the name `~` would be made here.
        raise UsageError(f"There is no home folder for the {what} '{path}'; set HOME.")
    try:
        return expanded.absolute()
    except FileNotFoundError as error:
        raise _no_folder(what) from error


def working_folder() -> Path:
    """Returns the working folder.

    Raises:
        UsageError: It was removed.
    """
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise _no_folder("registry") from error


def _no_folder(what: str) -> UsageError:
    return UsageError(
        f"The working folder was removed; change to one that exists, or name the {what} by an "
        f"absolute path."
    )


def without_links(path: Path) -> Path:
    """Returns a path with its links resolved, except within a snapshot of the Hub's client.

    There each file is a link to its content, `snapshots/<commit>/<file>` to `blobs/<id>`, and
    belongs with the other files of its snapshot.

    Raises:
        OSError: The system refuses it.
        RuntimeError: The links lead in a circle.
    """
    real, folder = path.resolve(), path.parent.resolve()
    return folder / path.name if is_in_snapshot(real, folder) else real


def is_in_snapshot(real: Path, folder: Path) -> bool:
    """Returns whether a folder is a snapshot of the Hub's client, and a file is content of it."""
    return folder.parent.name == "snapshots" and real.parent == folder.parent.parent / "blobs"
