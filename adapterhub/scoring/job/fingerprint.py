"""The fingerprint of a job that is to be run: all that its predictions depend on. Without torch."""

from __future__ import annotations

from dataclasses import dataclass

from adapterhub.scoring.assign_columns import Assignment
from adapterhub.scoring.job.target import Target
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.state.records import BackboneRecord, InputRecord, JobRecord, installed


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
        keep=assigned.request.keep,
        truncated=assigned.request.truncated,
        tasks=assigned.records,
        backbone=BackboneRecord(name=spec.name, fingerprint=spec.fingerprint),
        dtype=encoder.dtype,
        max_windows=encoder.max_windows,
        top_k=options.top_k,
        min_confidence=options.min_confidence,
        prefix=options.prefix,
        part_rows=options.part_rows,
        part_format=target.folder.part_format,
    )


def _inputs(source: RowSource) -> tuple[InputRecord, ...]:
    if source.files:
        return tuple(
            InputRecord(name=file.name, sha256=file.sha256, bytes=file.size)
            for file in source.files
        )
    return (InputRecord(name=source.name, sha256=source.digest()),)
