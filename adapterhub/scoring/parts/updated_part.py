"""A finished part that gets the columns of further tasks; what stands in it stays as it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from adapterhub.errors import DataError
from adapterhub.rows.formats import FileFormat
from adapterhub.scoring.output.writers import JsonLines, TypedTable
from adapterhub.scoring.parts.new_part import bad_record, flushed
from adapterhub.scoring.parts.part_job import PartJob
from adapterhub.scoring.pipeline.chunks import ScoredChunk
from adapterhub.scoring.pipeline.windows import Window
from adapterhub.scoring.state.records import PartRecord

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1_024


class _OldRows(Protocol):
    """The rows of the part so far, to be gone through once, and their successors."""

    def add(self, kept: Sequence[bool], predictions: Sequence[Mapping[str, object]]) -> None:
        """Writes the next rows, some of them, with their new predictions."""
        ...

    def close(self) -> None:
        """Closes both files."""
        ...


class UpdatedPart:
    """A part whose rows get the predictions of tasks that are new or replaced.

    A row that only a new task cannot read leaves it for the bad rows, as if the task had been
    there from the beginning.
    """

    def __init__(
        self, old: tuple[Path, Path], new: tuple[Path, Path], record: PartRecord, job: PartJob
    ) -> None:
        """Opens its files.

        Args:
            old: The rows so far and the bad rows so far.
            new: What takes their place.
            record: The manifest so far.
            job: Its job.

        Raises:
            DataError: A file cannot be read or written.
        """
        self._job, self._record = job, record
        self._old, self._new = old[0], new
        types = job.types(job.lacks(record))
        self._old_bad = _lines(old[1]) if record.bad else iter(())
        self._bad_places = frozenset(record.bad)
        self._bad = JsonLines(new[1])
        self._rows: _OldRows
        with _damage_named(self._old):
            if types is None:
                self._rows = _JsonRows(old[0], new[0])
            else:
                self._rows = _ParquetRows(old[0], new[0], types=types, metadata=job.metadata)
        self._places: list[int] = []
        self._scored = 0
        self._truncated = set(record.truncated)

    def write(self, window: Window, chunk: ScoredChunk) -> None:
        """Writes a window; see `Part`. Its rows are all of the input, the chunk's the good ones."""
        places = [window.start + index for index in range(len(window.rows))]
        good = [place for place in places if place not in self._bad_places]
        lost = {good[row.index]: row for row in chunk.bad}
        kept = [place not in lost for place in good]
        self._truncated |= {good[index] for index in chunk.truncated}
        stay = [place for place in good if place not in lost]
        predictions = list(map(self._added, stay, chunk.rows, repeat(chunk.predicted)))
        with _damage_named(self._old):
            for place in places:
                if place in self._bad_places:
                    self._bad.write_lines([next(self._old_bad)])
                elif place in lost:
                    self._bad.write([bad_record(lost[place], self._job.source)])
            self._rows.add(kept, predictions)
        self._places += [place for place in places if place in self._bad_places or place in lost]
        self._scored += len(predictions)

    def _added(
        self, place: int, row: Mapping[str, object], predicted: Sequence[str]
    ) -> dict[str, object]:
        """Returns what a row gets; it is cut if it was for any task."""
        mark = self._job.request.truncated
        found = {name: row[name] for name in predicted}
        return found if mark is None else {**found, mark: place in self._truncated}

    def finish(self) -> PartRecord:
        """Ends the part; see `Part`."""
        self.close()
        flushed(self._new[1])
        return self._record.model_copy(
            update={
                "scored": self._scored,
                "bad": tuple(self._places),
                "truncated": tuple(sorted(self._truncated - set(self._places))),
                "size": flushed(self._new[0]),
                "tasks": self._job.record.digests,
                "revision": self._record.revision + 1,
            }
        )

    def close(self) -> None:
        """Closes the files; see `Part`."""
        self._bad.close()
        self._rows.close()


class _JsonRows:
    def __init__(self, old: Path, new: Path) -> None:
        self._old = _lines(old)
        self._new = JsonLines(new)

    def add(self, kept: Sequence[bool], predictions: Sequence[Mapping[str, object]]) -> None:
        """See `_OldRows`."""
        found = iter(predictions)
        lines = zip(islice(self._old, len(kept)), kept, strict=True)
        # What `json_line` has written is read and written again without a difference.
        self._new.write([{**json.loads(line), **next(found)} for line, stays in lines if stays])

    def close(self) -> None:
        """See `_OldRows`."""
        self._new.close()


class _ParquetRows:
    def __init__(
        self, old: Path, new: Path, *, types: pa.Schema, metadata: Mapping[bytes, bytes]
    ) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(old)
        self._batches = self._file.iter_batches(batch_size=_BATCH_ROWS)
        self._waiting: list[pa.RecordBatch] = []
        self._types = types
        schema = self._file.schema_arrow.remove_metadata()
        for field in types:
            place = schema.get_field_index(field.name)
            schema = schema.append(field) if place < 0 else schema.set(place, field)
        self._schema = schema.with_metadata(dict(metadata))
        self._new = TypedTable(new, FileFormat("parquet"), self._schema)

    def add(self, kept: Sequence[bool], predictions: Sequence[Mapping[str, object]]) -> None:
        """See `_OldRows`."""
        import pyarrow as pa

        table = self._take(len(kept)).filter(pa.array(kept, pa.bool_()))
        found = pa.Table.from_pylist(list(predictions), schema=self._types)
        for field in self._types:
            place = table.schema.get_field_index(field.name)
            column = found[field.name]
            table = (
                table.append_column(field, column)
                if place < 0
                else table.set_column(place, field, column)
            )
        self._new.write_table(table.cast(self._schema))

    def close(self) -> None:
        """See `_OldRows`."""
        self._file.close()
        self._new.close()

    def _take(self, count: int) -> pa.Table:
        """Returns the next rows of the part."""
        import pyarrow as pa

        taken: list[Any] = []
        while count:
            batch = self._waiting.pop() if self._waiting else next(self._batches)
            if batch.num_rows > count:
                self._waiting.append(batch.slice(count))
                batch = batch.slice(0, count)
            taken.append(batch)
            count -= batch.num_rows
        return pa.Table.from_batches(taken, self._file.schema_arrow)


def _lines(path: Path) -> Iterator[str]:
    """Yields the lines of a file of ours, without their ends."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n")


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raises our error for a part that is not what its manifest says."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, StopIteration) as error:
        raise DataError(
            path,
            f"it was changed since it was written: {error}. Remove it, and run the job of before",
        ) from error
