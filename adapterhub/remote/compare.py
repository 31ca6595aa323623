"""Files of a commit compared with files here, by the ids under which the Hub stores them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from adapterhub.remote.calls import call
from adapterhub.remote.faults import Action
from adapterhub.remote.fetch import Commit, git_id


def changed_files(commit: Commit, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Returns those files whose bytes a commit does not have at their path.

    Raises:
        RemoteError: The Hub cannot be reached.
    """
    action = Action(commit.repo, "comparing its files", commit.oid[:12])
    found = call(
        commit.place,
        action,
        lambda api: api.get_paths_info(commit.repo, sorted(files), revision=commit.oid),
    )
    there = {entry.path: entry for entry in found}
    return {
        path: data
        for path, data in files.items()
        if path not in there or not _has(there[path], data)
    }


def _has(entry: object, data: bytes) -> bool:
    lfs = getattr(entry, "lfs", None)
    if lfs is not None:
        return bool(lfs.sha256 == hashlib.sha256(data).hexdigest())
    # A folder of that name has none.
    return bool(getattr(entry, "blob_id", None) == git_id(data))
