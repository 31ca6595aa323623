"""What a job writes about itself: its fingerprint, one manifest per part, and how it ended.

These files are read strictly. One that is damaged, or of a newer adapterhub, is refused as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, JsonValue, ValidationError

from adapterhub.errors import DataError
from adapterhub.specs import Fingerprint, Sha256, Spec
from adapterhub.store.atomic import open_regular, reason, write_atomic
from adapterhub.store.jsonsafe import read_json_object

FORMAT = 1
MAX_BYTES = 2**28
"""Of a file with the state of a job; one with a thousand tasks has less than a megabyte."""

_Record = TypeVar("_Record", bound="Record")


class Record(Spec):
    """A file of a job.

    Attributes:
        format: Version of its form.
    """

    format: Literal[1] = 1

    def json_bytes(self) -> bytes:
        """Returns its content: the same bytes for the same values."""
        return f"{self.model_dump_json(indent=1)}\n".encode()


class InputRecord(Spec):
    """An input of a job.

    Attributes:
        name: The file, or what stands for it in messages.
        sha256: Digest of its content; None where that can be read only once.
        bytes: Size of a file.
    """

    name: str
    sha256: Sha256 | None = None
    bytes: int | None = Field(default=None, ge=0)


class BackboneRecord(Spec):
    """The backbone of a job.

    Attributes:
        name: As in the head files.
        fingerprint: sha256 over weights, settings and tokenizer.
    """

    name: str
    fingerprint: Fingerprint


class TaskRecord(Spec):
    """A task of a job.

    Attributes:
        name: Its name in the output, before the dot in the names of its columns.
        reference: The name of this very version, as in `Hub.load`.
        version: Its version; None for a head file.
        sha256: Digest of its head file.
        origin: Repository and commit on the Hub, `owner/name@commit`; None for a local task.
        read: The column of each field that it reads.
        columns: The columns of its predictions.
    """

    name: str
    reference: str
    version: int | None = None
    sha256: Sha256
    origin: str | None = None
    read: dict[str, str]
    columns: tuple[str, ...]


class JobRecord(Record):
    """The fingerprint of a job: all that its predictions depend on.

    Attributes:
        adapterhub: Version of adapterhub.
        torch: Version of torch.
        inputs: The inputs, in order.
        input_format: How they are read.
        keep: The columns of the input that are written; None for all.
        truncated: The column that says whether a row was cut, if there is one.
        tasks: The tasks, in the order of their columns.
        adding: Names of the tasks that an update adds or replaces; none outside of one.
        backbone: Their backbone.
        dtype: Of the encoder.
        max_windows: Maximum number of windows per text.
        top_k: Number of labels per text; None for all.
        min_confidence: Probability under which a task does not answer; None for that of its file.
        prefix: Stands before the names of the tasks.
        part_rows: Rows of the input per part.
        part_format: Ending of the parts' names.
    """

    later = ("min_confidence",)
    adapterhub: str
    torch: str
    inputs: tuple[InputRecord, ...]
    input_format: str
    keep: tuple[str, ...] | None = None
    truncated: str | None = None
    tasks: tuple[TaskRecord, ...]
    adding: tuple[str, ...] = ()
    backbone: BackboneRecord
    dtype: str
    max_windows: int
    top_k: int | None
    min_confidence: float | None = None
    prefix: str
    part_rows: int
    part_format: str

    @property
    def digests(self) -> dict[str, str]:
        """Returns the digest of each task by its name."""
        return {task.name: task.sha256 for task in self.tasks}

    @property
    def is_resumable(self) -> bool:
        """Returns whether its inputs can be read again, and compared."""
        return all(one.sha256 is not None for one in self.inputs)


class PartRecord(Record):
    """The manifest of a finished part, written last.

    Attributes:
        rows: Rows of the input that it stands for.
        scored: Rows in its file.
        bad: Places within the part, from 0, of the rows that are not.
        truncated: Places of rows that were longer than all their windows.
        size: Size of its file in bytes.
        tasks: Digest of each task that filled it, by name.
        revision: How many updates it has had.
    """

    rows: int = Field(ge=0)
    scored: int = Field(ge=0)
    bad: tuple[int, ...] = ()
    truncated: tuple[int, ...] = ()
    size: int = Field(ge=0)
    tasks: dict[str, Sha256]
    revision: int = Field(default=0, ge=0)


class JoinedRecord(Record):
    """Says that all parts of one file were joined, before that gets its name.

    Attributes:
        size: Size of the file in bytes.
    """

    size: int = Field(ge=0)


class Totals(Spec):
    """Numbers of rows.

    Attributes:
        rows: Rows of the input.
        scored: Rows with predictions.
        bad: The others.
        truncated: Rows with predictions that were longer than all their windows.
    """

    rows: int = 0
    scored: int = 0
    bad: int = 0
    truncated: int = 0


class SuccessRecord(Record, Totals):
    """How a job ended.

    Attributes:
        parts: Number of parts.
        adapterhub: Version of adapterhub.
        torch: Version of torch.
        backbone: The backbone.
        tasks: The tasks.
        plan: What the last run that scored rows computed per text.
    """

    parts: int
    adapterhub: str
    torch: str
    backbone: BackboneRecord
    tasks: tuple[TaskRecord, ...]
    plan: JsonValue


def totals(parts: Mapping[int, PartRecord]) -> Totals:
    """Returns the numbers of rows of parts together."""
    return Totals(
        rows=sum(part.rows for part in parts.values()),
        scored=sum(part.scored for part in parts.values()),
        bad=sum(len(part.bad) for part in parts.values()),
        truncated=sum(len(part.truncated) for part in parts.values()),
    )


def installed(package: str) -> str:
    """Returns the version of an installed package, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0+unknown"


def read_record(path: Path, kind: type[_Record]) -> _Record | None:
    """Returns the content of a file of a job, or None where there is none.

    Raises:
        DataError: It cannot be read, is damaged, or was written by a newer adapterhub.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise DataError(path, f"it is larger than {MAX_BYTES} bytes, so it is no job's")
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    try:
        values = read_json_object(content)
    except ValueError as error:
        raise DataError(path, f"it is damaged: {error}. Nothing was changed") from error
    found = values.get("format")
    if type(found) is int and found > FORMAT:
        raise DataError(
            path,
            f"it was written by a newer adapterhub (format {found}; this one, "
            f"{installed('adapterhub')}, reads {FORMAT}). Update adapterhub; nothing was changed",
        )
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise DataError(path, f"it is damaged: {_first(error)}. Nothing was changed") from error


def write_record(path: Path, record: Record) -> None:
    """Writes a file of a job, whole.

    Raises:
        DataError: The system cannot write it.
    """
    try:
        write_atomic(path, record.json_bytes(), replace=True)
    except OSError as error:
        raise DataError(path, f"it cannot be written: {reason(error)}") from error


def schema_metadata(record: JobRecord) -> Mapping[bytes, bytes]:
    """Returns what stands in the schema of a Parquet or Arrow file of a job."""
    return {b"adapterhub": record.model_copy(update={"adding": ()}).model_dump_json().encode()}


def _first(error: ValidationError) -> str:
    found: Any = error.errors(include_url=False)[0]
    place = ".".join(map(str, found["loc"])) or "its content"
    return f"{place}: {found['msg']}"
