"""Figures of each entity type are those of seqeval; of relations, those behind LAS."""

from __future__ import annotations

from seqeval.metrics import classification_report

from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.tagging import Span, character_tags
from adapterhub.training.evaluation.attachment import (
    AttachedWord,
    attachment_figures,
    relation_counts,
)
from adapterhub.training.evaluation.comparison import compare_spans

TRUTH = (
    (Span(0, 4, "PER"), Span(8, 12, "LOC")),
    (Span(0, 2, "LOC"), Span(3, 6, "PER")),
    (),
)
FOUND = (
    (Span(0, 4, "PER"), Span(8, 11, "LOC")),
    (Span(0, 2, "LOC"), Span(3, 6, "LOC")),
    (Span(1, 3, "PER"),),
)


def test_only_whole_entities_of_the_right_type_count() -> None:
    inputs = tuple(("x" * 12,) for _ in TRUTH)
    labels = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    dataset = Dataset("set", "tagging", ("text",), inputs, TRUTH, labels)
    tags = [[character_tags(12, row) for row in rows] for rows in (TRUTH, FOUND)]
    expected = classification_report(*tags, output_dict=True, zero_division=0)
    found = compare_spans(FOUND, dataset)
    assert found.names == ("LOC", "PER")
    for one in found.labels:
        other = expected[one.label]
        assert abs(one.precision - other["precision"]) < 1e-5
        assert abs(one.recall - other["recall"]) < 1e-5
        assert abs(one.f1 - other["f1-score"]) < 1e-5
        assert one.count == other["support"]


def test_relations_count_as_in_las() -> None:
    truth = [
        [AttachedWord(0, 2, 2, "nsubj:pass"), AttachedWord(3, 5, 0, "root")],
        [AttachedWord(0, 2, 0, "root"), AttachedWord(3, 5, 1, "obj")],
    ]
    found = [
        [AttachedWord(0, 2, 2, "nsubj"), AttachedWord(3, 5, 0, "root")],
        [AttachedWord(0, 2, 2, "root"), AttachedWord(3, 5, 1, "nsubj")],
    ]
    true, predicted, right = relation_counts(found, truth)
    assert true == {"nsubj": 1, "root": 2, "obj": 1}
    assert predicted == {"nsubj": 2, "root": 2}
    assert right == {"nsubj": 1, "root": 1}
    las = attachment_figures(found, truth)["las"]
    assert las == 2 * right.total() / (true.total() + predicted.total())
