"""The first rows of a source, checked before torch is imported."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, islice

from adapterhub.choices.rows import read_inputs
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.engines.local_engine import refuse
from adapterhub.scoring.job.job import ScoringJob
from adapterhub.scoring.pipeline.chunks import misfit
from adapterhub.scoring.sources.row_source import AHEAD_ROWS


def check_first_rows(job: ScoringJob) -> ScoringJob:
    """Returns a job whose first rows can be scored, as far as that shows without a tokenizer.

    Only where a bad row stops the run before anything is kept or shown: no further than the first
    part, and not where rows come in their own time or were scored before.

    Raises:
        DataError: One of them is bad.
    """
    source, output = job.source, job.output
    is_new = output is None or output.anew or not output.state.parts
    if job.options.on_error == "skip" or source.is_stream or not is_new:
        return job
    first = list(islice(source.rows, min(AHEAD_ROWS, job.options.part_rows)))
    for row in first:
        problem = row.problem or _problem(row, job)
        if problem is not None:
            refuse(source, row.place, problem, row.file)
    return replace(job, source=replace(source, rows=chain(first, source.rows)))


def _problem(row: SourceRow, job: ScoringJob) -> str | None:
    found = misfit(row.values, job.request)
    if found is not None:
        return found
    specs, read = job.assigned.specs, job.assigned.read
    readings = ((tuple(own.values()), specs[name].row.of_choices) for name, own in read.items())
    for columns, has_choices in dict.fromkeys(readings):
        bad = read_inputs([row.values], columns, has_choices=has_choices).bad
        if bad:
            return bad[0].problem
    return None
