"""The folder of a job: parts of the output, and beside them what says which of them are finished.

    out/part-00000.parquet     rows with predictions
    out/_job/job.json          the fingerprint of the job
    out/_job/00000.json        the manifest of a finished part
    out/_job/bad-00000.jsonl   its bad rows
    out/_errors.jsonl          all bad rows, at the end
    out/_SUCCESS               at the end

A part counts as finished if its manifest is there and fits its files. An update stages the new
files of a part in `_job`; its manifest says that they are whole, and only then they take the place
of those before. So whenever a process is killed, a part is either what it was or what it shall be.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from filelock import Timeout

from adapterhub.errors import DataError
from adapterhub.scoring.state.records import JobRecord, PartRecord, SuccessRecord, read_record
from adapterhub.store.atomic import reason, remove, sweep, sync_folder
from adapterhub.store.locks import held_by, hold_lock

STATE = "_job"
JOB = "job.json"
SUCCESS = "_SUCCESS"
ERRORS = "_errors.jsonl"

_MANIFEST = re.compile(r"(\d{5,})\.json")
_OWN = re.compile(r"part-\d{5,}\.[A-Za-z.]+")
_STAGED = re.compile(r"\d{5,}\.\d+\.(part|bad)")
_LOCK_TIMEOUT = 0.2
_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Where the files of a job stand.

    Attributes:
        path: The folder.
        part_format: Ending of the names of its parts, such as `jsonl.gz`.
    """

    path: Path
    part_format: str

    @property
    def state(self) -> Path:
        """Returns the folder of what the job writes about itself."""
        return self.path / STATE

    @property
    def job(self) -> Path:
        """Returns the file of the fingerprint."""
        return self.state / JOB

    @property
    def joined(self) -> Path:
        """Returns the file that is there when the parts of one file were joined."""
        return self.state / "joined.json"

    @property
    def success(self) -> Path:
        """Returns the file that is there when the job has ended."""
        return self.path / SUCCESS

    @property
    def errors(self) -> Path:
        """Returns the file of all bad rows."""
        return self.path / ERRORS

    def part(self, number: int) -> Path:
        """Returns the file of a part."""
        return self.path / f"part-{number:05}.{self.part_format}"

    def manifest(self, number: int) -> Path:
        """Returns the manifest of a part."""
        return self.state / f"{number:05}.json"

    def bad(self, number: int) -> Path:
        """Returns the file of the bad rows of a part; there is none without such rows."""
        return self.state / f"bad-{number:05}.jsonl"

    def staged(self, number: int, revision: int, what: str) -> Path:
        """Returns the file of an update that waits for its place; `what` is `part` or `bad`."""
        return self.state / f"{number:05}.{revision}.{what}"

    def fits(self, number: int, part: PartRecord) -> bool:
        """Returns whether the files of a part are those that its manifest is of."""
        staged = self.staged(number, part.revision, "part")
        try:
            size = (staged if staged.exists() else self.part(number)).stat().st_size
        except OSError:
            return False
        waiting = self.staged(number, part.revision, "bad")
        has_bad = waiting.exists() or self.bad(number).exists()
        return size == part.size and (has_bad or not part.bad)


@dataclass(frozen=True, slots=True)
class FolderState:
    """What is in a folder.

    Attributes:
        job: The job that it belongs to; None where it is new, or empty.
        parts: The manifests of the finished parts, by number.
        success: How the job ended, if it did and nothing was changed since.
    """

    job: JobRecord | None = None
    parts: Mapping[int, PartRecord] = field(default_factory=dict)
    success: SuccessRecord | None = None

    @property
    def is_finished(self) -> bool:
        """Returns whether the job has ended and all its parts are there."""
        return self.success is not None

    @property
    def rows(self) -> int:
        """Returns the rows of the input that finished parts stand for."""
        return sum(part.rows for part in self.parts.values())


def read_state(path: Path) -> FolderState:
    """Returns what is in the folder of a job, which is not changed.

    Raises:
        DataError: It is no folder, has files that are no job's, or a file of the job is damaged.
    """
    if not os.path.lexists(path):
        return FolderState()
    if not path.is_dir():
        raise DataError(path, "it is a file; expected a folder for the parts")
    job = read_record(path / STATE / JOB, JobRecord)
    if job is None:
        check_own(path)
        return FolderState()
    folder = JobFolder(path, job.part_format)
    parts = {}
    for name in _names(folder.state):
        found = _MANIFEST.fullmatch(name)
        if found is not None:
            number = int(found[1])
            part = read_record(folder.manifest(number), PartRecord)
            if part is not None and folder.fits(number, part):
                parts[number] = part
    success = read_record(folder.success, SuccessRecord)
    if success is not None and not _is_whole(job, parts, success):
        success = None
    return FolderState(job, parts, success)


def check_own(path: Path) -> None:
    """Checks that a folder, if it is there, holds a job or nothing.

    Raises:
        DataError: It holds something else. What is hidden does not count.
    """
    if (path / STATE / JOB).exists():
        return
    left = [name for name in _names(path / STATE) if not name.startswith((".", "lock"))]
    names = [name for name in _names(path) if not name.startswith(".") and name != STATE]
    foreign = [*names, *(f"{STATE}/{name}" for name in left)]
    if foreign:
        more = ", …" if len(foreign) > _MOST_SHOWN else ""
        raise DataError(
            path,
            f"the folder is not empty and holds no job of adapterhub "
            f"({', '.join(foreign[:_MOST_SHOWN])}{more}). Name a new or an empty folder",
        )


def check_folder(path: Path) -> None:
    """Checks that files can be made in a folder, which need not exist.

    Raises:
        DataError: They cannot.
    """
    place = path
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        own = "it is no folder, as a name without an ending or with '/' at its end stands for"
        raise DataError(path, f"{place} is no folder" if place != path else own)
    if not os.access(place, os.W_OK):
        raise DataError(path, f"the folder {place} cannot be written to")


@contextlib.contextmanager
def hold_folder(folder: JobFolder) -> Iterator[None]:
    """Keeps other jobs from a folder, which is made if need be.

    Raises:
        DataError: Another process works there, or the folder cannot be written to.
    """
    lock = folder.state / "lock"
    with contextlib.ExitStack() as stack:
        try:
            folder.state.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(lock, timeout=_LOCK_TIMEOUT, remove=True))
        except Timeout as error:
            raise DataError(
                folder.path,
                f"another job is writing there{held_by(lock)}. Wait for its end, or name another "
                f"folder",
            ) from error
        except OSError as error:
            refuse_folder(folder.path, error)
        sweep(folder.path)
        sweep(folder.state)
        yield


def settle(folder: JobFolder, parts: Mapping[int, PartRecord]) -> None:
    """Ends what a killed update of parts has begun: it is completed, or undone.

    Raises:
        DataError: The system refuses it.
    """
    for number, part in parts.items():
        place_staged(folder, number, part)
        for what in ("part", "bad"):
            remove(folder.staged(number, part.revision + 1, what))


def place_staged(folder: JobFolder, number: int, part: PartRecord) -> None:
    """Puts the files of an updated part in their places; its manifest has said that it may.

    Raises:
        DataError: The system refuses it.
    """
    moved = False
    try:
        for what, target in (("bad", folder.bad(number)), ("part", folder.part(number))):
            staged = folder.staged(number, part.revision, what)
            if staged.exists():
                os.replace(staged, target)
                moved = True
        if moved:
            sync_folder(folder.path)
    except OSError as error:
        refuse_folder(folder.path, error)


def clear(folder: JobFolder, *, joined: bool = False) -> None:
    """Removes all files of jobs from a folder, and nothing else.

    Args:
        folder: Where they are.
        joined: Whether the parts were joined to a file that stays. As long as there are parts, a
            job that is killed here then knows that file for its own.

    Raises:
        DataError: The system refuses it.
    """
    try:
        # First what says that the others are whole.
        folder.success.unlink(missing_ok=True)
        if not joined:
            folder.joined.unlink(missing_ok=True)
        for name in filter(_is_of_part, _names(folder.state)):
            (folder.state / name).unlink(missing_ok=True)
        for name in _names(folder.path):
            if _OWN.fullmatch(name) or name == ERRORS:
                (folder.path / name).unlink(missing_ok=True)
        folder.joined.unlink(missing_ok=True)
        # Last what says that all these are a job's.
        folder.job.unlink(missing_ok=True)
        sync_folder(folder.path)
    except OSError as error:
        refuse_folder(folder.path, error)


def refuse_folder(path: Path, error: OSError) -> NoReturn:
    """Raises our error for a folder that cannot be written to."""
    raise DataError(path, f"it cannot be written: {reason(error)}") from error


def _is_of_part(name: str) -> bool:
    is_bad = re.fullmatch(r"bad-\d{5,}\.jsonl", name)
    return bool(is_bad or _MANIFEST.fullmatch(name) or _STAGED.fullmatch(name))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder)) if folder.is_dir() else []
    except OSError as error:
        raise DataError(folder, f"it cannot be read: {reason(error)}") from error


def _is_whole(job: JobRecord, parts: Mapping[int, PartRecord], success: SuccessRecord) -> bool:
    same = {task.name: task.sha256 for task in success.tasks} == job.digests
    numbers = set(range(success.parts))
    return (
        same
        and numbers <= parts.keys()
        and all(parts[number].tasks == job.digests for number in numbers)
    )
