"""Whose a repository and its files are: what is not adapterhub's is not written over."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from adapterhub.errors import RemoteContentError
from adapterhub.publishing.files import task_of
from adapterhub.publishing.front_matter import CARD_NAME, read_card
from adapterhub.publishing.hub_metadata import LIBRARY
from adapterhub.remote.fetch import Commit
from adapterhub.store.entries import RegistryContent
from adapterhub.store.registry import REGISTRY_NAME

_SIGNS = frozenset(
    {
        "config.json",
        "adapter_config.json",
        "modules.json",
        "model_index.json",
        "config_setfit.json",
        "gliner_config.json",
    }
)
"""Files at the root by which other libraries know their models."""
_WEIGHTS = frozenset({".safetensors", ".gguf", ".onnx", ".h5", ".msgpack"})
_SCHEMA = re.compile(rb"^[\"']?schema[\"']?\s*:", re.MULTILINE)


def check_registry(commit: Commit, data: bytes) -> None:
    """Checks that a registry.yaml is one of adapterhub, perhaps a damaged one.

    Raises:
        RemoteContentError: It is something else.
    """
    if not _SCHEMA.search(data):
        problem = f"its {REGISTRY_NAME} is not one of adapterhub, and would be written over"
        raise _refused(commit, f"{problem}. Move or remove it")


def check_owner(
    commit: Commit,
    before: RegistryContent | None,
    *,
    card: bytes | None,
    there: Collection[str],
    changed: Collection[str],
) -> None:
    """Checks that a commit changes only what is adapterhub's, in a repository of adapterhub.

    Args:
        commit: The newest commit.
        before: The registry there, or None.
        card: The card there, or None.
        there: Paths of the files there.
        changed: Paths that would be written or deleted.

    Raises:
        RemoteContentError: The repository is of another library, or a file is not listed in its
            registry.
    """
    if before is None:
        check_library(commit, card, LIBRARY)
        _check_signs(commit, there)
    listed = {
        record.file
        for entry in (before.tasks.values() if before else ())
        for record in entry.versions.values()
    }
    tasks = before.tasks if before else {}
    for path in sorted({*changed} & {*there} - {CARD_NAME, REGISTRY_NAME} - listed):
        task = task_of(path)
        is_head = path.startswith("heads/")
        if before is None or is_head or (task is not None and task not in tasks):
            raise _refused(
                commit,
                f"it holds {path}, which its registry does not list and which would be written "
                f"over. Move or remove that file",
            )


def check_library(commit: Commit, card: bytes | None, *wanted: str) -> None:
    """Checks that a card names no library, or one of `wanted`.

    Raises:
        RemoteContentError: It names another one.
    """
    library = read_card(card, commit.repo).values.get("library_name")
    if library is not None and str(library).lower() not in wanted:
        raise _refused(
            commit,
            f"it belongs to another library (library_name: {library} in its {CARD_NAME}). Remove "
            f"that line if it does not",
        )


def _check_signs(commit: Commit, there: Collection[str]) -> None:
    for path in sorted(there):
        if path in _SIGNS or ("/" not in path and PurePosixPath(path).suffix in _WEIGHTS):
            raise _refused(
                commit,
                f"it holds {path} and no {REGISTRY_NAME}, so it belongs to another library. "
                f"Remove the file if it does not",
            )


def _refused(commit: Commit, problem: str) -> RemoteContentError:
    example = f"{commit.repo[:90]}-tasks"
    return RemoteContentError(
        str(commit), f"{problem}, or publish to another repository, for instance {example}."
    )
