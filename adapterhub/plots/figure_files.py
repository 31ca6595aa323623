"""Figures and their files: checked before any work, whole or not there."""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapterhub.errors import DataError, MissingExtraError, UsageError
from adapterhub.store.atomic import reason, write_atomic
from adapterhub.store.paths import absolute_path

PLOT_FORMATS = (".png", ".svg", ".pdf")
_DOTS_PER_INCH = 110
# matplotlib draws no picture of 2 ** 16 pixels or more on a side.
_MOST_DOTS = 2**16 - 100
# A file with the time in it would differ at each run.
_METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check_plot(path: str | Path) -> Path:
    """Returns the absolute path of a plot, checked before there is anything to draw.

    Args:
        path: Of the file to write; one that exists is replaced.

    Raises:
        UsageError: Its ending is none of PLOT_FORMATS, or its folder cannot be written to.
        MissingExtraError: matplotlib is not installed.
    """
    file = absolute_path(path, "file of the plot")
    if file.suffix.lower() not in PLOT_FORMATS:
        raise UsageError(
            f"A plot cannot be written to '{path}': expected a name that ends in "
            f"{', '.join(PLOT_FORMATS)}."
        )
    try:
        problem = _problem(file)
    except OSError as error:
        problem = reason(error)
    if problem is not None:
        raise UsageError(f"A plot cannot be written to '{path}': {problem}.")
    barred = "matplotlib" in sys.modules and sys.modules["matplotlib"] is None
    if barred or find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")
    return file


def _problem(file: Path) -> str | None:
    """Returns why a file cannot be written, as far as can be seen before; None for no reason.

    Raises:
        OSError: The system takes no such name.
    """
    folder = file.resolve().parent
    if file.is_dir():
        return "it is a folder"
    if file.exists() and not file.is_file():
        return "it is no regular file"
    if not folder.is_dir():
        return f"there is no folder {folder}"
    return None if os.access(folder, os.W_OK) else f"{folder} is read-only"


def new_figure(width: float, height: float, *, extra: str = "plot") -> Any:
    """Returns an empty matplotlib Figure that pyplot does not know.

    Args:
        width: In inches.
        height: In inches.
        extra: The extra that an error names.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", extra) from error
    dots = min(_DOTS_PER_INCH, _MOST_DOTS / max(width, height))
    return Figure(figsize=(width, height), dpi=dots, layout="constrained")


def text_measurer(figure: Any) -> Any:
    """Returns a renderer of matplotlib to measure text with; it has one pixel."""
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, figure.dpi)  # type: ignore[no-untyped-call]


def figure_bytes(figure: Any, ending: str = ".png") -> bytes:
    """Returns a figure in a format of PLOT_FORMATS."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending.lower()[1:], metadata=_METADATA[ending.lower()])
    return buffer.getvalue()


def save_figure(figure: Any, path: str | Path) -> Path:
    """Writes a figure to a file that is whole or as it was before, and returns the file.

    Raises:
        UsageError: As `check_plot`.
        DataError: The disk is full, or another error of the system.
    """
    file = check_plot(path)
    content = figure_bytes(figure, file.suffix)
    try:
        # A link stands for the file that it leads to.
        write_atomic(file.resolve(), content, replace=True)
    except OSError as error:
        raise DataError(file, f"the plot cannot be written: {reason(error)}") from error
    return file
