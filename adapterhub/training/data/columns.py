"""Which columns are read, and the kind of task that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from adapterhub.errors import UsageError
from adapterhub.specs import Kind
from adapterhub.store.jsonsafe import shown
from adapterhub.training.data.records import Records, is_list
from adapterhub.training.options import TrainingOptions

# Scoring reads these fields whatever the columns of a training file are called, so that all
# tasks on one text share one pass.
TEXT = "text"
TEXT_PAIR = "text_pair"
_ROLES = "the text (or tokens), its pair, the target"


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read from each record.

    Attributes:
        kind: Kind of the task.
        inputs: The text column, or two for a pair; for tagging the column of words.
        target: The column of the target.
        labels: Those of an existing task, in its order; empty for a new one.
    """

    kind: Kind
    inputs: tuple[str, ...]
    target: str
    labels: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """Returns the input fields of the task in scoring."""
        return (TEXT,) if len(self.inputs) == 1 else (TEXT, TEXT_PAIR)


def find_columns(records: Records, options: TrainingOptions) -> Columns:
    """Returns which columns to read, by the options, the names, and the first row's target.

    Raises:
        DataError: A column is missing.
        UsageError: The kind cannot be determined, or the options do not fit it.
    """
    kind, target = _find_target(records, options)
    if kind == "tagging":
        inputs: tuple[str, ...] = (options.tokens,)
    elif options.pair is not None:
        inputs = (options.text, options.pair)
    else:
        # Of any row: without it in the first one, the second text of all others would be ignored.
        is_pair = any(TEXT_PAIR in record.values for record in records.rows)
        inputs = (options.text, TEXT_PAIR) if is_pair else (options.text,)
    if options.value_range is not None and kind != "regression":
        raise UsageError(f"Option value_range is for regression, but the data make a {kind} task.")
    used = (*inputs, target)
    for column in used:
        records.value(records.rows[0], column)
        if used.count(column) > 1:
            raise UsageError(f"Column '{column}' would be read as two things of: {_ROLES}.")
    return Columns(kind, inputs, target)


def _find_target(records: Records, options: TrainingOptions) -> tuple[Kind, str]:
    names = records.columns
    usual: dict[str, Kind] = {
        "label": "single_label",
        "labels": "multi_label",
        "score": "regression",
        "tags": "tagging",
    }
    target = options.target
    if target is None:
        found = [name for name in usual if name in names and _fits(usual[name], options)]
        if options.tokens in names and "tags" in names and options.kind in (None, "tagging"):
            found = ["tags"]
        if not found:
            wanted = next((n for n, kind in usual.items() if kind == options.kind), None)
            expected = f"'{wanted}'" if wanted else "'label', 'labels', 'score' or 'tags'"
            records.refuse(
                f"there is no target column {expected}; columns are {', '.join(names[:8])}. "
                f"Name it with the option target."
            )
        target = found[0]
    if options.kind is not None:
        return options.kind, target
    records.value(records.rows[0], target)
    values = (record.values.get(target) for record in records.rows)
    value = next((value for value in values if value is not None), None)
    return _kind_of(value, target, usual, tagged=options.tokens in names), target


def _fits(kind: Kind, options: TrainingOptions) -> bool:
    if options.kind in (None, kind):
        return True
    # Integers may be labels or values, whatever their column's name suggests.
    return {options.kind, kind} <= {"single_label", "regression"}


def _kind_of(value: object, target: str, usual: dict[str, Kind], *, tagged: bool) -> Kind:
    if is_list(value) or isinstance(value, Mapping):
        return "tagging" if tagged else "multi_label"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return "regression"
    if isinstance(value, str | Integral):
        kind = usual.get(target, "single_label")
        return "single_label" if kind == "tagging" else kind
    raise UsageError(
        f"The kind of task cannot be determined from {shown(value)} in column '{target}'; "
        f"set the option kind."
    )
