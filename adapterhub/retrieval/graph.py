"""A graph of neighbours among vectors, for approximate search; by usearch (extra `nearest`).

It only proposes texts: their similarities are computed from the vectors. usearch is taken for its
size (some megabytes, no OpenMP or BLAS of its own beside those of torch and NumPy).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from adapterhub.errors import DataError, MissingExtraError
from adapterhub.retrieval.exact import Array, Places

_PACKAGE = "usearch"
_LINKS = 16
_BREADTH_OF_BUILDING = 64
# 32 links and a breadth of 128 took three times as long to build, for 0.5 points of recall.
_LEAST_BREADTH = 128
"""Texts that a search keeps in view: more find more of the nearest ones, and take longer."""


def is_installed() -> bool:
    """Returns whether graphs can be built and opened, without importing what does it."""
    return find_spec(_PACKAGE) is not None


def require_graph() -> None:
    """Checks that graphs can be built.

    Raises:
        MissingExtraError: usearch is not installed.
    """
    if not is_installed():
        raise MissingExtraError(_PACKAGE, "nearest")


class Graph:
    """A graph over N unit vectors."""

    def __init__(self, found: Any) -> None:
        self._found = found

    @classmethod
    def build(cls, vectors: Array) -> Graph:
        """Returns the graph of vectors: (N, D) fp32 unit vectors.

        Raises:
            MissingExtraError: usearch is not installed.
        """
        graph = _empty(vectors.shape[1])
        graph.add(np.arange(len(vectors), dtype=np.uint64), vectors)
        return cls(graph)

    @classmethod
    def open(cls, path: Path, *, texts: int, dimensions: int) -> Graph:
        """Returns the graph of a file, whose bytes are known to be those that were written.

        Raises:
            DataError: It is the graph of other vectors, or cannot be read.
            MissingExtraError: usearch is not installed.
        """
        graph = _empty(dimensions)
        try:
            graph.load(str(path))
        except Exception as error:  # the library raises several kinds, RuntimeError among them
            raise DataError(path, f"it cannot be read: {error}") from error
        if (len(graph), graph.ndim) != (texts, dimensions):
            raise DataError(
                path,
                f"it is a graph of {len(graph)} vectors of {graph.ndim} numbers; the index has "
                f"{texts} of {dimensions}",
            )
        return cls(graph)

    def save(self, path: Path) -> None:
        """Writes the graph to a file."""
        self._found.save(str(path))

    def candidates(self, query: Array, count: int) -> Places:
        """Returns the places of texts that are likely the nearest ones, ascending.

        Args:
            query: (D,) fp32 unit vector.
            count: How many are wanted; more are returned.
        """
        breadth = min(max(_LEAST_BREADTH, 2 * count), len(self._found))
        matches = self._found.search(query, breadth)
        return np.sort(np.asarray(matches.keys).astype(np.int64))


def _empty(dimensions: int) -> Any:
    try:
        library = import_module(f"{_PACKAGE}.index")
    except ImportError as error:
        raise MissingExtraError(_PACKAGE, "nearest") from error
    return library.Index(
        ndim=dimensions,
        metric="ip",
        dtype="f16",
        connectivity=_LINKS,
        expansion_add=_BREADTH_OF_BUILDING,
        expansion_search=_LEAST_BREADTH,
    )
