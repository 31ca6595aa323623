"""The tasks of one run as they are given: names, rows and options, each in one entry."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from adapterhub.errors import AdapterHubError, UsageError
from adapterhub.kinds import KINDS
from adapterhub.option_models import parse_options
from adapterhub.store.references import check_name
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.options import TrainingOptions

Values = Mapping[str, object]

_OF_BOTH = TrainingOptions.model_fields.keys() & AdapterOptions.model_fields.keys()
_EXPECTED = "a .yaml file, options by the names of tasks, or mappings with a name each"
_NO_NAME_CHARACTERS = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry stands in a file, for messages.

    Attributes:
        file: Name of the file; empty for an entry from Python.
        line: Where the entry begins.
        lines: Where its options stand, by name; `adapter.rank` for one within another.
    """

    file: str = ""
    line: int | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def opening(self, task: str, option: str) -> str:
        """Returns what a message about an option of a task begins with."""
        if not self.file:
            return f"Task '{task}': "
        outer = option.partition(".")[0]
        line = self.lines.get(option, self.lines.get(outer, self.line))
        at = "" if line is None else f", line {line}"
        return f"{self.file}{at}, task '{task}': "


@dataclass(frozen=True, slots=True, eq=False)
class TaskEntry:
    """One task of a run.

    Attributes:
        name: Of the task.
        data: Its rows, as `train` takes them; None where there are none.
        options: Its options by name, those for all tasks among them.
        place: Where it stands in a file.
        other_targets: Columns that are targets of other tasks of the same entry.
    """

    name: str
    data: object
    options: Values
    place: Place = field(default_factory=Place)
    other_targets: tuple[str, ...] = ()

    def training_options(self) -> TrainingOptions:
        """Returns the checked options.

        Raises:
            UsageError: One is unknown or its value is not valid.
        """
        # A file holds numbers as text where YAML knows no number in them, such as 1e-3.
        strict = False if self.place.file else None
        return parse_options(TrainingOptions, self.options, strict=strict)

    @contextlib.contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Makes errors within the block say which task they are of, and where that stands."""
        try:
            yield
        except AdapterHubError as error:
            error.args = (f"{self.place.opening(self.name, _option_of(error))}{error}",)
            raise


def _option_of(error: AdapterHubError) -> str:
    """Returns the name of the option that an error is about, if it is about one."""
    if not isinstance(error.__cause__, ValidationError):
        return ""
    return ".".join(map(str, error.__cause__.errors(include_url=False)[0]["loc"]))


def entries_of(tasks: object, *, data: object, common: Values) -> list[TaskEntry]:
    """Returns the entries of tasks that are given as values of Python.

    Args:
        tasks: Options by name of the task, or a list of mappings with a `name`.
        data: The rows of tasks that give none.
        common: Options of tasks that do not say otherwise.

    Raises:
        UsageError: They are given in another form.
    """
    found = []
    for name, own in _named(tasks):
        options = layered(common, own)
        rows = options.pop("data", data)
        found.append(TaskEntry(name, rows, options))
    return found


def _named(tasks: object) -> Iterator[tuple[str, Values]]:
    if isinstance(tasks, Mapping):
        for name, own in tasks.items():
            yield _plain_name(name), given_options(own)
        return
    if isinstance(tasks, str | bytes) or not isinstance(tasks, Iterable):
        found = " ".join(repr(tasks)[:80].split())
        raise UsageError(f"The tasks to train are {found}; expected {_EXPECTED}.")
    for place, own in enumerate(tasks, start=1):
        if not isinstance(own, Mapping) or "name" not in own:
            found = " ".join(repr(own)[:80].split())
            raise UsageError(f"Task {place} of those to train is {found}; expected {_EXPECTED}.")
        yield _plain_name(own["name"]), {key: own[key] for key in own if key != "name"}


def _plain_name(name: object) -> str:
    check_name(name, "task")  # type: ignore[arg-type]  # it checks the type too
    return str(name)


def given_options(options: object) -> dict[str, object]:
    """Returns the options that a caller has set, by name.

    Raises:
        UsageError: They are neither options nor a mapping.
    """
    if isinstance(options, TrainingOptions | AdapterOptions):
        return {name: getattr(options, name) for name in options.model_fields_set}
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        found = " ".join(repr(options)[:80].split())
        raise UsageError(f"The options are {found}; expected TrainingOptions or a dictionary.")
    return dict(options)


def layered(*layers: Values) -> dict[str, object]:
    """Returns options of which later layers replace earlier ones; those of an adapter one by one.

    Args:
        layers: Options by name. An adapter may be the name of its method alone.
    """
    found: dict[str, object] = {}
    for layer in layers:
        own = dict(layer)
        if own.get("adapter") is not None:
            own["adapter"] = {**_adapter(found.get("adapter")), **_adapter(own["adapter"])}
        found |= own
    return found


def _adapter(given: object) -> dict[str, object]:
    if isinstance(given, str):
        return {"method": given}
    return given_options(given)


def overruled(options: Values, by: Values) -> dict[str, object]:
    """Returns options of a file, overruled by those of the call.

    As on the command line, options that heads and adapters both have, such as epochs, are those of
    the adapter where there is one.
    """
    found = layered(options, by)
    adapter = found.get("adapter")
    if adapter is None or "adapter" in by:
        return found
    moved = {name: found.pop(name) for name in by if name in _OF_BOTH}
    return {**found, "adapter": {**_adapter(adapter), **moved}}


def each_target(entry: TaskEntry) -> Iterator[TaskEntry]:
    """Yields an entry, or where it has a list of targets, one for each: `reviews-stars` and so on.

    Raises:
        UsageError: The targets are no columns, or a column makes no name.
    """
    targets = entry.options.get("target")
    if targets is None or isinstance(targets, str):
        yield entry
        return
    columns = tuple(targets) if isinstance(targets, Iterable) else ()
    if not columns or not all(isinstance(column, str) for column in columns):
        raise UsageError(f"Option target is {targets!r}; expected a column, or a list of columns.")
    if takes_several(entry.options.get("kind")):
        yield replace(entry, options={**entry.options, "target": ",".join(columns)})
        return
    for column in columns:
        yield replace(
            entry,
            name=f"{entry.name}-{_name_part(column)}",
            options={**entry.options, "target": column},
            other_targets=tuple(other for other in columns if other != column),
        )


def takes_several(kind: object) -> bool:
    """Returns whether several columns of targets are of one task of a kind."""
    row = next((row for name, row in KINDS.items() if name == kind), None)
    return row is not None and row.names_numbers


def _name_part(column: str) -> str:
    """Returns what a column adds to the name of a task."""
    part = _NO_NAME_CHARACTERS.sub("-", column.strip().lower()).strip("-")
    if not part:
        raise UsageError(
            f"The column {column!r} makes no name of a task, which has a-z, 0-9, '-' and '_' only. "
            f"List the tasks, each with a name and a target."
        )
    return part


def check_entries(entries: Sequence[TaskEntry]) -> None:
    """Checks that there are tasks, and that each has a name of its own.

    Raises:
        UsageError: It is not so.
    """
    if not entries:
        raise UsageError("There is no task to train; list at least one.")
    seen: set[str] = set()
    for entry in entries:
        with entry.named_in_errors():
            check_name(entry.name, "task")
            if entry.name in seen:
                raise UsageError(
                    "Another task of this run has the same name; each needs a name of its own."
                )
        seen.add(entry.name)
