"""Data sets: rows with targets, split into training and validation set, and warnings about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from adapterhub.choices.rows import choice_pairs
from adapterhub.errors import DataError
from adapterhub.kinds import KINDS, Kind, Role
from adapterhub.label_trees import Parents, inner_labels, leaves_below
from adapterhub.specs import TaskSpec
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.columns import Columns
from adapterhub.training.data.find_columns import find_columns
from adapterhub.training.data.kinds.reader import Example, Numbers
from adapterhub.training.data.kinds.table import READERS, find_all_labels, parse_records
from adapterhub.training.data.labels import (
    Target,
    check_outside,
    digest_of_rows,
    refuse_unknown,
    rows_with_known,
    with_own_names,
    with_whole_numbers,
)
from adapterhub.training.data.prototypes import examples as few_examples
from adapterhub.training.data.records import Records, read_lists, read_parts, read_records
from adapterhub.training.data.splits import (
    Parts,
    are_crossed,
    draw_folds,
    draw_rows,
    draw_test,
    halves,
    in_scope,
    split_records,
    text_groups,
)
from adapterhub.training.data.summary import LEFT_OUT, note_unread
from adapterhub.training.data.tagging import Span
from adapterhub.training.data.trained_columns import with_trained_columns
from adapterhub.training.data.words.joined import joined_rows, joining_of
from adapterhub.training.data.words.mentions import rows_with_mentions
from adapterhub.training.data.words.trees import Arc
from adapterhub.training.options import Joining, TrainingOptions, check_abstention


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows with targets.

    Attributes:
        name: Name of the data set.
        kind: Kind of its task.
        fields: Input fields of its task.
        inputs: One string per field and row; of choices each is one, of pairs that a task reads one
            by one both texts.
        targets: Per row a label, labels, a number or several, entity spans, the arcs of a tree,
            answers, or the place of a choice; how alike two texts are.
        labels: Label names in the order of a head's outputs; empty for kinds without labels.
        columns: Which columns were read; None for rows from elsewhere.
        outside: Inputs of rows that belong to none of the labels. Of validation rows they choose
            the minimum of confidence, of test rows they measure it.
        parents: The label above each, of labels in a tree, which are its leaves.
    """

    name: str
    kind: Kind
    fields: tuple[str, ...]
    inputs: tuple[tuple[str, ...], ...]
    targets: tuple[Target, ...]
    labels: tuple[str, ...]
    columns: Columns | None = None
    outside: tuple[tuple[str, ...], ...] = ()
    parents: Parents = field(default_factory=dict)

    def __len__(self) -> int:
        """Returns the number N of rows."""
        return len(self.inputs)

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the labels that rows may have: also those above others in a tree."""
        return (*self.labels, *inner_labels(self.parents))

    @property
    def roles(self) -> dict[Role, str]:
        """Returns the column that was read, by what it is; empty for rows from elsewhere."""
        return {} if self.columns is None else self.columns.roles

    @property
    def has_choices(self) -> bool:
        """Returns whether a row is a prompt with its choices."""
        return KINDS[self.kind].of_choices

    @property
    def items(self) -> Sequence[tuple[str, ...]]:
        """Returns what is encoded: the rows, each pair of a prompt and a choice, or each text."""
        return choice_pairs(self.inputs) if self.has_choices else self.scored

    @property
    def scored(self) -> tuple[tuple[str, ...], ...]:
        """Returns what the task reads: the rows, or of pairs each text by itself, 2 N of them."""
        if not KINDS[self.kind].of_vectors:
            return self.inputs
        return tuple((text,) for texts in self.inputs for text in texts)

    def digest(self) -> str:
        """Returns the sha256 of inputs and targets in order, as lines of canonical JSON."""
        return digest_of_rows(self.inputs, self.targets)

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

    def trees(self) -> tuple[tuple[Arc, ...], ...]:
        """Returns the words of each row of a parsing set, with their heads."""
        return cast("tuple[tuple[Arc, ...], ...]", self.targets)

    def answers(self) -> tuple[tuple[AnswerSpan, ...], ...]:
        """Returns the answers of each row of a set of questions; none where there is no answer."""
        return cast("tuple[tuple[AnswerSpan, ...], ...]", self.targets)

    def answer_texts(self) -> list[tuple[str, ...]]:
        """Returns the texts of the answers of each row of a set of questions."""
        rows = zip(self.inputs, self.answers(), strict=True)
        return [tuple(texts[1][one.start : one.end] for one in own) for texts, own in rows]

    def truth(self) -> Numbers:
        """Returns the targets as numbers, of kinds that have one per text.

        (N,) int64 label indices, (N, K) float32 zeros and ones for multi-label, of labels in a tree
        for the leaves below, (N,) float32 values for regression, or (N, K) with NaN where a row
        lacks one of several numbers.
        """
        below = leaves_below(self.labels, self.parents) if self.parents else {}
        targets = [below[str(target)] if below else target for target in self.targets]
        return READERS[self.kind].truth(targets, self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Training, validation and test set.

    Attributes:
        train: The training rows.
        validation: The validation rows, with the same labels; in cross-validation the training
            rows.
        folds: The fold of each row in cross-validation, else empty.
        test: Rows that are only measured on; None where there are none.
        notes: What was left out of the test set, and why.
        left_out: The training row that each validation row is, where it is measured by the other
            examples; None where validation rows are not among them.
    """

    train: Dataset
    validation: Dataset
    folds: tuple[int, ...] = ()
    test: Dataset | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[int, ...] | None = None

    def keep(self, rows: Sequence[int]) -> Splits:
        """Returns the splits with some of the training rows only."""
        train = self.train.take(rows)
        if not self.folds:
            return replace(self, train=train)
        folds = tuple(self.folds[row] for row in rows)
        return replace(self, train=train, validation=train, folds=folds)

    @property
    def holds_out(self) -> bool:
        """Returns whether validation rows are no training rows."""
        return not self.folds and self.left_out is None

    @property
    def measured_on(self) -> str:
        """Returns the name of the split in metrics."""
        if self.left_out is not None:
            return LEFT_OUT
        return "cross-validation" if self.folds else "validation"


def read_splits(data: object, options: TrainingOptions) -> Splits:
    """Returns the training, validation and test rows of a data set.

    Args:
        data: A file, a table, or rows; see `records.read_records`.
        options: Columns, split and seed.

    Raises:
        DataError: The data cannot be read or used; names file and line.
        UsageError: The options do not fit the data.
    """
    records, options = read_parts(data, options)
    columns = note_unread(records, find_columns(records, options), guessed=options.kind is None)
    name = options.dataset or records.name
    few_examples.check_unfitted(options, columns.kind)
    check_abstention(options, columns.kind)
    if are_crossed(len(records.rows), columns.kind, options):
        return _with_test(_of_all(records, columns, options), options)
    other, parts = _read_parts(records, columns, options)
    joining = joining_of([*parts.train, *parts.validation], options.join_tokens)
    whole = Dataset(name, columns.kind, columns.fields, (), (), (), columns)
    train, validation, test = (
        _fill(whole, part, joining) for part in (parts.train, parts.validation, parts.test)
    )
    train = _with_descriptions(train, options)
    check_outside(options.none_label, train.targets, parts.outside[0], source=records.source)
    train = _with_labels(train, records, options)
    labels = train.names
    validation, test = _with_own_names(validation, train), _with_own_names(test, train)
    notes = parts.notes
    # Most of a tree is known; see `refuse_unknown`.
    if parts.test and labels and not KINDS[train.kind].allows_unseen:
        test = _without_unseen(test, labels)
        if left_out := len(parts.test) - len(test):
            notes = (*notes, f"{left_out:,} test rows have labels that no training row has.")
    validation, test = _divided(parts, validation, test, options)
    if options.skip_unseen and labels:
        validation, test = _without_unseen(validation, labels), _without_unseen(test, labels)
    _check_rows(train, validation, source=records.source, other=other.source)
    if labels:
        owner = "the training rows (skip_unseen leaves such rows out)"
        for part in (validation, test):
            refuse_unknown(part.targets, labels, part.kind, source=other.source, owner=owner)
    # Labels are those of all rows: max_rows must not decide which labels a task has.
    kept, validation, test = (_drawn(part, options) for part in (train, validation, test))
    if options.mentions:
        types = KINDS[kept.kind].label_names(labels) if kept.kind == "tagging" else ()
        inputs, targets = rows_with_mentions(kept.inputs, kept.spans(), types, options)
        kept = replace(kept, inputs=kept.inputs + inputs, targets=kept.targets + targets)
    return _with_test(Splits(kept, validation, (), test if len(test) else None, notes), options)


def _read_parts(
    records: Records, columns: Columns, options: TrainingOptions
) -> tuple[Records, Parts]:
    """Returns the parts of the rows, and where the validation rows come from."""
    if options.validation is None:
        return records, split_records(records, columns, options).without(options.none_label)
    other = read_lists(read_records(options.validation), options)
    parts = Parts(parse_records(records, columns), parse_records(other, columns))
    return other, parts.without(options.none_label)


def _divided(
    parts: Parts, validation: Dataset, test: Dataset, options: TrainingOptions
) -> tuple[Dataset, Dataset]:
    """Returns validation and test rows; where none are given, the latter are of the former."""
    choosing, measuring = parts.outside
    if parts.test or options.test is not None:
        return replace(validation, outside=choosing), replace(test, outside=measuring)
    own, drawn = draw_test(parts.validation, options)
    if drawn:
        choosing, measuring = halves(choosing, options.seed)
    validation, test = validation.take(own), validation.take(drawn)
    return replace(validation, outside=choosing), replace(test, outside=measuring)


def _with_test(splits: Splits, options: TrainingOptions) -> Splits:
    """Returns splits with the test set that the options give, if any."""
    if options.test is None:
        return splits
    records, train = read_lists(read_records(options.test), options), splits.train
    columns = find_columns(records, options.model_copy(update={"kind": train.kind}))
    examples, outside = in_scope(parse_records(records, columns), options.none_label)
    if columns.fields != train.fields:
        records.refuse(
            f"its rows have the fields {' and '.join(columns.fields)}, those of training "
            f"{' and '.join(train.fields)}"
        )
    empty = replace(train, inputs=(), targets=(), columns=None)
    test = _fill(empty, examples, joining_of(examples, options.join_tokens))
    test = replace(_with_own_names(test, train), outside=outside)
    if train.labels:
        owner = "the training rows (skip_unseen leaves such rows out)"
        test = _without_unseen(test, train.names) if options.skip_unseen else test
        refuse_unknown(test.targets, train.names, test.kind, source=records.source, owner=owner)
    if len(test) < 2:
        records.refuse(f"there are {len(test)} test rows; 2 or more are needed")
    return replace(splits, test=_drawn(test, options))


def _of_all(records: Records, columns: Columns, options: TrainingOptions) -> Splits:
    """Returns all rows for training and validation: cross-validated, or each left out."""
    examples, outside = in_scope(parse_records(records, columns), options.none_label)
    name = options.dataset or records.name
    empty = Dataset(name, columns.kind, columns.fields, (), (), (), columns)
    whole = _fill(empty, examples, joining_of(examples, options.join_tokens))
    whole = replace(whole, outside=outside)
    check_outside(options.none_label, whole.targets, outside, source=records.source)
    rows = draw_rows(len(whole), options)
    is_drawn = not KINDS[columns.kind].prototypes
    whole = _with_descriptions(whole if is_drawn else whole.take(rows), options)
    _check_fewest(whole, records.source)
    drawn = [examples[row] for row in rows]
    groups = draw_folds(drawn, options) if is_drawn else text_groups(whole.inputs)
    if max(groups) == 0:
        records.refuse("all rows have the same text; nothing can be learned")
    whole = replace(_with_labels(whole, records, options), outside=_drawn(whole, options).outside)
    if not is_drawn:
        left_out = few_examples.that_can_be_left_out(whole.targets, groups, len(rows))
        if not left_out and (options.min_accuracy or options.none_label):
            records.refuse(few_examples.NOTHING_TO_CHOOSE_BY)
        return Splits(whole, whole.take(left_out), left_out=left_out)
    return Splits(whole := whole.take(rows), whole, groups)


def _with_descriptions(dataset: Dataset, options: TrainingOptions) -> Dataset:
    """Returns rows with the descriptions of labels, if any, behind them; 1.0 is the label 1."""
    inputs, labels = few_examples.described(options.descriptions, options.none_label)
    targets = with_whole_numbers(dataset.targets + labels)
    return replace(dataset, inputs=dataset.inputs + inputs, targets=targets)


def read_for_task(data: object, spec: TaskSpec, options: TrainingOptions) -> Dataset:
    """Returns all rows of a data set with the labels of an existing task.

    Raises:
        DataError: The data cannot be read, or hold labels that the task does not have.
        UsageError: The data are of another kind than the task.
    """
    records = read_records(data)
    names = dict.fromkeys(str(name) for record in records.rows for name in record.values)
    options = with_trained_columns(options, spec, tuple(names))
    options = options.model_copy(update={"kind": spec.kind})
    records = read_lists(records, options)
    columns = find_columns(records, options, spec.fields)
    if columns.fields != spec.fields:
        records.refuse(
            f"its rows have the fields {' and '.join(columns.fields)}, but task '{spec.task}' "
            f"reads {' and '.join(spec.fields)}"
        )
    examples, outside = in_scope(
        parse_records(records, replace(columns, labels=spec.labels)),
        None if spec.abstention is None else spec.abstention.none_label,
    )
    joining = joining_of(examples, options.join_tokens)
    empty = Dataset(records.name, spec.kind, spec.fields, (), (), spec.labels, columns)
    dataset = replace(_fill(empty, examples, joining), outside=outside, parents=spec.parents)
    dataset = _with_own_names(dataset, dataset)
    if not len(dataset):
        records.refuse(f"all rows are out of scope of task '{spec.task}'; it has no label of them")
    if spec.row.has_labels:
        own, owner = dataset.names, f"task '{spec.task}'"
        refuse_unknown(dataset.targets, own, spec.kind, source=records.source, owner=owner)
    return dataset


def _with_labels(rows: Dataset, records: Records, options: TrainingOptions) -> Dataset:
    """Returns training rows with the labels of a new task."""
    labels, parents = find_all_labels(rows.kind, rows, records, options)
    return replace(rows, labels=labels, parents=parents)


def _fill(empty: Dataset, examples: Iterable[Example], joining: Joining) -> Dataset:
    inputs, targets = joined_rows(examples, joining)
    return replace(empty, inputs=inputs, targets=targets)


def _check_rows(train: Dataset, validation: Dataset, *, source: str, other: str) -> None:
    _check_fewest(train, source)
    if len(validation) < 2:
        raise DataError(other, f"there are {len(validation)} validation rows; 2 or more are needed")


def _check_fewest(train: Dataset, source: str) -> None:
    fewest = KINDS[train.kind].fewest_rows
    if len(train) < fewest:
        problem = f"there are {len(train)} training rows; {fewest} or more are needed"
        raise DataError(source, problem)


def _drawn(dataset: Dataset, options: TrainingOptions) -> Dataset:
    """Returns `max_rows` rows at most, and as many of those out of scope."""
    outside = draw_rows(len(dataset.outside), options)
    taken = dataset.take(draw_rows(len(dataset), options))
    return replace(taken, outside=tuple(dataset.outside[row] for row in outside))


def _with_own_names(dataset: Dataset, task: Dataset) -> Dataset:
    """Returns rows with the labels of a task, spelled as its own."""
    targets = with_own_names(dataset.targets, task.names, dataset.kind)
    return replace(dataset, labels=task.labels, parents=task.parents, targets=targets)


def _without_unseen(dataset: Dataset, labels: tuple[str, ...]) -> Dataset:
    return dataset.take(rows_with_known(dataset.targets, labels, dataset.kind))
