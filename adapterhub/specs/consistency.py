"""Whether the parts of a task fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterhub.label_trees import check_tree
from adapterhub.specs.adapter import AdapterSpec
from adapterhub.specs.names import APART_POOLINGS

if TYPE_CHECKING:
    from adapterhub.specs.task import TaskSpec


def check_labels(spec: TaskSpec) -> None:
    """Checks that labels are distinct and fit the kind, and that they have a tree where it has.

    Raises:
        ValueError: They do not.
    """
    labels = spec.labels
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"label '{twice}' occurs twice")
    spec.row.check_labels(labels)
    if spec.row.has_tree != bool(spec.parents):
        raise ValueError("parents, the label above each, belong to label_tree tasks only")
    check_tree(labels, spec.parents)


def check_fields(spec: TaskSpec) -> None:
    """Checks that fields are distinct and as many as the kind reads.

    Raises:
        ValueError: They do not.
    """
    if len(set(spec.fields)) != len(spec.fields):
        raise ValueError(f"fields {spec.fields} name one field twice")
    if len(spec.fields) not in spec.row.fields:
        few = "one field" if spec.row.fields == (1,) else "two fields"
        raise ValueError(f"{spec.row.a_task} reads {few}")


def check_reading(spec: TaskSpec) -> None:
    """Checks that head, adapter and windows can read the backbone in the way of the kind.

    Raises:
        ValueError: They do not.
    """
    if spec.per_token != (spec.head.pooling == "tokens"):
        raise ValueError(f"{spec.row.a_task} cannot read with pooling '{spec.head.pooling}'")
    if spec.row.biaffine != (spec.head.arc_width is not None):
        raise ValueError("head.arc_width belongs to parsing tasks, and to no others")
    if spec.row.of_vectors != (spec.head.outputs is not None):
        raise ValueError("head.outputs belongs to embedding tasks, and to no others")
    if spec.row.prototypes:
        _check_plain(spec)
    if spec.deepest > spec.backbone.num_hidden_layers:
        raise ValueError(
            f"the head reads depth {spec.deepest} of a backbone with "
            f"{spec.backbone.num_hidden_layers} depths"
        )
    if spec.apart:
        _check_apart(spec)
    has_pairs = spec.head.ngrams is not None and len(spec.fields) == 2
    if has_pairs != (spec.head.pieces is not None):
        raise ValueError("head.pieces belongs to n-grams of two fields, and to nothing else")
    if spec.adapter is not None:
        _check_adapter(spec, spec.adapter)
    if spec.overlap > spec.max_length // 2:
        raise ValueError(f"overlap {spec.overlap} is over half of max_length {spec.max_length}")


def check_extraction(spec: TaskSpec) -> None:
    """Checks that spans of a context are told where the kind has them, and only there.

    Raises:
        ValueError: They do not.
    """
    if spec.row.slides_second != (spec.extraction is not None):
        raise ValueError("extraction belongs to question_answering tasks, and to no others")
    if spec.row.slides_second and spec.apart:
        raise ValueError(f"{spec.row.a_task} reads its two fields together")


def _check_plain(spec: TaskSpec) -> None:
    head = spec.head
    if head.hidden_width is not None or head.ngrams is not None or len(head.depths) > 1:
        raise ValueError(
            f"{spec.row.a_task} reads one depth, without a hidden layer and without n-grams"
        )
    if head.pooling not in APART_POOLINGS:
        raise ValueError(f"{spec.row.a_task} cannot read with pooling '{head.pooling}'")


def _check_apart(spec: TaskSpec) -> None:
    if len(spec.fields) != 2:
        raise ValueError(f"apart is for two fields, the task reads {len(spec.fields)}")
    if spec.head.pooling not in APART_POOLINGS:
        raise ValueError(f"fields encoded separately cannot have pooling '{spec.head.pooling}'")


def _check_adapter(spec: TaskSpec, adapter: AdapterSpec) -> None:
    layers = spec.backbone.num_hidden_layers
    if adapter.depths[-1] >= layers:
        raise ValueError(
            f"the adapter changes depth {adapter.depths[-1]}; this backbone has depths "
            f"0 to {layers - 1}"
        )
    if spec.deepest <= adapter.from_depth:
        raise ValueError(
            f"the head reads depth {spec.deepest} at most, the adapter starts at depth "
            f"{adapter.from_depth}: it would change nothing"
        )


def check_calibration(spec: TaskSpec) -> None:
    """Checks that thresholds, temperature and range fit kind and labels.

    Raises:
        ValueError: They do not.
    """
    thresholds = spec.calibration.thresholds
    if thresholds is not None and not spec.row.has_thresholds:
        raise ValueError("thresholds are for multi_label tasks")
    if thresholds is not None and len(thresholds) != len(spec.labels):
        raise ValueError(f"{len(thresholds)} thresholds for {len(spec.labels)} labels")
    if spec.row.biaffine and spec.calibration.temperature != 1:
        raise ValueError("a parsing task has no temperature: head.arcs and head.relations have it")
    if spec.value_range is not None:
        if not spec.row.has_range:
            raise ValueError("value_range is for regression tasks")
        if spec.value_range[0] >= spec.value_range[1]:
            raise ValueError(f"value_range {spec.value_range} is empty")


def check_abstention(spec: TaskSpec) -> None:
    """Checks that the kind of a task can abstain as it says.

    Raises:
        ValueError: It cannot.
    """
    found = spec.abstention
    if found is None:
        return
    if not spec.row.withheld:
        raise ValueError(f"abstention is for tasks with a confidence; {spec.kind} has none")
    if found.none_label is not None and not spec.row.has_none:
        raise ValueError(f"{spec.row.a_task} has no none_label")
    if found.none_label in spec.labels:
        raise ValueError(f"none_label '{found.none_label}' is a label of the task")


def check_ranges(spec: TaskSpec) -> None:
    """Checks that the ranges of several numbers fit the kind, and are one for each.

    Raises:
        ValueError: They are not.
    """
    ranges = spec.value_ranges
    if ranges is None:
        return
    if not spec.row.names_numbers:
        raise ValueError("value_ranges are for tasks of several numbers")
    if len(ranges) != len(spec.labels):
        raise ValueError(f"{len(ranges)} value_ranges for {len(spec.labels)} numbers")
    if any(low >= high for low, high in ranges):
        raise ValueError("one of value_ranges is empty")


def check_known_answers(spec: TaskSpec) -> None:
    """Checks that known answers have the inputs, logits and labels of the task.

    Raises:
        ValueError: They do not.
    """
    for answer in spec.known_answers:
        count = len(answer.inputs)
        if count < 3 if spec.row.of_choices else count != len(spec.fields):
            raise ValueError("a known answer has another number of inputs than the task has fields")
        if any(len(row) != spec.outputs for row in answer.logits):
            raise ValueError(f"a known answer does not have {spec.outputs} logits in every row")
        if not spec.per_token and len(answer.logits) != (count - 1 if spec.row.of_choices else 1):
            what = (
                "choice does not have one"
                if spec.row.of_choices
                else "whole text has more than one"
            )
            raise ValueError(f"a known answer of a {what} row")
        expected = len(answer.logits) if spec.row.has_labels else 0
        if len(answer.answers) != expected:
            raise ValueError("a known answer does not name one label per row")
        if not set(answer.answers) <= set(spec.labels):
            raise ValueError("a known answer names a label that the task does not have")
