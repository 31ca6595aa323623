"""File formats, chosen by the ending of the name and never by the content; opening text files."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NoReturn, cast

from adapterhub.errors import DataError, UsageError, nearest
from adapterhub.store.atomic import reason

Format = Literal["text", "jsonl", "csv", "tsv", "parquet", "arrow"]
Packing = Literal["gz", "zst"]

_FORMAT_OF_ENDING: dict[str, Format] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
PACKED: dict[str, Packing] = {".gz": "gz", ".zst": "zst"}
"""Compression by the last ending of a name."""

TYPED: tuple[Format, ...] = ("parquet", "arrow")
"""Formats whose columns have types; they are compressed inside, and their rows have numbers."""

# Text is decoded from blocks of this size; much smaller ones make decompression slow.
_BLOCK = 2**17
_LEVEL = 6  # of gzip; 9, the default of Python, is several times slower and hardly smaller


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The format of a file.

    Attributes:
        name: The format of its rows.
        packed: How it is compressed as a whole; None for not at all.
    """

    name: Format
    packed: Packing | None = None

    @property
    def is_typed(self) -> bool:
        """Returns whether its columns have types, and its rows numbers in the place of lines."""
        return self.name in TYPED


def packing_of(path: Path) -> Packing | None:
    """Returns how a file is compressed as a whole, by its name."""
    return PACKED.get(path.suffix.lower())


def find_format(path: Path, *, answers: bool = False) -> FileFormat:
    """Returns the format of a file from its extension.

    Args:
        path: The file, which need not exist.
        answers: Whether its rows have labels or predictions, which plain text cannot hold.

    Raises:
        UsageError: The extension is not known.
    """
    packed = packing_of(path)
    ending = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    name = _FORMAT_OF_ENDING.get(ending)
    if name is None or (packed and name in TYPED) or (answers and name == "text"):
        known = [end for end, kind in _FORMAT_OF_ENDING.items() if not (answers and kind == "text")]
        hint = nearest(ending, known)
        meant = f" Did you mean '{hint}'?" if hint and hint != ending else ""
        raise UsageError(
            f"The name '{path.name}' ends in none of {', '.join(known)}; all but Parquet and "
            f"Arrow also with {' or '.join(PACKED)}.{meant}"
        )
    return FileFormat(name, packed)


def open_reading(path: Path, *, packed: Packing | None) -> IO[str]:
    """Opens a text file; bytes that are not UTF-8 become lone surrogates, see `encoding_problem`.

    Raises:
        DataError: There is no such file, or it cannot be opened.
    """
    try:
        file = unpacked_bytes(path.open("rb"), packed)
    except OSError as error:
        refuse_reading(path, error)
    return io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n")


def unpacked_bytes(file: IO[bytes], packed: Packing | None) -> IO[bytes]:
    """Returns the content of an open file, which is closed with it.

    Frames of zstd and members of gzip that stand one behind another are read as one. What reads
    it gets an OSError, EOFError or zlib.error where the file is cut off or damaged.
    """
    if packed is None:
        return file
    if packed == "gz":
        return cast("IO[bytes]", _Gzip(file))
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(file, "zstd"), _BLOCK)


class _Gzip(gzip.GzipFile):
    """A gzip file that closes the file from which it reads, or to which it writes."""

    def __init__(self, file: IO[bytes], mode: str = "rb") -> None:
        self._below = file
        # Without name and time, so that the same rows are the same bytes.
        super().__init__(filename="", mode=mode, compresslevel=_LEVEL, fileobj=file, mtime=0)

    def close(self) -> None:
        """Closes both."""
        try:
            super().close()
        finally:
            self._below.close()


def open_writing(path: Path, *, packed: Packing | None) -> IO[str]:
    """Opens a text file in UTF-8, to be written, whose lines end in a line feed on every system.

    Raises:
        OSError: It cannot be opened.
    """
    if packed is None:
        return path.open("w", encoding="utf-8", newline="\n")
    stream: Any
    if packed == "gz":
        stream = io.BufferedWriter(cast("Any", _Gzip(path.open("wb"), "wb")), _BLOCK)
    else:
        import pyarrow as pa

        stream = io.BufferedWriter(pa.CompressedOutputStream(path.open("wb"), "zstd"), _BLOCK)
    return io.TextIOWrapper(stream, encoding="utf-8", newline="\n")


def refuse_reading(path: Path, error: OSError) -> NoReturn:
    """Refuses a file that cannot be read.

    Raises:
        DataError: Always, with the reason of `error`.
    """
    raise DataError(path, f"it cannot be read: {reason(error)}") from error
