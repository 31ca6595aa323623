"""The fingerprint of a job that is to be run: all that its predictions depend on. Without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from adapterhub.errors import DataError
from adapterhub.scoring.assign_columns import Assignment
from adapterhub.scoring.job_records import BackboneRecord, InputRecord, JobRecord, installed
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.sources import RowSource
from adapterhub.scoring.target import Target
from adapterhub.scoring.writers import json_line
from adapterhub.store.atomic import reason


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """The encoder that a job runs on, as far as its predictions depend on it.

    Attributes:
        backbone: As in `Hub`.
        dtype: As in `Hub`.
        max_windows: As in `Hub`.
    """

    backbone: str | None = None
    dtype: str = "float32"
    max_windows: int = 16


def make_record(
    source: RowSource,
    assigned: Assignment,
    target: Target,
    *,
    options: ScoringOptions,
    encoder: EncoderSettings,
) -> JobRecord:
    """Returns the fingerprint of a job.

    Raises:
        DataError: The input cannot be read.
    """
    spec = next(iter(assigned.specs.values())).backbone
    return JobRecord(
        adapterhub=installed("adapterhub"),
        torch=installed("torch"),
        inputs=_inputs(source),
        input_format=source.form.name,
        keep=options.keep_columns,
        tasks=assigned.records,
        backbone=BackboneRecord(name=spec.name, fingerprint=spec.fingerprint),
        dtype=encoder.dtype,
        max_windows=encoder.max_windows,
        top_k=options.top_k,
        prefix=options.prefix,
        part_rows=options.part_rows,
        part_format=target.folder.part_format,
    )


def _inputs(source: RowSource) -> tuple[InputRecord, ...]:
    if source.path is not None:
        digest, size = _digest(source.path)
        return (InputRecord(name=source.name, sha256=digest, bytes=size),)
    if source.again is None:
        return (InputRecord(name=source.name),)
    found = hashlib.sha256()
    for row in source.again():
        found.update(json_line(row.values).encode() + row.raw.encode("utf-8", "replace") + b"\n")
    return (InputRecord(name=source.name, sha256=found.hexdigest()),)


def _digest(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            found = hashlib.sha256()
            size = 0
            while block := file.read(2**20):
                found.update(block)
                size += len(block)
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    return found.hexdigest(), size
