"""Which rows are for training, which for validation, and which for the test."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

from adapterhub.kinds import KINDS, Kind
from adapterhub.rows.reading import SourceRow
from adapterhub.tags import OUTSIDE
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.kinds.reader import Example
from adapterhub.training.data.kinds.table import parse_records
from adapterhub.training.data.labels import is_label
from adapterhub.training.data.records import PARTS, Records
from adapterhub.training.data.tagging import TaggedWords
from adapterhub.training.data.values import NamedNumber
from adapterhub.training.data.words.trees import ParsedWords
from adapterhub.training.options import (
    FEWEST_HELD_OUT,
    HELD_OUT,
    PLENTY_HELD_OUT,
    TEST_FRACTION,
    TrainingOptions,
)

Inputs = tuple[str, ...]

_LEFT_OUT = ("", None)


@dataclass(frozen=True, slots=True)
class Parts:
    """The examples of both parts, in the order of their source.

    Attributes:
        train: For training.
        validation: For choosing and calibrating.
        test: For measuring, with targets; may be empty.
        notes: What was left out of the test set, and why.
        outside: Inputs of rows that belong to none of the labels, by what they are for: choosing
            a minimum of confidence, and measuring it.
    """

    train: list[Example]
    validation: list[Example]
    test: Sequence[Example] = ()
    notes: tuple[str, ...] = ()
    outside: tuple[tuple[Inputs, ...], tuple[Inputs, ...]] = ((), ())

    def without(self, label: str | None) -> Parts:
        """Returns the parts without the rows of a label that means none of the others.

        No head is fitted on these, so that training rows choose by them as validation rows do.
        """
        if label is None:
            return self
        train, validation, test = (
            in_scope(one, label) for one in (self.train, self.validation, self.test)
        )
        choosing = tuple(dict.fromkeys((*train[1], *validation[1])))
        return replace(
            self,
            train=train[0],
            validation=validation[0],
            test=test[0],
            outside=(choosing, test[1]),
        )


def in_scope(
    examples: Sequence[Example], label: str | None
) -> tuple[list[Example], tuple[Inputs, ...]]:
    """Returns the examples without those of `label`, and the inputs of these, each once."""
    outside = dict.fromkeys(one.inputs for one in examples if is_label(one.truth, label))
    return [one for one in examples if not is_label(one.truth, label)], tuple(outside)


def split_records(
    records: Records,
    columns: Columns,
    options: TrainingOptions,
    parse: Callable[[Records, Columns], list[Example]] = parse_records,
) -> Parts:
    """Returns the parts that a split column names, or else parts drawn by the seed.

    Args:
        records: The rows.
        columns: Which columns are read.
        options: How to split.
        parse: Makes examples of rows.

    Raises:
        DataError: A value is not what it must be, or the split column names another part.
    """
    if options.split_column is None:
        return _split_by_seed(parse(records, columns), options)
    rows: dict[str, list[SourceRow]] = {"train": [], "validation": [], "test": []}
    for record in records.rows:
        value = records.value(record, options.split_column)
        part = value.strip().lower() if isinstance(value, str) else value
        if part in _LEFT_OUT:
            continue
        name = next((name for name, known in PARTS.items() if part in known), None)
        if name is None:
            records.refuse(
                f"column '{options.split_column}' is {value!r:.40}; expected 'train', "
                f"'validation' or 'test'",
                record,
            )
        rows[name].append(record)
    for name in ("train", "validation"):
        if not rows[name]:
            records.refuse(f"column '{options.split_column}' marks no rows as '{name}'")
    test = [] if options.test is not None else rows["test"]
    answered = test
    if columns.target:
        answered = [record for record in test if _has_target(record.values.get(columns.target))]
    count = len(rows["train"]), len(rows["validation"])
    # Together, so that all parts read tags in the same form.
    every = (*rows["train"], *rows["validation"], *answered)
    examples = parse(replace(records, rows=every), columns)
    if not columns.target:
        return Parts(examples[: count[0]], examples[count[0] : sum(count)], examples[sum(count) :])
    held_out, notes = _told_apart(examples[sum(count) :], len(test))
    return Parts(examples[: count[0]], examples[count[0] : sum(count)], held_out, notes)


def _has_target(value: object) -> bool:
    if isinstance(value, Mapping):  # the columns of several numbers
        return any(map(_has_target, value.values()))
    is_nan = isinstance(value, float) and value != value
    return value is not None and not is_nan and not (isinstance(value, str) and not value.strip())


def _told_apart(test: Sequence[Example], marked: int) -> tuple[Sequence[Example], tuple[str, ...]]:
    """Returns the rows marked as test that have targets, and notes on the others.

    Public test sets often have the same stand-in, such as -1, in the place of every target.
    """
    truths: set[object] = {
        one.truth if isinstance(one.truth, float) or _is_compared(one) else _names(one)
        for one in test
    }
    if any(isinstance(one.truth, TaggedWords | ParsedWords) and _names(one) for one in test):
        truths.add("entities")  # Which types a text has may well be the same everywhere.
    if marked and len(truths) < 2:
        why = "all the same target" if test else "no targets"
        return (), (f"The {marked:,} rows marked as test are left out: they have {why}.",)
    if len(test) < marked:
        return test, (f"{marked - len(test):,} of {marked:,} test rows have no target.",)
    return test, ()


def _is_compared(example: Example) -> bool:
    """Returns whether targets differ in more than names: answers or numbers."""
    truth = example.truth
    return isinstance(truth, tuple) and any(
        isinstance(part, AnswerSpan | NamedNumber) for part in truth
    )


def draw_test(held_out: Sequence[Example], options: TrainingOptions) -> tuple[list[int], list[int]]:
    """Returns the indices of held-out rows for validation, and of those for the test.

    They are drawn by the seed; equal inputs stay together and labels are spread evenly.
    """
    fraction = options.test_fraction
    if fraction is None:
        fraction = TEST_FRACTION if len(held_out) >= PLENTY_HELD_OUT else 0.0
    draw = random.Random(options.seed)
    drawn: set[int] = set()
    due = 0.0
    for groups in _strata(held_out) if fraction else ():
        draw.shuffle(groups)
        for same in groups:
            # By rows, so that a text that occurs often does not fill one part.
            due += fraction * len(same)
            if due >= 0.5 * len(same):
                due -= len(same)
                drawn.update(same)
    return [row for row in range(len(held_out)) if row not in drawn], sorted(drawn)


def holds_out(options: TrainingOptions) -> bool:
    """Returns whether the options hold rows out for validation, or name such rows."""
    given: list[object] = [options.validation, options.split_column, options.validation_fraction]
    given.append(options.test_fraction or None)
    return any(one is not None for one in given)


def halves(outside: Sequence[Inputs], seed: int) -> tuple[tuple[Inputs, ...], tuple[Inputs, ...]]:
    """Returns two halves of rows out of scope, drawn by the seed; the first may have one more."""
    order = random.Random(seed).sample(range(len(outside)), len(outside))
    half = (len(outside) + 1) // 2
    first, second = (sorted(part) for part in (order[:half], order[half:]))
    return tuple(outside[row] for row in first), tuple(outside[row] for row in second)


def are_crossed(rows: int, kind: Kind, options: TrainingOptions) -> bool:
    """Returns whether a number of rows is too few to hold some out.

    With adapters rows are always held out: each fold would be a training of its own. So they are
    with mentions, which only training rows get, and for parsing, where a fold takes minutes.
    """
    if KINDS[kind].prototypes:
        # Leaving one out costs nothing, so it is done whatever their number.
        return not holds_out(options)
    held_out = options.adapter is not None or options.adapter_of is not None
    held_out = held_out or bool(options.mentions) or not KINDS[kind].cross_validated
    if held_out or options.folds == 0 or holds_out(options):
        return False
    return HELD_OUT * min(rows, options.max_rows or rows) < FEWEST_HELD_OUT


# Not by scikit-learn's StratifiedGroupKFold: it gives 1/n of the rows and no other fraction, does
# not keep a label's only example in training, refuses n folds where every label has fewer examples
# than n, and takes half a minute for 50,000 rows.


def draw_folds(examples: Sequence[Example], options: TrainingOptions) -> tuple[int, ...]:
    """Returns the fold of each example, drawn by the seed.

    Equal inputs are in one fold, labels are spread evenly, and every fold has examples.
    """
    strata = _strata(examples)
    draw = random.Random(options.seed)
    groups = [same for stratum in strata for same in draw.sample(stratum, len(stratum))]
    count = min(options.folds, len(groups))
    folds = [0] * len(examples)
    for number, same in enumerate(groups):
        for index in same:
            folds[index] = number % count
    return tuple(folds)


def _split_by_seed(examples: list[Example], options: TrainingOptions) -> Parts:
    """Returns parts in which equal inputs stay together and labels are spread evenly.

    The first input of each label is kept for training, and so is any that alone has one of its
    labels, so that no label is only in validation.
    """
    fraction = options.validation_fraction or HELD_OUT
    draw = random.Random(options.seed)
    drawn: list[list[int]] = []
    due = 0.0
    for groups in _strata(examples):
        draw.shuffle(groups)
        due += fraction
        for same in groups[1:]:
            due += fraction
            if due >= 1:
                due -= 1
                drawn.append(same)
    held_out = _without_only_ones(drawn, examples)
    return Parts(
        [example for index, example in enumerate(examples) if index not in held_out],
        [example for index, example in enumerate(examples) if index in held_out],
    )


def _without_only_ones(drawn: list[list[int]], examples: Sequence[Example]) -> set[int]:
    """Returns the examples of drawn groups, but of those that alone have one of their labels."""
    held_out = {index for same in drawn for index in same}
    names = [_names(example) for example in examples]
    known = {name for index, own in enumerate(names) if index not in held_out for name in own}
    for same in drawn:
        own = {name for index in same for name in names[index]}
        if not own <= known:
            held_out.difference_update(same)
            known |= own
    return held_out


def _strata(examples: Sequence[Example]) -> list[list[list[int]]]:
    """Returns per label, in order, the indices of its examples; those of equal inputs together."""
    rows: dict[object, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        rows[_likeness(example)].append(index)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for same in rows.values():
        by_label[_stratum(examples[same[0]])].append(same)
    return [groups for _, groups in sorted(by_label.items())]


def _stratum(example: Example) -> str:
    truth = example.truth
    if isinstance(truth, TaggedWords):
        return min((tag for tag in truth.tags if tag != OUTSIDE), default=OUTSIDE)
    if isinstance(truth, ParsedWords):
        return ""  # Nearly all sentences have the same relations.
    return min(_names(example), default="")


def shared_rows(train: Iterable[Inputs], held_out: Iterable[Inputs]) -> int:
    """Returns how many held-out rows an encoder may hardly tell apart from a training row."""
    known = set(map(_folded_inputs, train))
    return sum(_folded_inputs(row) in known for row in held_out)


def text_groups(inputs: Iterable[Inputs]) -> tuple[int, ...]:
    """Returns a number for each row, the same for those that `shared_rows` does not tell apart."""
    numbers: dict[Inputs, int] = {}
    return tuple(numbers.setdefault(_folded_inputs(row), len(numbers)) for row in inputs)


def _likeness(example: Example) -> object:
    """Returns what is equal for inputs that an encoder may hardly tell apart."""
    truth = example.truth
    if example.group:
        return _folded(example.group)
    if isinstance(truth, TaggedWords | ParsedWords):
        return "".join(map(_folded, truth.words)).replace(" ", "")
    return _folded_inputs(example.inputs)


def _folded_inputs(inputs: Inputs) -> Inputs:
    """Returns what is equal for texts that differ in case, spaces or the form of characters only.

    Pairs the other way round are equal too.
    """
    return tuple(sorted(map(_folded, inputs)))


def _folded(text: str) -> str:
    return " ".join(normalize("NFKC", text).casefold().split())


def _names(example: Example) -> frozenset[str]:
    """Returns the labels of an example: of tagged words entity types, of trees relations."""
    truth = example.truth
    if isinstance(truth, ParsedWords):
        return frozenset(truth.relations)
    if isinstance(truth, TaggedWords):
        return frozenset(tag.partition("-")[2] for tag in truth.tags) - {""}
    if isinstance(truth, str):
        return frozenset({truth})
    parts = truth if isinstance(truth, tuple) else ()
    names = (part.name if isinstance(part, NamedNumber) else part for part in parts)
    return frozenset(name for name in names if isinstance(name, str))


def draw_rows(rows: int, options: TrainingOptions) -> Sequence[int]:
    """Returns the indices of `max_rows` of `rows` rows at most, ascending, drawn by the seed."""
    if options.max_rows is None or rows <= options.max_rows:
        return range(rows)
    return sorted(random.Random(options.seed).sample(range(rows), options.max_rows))
