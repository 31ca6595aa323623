"""Which rows are for training and which for validation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.training.options import TrainingOptions
from adapterhub.training.parsing import Columns, Example, parse_records
from adapterhub.training.records import Records
from adapterhub.training.tagging import TaggedWords

_TRAIN = ("train", "training")
_VALIDATION = ("validation", "valid", "val", "dev")
_LEFT_OUT = ("test", "")


@dataclass(frozen=True, slots=True)
class Parts:
    """The examples of both parts, in the order of their source.

    Attributes:
        train: For training.
        validation: For choosing and calibrating.
    """

    train: list[Example]
    validation: list[Example]


def split_records(records: Records, columns: Columns, options: TrainingOptions) -> Parts:
    """Returns the parts that a split column names, or else parts drawn by the seed.

    Raises:
        DataError: A value is not what it must be, or the split column names another part.
    """
    if options.split_column is None:
        return _split_by_seed(parse_records(records, columns), options)
    rows: dict[bool, list[int]] = {True: [], False: []}
    for index, record in enumerate(records.rows):
        value = records.value(record, options.split_column)
        part = value.strip().lower() if isinstance(value, str) else value
        if part in _TRAIN or part in _VALIDATION:
            rows[part in _TRAIN].append(index)
        elif part not in _LEFT_OUT:
            records.refuse(
                f"column '{options.split_column}' is {value!r:.40}; expected 'train', "
                f"'validation' or 'test'",
                record,
            )
    for is_train, name in ((True, "train"), (False, "validation")):
        if not rows[is_train]:
            records.refuse(f"column '{options.split_column}' marks no rows as '{name}'")
    examples = parse_records(records, columns)
    return Parts(*([examples[index] for index in rows[part]] for part in (True, False)))


def _split_by_seed(examples: list[Example], options: TrainingOptions) -> Parts:
    """Returns parts in which equal inputs stay together and labels are spread evenly.

    The first input of each label is kept for training, so that no label is only in validation.
    """
    rows: dict[object, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        truth = example.truth
        rows[truth.words if isinstance(truth, TaggedWords) else example.inputs].append(index)
    by_label: dict[object, list[list[int]]] = defaultdict(list)
    for same in rows.values():
        by_label[_stratum(examples[same[0]])].append(same)
    draw = random.Random(options.seed)
    held_out: set[int] = set()
    due = 0.0
    for _, groups in sorted(by_label.items(), key=lambda item: str(item[0])):
        draw.shuffle(groups)
        due += options.validation_fraction
        for same in groups[1:]:
            due += options.validation_fraction
            if due >= 1:
                due -= 1
                held_out.update(same)
    return Parts(
        [example for index, example in enumerate(examples) if index not in held_out],
        [example for index, example in enumerate(examples) if index in held_out],
    )


def _stratum(example: Example) -> object:
    truth = example.truth
    if isinstance(truth, str):
        return truth
    if isinstance(truth, TaggedWords):
        return min((tag for tag in truth.tags if tag != "O"), default="O")
    return min(truth, default="") if isinstance(truth, tuple) else ""


def draw_rows(rows: int, options: TrainingOptions) -> Sequence[int]:
    """Returns the indices of `max_rows` of `rows` rows at most, ascending, drawn by the seed."""
    if options.max_rows is None or rows <= options.max_rows:
        return range(rows)
    return sorted(random.Random(options.seed).sample(range(rows), options.max_rows))
