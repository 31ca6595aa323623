"""How verbs print: tables for people, JSON for programs, notes on stderr."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TextIO

from adapterhub.errors import DataError

# Wide enough that no line of a table is cut where it is not shown on a screen.
_PIPE_WIDTH = 100_000
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def is_screen(stream: TextIO | None) -> bool:
    """Returns whether somebody looks at a stream; Python has none where the shell closed it."""
    return stream is not None and stream.isatty()


@contextlib.contextmanager
def to_stdout() -> Iterator[TextIO]:
    """Yields stdout to be written to.

    Raises:
        DataError: It is closed, or the system cannot write there.
        BrokenPipeError: Its reader went away.
    """
    if sys.stdout is None:
        raise DataError("stdout", "it is closed; send it to a file, a pipe or /dev/null")
    try:
        yield sys.stdout
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError("stdout", f"it cannot be written: {error.strerror or error}") from error


def printable(text: str) -> str:
    """Returns a text as one line whose control characters are marks.

    A task's description or the name of a tensor may be a stranger's, and a terminal obeys some
    of them.
    """
    return _CONTROLS.sub("\ufffd", " ".join(text.splitlines()))


def print_line(text: str = "") -> None:
    """Prints one line of output to stdout."""
    with to_stdout() as stdout:
        stdout.write(f"{text}\n")


def note(text: str) -> None:
    """Prints a line, or several, that is not part of the output to stderr."""
    # A note that cannot be printed must not end the run.
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.writelines(f"{printable(line)}\n" for line in text.split("\n"))
            sys.stderr.flush()


def note_plot(path: Path, labels: Mapping[str, Sequence[str]]) -> None:
    """Says where a plot is, and which labels it has by number for lack of a font.

    Args:
        path: Its file.
        labels: Those of each task in it.
    """
    from adapterhub.plots.style import number_key

    for task, own in labels.items():
        if key := number_key(own):
            note(f"adapterhub: no font here has all labels of {task}; in the plot: {key}")
    note(f"adapterhub: the plot is in {path}")


def print_json(value: object) -> None:
    """Prints one JSON value to stdout, in one line."""
    print_line(json.dumps(value, ensure_ascii=False, allow_nan=False, default=str))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table to stdout; cells are plain text, and wrap only on a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    if is_screen(sys.stdout):
        with to_stdout() as stdout:
            Console(file=stdout).print(table)
        return
    console = Console(file=StringIO(), width=_PIPE_WIDTH)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print_line(line.rstrip())


def print_fields(fields: Mapping[str, str]) -> None:
    """Prints one `name  value` line per field that has a value."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if value:
            print_line(f"{name:<{width}}  {printable(value)}")


def size_text(size: int) -> str:
    """Returns a number of bytes for people, for instance `5.1 kB`."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def about_text(deprecated: object, description: object) -> str:
    """Returns the description of a task in a table, behind why it is deprecated, if it is."""
    return f"deprecated: {deprecated} {description}".rstrip() if deprecated else str(description)
