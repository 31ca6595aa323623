"""Tasks in a folder, as a publication would make it: registry, heads, card, files beside them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from adapterhub.errors import RegistryError, UsageError
from adapterhub.model.backbone.open_backbone import FILES
from adapterhub.publishing.base_model import on_base_model
from adapterhub.publishing.files import extras_of, files_of
from adapterhub.publishing.layout import Present
from adapterhub.publishing.merging import merge
from adapterhub.remote.find import FoundTask
from adapterhub.store.atomic import reason
from adapterhub.store.entries import is_portable, portable_entry
from adapterhub.store.new_folder import is_free, new_folder
from adapterhub.store.paths import absolute_path
from adapterhub.store.registry import REGISTRY_NAME

_OWNER = "your-name"
"""Stands in the card for the owner of a repository that the folder may be uploaded to."""


def save_folder(folder: str | Path, tasks: Sequence[FoundTask], *, backbone: Path) -> None:
    """Writes tasks to a new folder, which is a registry; whole or not there.

    Args:
        folder: Made; may exist if it is empty.
        tasks: The tasks; no two of them have the same name.
        backbone: Folder of their backbone, which is copied where it has no other name.

    Raises:
        UsageError: The folder is not empty, or two tasks have one name.
        RegistryError: The folder cannot be written.
        MissingExtraError: matplotlib is needed and not installed.
    """
    place = absolute_path(folder, "folder")
    _check(tasks)
    tasks = on_base_model(tasks, None)
    merged = merge(None, tasks, place=place / REGISTRY_NAME)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", place.name).strip("-.") or "heads"
    repo = f"{_OWNER}/{name[:96]}"
    files = files_of(merged, tasks, repo=repo, extras=extras_of(tasks), there=Present())
    try:
        if not is_free(place):
            raise UsageError(f"The folder {place} is not empty; choose a new one.")
        with new_folder(place) as temp:
            for path, data in files.items():
                if data is not None:
                    (temp / path).parent.mkdir(parents=True, exist_ok=True)
                    (temp / path).write_bytes(data)
            spec = tasks[0].spec.backbone
            if not is_portable(spec):
                _copy(backbone, temp / portable_entry(spec).source)
    except OSError as error:
        raise RegistryError(place, f"it cannot be written: {reason(error)}") from error


def _check(tasks: Sequence[FoundTask]) -> None:
    names = [task.name for task in tasks]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"Two tasks would both be '{twice[0]}' there; save them separately.")


def _copy(backbone: Path, folder: Path) -> None:
    """Copies the files that open a backbone, and its card."""
    for pattern in (*FILES, "README.md"):
        for path in backbone.glob(pattern):
            target = folder / path.relative_to(backbone)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
