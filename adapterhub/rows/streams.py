"""Open streams to rows: whatever has `read`, such as stdin, a pipe, or a file in memory."""

from __future__ import annotations

import contextlib
import os
import stat
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from typing import IO, Any

from adapterhub.errors import DataError, UsageError
from adapterhub.rows.arrow_files import arrow_stream
from adapterhub.rows.formats import Format
from adapterhub.rows.reading import closing_rows, read_stream
from adapterhub.rows.source_row import Rows
from adapterhub.store.atomic import reason


def stream_rows(stream: Any, form: Format, name: str) -> Rows:
    """Returns the rows of an open stream, which is read to its end and not closed.

    In binary mode, bytes that are not UTF-8 cost their row only.

    Raises:
        DataError: It cannot be read, at once or where its rows are read.
        UsageError: Its format needs a file.
    """
    if form == "parquet":
        raise UsageError(f"Parquet cannot be read from {name}; use --file (in Python, its path).")
    if form == "arrow" and hasattr(stream, "encoding"):
        raise UsageError(f"Arrow is no text; open {name} in binary mode.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_damage_named(name))
        if form == "arrow":
            found = arrow_stream(stream, name)
        else:
            found = read_stream(stack.enter_context(_decoded(stream)), form, name=name)
        return Rows(found.columns, closing_rows(stack.pop_all(), found.rows), found.schema)


def is_live(stream: Any) -> bool:
    """Returns whether rows arrive in their own time, as through a pipe, socket or terminal."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    # A stream in memory has no file behind it.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return not stream.seekable()
    return True


def stream_identity(stream: Any) -> tuple[int, int] | None:
    """Returns device and inode of the file behind a stream, or None where there is none."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found = os.fstat(stream.fileno())
        return found.st_dev, found.st_ino
    return None


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Raises our error for a stream that cannot be read."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(name, f"it is not UTF-8: {error}; open it in binary mode") from error
    except (OSError, EOFError, zlib.error) as error:
        problem = reason(error) if isinstance(error, OSError) else str(error)
        raise DataError(name, f"it cannot be read: {problem}") from error


@contextlib.contextmanager
def _decoded(stream: Any) -> Iterator[IO[str]]:
    """Yields a stream of text as it is, and one of bytes as `formats.open_reading` decodes it."""
    if hasattr(stream, "encoding"):
        yield stream
        return
    text = TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
    try:
        yield text
    finally:
        # Otherwise it closes the stream of the caller, who may have done that already.
        with contextlib.suppress(ValueError):
            text.detach()
