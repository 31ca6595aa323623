"""A conversion, checked before torch is imported: limits, places, files, family."""

from __future__ import annotations

import math
from pathlib import Path

from adapterhub.errors import BackboneError, UsageError, check_type
from adapterhub.importing.pickled_folder import SAFE_FILES, pickled_files, read_json
from adapterhub.model.backbone.config import CONFIG_FILE, check_config
from adapterhub.model.backbone.sources import hub_name, is_folder, locate
from adapterhub.store.atomic import reason
from adapterhub.store.new_folder import is_free
from adapterhub.store.paths import absolute_path

MAX_SECONDS = 600.0
"""Time limit of reading a pickle; one of 350 MB takes less than 20 on two busy cores."""
OLD_CONFIGS = "*bert_config*.json"
"""Pattern of the config's name in folders of before transformers; the fields are the same."""


def check_conversion(
    folder: str | Path, out: str | Path, *, max_seconds: float, max_bytes: int | None
) -> Path:
    """Returns the absolute path of the new folder, where the source can be converted to it.

    Args:
        folder: As in `convert`.
        out: As in `convert`.
        max_seconds: As in `convert`.
        max_bytes: As in `convert`.

    Raises:
        UsageError: An argument is of another type, or not positive.
        BackboneError: There is no such checkpoint, it is no pickled one of a known family, or the
            new folder is there already.
    """
    check_type(folder, (str, Path), "The checkpoint", "a folder or a name")
    _check_limits(max_seconds, max_bytes)
    target = absolute_path(out, "folder")
    _check_free(target)
    source = local_folder(folder)
    if source is not None:
        pickled_files(source)
    else:
        # A pickle of gigabytes that nobody needs is not fetched.
        source, _ = locate(folder, only=(CONFIG_FILE, *SAFE_FILES))
        if any((source / name).exists() for name in SAFE_FILES):
            pickled_files(source)
        if not (source / CONFIG_FILE).exists():
            return target  # it may have one by an older name
    if has_family(source):
        check_config(source)
    return target


def local_folder(folder: str | Path) -> Path | None:
    """Returns the folder of a checkpoint; None where the name can only be one on the Hub.

    Raises:
        BackboneError: There is no such folder.
    """
    path = absolute_path(folder, "folder")
    if not is_folder(folder) and not path.exists() and hub_name(folder) is not None:
        return None
    if path.is_file():
        raise BackboneError(
            str(folder),
            f"it is a file; give its folder, which has {CONFIG_FILE} and the tokenizer, too",
        )
    if not path.is_dir():
        raise BackboneError(str(folder), "no such folder")
    return path


def has_family(source: Path) -> bool:
    """Returns whether a config names a family, so that others are refused before they are read."""
    name = config_name(source)
    return read_json(source, name).get("model_type") is not None and name == CONFIG_FILE


def config_name(folder: Path) -> str:
    """Returns the name of a folder's config, which need not exist."""
    older = [path.name for path in folder.glob(OLD_CONFIGS)]
    return older[0] if len(older) == 1 and not (folder / CONFIG_FILE).exists() else CONFIG_FILE


def _check_limits(max_seconds: object, max_bytes: object) -> None:
    check_type(max_seconds, (int, float), "max_seconds", "a number of seconds")
    check_type(max_bytes, (int, type(None)), "max_bytes", "a number of bytes")
    for name, value in (("max_seconds", max_seconds), ("max_bytes", max_bytes)):
        if isinstance(value, int | float) and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{name} is {value}; expected more than 0.")


def _check_free(folder: Path) -> None:
    try:
        can_be_made = is_free(folder)
    except OSError as error:
        raise BackboneError(str(folder), f"it cannot be read: {reason(error)}") from error
    if not can_be_made:
        raise BackboneError(
            str(folder), "it is there already, and is no empty folder; choose a new name"
        )
