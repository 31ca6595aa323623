"""The labelled rows of each task, read and checked before torch is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapterhub.errors import UsageError, nearest
from adapterhub.option_models import parse_options
from adapterhub.specs import TaskSpec
from adapterhub.training.data.dataset import Dataset, read_for_task
from adapterhub.training.evaluation.earlier_use import earlier_use
from adapterhub.training.evaluation.extra import require_extra
from adapterhub.training.options import TrainingOptions

COLUMN_OPTIONS = ("text", "pair", "target", "tokens", "heads", "join_tokens")
"""The options of training that say how labelled rows are read."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTask:
    """A task with rows to measure it on.

    Attributes:
        name: The task, as the caller named it.
        spec: The task.
        dataset: The rows, with its labels.
        earlier_use: Which of the rows trained, chose or calibrated it; None where none are known
            to.
    """

    name: str
    spec: TaskSpec
    dataset: Dataset
    earlier_use: str | None


def column_options(options: Mapping[str, object]) -> TrainingOptions:
    """Returns the options by which labelled rows are read.

    Args:
        options: Some of COLUMN_OPTIONS.

    Raises:
        UsageError: There is no such option, or its value is not valid.
    """
    for name in options:
        if name not in COLUMN_OPTIONS:
            hint = nearest(name, COLUMN_OPTIONS)
            meant = f" Did you mean '{hint}'?" if hint else ""
            expected = ", ".join(COLUMN_OPTIONS)
            raise UsageError(f"Option {name}: there is no such option, but {expected}.{meant}")
    return parse_options(TrainingOptions, options)


def read_labelled(
    data: object, specs: Mapping[str, TaskSpec], columns: TrainingOptions
) -> tuple[LabelledTask, ...]:
    """Returns all rows of a data set for each of some tasks.

    Args:
        data: A file, a table, or rows, as `train` takes them.
        specs: The tasks by the names of the caller.
        columns: How to read the rows.

    Raises:
        DataError: The data cannot be read, or hold labels that a task does not have.
        UsageError: The data are of another kind than a task.
        MissingExtraError: scikit-learn, SciPy or seqeval is not installed.
    """
    require_extra()
    read = {name: read_for_task(data, spec, columns) for name, spec in specs.items()}
    return tuple(
        LabelledTask(name, specs[name], rows, earlier_use(data, rows, specs[name], columns))
        for name, rows in read.items()
    )
