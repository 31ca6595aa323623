"""Deletes the head files that a change of a registry left without an entry."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.entries import listed_files
from adapterhub.store.registry import Registry, inside
from adapterhub.store.yamlsafe import MAX_BYTES

_log = logging.getLogger("adapterhub")
_SUFFIXES = (".yaml", ".yml")


def delete_unlisted(old: Registry, new: Registry) -> None:
    """Deletes the head files that `old` lists and no registry of the folder does any more."""
    folder = new.path.parent
    kept = [folder / file for file in listed_files(new.tasks)]
    beside = _texts_beside(new.path)
    for file in listed_files(old.tasks) - listed_files(new.tasks):
        path = inside(old.path, file)
        # Names that differ in case only, or a link, may be the same file.
        is_same = path.exists() and any(one.exists() and path.samefile(one) for one in kept)
        if is_same or any(file.encode() in text for text in beside):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s is not used any more and cannot be deleted: %s", path, reason(error))


def _texts_beside(path: Path) -> list[bytes]:
    """Returns what stands in other registries of a folder, which may list the same files."""
    texts = []
    for other in path.parent.iterdir():
        if other.suffix in _SUFFIXES and other.name != path.name:
            with contextlib.suppress(OSError), open_regular(other) as file:
                texts.append(file.read(MAX_BYTES + 1))
    return texts
