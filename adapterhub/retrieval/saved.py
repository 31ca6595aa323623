"""An index in a folder: whole or not there, and checked when it is opened."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from adapterhub.errors import DataError
from adapterhub.retrieval.exact import Array
from adapterhub.retrieval.graph import Graph, is_installed
from adapterhub.retrieval.parts import FileRecord, IndexParts, IndexRecord
from adapterhub.retrieval.texts import COLUMNS, Texts
from adapterhub.scoring.state.records import read_record
from adapterhub.store.atomic import reason
from adapterhub.store.new_folder import is_free, new_folder
from adapterhub.store.owners import owned_name

if TYPE_CHECKING:
    import pyarrow as pa

RECORD = "index.json"
_VECTORS, _TEXTS, _GRAPH = "vectors.safetensors", "texts.arrow", "graph.usearch"
_FILES = (_VECTORS, _TEXTS, _GRAPH, RECORD)
_TENSOR = "vectors"
_BLOCK = 2**20


def is_saved(folder: Path) -> bool:
    """Returns whether a folder holds an index."""
    return (folder / RECORD).is_file()


def read_index_record(folder: Path) -> IndexRecord | None:
    """Returns the record of a saved index, or None if there is none.

    Raises:
        DataError: It is damaged, or was written by a newer adapterhub.
    """
    return read_record(folder / RECORD, IndexRecord)


def check_place(folder: Path, *, force: bool) -> None:
    """Checks that an index can be saved in a folder, before hours are spent on it.

    Raises:
        DataError: It holds something else, or an index and `force` is False.
    """
    if is_saved(folder):
        if not force:
            raise DataError(folder, "it holds an index already; --force replaces it (force=True)")
        other = sorted({path.name for path in folder.iterdir()} - set(_FILES))
        if other:
            raise DataError(folder, f"it holds {other[0]} beside an index; name another folder")
        return
    try:
        if not is_free(folder):
            raise DataError(folder, "it holds other files; name a new or empty folder for an index")
    except OSError as error:
        raise DataError(folder, f"it cannot be read: {reason(error)}") from error


def save_parts(folder: Path, parts: IndexParts, *, force: bool) -> None:
    """Writes an index to a folder, which is whole or not there.

    Args:
        folder: Absolute; missing, empty, or with an index that is replaced.
        parts: The index.
        force: Whether an index may be replaced.

    Raises:
        DataError: The folder holds something else, or the system cannot write it.
    """
    check_place(folder, force=force)
    try:
        with _replacing(folder), new_folder(folder) as temp:
            _write(temp, parts)
    except OSError as error:
        raise DataError(folder, f"it cannot be written: {reason(error)}") from error


def read_parts(folder: Path) -> IndexParts:
    """Returns a saved index, whose bytes are those that were written.

    Raises:
        DataError: There is none, or a file of it is missing or damaged.
    """
    record = read_index_record(folder)
    if record is None:
        raise DataError(folder, f"it holds no index; there is no {RECORD}")
    _check_names(folder, record)
    for name, file in record.files.items():
        _check_file(folder / name, file)
    vectors = _read_vectors(folder / _VECTORS)
    texts = Texts(record.name, _read_table(folder / _TEXTS))
    sizes = (record.texts, record.dimensions)
    if vectors.shape != sizes or len(texts) != record.texts:
        raise DataError(
            folder,
            f"its files do not fit each other: {vectors.shape[0]} vectors, {len(texts)} texts, "
            f"{record.texts} in {RECORD}",
        )
    graph = None
    if _GRAPH in record.files and is_installed():
        graph = Graph.open(folder / _GRAPH, texts=record.texts, dimensions=record.dimensions)
    return IndexParts(texts, vectors, record, graph)


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Moves an index that is in the way aside, and back if the block fails."""
    if not is_saved(folder):
        yield
        return
    aside = folder.with_name(owned_name(folder.name))
    os.rename(folder, aside)
    try:
        yield
    except BaseException:
        os.rename(aside, folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _write(folder: Path, parts: IndexParts) -> None:
    import pyarrow as pa

    safetensors.numpy.save_file({_TENSOR: np.ascontiguousarray(parts.vectors)}, folder / _VECTORS)
    table = parts.texts.table
    with pa.OSFile(str(folder / _TEXTS), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    if parts.graph is not None:
        parts.graph.save(folder / _GRAPH)
    files = {path.name: _described(path) for path in sorted(folder.iterdir())}
    record = parts.record.model_copy(update={"files": files})
    (folder / RECORD).write_bytes(record.json_bytes())


def _described(path: Path) -> FileRecord:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            found.update(block)
    return FileRecord(sha256=found.hexdigest(), bytes=path.stat().st_size)


def _check_names(folder: Path, record: IndexRecord) -> None:
    """Checks that a record names the files of an index and no other.

    Raises:
        DataError: It does not.
    """
    named = record.files.keys()
    if not {_VECTORS, _TEXTS} <= named <= {_VECTORS, _TEXTS, _GRAPH}:
        shown = ", ".join(sorted(named))[:200] or "none"
        raise DataError(
            folder / RECORD, f"it names the files {shown}, which are not those of an index"
        )


def _check_file(path: Path, expected: FileRecord) -> None:
    """Checks the bytes of a file of an index.

    Raises:
        DataError: They are not those that were written.
    """
    try:
        found = _described(path)
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    if found != expected:
        raise DataError(
            path,
            "its bytes are not those that were written; make the index again, with --force "
            "(force=True)",
        )


def _read_vectors(path: Path) -> Array:
    try:
        found = safetensors.numpy.load_file(path).get(_TENSOR)
    except (SafetensorError, OSError) as error:
        raise DataError(path, f"it cannot be read: {error}") from error
    if found is None or found.dtype != np.float32 or found.ndim != 2:
        raise DataError(path, "it holds no table of float32 vectors")
    return found


def _read_table(path: Path) -> pa.Table:
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(path, f"it cannot be read: {error}") from error
    if tuple(table.schema.names) != COLUMNS:
        raise DataError(path, f"its columns are not {', '.join(COLUMNS)}")
    return table
