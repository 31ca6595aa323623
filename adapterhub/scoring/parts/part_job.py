"""What every process must know to score parts of a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adapterhub.errors import DataError
from adapterhub.kinds import KINDS
from adapterhub.results import column_types
from adapterhub.scoring.parts.layout import Layout
from adapterhub.scoring.pipeline.chunks import Request
from adapterhub.scoring.state.folder import JobFolder
from adapterhub.scoring.state.records import JobRecord, PartRecord, schema_metadata
from adapterhub.specs import Kind

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class PartJob:
    """What every process must know to score parts of a job; it can be pickled.

    Attributes:
        folder: Where the parts are made.
        record: The fingerprint of the job, as it stands there.
        layout: Of the parts.
        request: How rows are scored: by all tasks of the job, or by those that are added.
        kinds: Kind of each task of the request by its name.
        skip: Whether bad rows are left out; they stop the job otherwise.
        source: Name of the input.
        features_cache: Folder of the features cache; None for none.
    """

    folder: JobFolder
    record: JobRecord
    layout: Layout
    request: Request
    kinds: Mapping[str, Kind]
    skip: bool
    source: str
    features_cache: Path | None = None

    def needs(self, number: int, part: PartRecord | None) -> Request | None:
        """Returns how the rows of a part are still to be scored, or None where it is finished.

        Args:
            number: The part.
            part: Its manifest, if it has one that fits.

        Raises:
            DataError: All tasks must score it, and not all were given.
        """
        wanted = self.record.digests
        if part is not None:
            missing = self.lacks(part)
            return only(self.request, missing, self.record, self.kinds) if missing else None
        given = set(self.request.names.values())
        absent = [name for name in wanted if name not in given]
        if absent:
            raise DataError(
                self.folder.part(number),
                f"it is missing or was changed, so that all tasks must score its rows again; name "
                f"{', '.join(absent)} too",
            )
        return self.request

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """Returns what stands in the schema of a part."""
        return schema_metadata(self.record)

    def lacks(self, part: PartRecord) -> list[str]:
        """Returns the tasks that have not filled a part, by name."""
        return [name for name, one in self.record.digests.items() if part.tasks.get(name) != one]

    def types(self, names: Iterable[str]) -> pa.Schema | None:
        """Returns the columns that tasks fill, with their types, where the parts have such."""
        if self.layout.schema is None:
            return None
        import pyarrow as pa

        mark = self.request.truncated
        found: dict[str, pa.DataType] = {} if mark is None else {mark: pa.bool_()}
        for name in names:
            found |= column_types(name, self.kinds[name], top_k=self.request.answers.top_k)
        return pa.schema(found)


def only(
    request: Request, names: Iterable[str], record: JobRecord, kinds: Mapping[str, Kind]
) -> Request:
    """Returns the part of a request that is for some tasks of a job, by their names there."""
    wanted = set(names)
    kept = {ref: name for ref, name in request.names.items() if name in wanted}
    # The minimum of a job is for those of its tasks that may abstain, which may all be done.
    can_abstain = any(KINDS[kinds[name]].withheld for name in kept.values())
    least = request.answers.min_confidence if can_abstain else None
    columns = {one for task in record.tasks if task.name in wanted for one in task.columns}
    versions = {ref: request.versions[ref] for ref in kept}
    return replace(
        request,
        names=kept,
        versions=versions,
        columns=tuple(one for one in request.columns if one in columns),
        fields={one: request.fields[one] for one in versions.values()},
        answers=replace(request.answers, min_confidence=least),
        truncated=None,  # it was written with the first tasks
    )


def in_order(request: Request, record: JobRecord) -> Request:
    """Returns a request whose tasks have the order that they have in a job."""
    order = [task.name for task in record.tasks]
    names = dict(sorted(request.names.items(), key=lambda item: order.index(item[1])))
    columns = [column for task in record.tasks for column in task.columns]
    return replace(
        request, names=names, columns=tuple(one for one in columns if one in request.columns)
    )
