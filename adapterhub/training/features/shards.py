"""The feature cache on disk: immutable files of features by text.

A shard is one safetensors file with the rows of some texts. It is renamed into place, so a stopped
run leaves only whole shards and continues from them. Processes may share a folder; two that encode
the same text write it twice, which is harmless.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from adapterhub.errors import UsageError
from adapterhub.store.atomic import reason, sweep, write_atomic

Halves = npt.NDArray[np.float16]

KEY_BYTES = 16
_SUFFIX = ".features.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One open file of the cache.

    Attributes:
        path: The file.
        keys: Key of each of its rows.
        starts: (rows + 1,) int64, the first item of each row; the last is the number of items.
        file: Its tensors, read on demand; `values` is (T, items, H) fp16.
    """

    path: Path
    keys: tuple[bytes, ...]
    starts: npt.NDArray[np.int64]
    file: Any

    def tap(self, index: int) -> Halves:
        """Returns the features of one tap: (items, H) fp16."""
        values: Halves = self.file.get_slice("values")[index]
        return values


def text_key(inputs: Sequence[str]) -> bytes:
    """Returns the cache key of one row: a digest of its strings."""
    text = json.dumps(list(inputs), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def open_shards(folder: Path) -> list[Shard]:
    """Returns all shards in `folder`; damaged ones are deleted."""
    sweep(folder)
    shards = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            shards.append(_open(path))
        # Its texts are encoded again: a damaged file costs time only.
        except (SafetensorError, ValueError):
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:
            continue
    return shards


def write_shard(
    folder: Path, keys: Sequence[bytes], *, counts: Sequence[int], values: Halves
) -> Shard:
    """Writes one shard, whole or not at all, and returns it.

    Args:
        folder: Where; made if missing.
        keys: Key of each row.
        counts: Items of each row.
        values: (T, items, H).

    Raises:
        UsageError: The folder cannot be written.
    """
    tensors: dict[str, npt.NDArray[Any]] = {
        "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES),
        "counts": np.asarray(counts, np.int64),
        "values": values,
    }
    path = folder / f"{secrets.token_hex(8)}{_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, safetensors.numpy.save(tensors), replace=True)
    except OSError as error:
        raise UsageError(
            f"The feature cache {folder} cannot be written: {reason(error)}. Choose another "
            f"folder with the option cache_dir or $ADAPTERHUB_CACHE."
        ) from error
    return _open(path)


def mark_used(shards: Sequence[Shard]) -> None:
    """Updates the modification time of shards, by which the least recently used are dropped."""
    for shard in shards:
        with contextlib.suppress(OSError):
            os.utime(shard.path)


def drop_oldest(root: Path, max_bytes: int) -> None:
    """Deletes the least recently used shards until the rest fits; open ones stay readable."""
    found = sorted(_sizes(root), reverse=True)
    total = 0
    for _, size, path in found:
        total += size
        if total > max_bytes:
            with contextlib.suppress(OSError):
                path.unlink()


def _sizes(root: Path) -> Iterator[tuple[int, int, Path]]:
    for path in root.rglob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            status = path.stat()
            yield status.st_mtime_ns, status.st_size, path


def _open(path: Path) -> Shard:
    file: Any = safe_open(path, framework="np")
    keys = file.get_tensor("keys").tobytes()
    counts = file.get_tensor("counts")
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    rows = range(0, len(keys), KEY_BYTES)
    return Shard(path, tuple(keys[start : start + KEY_BYTES] for start in rows), starts, file)
