"""Which registry.yaml is used, where none or a folder is named."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.store.registry import REGISTRY_NAME, find_registry

NEAREST = "nearest"
"""Stands for the nearest registry.yaml upwards, or a new one in the working folder."""


def locate_registry(registry: str | Path | None) -> Path:
    """Returns the registry.yaml to use: the one given, the nearest upwards, or the shipped one.

    A folder stands for the registry.yaml in it.

    Raises:
        UsageError: None is given, and the working folder was removed.
    """
    if registry is not None:
        path = Path(os.path.expanduser(registry))
        return path / REGISTRY_NAME if path.is_dir() else path
    return find_registry(_working_folder()) or shipped_registry()


def registry_to_write(registry: str | Path = NEAREST) -> Path:
    """Returns the registry.yaml to add to, which may not be there yet.

    Args:
        registry: A file, or the folder that it is in; the string NEAREST is not a name.

    Raises:
        UsageError: None is named, and the working folder was removed.
    """
    if registry != NEAREST:
        return locate_registry(registry)
    here = _working_folder()
    return find_registry(here) or here / REGISTRY_NAME


def shipped_registry() -> Path:
    """Returns the registry.yaml that ships with adapterhub."""
    package = Path(str(files("adapterhub")))
    installed = package / "shipped" / REGISTRY_NAME
    # In a source checkout the registry stands beside the package.
    return installed if installed.is_file() else package.parent / REGISTRY_NAME


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError(
            "The working folder is gone; change to one that exists, or name the registry."
        ) from error
