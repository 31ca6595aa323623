"""Scores the parts of a job one after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from adapterhub.scoring.chunks import Scorer
from adapterhub.scoring.job_records import PartRecord
from adapterhub.scoring.parts import PartJob, PartSink, refuse_bad, score_window
from adapterhub.scoring.sources import RowSource
from adapterhub.scoring.windows import Window

Advance = Callable[[int], None]
"""Is told how many rows were scored since it was called last."""


def score_parts(
    job: PartJob,
    parts: Mapping[int, PartRecord],
    windows: Iterator[Window],
    *,
    scorer: Scorer,
    source: RowSource,
    advance: Advance,
) -> dict[int, PartRecord]:
    """Scores what is not finished of a job; returns the manifests of all its parts.

    Args:
        job: The job.
        parts: The manifests of finished parts.
        windows: The rows of the input, from the first part on that is not finished or before.
        scorer: A `Hub`.
        source: Where the rows come from, for messages.
        advance: Called after every window.

    Raises:
        DataError: A row is bad and is not to be skipped, or a file cannot be written.
        AdapterHubError: As `Hub.load`.
    """
    done = dict(parts)
    with PartSink(job, parts) as sink:
        for window in windows:
            before = parts.get(window.part)
            request = job.needs(window.part, before)
            if request is None:
                continue
            chunk = score_window(scorer, window, request, before=before)
            refuse_bad(chunk, source, skip=job.skip)
            record = sink.take(window, chunk, request)
            if record is not None:
                done[window.part] = record
            advance(len(window.rows))
    return done
