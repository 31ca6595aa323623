"""File formats, chosen by the extension and never by the content, and opening text files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NoReturn, cast

from adapterhub.errors import DataError, UsageError, nearest
from adapterhub.store.atomic import reason

Format = Literal["text", "jsonl", "csv", "tsv", "parquet"]

_FORMAT_OF_ENDING: dict[str, Format] = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The format of a file.

    Attributes:
        name: The format of its rows.
        packed: Whether it is compressed with gzip.
    """

    name: Format
    packed: bool = False


def find_format(path: Path, *, answers: bool = False) -> FileFormat:
    """Returns the format of a file from its extension.

    Args:
        path: The file, which need not exist.
        answers: Whether its rows have labels or predictions, which plain text cannot hold.

    Raises:
        UsageError: The extension is not known.
    """
    packed = path.suffix.lower() == PACKED
    ending = Path(path.stem).suffix.lower() if packed else path.suffix.lower()
    name = _FORMAT_OF_ENDING.get(ending)
    if name is None or (packed and name == "parquet") or (answers and name == "text"):
        known = [end for end, kind in _FORMAT_OF_ENDING.items() if not (answers and kind == "text")]
        hint = nearest(ending, known)
        meant = f" Did you mean '{hint}'?" if hint and hint != ending else ""
        raise UsageError(
            f"The name '{path.name}' ends in none of {', '.join(known)}; all but Parquet also "
            f"with {PACKED}.{meant}"
        )
    return FileFormat(name, packed)


def open_reading(path: Path, *, packed: bool) -> IO[str]:
    """Opens a text file; bytes that are not UTF-8 become lone surrogates, see `encoding_problem`.

    Raises:
        DataError: There is no such file, or it cannot be opened.
    """
    try:
        if packed:
            return cast(
                "IO[str]",
                gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="\n"),
            )
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    except OSError as error:
        refuse_reading(path, error)


def refuse_reading(path: Path, error: OSError) -> NoReturn:
    """Refuses a file that cannot be read.

    Raises:
        DataError: Always, with the reason of `error`.
    """
    raise DataError(path, f"it cannot be read: {reason(error)}") from error
