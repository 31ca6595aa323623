"""The files of a source: one, those of a folder or of a pattern; several are read as one."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from adapterhub.errors import DataError
from adapterhub.rows.arrow_types import one_schema
from adapterhub.rows.formats import FileFormat, Format, find_format, packing_of
from adapterhub.rows.reading import read_file, read_header
from adapterhub.rows.source_row import Rows, SourceRow
from adapterhub.store.atomic import reason

# What the datasets library and the Hugging Face Hub put beside the files of rows.
_NO_ROWS = {"readme.md", "license", "dataset_info.json", "state.json", "dataset_dict.json"}
# What scoring puts beside a file that it writes: bad rows, the job, unfinished parts.
_BESIDE_ROWS = (".errors.jsonl", ".job.json", ".parts")
_BLOCK = 2**20


@dataclass(frozen=True)
class InputFile:
    """A regular file that is read.

    Attributes:
        name: Its path as it was given, or below the folder that was given.
        path: Its absolute path.
        form: Its format.
        size: Its size in bytes.
        identity: Device and inode.
        modified: When it was changed, in nanoseconds.
    """

    name: str
    path: Path
    form: FileFormat
    size: int
    identity: tuple[int, int]
    modified: int

    @cached_property
    def sha256(self) -> str:
        """Returns the sha256 of its bytes, which are read once for it.

        Raises:
            DataError: It cannot be read.
        """
        found = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                for block in iter(lambda: file.read(_BLOCK), b""):
                    found.update(block)
        except OSError as error:
            raise DataError(self.name, f"it cannot be read: {reason(error)}") from error
        return found.hexdigest()

    def check_unchanged(self) -> None:
        """Checks that the file has the bytes that `sha256` was taken of; one that is gone has.

        Raises:
            DataError: It has others, or cannot be read.
        """
        if not self.path.exists():
            return
        now = input_file(self.path, self.form)
        if (now.size, now.modified) == (self.size, self.modified) or now.sha256 == self.sha256:
            return
        raise DataError(
            self.name,
            f"it was changed while it was scored ({self.size:,} bytes before, {now.size:,} now), "
            f"so that nobody knows which rows the predictions are of. Score it again with --force "
            f"(force=True) when nothing writes to it",
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a source are looked for.

    Attributes:
        given: A folder or a pattern.
        is_folder: Which of both.
    """

    given: Path
    is_folder: bool

    def takes_in(self, path: Path) -> bool:
        """Returns whether a file or folder at `path` would be read as a part of the source."""
        target = Path(os.path.realpath(path))
        if self.is_folder:
            folder = Path(os.path.realpath(self.given))
            return folder == target or (
                folder in target.parents and not any(map(_is_hidden, _below(target, folder)))
            )
        pattern = Path(os.path.abspath(self.given))
        target = Path(os.path.abspath(path))
        if "**" in pattern.parts:
            # It stands for any number of folders, also for none.
            return fnmatchcase(target.as_posix(), pattern.as_posix().replace("/**/", "/*"))
        many = zip(target.parts, pattern.parts, strict=False)
        return len(target.parts) >= len(pattern.parts) and all(fnmatchcase(*one) for one in many)


def place_of(path: Path) -> Place | None:
    """Returns the folder or pattern that a path is, or None where it names one file."""
    if path.is_dir():
        return Place(path, is_folder=True)
    is_pattern = glob.has_magic(str(path)) and not os.path.lexists(path)
    return Place(path, is_folder=False) if is_pattern else None


def find_files(place: Place, form: Format | None) -> tuple[InputFile, ...]:
    """Returns the files of a folder, with its folders, or those that a pattern matches, sorted.

    Left out are files and folders whose name begins with a dot or an underscore, and files that
    scoring, the datasets library and the Hugging Face Hub put beside those of rows.

    Args:
        place: The folder or pattern.
        form: Their format; None goes by the ending of their names.

    Raises:
        DataError: There are none, or of several formats, or one cannot be found.
        UsageError: The name of one does not say its format.
    """
    paths = _in_folder(place.given, ()) if place.is_folder else _matching(place.given)
    found = sorted(dict.fromkeys(paths), key=lambda path: path.parts)
    if not found:
        problem = "the folder holds no files" if place.is_folder else "no file matches it"
        hint = "; names that begin with '.' or '_' are left out"
        raise DataError(place.given, problem + hint)
    return as_input_files(found, form, whole=place.given)


def as_input_files(
    paths: Sequence[Path], form: Format | None, *, whole: Path | str
) -> tuple[InputFile, ...]:
    """Returns files of one format, in the order given.

    Args:
        paths: The files.
        form: Their format; None goes by the ending of their names.
        whole: What they are together, for messages.

    Raises:
        DataError: They have several formats, or one cannot be found.
        UsageError: The name of one does not say its format.
    """
    files = tuple(
        input_file(path, FileFormat(form, packing_of(path)) if form else find_format(path))
        for path in paths
    )
    names: dict[Format, str] = {}
    for file in files:
        names.setdefault(file.form.name, file.name)
    if len(names) > 1:
        examples = ", ".join(f"{name} ({kind})" for kind, name in names.items())
        raise DataError(
            whole,
            f"it has files of several formats: {examples}; name those of one format by a pattern, "
            f"such as '{Path(files[0].name).parent / '*'}{Path(files[0].name).suffix}'",
        )
    return files


def input_file(path: Path, form: FileFormat) -> InputFile:
    """Returns a file as it is now.

    Raises:
        DataError: There is none.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    identity = (found.st_dev, found.st_ino)
    return InputFile(str(path), path.absolute(), form, found.st_size, identity, found.st_mtime_ns)


def read_files(files: Sequence[InputFile]) -> Rows:
    """Returns the rows of files, one after another, each with the name of its file.

    All files but those of JSON Lines have the same columns, which may differ in their order;
    columns of Parquet and Arrow have a type that holds the values of all.

    Raises:
        DataError: The columns or their types differ, or a file cannot be read.
    """
    columns: tuple[str, ...] = ()
    schemas = []
    first = files[0]
    for file in files:
        found = read_header(file.path, file.form)
        if found.schema is not None:
            schemas.append((file.name, found.schema))
        if not columns:
            columns, first = found.columns, file
        elif found.columns:
            _check_columns(file, found.columns, first, columns)
    schema = one_schema(schemas) if schemas else None
    return Rows(columns, _rows_of(files, columns), schema)


def _check_columns(
    file: InputFile, columns: Sequence[str], first: InputFile, others: Sequence[str]
) -> None:
    more = [f"'{name}'" for name in columns if name not in others]
    fewer = [f"'{name}'" for name in others if name not in columns]
    parts = [f"it has {', '.join(more)} beyond them"] if more else []
    parts += [f"it lacks {', '.join(fewer)}"] if fewer else []
    if parts:
        raise DataError(
            file.name,
            f"its columns are not those of {first.name}: {' and '.join(parts)}; files that are "
            f"read as one have the same columns, in any order",
        )


def _rows_of(files: Sequence[InputFile], columns: tuple[str, ...]) -> Iterator[SourceRow]:
    for file in files:
        rows = read_file(file.path, file.form)
        turned = rows.columns not in ((), columns)
        for row in rows:
            values = row.values
            if turned and row.problem is None:
                values = {name: values[name] for name in columns}
            yield SourceRow(row.place, values, row.problem, row.raw, file.name)


def _in_folder(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    own = os.path.realpath(folder)
    if own in above:
        raise DataError(folder, "it is a link that leads in a circle")
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(folder, f"it cannot be read: {reason(error)}") from error
    for entry in entries:
        if _is_hidden(entry.name) or _is_beside(entry.name):
            continue
        if entry.is_dir():
            yield from _in_folder(Path(entry.path), (*above, own))
        else:
            yield Path(entry.path)


def _matching(pattern: Path) -> Iterator[Path]:
    """Yields the files that match a pattern, and those in the folders that match it."""
    magic = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    wants_hidden = any(part.startswith("_") for part in pattern.parts[magic:])
    for name in glob.iglob(str(pattern), recursive=True):
        path = Path(name)
        if not wants_hidden and any(map(_is_hidden, path.parts[magic:])):
            continue
        if not path.is_dir():
            if not _is_beside(path.name):
                yield path
        elif pattern.name != "**":
            yield from _in_folder(path, ())


def _is_beside(name: str) -> bool:
    return name.lower() in _NO_ROWS or name.endswith(_BESIDE_ROWS)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _below(path: Path, folder: Path) -> Iterable[str]:
    return path.parts[len(folder.parts) :]
