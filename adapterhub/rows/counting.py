"""How many rows files have: about, for progress, and at most, for cutting them into parts."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from adapterhub.errors import DataError
from adapterhub.rows.arrow_files import table_row_count
from adapterhub.rows.formats import FileFormat, unpacked_bytes
from adapterhub.rows.reading import damage_named

_BLOCK = 2**20
# Bytes that are read for an estimate; reading on would take longer than it is worth.
_SAMPLE = 2**23


def count_rows(path: Path, form: FileFormat) -> int | None:
    """Returns the approximate number of rows, of long files from their begin; None if unknown."""
    try:
        if form.is_typed:
            return table_row_count(path, form.name)
        lines, bytes_read, bytes_all = _sampled_lines(path, form)
    # Reading the rows raises the same fault with a better message.
    except (OSError, EOFError, zlib.error, DataError):
        return None
    whole = lines if not bytes_read else round(lines * bytes_all / bytes_read)
    return max(whole - (form.name in ("csv", "tsv")), 1) if bytes_all else 0


def most_rows(path: Path, form: FileFormat) -> int:
    """Returns a number of rows, bad ones included, that a file surely does not exceed.

    For texts it is exact, and also for most files of other formats; all of the file is read.

    Raises:
        DataError: The file cannot be read, or is damaged.
    """
    if form.is_typed:
        with damage_named(path, form):
            return table_row_count(path, form.name)
    lines, last = 0, b"\n"
    with damage_named(path, form), path.open("rb") as file:
        for block in _blocks(unpacked_bytes(file, form.packed)):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return max(lines + (last != b"\n") - (form.name in ("csv", "tsv")), 0)


def _sampled_lines(path: Path, form: FileFormat) -> tuple[int, int, int]:
    """Returns the lines at the begin of a file, how many of its bytes these are, and its bytes."""
    lines = unpacked = 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        for block in _blocks(unpacked_bytes(file, form.packed)):
            lines, unpacked = lines + block.count(b"\n"), unpacked + len(block)
            if unpacked >= _SAMPLE:
                return lines, file.tell(), size
    return lines, 0, size


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_BLOCK), b"")
