"""Data sets: rows with targets, split into training and validation set, and warnings about them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from adapterhub.errors import DataError, nearest
from adapterhub.specs import Kind, TaskSpec
from adapterhub.tags import entity_types
from adapterhub.training.data.columns import Columns, find_columns
from adapterhub.training.data.labels import (
    Target,
    find_labels,
    names_of,
    own_names,
    renamed,
    whole_numbers,
)
from adapterhub.training.data.list_columns import read_lists
from adapterhub.training.data.mentions import rows_with_mentions
from adapterhub.training.data.parsing import Example, parse_records
from adapterhub.training.data.records import Records, read_records
from adapterhub.training.data.splits import (
    Parts,
    are_crossed,
    draw_folds,
    draw_rows,
    shared_rows,
    split_records,
)
from adapterhub.training.data.tagging import Span, TaggedWords, are_characters, join_words
from adapterhub.training.options import FEWEST_HELD_OUT, Joining, TrainingOptions

_FEWEST_ROWS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows with targets.

    Attributes:
        name: Name of the data set.
        kind: Kind of its task.
        fields: Input fields of its task.
        inputs: One string per field and row.
        targets: Per row a label, labels, a number, or entity spans.
        labels: Label names in the order of a head's outputs; empty for regression.
    """

    name: str
    kind: Kind
    fields: tuple[str, ...]
    inputs: tuple[tuple[str, ...], ...]
    targets: tuple[Target, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        """Returns the number N of rows."""
        return len(self.inputs)

    def digest(self) -> str:
        """Returns the sha256 of inputs and targets in order, as lines of canonical JSON."""
        digest = hashlib.sha256()
        for texts, target in zip(self.inputs, self.targets, strict=True):
            line = json.dumps([texts, _plain(target)], ensure_ascii=False, separators=(",", ":"))
            digest.update(line.encode() + b"\n")
        return digest.hexdigest()

    def take(self, rows: Sequence[int]) -> Dataset:
        """Returns some of the rows."""
        return replace(
            self,
            inputs=tuple(self.inputs[row] for row in rows),
            targets=tuple(self.targets[row] for row in rows),
        )

    def spans(self) -> tuple[tuple[Span, ...], ...]:
        """Returns the entities of each row of a tagging set."""
        return cast("tuple[tuple[Span, ...], ...]", self.targets)

    def truth(self) -> npt.NDArray[np.float32] | npt.NDArray[np.int64]:
        """Returns the targets as numbers, except for tagging.

        (N,) int64 label indices, (N, K) float32 zeros and ones for multi-label, or (N,)
        float32 values for regression.
        """
        index = {label: place for place, label in enumerate(self.labels)}
        if self.kind == "single_label":
            return np.array([index[cast("str", target)] for target in self.targets], np.int64)
        if self.kind == "regression":
            return np.array(self.targets, np.float32)
        matrix = np.zeros((len(self), len(self.labels)), np.float32)
        for row, target in enumerate(self.targets):
            matrix[row, [index[label] for label in cast("tuple[str, ...]", target)]] = 1
        return matrix


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Training and validation set.

    Attributes:
        train: The training rows.
        validation: The validation rows, with the same labels; in cross-validation the training
            rows.
        folds: The fold of each row in cross-validation, else empty.
    """

    train: Dataset
    validation: Dataset
    folds: tuple[int, ...] = ()

    def keep(self, rows: Sequence[int]) -> Splits:
        """Returns the splits with some of the training rows only."""
        train = self.train.take(rows)
        if not self.folds:
            return replace(self, train=train)
        return Splits(train, train, tuple(self.folds[row] for row in rows))

    @property
    def measured_on(self) -> str:
        """Returns the name of the split in metrics."""
        return "cross-validation" if self.folds else "validation"


def read_splits(data: object, options: TrainingOptions) -> Splits:
    """Returns the training and validation rows of a data set.

    Args:
        data: A file, a table, or rows; see `records.read_records`.
        options: Columns, split and seed.

    Raises:
        DataError: The data cannot be read or used; names file and line.
        UsageError: The options do not fit the data.
    """
    records = read_lists(read_records(data), options)
    columns = find_columns(records, options)
    name = options.dataset or records.name
    if are_crossed(len(records.rows), options):
        return _crossed(records, columns, options)
    if options.validation is not None:
        other = read_lists(read_records(options.validation), options)
        parts = Parts(parse_records(records, columns), parse_records(other, columns))
    else:
        other = records
        parts = split_records(records, columns, options)
    joining = _joining([*parts.train, *parts.validation], options.join_tokens)
    whole = Dataset(name, columns.kind, columns.fields, (), (), ())
    train, validation = (_fill(whole, part, joining) for part in (parts.train, parts.validation))
    train = _with_names(train, whole_numbers(_names(train)))
    labels = find_labels(columns.kind, train.targets, records)
    validation = _with_names(validation, own_names(_names(validation), _named(labels, train.kind)))
    if options.skip_unseen and labels:
        validation = _without_unseen(validation, labels)
    _check_rows(train, validation, source=records.source, other=other.source)
    if labels:
        owner = "the training rows (skip_unseen leaves such rows out)"
        _refuse_unknown(validation, labels, source=other.source, owner=owner)
    # Labels are those of all rows: max_rows must not decide which labels a task has.
    kept = replace(train.take(draw_rows(len(train), options)), labels=labels)
    if options.mentions:
        types = entity_types(labels) if kept.kind == "tagging" else ()
        inputs, targets = rows_with_mentions(kept.inputs, kept.spans(), types, options)
        kept = replace(kept, inputs=kept.inputs + inputs, targets=kept.targets + targets)
    return Splits(
        kept,
        replace(validation.take(draw_rows(len(validation), options)), labels=labels),
    )


def _crossed(records: Records, columns: Columns, options: TrainingOptions) -> Splits:
    """Returns all rows as training and validation rows of cross-validation."""
    examples = parse_records(records, columns)
    name = options.dataset or records.name
    empty = Dataset(name, columns.kind, columns.fields, (), (), ())
    whole = _fill(empty, examples, _joining(examples, options.join_tokens))
    _check_fewest(len(whole), records.source)
    rows = draw_rows(len(whole), options)
    folds = draw_folds([examples[row] for row in rows], options)
    if max(folds) == 0:
        records.refuse("all rows have the same text; nothing can be learned")
    whole = _with_names(whole, whole_numbers(_names(whole)))
    labels = find_labels(columns.kind, whole.targets, records)
    dataset = replace(whole.take(rows), labels=labels)
    return Splits(dataset, dataset, folds)


def read_for_task(data: object, spec: TaskSpec, options: TrainingOptions) -> Dataset:
    """Returns all rows of a data set with the labels of an existing task.

    Raises:
        DataError: The data cannot be read, or hold labels that the task does not have.
        UsageError: The data are of another kind than the task.
    """
    records = read_lists(read_records(data), options)
    columns = find_columns(records, options.model_copy(update={"kind": spec.kind}))
    if columns.fields != spec.fields:
        records.refuse(
            f"its rows have the fields {' and '.join(columns.fields)}, but task '{spec.task}' "
            f"reads {' and '.join(spec.fields)}"
        )
    examples = parse_records(records, replace(columns, labels=spec.labels))
    joining = _joining(examples, options.join_tokens)
    empty = Dataset(records.name, spec.kind, spec.fields, (), (), spec.labels)
    dataset = _fill(empty, examples, joining)
    dataset = _with_names(dataset, own_names(_names(dataset), _named(spec.labels, spec.kind)))
    if spec.kind != "regression":
        owner = f"task '{spec.task}'"
        _refuse_unknown(dataset, spec.labels, source=records.source, owner=owner)
    return dataset


def _joining(examples: Sequence[Example], joining: Joining) -> Joining:
    if joining != "auto":
        return joining
    words = (example.truth for example in examples)
    tagged = [truth for truth in words if isinstance(truth, TaggedWords)]
    return "none" if are_characters(tagged) else "auto"


def _fill(empty: Dataset, examples: Iterable[Example], joining: Joining) -> Dataset:
    rows = [_read_example(example, joining) for example in examples]
    return replace(
        empty, inputs=tuple(inputs for inputs, _ in rows), targets=tuple(row for _, row in rows)
    )


def _read_example(example: Example, joining: Joining) -> tuple[tuple[str, ...], Target]:
    if not isinstance(example.truth, TaggedWords):
        return example.inputs, example.truth
    spanned = join_words(example.truth, joining)
    return (spanned.text,), spanned.spans


def _plain(target: Target) -> object:
    """Returns a target in the form of JSON."""
    if not isinstance(target, tuple):
        return target
    return [[p.start, p.end, p.entity] if isinstance(p, Span) else p for p in target]


def _check_rows(train: Dataset, validation: Dataset, *, source: str, other: str) -> None:
    _check_fewest(len(train), source)
    if len(validation) < 2:
        raise DataError(other, f"there are {len(validation)} validation rows; 2 or more are needed")


def _check_fewest(rows: int, source: str) -> None:
    if rows < _FEWEST_ROWS:
        raise DataError(
            source, f"there are {rows} training rows; {_FEWEST_ROWS} or more are needed"
        )


def _names(dataset: Dataset) -> set[str]:
    """Returns the labels of all targets; for tagging the entity types."""
    return {name for target in dataset.targets for name in names_of(target)}


def _named(labels: tuple[str, ...], kind: Kind) -> tuple[str, ...]:
    """Returns the labels of a task as targets have them: for tagging the entity types."""
    return entity_types(labels) if kind == "tagging" else labels


def _with_names(dataset: Dataset, names: Mapping[str, str]) -> Dataset:
    if not names:
        return dataset
    return replace(dataset, targets=tuple(renamed(target, names) for target in dataset.targets))


def _without_unseen(validation: Dataset, labels: tuple[str, ...]) -> Dataset:
    known = set(_named(labels, validation.kind))
    targets = enumerate(validation.targets)
    return validation.take([row for row, t in targets if known.issuperset(names_of(t))])


def _refuse_unknown(dataset: Dataset, labels: tuple[str, ...], *, source: str, owner: str) -> None:
    named = _named(labels, dataset.kind)
    known = set(named)
    for row, target in enumerate(dataset.targets, start=1):
        for name in names_of(target):
            if name not in known:
                hint = nearest(name, named)
                raise DataError(
                    source,
                    f"row {row} of those read has the label '{name}', which {owner} do not "
                    f"have; labels are {', '.join(named[:8])}{', …' if len(named) > 8 else ''}"
                    f"{f'. Did you mean {hint!r}?' if hint else ''}",
                )


# Below this share metrics hardly change: many sets have short texts, such as greetings, in both.
_SHARED = 0.01


def split_notes(splits: Splits) -> Iterator[str]:
    """Yields warnings about the validation set: cross-validation, shared rows, few rows."""
    rows = len(splits.validation)
    if splits.folds:
        yield (
            f"Chosen by cross-validation with {max(splits.folds) + 1} folds: each of the {rows} "
            f"rows was predicted by heads fitted on the other folds. The final head is fitted "
            f"on all rows."
        )
    else:
        shared = shared_rows(splits.train.inputs, splits.validation.inputs)
        if shared >= max(1, rows * _SHARED):
            yield (
                f"{shared} of {rows} validation rows are also training rows (ignoring case, spaces "
                f"and the order of pairs), so the metrics are too optimistic."
            )
    if rows < FEWEST_HELD_OUT:
        yield (
            f"Few rows: the 95 % confidence interval of a metric on {rows} rows is about "
            f"±{two_standard_errors(rows):.0f} points; on 400 rows it is ±5, on 2,500 rows ±2."
        )


def two_standard_errors(rows: int) -> float:
    """Returns two standard errors, in points, of a rate on so many rows, at its maximum (0.5)."""
    return float(100 / rows**0.5)
