"""A job of scoring: what is scored, by which tasks, where to, and what of it is done already."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from adapterhub.errors import DataError
from adapterhub.plan import Plan
from adapterhub.scoring.assign_columns import Assignment, make_reading_plan
from adapterhub.scoring.job.continuing import continued
from adapterhub.scoring.job.fingerprint import EncoderSettings, make_record
from adapterhub.scoring.job.target import Target
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.parts.layout import Layout, kept_columns, make_layout
from adapterhub.scoring.parts.part_job import PartJob, in_order, only
from adapterhub.scoring.pipeline.chunks import Request
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.state.folder import FolderState, check_own, read_state
from adapterhub.scoring.state.records import JobRecord


@dataclass(frozen=True, slots=True, eq=False)
class OutputJob:
    """Where a job writes, and how far it is.

    Attributes:
        target: The file or folder.
        record: The fingerprint of the job.
        layout: Of its parts.
        state: What of it is done.
        anew: Whether what is in the folder is removed first.
    """

    target: Target
    record: JobRecord
    layout: Layout
    state: FolderState = field(default_factory=FolderState)
    anew: bool = False

    @property
    def is_done(self) -> bool:
        """Returns whether nothing is to be done."""
        return self.state.is_finished and self.state.job == self.record and not self.anew


@dataclass(frozen=True, slots=True, eq=False)
class ScoringJob:
    """A run, checked as far as possible without a backbone.

    Attributes:
        source: The rows.
        assigned: The tasks and their columns.
        options: As given.
        output: Where it writes; None where the caller takes the chunks.
    """

    source: RowSource
    assigned: Assignment
    options: ScoringOptions
    output: OutputJob | None

    @property
    def request(self) -> Request:
        """Returns how rows are scored: of an update, by the tasks that it adds."""
        if self.output is None:
            return self.assigned.request
        record = self.output.record
        request = in_order(self.assigned.request, record)
        if not record.adding or self.is_done:
            return request
        kinds = {name: spec.kind for name, spec in self.assigned.specs.items()}
        return only(request, record.adding, record, kinds)

    @property
    def plan(self) -> Plan:
        """Returns what is computed per text."""
        names = self.request.names.values()
        specs = {name: self.assigned.specs[name] for name in names}
        return make_reading_plan(specs, self.assigned.read)

    @property
    def is_done(self) -> bool:
        """Returns whether nothing is to be done, because the folder has all of it."""
        return self.output is not None and self.output.is_done

    @property
    def resumed_rows(self) -> int:
        """Returns how many rows of the input are in finished parts."""
        if self.output is None or self.output.anew:
            return 0
        part_job, parts = self.part_job, self.output.state.parts.values()
        return sum(part.rows for part in parts if not part_job.lacks(part))

    @property
    def part_job(self) -> PartJob:
        """Returns what processes must know to score parts of it."""
        assert self.output is not None
        request, specs = self.assigned.request, self.assigned.specs
        return PartJob(
            folder=self.output.target.folder,
            record=self.output.record,
            layout=self.output.layout,
            request=in_order(request, self.output.record),
            kinds={name: specs[name].kind for name in request.names.values()},
            skip=self.options.on_error == "skip",
            source=self.source.name,
            features_cache=self.options.features_cache,
        )


def plan_output(
    source: RowSource,
    assigned: Assignment,
    target: Target,
    *,
    options: ScoringOptions,
    encoder: EncoderSettings,
) -> OutputJob:
    """Returns how a job writes to a target, which may have parts of it.

    Raises:
        DataError: The target holds another job, or something else; or a column is missing.
        UsageError: The input has a column with the name of a column of predictions.
    """
    record = make_record(source, assigned, target, options=options, encoder=encoder)
    state, anew = _found(target, record, source, force=options.force)
    if not anew:
        record = continued(state, record, target.folder.path)
    ordered = _in_order(assigned, record)
    is_done = state.is_finished and state.job == record
    # Parts that are made anew have the columns of the others, and nothing is read for what is done.
    if not anew and (is_done or record.adding or any(p.revision for p in state.parts.values())):
        kept = kept_columns(target.folder, record, state.parts)
    else:
        kept = None
    layout = make_layout(target.form, source, ordered, kept=kept)
    return OutputJob(target, record, layout, state, anew)


def _found(
    target: Target, record: JobRecord, source: RowSource, *, force: bool
) -> tuple[FolderState, bool]:
    """Returns what of a job is done, and whether that is to be removed."""
    place = target.folder.path
    if not target.is_folder and source.again is None:
        # One file that can be made in one go only; it has no parts.
        return FolderState(), False
    if not force:
        return read_state(place), False
    check_own(place)
    if target.is_folder:
        return FolderState(), True
    try:
        # Here it is for the output, which exists; the parts are for this very job.
        state = read_state(place)
        continued(state, record, place)
    except DataError:
        return FolderState(), True
    return state, False


def _in_order(assigned: Assignment, record: JobRecord) -> Assignment:
    """Returns tasks in the order that they have in a job."""
    request = in_order(assigned.request, record)
    specs = {name: assigned.specs[name] for name in request.names.values()}
    return replace(assigned, request=request, specs=specs)
