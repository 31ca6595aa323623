"""The bytes of head files: read once, and checked against what a registry promises.

Nothing here imports torch, so that asking about tasks is quick.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from adapterhub.errors import HeadFileError, IntegrityError
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.header import MAX_FILE_BYTES, check_start, check_suffix


def read_bytes(path: Path, *, sha256: str | None = None, size: int | None = None) -> bytes:
    """Returns the bytes of the head file at `path`, which are not parsed yet.

    Args:
        path: The file.
        sha256: Digest that the bytes must have, if known.
        size: Size in bytes that they must have, if known.

    Raises:
        IntegrityError: The bytes are not those promised.
        HeadFileError: The file cannot be read, or cannot be a head file.
    """
    check_suffix(path)
    try:
        data = _read_bytes(path, sha256, size)
    except OSError as error:
        raise HeadFileError(path, f"it cannot be read: {reason(error)}") from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise IntegrityError(
            path,
            f"its sha256 is {found}, the registry promises {sha256}. The file was damaged or "
            f"exchanged; fetch it again or restore it from a copy.",
        )
    return data


def _read_bytes(path: Path, sha256: str | None, size: int | None) -> bytes:
    with open_regular(path) as file:
        total = os.fstat(file.fileno()).st_size
        if size is not None and total != size:
            promise = f"{size} bytes" + (f" with sha256 {sha256}" if sha256 else "")
            raise IntegrityError(
                path,
                f"it is {total} bytes long, the registry promises {promise}. The file was damaged "
                f"or exchanged; fetch it again or restore it from a copy.",
            )
        if sha256 is None:
            # Without a promise the size of a hostile file is bounded before it is read.
            check_start(file.read(64), total, str(path))
            file.seek(0)
        if total > MAX_FILE_BYTES:
            raise HeadFileError(path, f"it is {total} bytes long; at most {MAX_FILE_BYTES}")
        return file.read(MAX_FILE_BYTES + 1)
