"""Where an output goes: one file, or a folder of parts; and the job that is there already."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from adapterhub.errors import DataError, UsageError
from adapterhub.rows.formats import FileFormat, find_format
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.output.whole_file import check_writable, errors_path, reserve, resolved
from adapterhub.scoring.output.writers import refuse_writing
from adapterhub.scoring.sources.row_source import RowSource
from adapterhub.scoring.state.folder import JobFolder, check_folder, hold_folder
from adapterhub.scoring.state.records import JobRecord, JoinedRecord, read_record
from adapterhub.store.paths import absolute_path


@dataclass(frozen=True, slots=True)
class Target:
    """Where an output goes.

    Attributes:
        given: The file, or the folder, as it was given.
        path: The same; absolute.
        is_folder: Whether it is a folder of parts.
        form: Format of the file or of the parts.
        folder: Where the parts are made: of one file, beside it.
    """

    given: Path
    path: Path
    is_folder: bool
    form: FileFormat
    folder: JobFolder

    @property
    def errors(self) -> Path:
        """Returns the file of the bad rows."""
        return self.folder.errors if self.is_folder else errors_path(self.path)

    @property
    def given_errors(self) -> Path:
        """Returns the file of the bad rows, below or beside the output as it was given."""
        name = self.errors.name
        return self.given / name if self.is_folder else self.given.with_name(name)

    @property
    def record(self) -> Path:
        """Returns the file that says what made the output, where that does not say it itself."""
        return self.path.with_name(f"{self.path.name}.job.json")

    @property
    def describes_itself(self) -> bool:
        """Returns whether the fingerprint of the job is within the output."""
        return self.is_folder or self.form.is_typed


def find_target(out: str | Path, options: ScoringOptions) -> Target:
    """Returns where an output goes.

    It is a folder if its name ends in a separator or has no ending, or if there is such a folder.

    Raises:
        UsageError: It is no name, or one that ends in no format that can be written.
        DataError: Its links lead in a circle.
    """
    if out in ("", "-"):
        # The folder that is open, and one named "-": what nobody means.
        raise UsageError(
            f"The output is {out!r}; name a file or a folder. `adapterhub score` without --out "
            f"writes to stdout."
        )
    path = absolute_path(out, "output")
    given = Path(os.path.expanduser(out))
    ends_in_separator = os.fspath(out).endswith(tuple(filter(None, (os.sep, os.altsep, "/"))))
    if ends_in_separator or path.is_dir() or not path.suffix:
        ending = options.part_format or "parquet"
        return Target(given, path, True, FileFormat(ending), JobFolder(path, ending))
    try:
        form = find_format(path, answers=True)
    except UsageError as error:
        folder = f"A folder of parts is named with '{os.sep}' at the end."
        raise UsageError(f"{error} {folder}") from error
    if options.part_format is not None:
        raise UsageError(
            f"part_format (--part-format) is of a folder of parts, and {path.name} is one file; "
            f"name a folder, such as {path.stem}{os.sep}."
        )
    suffix = "".join(path.suffixes[-2:] if form.packed else path.suffixes[-1:])
    # Beside the file itself, because it is renamed into its place.
    real = resolved(path)
    work = real.with_name(f"{real.name}.parts")
    return Target(given, path, False, form, JobFolder(work, suffix.removeprefix(".")))


def check_target(target: Target, source: RowSource, options: ScoringOptions) -> None:
    """Checks that an output can be written, before anything is computed.

    Raises:
        UsageError: It is the input, or cannot be written from this source.
        DataError: A file is in the way, another process writes it, or the folder cannot be
            written to.
    """
    is_unknown = not source.declared and source.again is None and not source.is_blank
    if target.form.name != "jsonl" and is_unknown:
        way_out = "--part-format jsonl" if target.is_folder else ".jsonl"
        raise UsageError(
            f"{target.path.name} needs all columns before the first row, and rows of JSON from a "
            f"stream may have any; write {way_out}, or read them from a file with --file (in "
            f"Python, from a path or a list)."
        )
    if source.takes_in(target.path):
        raise UsageError(
            f"{target.path} would be read as a part of the input {source.name} the next time; give "
            f"--out (out) another name, such as one that begins with '_'."
        )
    if target.is_folder:
        check_folder(target.path)
        if target.folder.state.is_dir():
            with hold_folder(target.folder):
                pass
        return
    files = [target.path]
    # Parts may have bad rows that were skipped then; `force` removes those of an earlier run.
    has_errors = options.on_error == "skip" or os.path.lexists(target.folder.path)
    files += [target.errors] if has_errors or options.force else []
    files += [] if target.describes_itself else [target.record]
    for path in files:
        try:
            if source.reads(path):
                raise UsageError(
                    f"The input itself would be written, {path}; give --out (out) another name."
                )
            force = options.force or is_joined(target) or _is_left(path, target)
            check_writable(path, force=force)
        except OSError as error:
            # A name that gets too long, for instance.
            refuse_writing(path, error)
        with reserve(path):
            pass


def is_joined(target: Target) -> bool:
    """Returns whether a file is the end of a job that was killed in its very last step.

    Raises:
        DataError: The state of the job is damaged.
    """
    found = read_record(target.folder.joined, JoinedRecord)
    return found is not None and target.path.is_file() and target.path.stat().st_size == found.size


def _is_left(path: Path, target: Target) -> bool:
    """Returns whether a file is what an earlier job has said of an output that is gone."""
    if path != target.record or target.path.exists():
        return False
    try:
        return read_record(path, JobRecord) is not None
    except DataError:
        return False
