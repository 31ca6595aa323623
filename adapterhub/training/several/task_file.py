"""Files that list tasks to train: options for all, then a list with a name and options each.

    data: reviews.jsonl
    max_rows: 5000
    tasks:
      - name: stars
        target: stars
      - name: spam
        data: messages.csv
        adapter: {method: lora, rank: 4}

Values are those of `TrainingOptions` in Python, also in the form of the command line: `en,zh` for a
list, `500MB` for a size. Paths are relative to the folder of the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from adapterhub.errors import DataError, RegistryError, UsageError
from adapterhub.option_models import Option, Options, option_of
from adapterhub.store.atomic import reason
from adapterhub.store.references import check_name
from adapterhub.store.yamlsafe import Document, read_yaml
from adapterhub.store.yamlsafe import Place as KeyPath
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.options import TrainingOptions
from adapterhub.training.several.entries import Place, TaskEntry, Values, layered, overruled

SUFFIXES = (".yaml", ".yml")
"""Endings of the names of such files."""

_PATHS = ("data", "validation", "test", "mentions", "parents", "cache_dir", "registry")
_REFERENCES = ("backbone", "adapter_of", "continue_from")
"""Names of tasks and backbones, or paths that begin with `.`."""
_OF_THE_RUN = ("registry", "backbone")


@dataclass(frozen=True, slots=True, eq=False)
class TaskFile:
    """What a file says.

    Attributes:
        entries: The tasks that it lists.
        registry: The registry that gets them, if it names one.
        backbone: The backbone of all of them, if it names one.
    """

    entries: tuple[TaskEntry, ...]
    registry: Path | None = None
    backbone: str | None = None


def is_task_file(data: object) -> bool:
    """Returns whether data is the name of a file that lists tasks."""
    return isinstance(data, str | Path) and Path(data).suffix.lower() in SUFFIXES


def read_task_file(path: Path, *, data: object = None, options: Values) -> TaskFile:
    """Returns the tasks of a file.

    Args:
        path: The file.
        data: The rows of tasks that give none.
        options: Options of the call, which overrule those of the file.

    Raises:
        DataError: It cannot be read, or lists no tasks; names the line.
        UsageError: An option is not written as the command line takes it.
    """
    path = Path(os.path.expanduser(path))
    reader = _Reader(path, _read(path))
    common, listed = reader.parts()
    values = reader.values(common, ())
    run = {name: values.pop(name) for name in _OF_THE_RUN if values.get(name) is not None}
    for name, value in run.items():
        if not isinstance(value, str):
            reader.refuse(f"{name} is {value!r}; expected one for all tasks", (name,))
    rows = values.pop("data", None) if data is None else data
    lines = {} if isinstance(reader.document.value, list) else reader.lines(())
    entries = []
    for place, name, own in reader.named(listed):
        merged = overruled(layered(values, reader.values(own, place)), options)
        own_rows = merged.pop("data", rows)
        entries.append(TaskEntry(name, own_rows, merged, reader.place(place, lines)))
    registry, backbone = run.get("registry"), run.get("backbone")
    return TaskFile(
        tuple(entries),
        None if registry is None else Path(str(registry)),
        None if backbone is None else str(backbone),
    )


def _read(path: Path) -> Document:
    try:
        return read_yaml(path.read_bytes(), path)
    except OSError as error:
        raise DataError(path, f"it cannot be read: {reason(error)}") from error
    except RegistryError as error:
        raise DataError(path, error.problem, error.line) from error


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the parts of one file.

    Attributes:
        path: The file.
        document: Its content.
    """

    path: Path
    document: Document

    def refuse(self, problem: str, place: KeyPath = ()) -> NoReturn:
        """Raises an error with the line of a key.

        Raises:
            DataError: Always.
        """
        raise DataError(self.path, problem, self.document.line(place))

    def parts(self) -> tuple[Values, object]:
        """Returns the options for all tasks, and the list of tasks.

        Raises:
            DataError: It has another form.
        """
        content = self.document.value
        if isinstance(content, list):
            return {}, content
        if not isinstance(content, dict) or "tasks" not in content:
            self.refuse(
                "it lists no tasks; expected `tasks:` and below it a list, each with a name"
            )
        common = {str(key): value for key, value in content.items() if key != "tasks"}
        if "name" in common:
            self.refuse("`name` belongs to one task of the list", ("name",))
        return common, content["tasks"]

    def named(self, listed: object) -> Iterator[tuple[KeyPath, str, Values]]:
        """Yields where each task stands, its name and its options.

        Raises:
            DataError: A task has no name, or is no mapping.
        """
        top: KeyPath = () if isinstance(self.document.value, list) else ("tasks",)
        if isinstance(listed, dict):
            for key, own in listed.items():
                yield self._checked((*top, key), key, {} if own is None else own)
        elif isinstance(listed, list):
            for number, own in enumerate(listed):
                place = (*top, number)
                if not isinstance(own, dict) or "name" not in own:
                    at = (*place, next(iter(own), "")) if isinstance(own, dict) else place
                    self.refuse(f"task {number + 1} of the list has no `name`", at)
                rest = {key: value for key, value in own.items() if key != "name"}
                yield self._checked(place, own["name"], rest)
        else:
            self.refuse("`tasks` is no list; expected a list of tasks, each with a name", top)

    def _checked(self, place: KeyPath, name: object, own: object) -> tuple[KeyPath, str, Values]:
        at = (*place, "name")
        if not isinstance(own, dict):
            self.refuse(f"task {name!r} has no options, but {own!r}; expected `option: value`", at)
        # A name such as 2024 is a number to YAML.
        text = str(name) if isinstance(name, int) and not isinstance(name, bool) else name
        try:
            check_name(text, "task")  # type: ignore[arg-type]  # it checks the type too
        except UsageError as error:
            self.refuse(str(error), at)
        options = {str(key): value for key, value in dict(own).items()}
        for key in _OF_THE_RUN:
            if key in options:
                self.refuse(f"`{key}` is one for all tasks; write it above the list", (*place, key))
        return place, str(text), options

    def place(self, place: KeyPath, common: Mapping[str, int]) -> Place:
        """Returns where one task stands, and its options; those of all tasks stand in `common`."""
        own = self.lines(place)
        line = min(own.values()) if own else self.document.line(place)
        return Place(str(self.path), line, {**common, **own})

    def lines(self, place: KeyPath) -> dict[str, int]:
        """Returns the lines of what stands within some place."""
        size = len(place)
        return {
            ".".join(map(str, key[size:])): line
            for key, line in self.document.lines.items()
            if key[:size] == place and len(key) > size
        }

    def values(self, options: Values, place: KeyPath) -> dict[str, object]:
        """Returns the options at some place as Python takes them.

        Raises:
            UsageError: One is not written as the command line takes it.
        """
        named = options.items()
        return dict(self._value(TrainingOptions, name, value, place) for name, value in named)

    def _value(
        self, model: type[Options], name: str, value: object, place: KeyPath
    ) -> tuple[str, object]:
        at = (*place, name)
        if name == "adapter" and isinstance(value, dict):
            own = value.items()
            return name, dict(self._value(AdapterOptions, str(k), one, at) for k, one in own)
        field = model.model_fields.get(name)
        if field is None and (meant := _meant(name, model)):
            self._refuse_option(f"{name} is no option here; write {meant}", at)
        mark = Option() if field is None else option_of(field)
        if isinstance(value, str):
            value = self._path(name, value)
            if mark.read is not None:
                return name, self._read(mark, name, str(value), at)
        if mark.several is not None and isinstance(value, str) and "," in value:
            value = _parts(value)
        if mark.several is not None and isinstance(value, list):
            return mark.several, value
        if field is not None and _is_list(field) and isinstance(value, str | int | float):
            return name, _parts(value) if not mark.repeated else [value]
        return name, value

    def _read(self, mark: Option, name: str, text: str, place: KeyPath) -> object:
        """Returns what the text of an option stands for, as on the command line.

        Raises:
            UsageError: It is not written so.
        """
        assert mark.read is not None
        try:
            return mark.read(text)
        except (ValueError, UsageError) as error:
            expected = f"; expected {mark.expected}" if mark.expected else f": {error}"
            self._refuse_option(f"Option {name} is '{text}'{expected}", place)

    def _refuse_option(self, problem: str, place: KeyPath) -> NoReturn:
        raise UsageError(f"{self.path}, line {self.document.line(place)}: {problem}.")

    def _path(self, name: str, value: str) -> str:
        """Returns a path relative to the folder of the file; anything else unchanged."""
        if name in _REFERENCES and value.startswith("."):
            return str((self.path.parent / value).absolute())
        return str(self.path.parent / os.path.expanduser(value)) if name in _PATHS else value


def _meant(name: str, model: type[Options]) -> str:
    """Returns what stands for an unknown option that the command line has; empty where it has none.

    The names there are sometimes longer, and those of adapters stand beside the others.
    """
    flag = f"--{name.replace('_', '-')}"
    for known, field in model.model_fields.items():
        if flag in option_of(field).flags:
            return f"`{known}`"
    is_of_adapter = model is TrainingOptions and name in AdapterOptions.model_fields
    return f"`adapter: {{{name}: …}}`" if is_of_adapter else ""


def _parts(value: object) -> list[str]:
    """Returns the parts of a list that is written as `a,b`."""
    return [part for text in str(value).split(",") if (part := text.strip())]


def _is_list(field: FieldInfo) -> bool:
    """Returns whether an option is a list."""
    kinds = (field.annotation, *get_args(field.annotation))
    return any(get_origin(kind) is tuple for kind in kinds)
