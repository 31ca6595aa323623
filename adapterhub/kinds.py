"""The kinds of tasks: the facts of each in one row of the table KINDS; `KindRow` says what each is.

What is computed for a kind is in its classes: `training/data/kinds` (labelled rows to targets),
`training/kinds` (loss, metrics, calibration) and `model/heads/kinds` (logits to predictions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from adapterhub.kind_row import ArrowType as ArrowType
from adapterhub.kind_row import Kind as Kind
from adapterhub.kind_row import KindRow as KindRow
from adapterhub.kind_row import LinearModel as LinearModel
from adapterhub.kind_row import MetricName as MetricName
from adapterhub.kind_row import Role as Role
from adapterhub.kind_row import What as What
from adapterhub.tags import check_tags, entity_types

INSIDE = "_"
"""The relation of a unit that belongs to the same word as the unit before it, as the second
character of a Chinese word does."""


def _check_relations(labels: Sequence[str]) -> None:
    if not set(labels) - {INSIDE}:
        raise ValueError(f"a parsing task needs a relation other than '{INSIDE}'")


ANSWER = "answer"
"""What a predicted answer is called among the labels of an example."""

_ALWAYS = "Always predicts one of its labels, also for a text that none of them fits."
_LABEL: tuple[tuple[str, str], ...] = (("label", "string"), ("score", "double"))
_CHOICE: tuple[tuple[What, str], ...] = (
    ("choice", "string"),
    ("index", "int64"),
    ("score", "double"),
)
_PLACE: tuple[tuple[str, str], ...] = (("start", "int64"), ("end", "int64"))
_SPAN: tuple[tuple[str, str], ...] = (("word", "string"), *_PLACE)

_ROWS = (
    KindRow(
        name="single_label",
        output="one of the labels below with its probability",
        columns={"labels": _LABEL},
        best_columns={"label": "string", "score": "double"},
        metrics=("accuracy", "macro_f1", "mcc", "likelihood"),
        target="label",
        targets=("label", "labels", "tags", "score"),
        fewest_labels=2,
        withheld="rows",
        has_none=True,
        always=_ALWAYS,
        problem_type="single_label_classification",
    ),
    KindRow(
        name="multi_label",
        output="any number of the labels below, each with its probability",
        columns={"labels": _LABEL},
        metrics=("macro_f1", "micro_f1", "likelihood"),
        compared_as=("best thresholds", "the thresholds of its file"),
        target="labels",
        targets=("labels", "label", "tags"),
        has_thresholds=True,
        withheld="labels",
        linear="sets",
        problem_type="multi_label_classification",
    ),
    KindRow(
        name="regression",
        output="a number",
        columns={"value": "double"},
        metrics=("spearman", "pearson"),
        compared_as=("unclipped", "values clipped to its range"),
        target="score",
        targets=("label", "score", "labels"),
        outputs=1,
        fewest_labels=0,
        has_range=True,
        linear="numbers",
        pair_pipeline="sentence-similarity",
        problem_type="regression",
    ),
    KindRow(
        name="tagging",
        output="spans of the types below with their positions in the text",
        columns={"entities": (("entity_group", "string"), ("score", "double"), *_SPAN)},
        metrics=("span_f1",),
        compared_as=("argmax tags", "the best valid sequence of tags"),
        target="tags",
        targets=("tags",),
        reads=("tokens",),
        check=check_tags,
        label_names=entity_types,
        withheld="spans",
        counted=("entity types", "entities"),
        pipeline="token-classification",
    ),
    KindRow(
        name="parsing",
        output="a dependency tree: the words of the text with their positions, each with its head "
        "and one of the relations below",
        columns={"words": (*_SPAN, ("head", "int64"), ("relation", "string"), ("score", "double"))},
        metrics=("las", "uas"),
        compared_as=("argmax heads", "the best tree"),
        targets=("deprel",),
        reads=("tokens",),
        check=_check_relations,
        joining=INSIDE,
        biaffine=True,
        linear=None,
        cross_validated=False,
        allows_unseen=True,
        counted=("relations", "words"),
        total="words in the training rows",
        pipeline="token-classification",
        schema=3,
    ),
    KindRow(
        name="multiple_choice",
        output="one of the choices of each row, with its place from 0 and its probability",
        columns={"choices": _CHOICE},
        best_columns=dict(_CHOICE),
        metrics=("accuracy", "likelihood"),
        targets=("label", "answer", "answerKey", "correct_answer_id", "target"),
        of_choices=True,
        outputs=1,
        input_fields=("prompt", "choices"),
        linear="choices",
        fewest_labels=0,
        withheld="rows",
        counted=("places of the right choice", "rows"),
        always="Always chooses one of the choices, also where none of them fits.",
        pipeline="multiple-choice",
        schema=4,
    ),
    KindRow(
        name="question_answering",
        output="the span of the context that answers the question, with its probability, or an "
        "empty one where there is no answer",
        columns={"answers": (("score", "double"), *_PLACE, ("answer", "string"))},
        best_columns={"answer": "string", "start": "int64", "end": "int64", "score": "double"},
        metrics=("f1", "exact_match"),
        compared_as=("by tokens", "words, or characters of Chinese"),
        targets=("answers", "answer"),
        reads=("question", "context"),
        input_fields=("question", "context"),
        slides_second=True,
        outputs=2,
        fewest_labels=0,
        linear=None,
        cross_validated=False,
        withheld="answers",
        limits=("Quotes the context as it stands there; it puts nothing into its own words.",),
        pipeline="question-answering",
        schema=4,
    ),
    KindRow(
        name="embedding",
        output="a vector of unit length; the cosine of two of them says how alike two texts are",
        columns={"vector": "list<float>"},
        metrics=("recall_at_1", "recall_at_5", "recall_at_10", "spearman"),
        targets=("score", "label"),
        of_vectors=True,
        fewest_labels=0,
        linear=None,
        cross_validated=False,
        limits=("Vectors are comparable with those of the same version of this task only.",),
        pipeline="sentence-similarity",
        schema=4,
    ),
    KindRow(
        name="prototype",
        output="the label below whose examples are most like the text, with its probability",
        columns={"labels": _LABEL},
        best_columns={"label": "string", "score": "double"},
        metrics=("likelihood", "accuracy", "macro_f1", "mcc"),
        targets=("label", "labels"),
        reads=("text",),
        prototypes=True,
        fewest_rows=2,
        fewest_labels=2,
        linear=None,
        cross_validated=False,
        withheld="rows",
        has_none=True,
        always=_ALWAYS,
        schema=4,
    ),
    KindRow(
        name="label_tree",
        output="one of the labels below with its probability, and the labels above it",
        columns={"labels": (*_LABEL, ("path", "list<string>"))},
        best_columns={"label": "string", "score": "double", "path": "list<string>"},
        metrics=("hierarchical_f1", "accuracy", "macro_f1", "likelihood"),
        targets=("label", "labels"),
        fewest_labels=2,
        has_tree=True,
        linear="leaves",
        withheld="leaves",
        limits=(
            "Where a leaf is under the minimum of confidence, predicts a label above it that is "
            "not, or none.",
        ),
        always=_ALWAYS,
        schema=4,
    ),
    KindRow(
        name="ordinal",
        output="one of the labels below, from the lowest to the highest, with its probability",
        columns={"labels": _LABEL},
        best_columns={"label": "string", "score": "double"},
        metrics=("kappa", "accuracy", "macro_f1", "spearman", "likelihood"),
        compared_as=("before calibration", "calibrated probabilities"),
        targets=("label", "stars", "rating", "score"),
        fewest_labels=2,
        names_labels=True,
        withheld="rows",
        always=_ALWAYS,
        schema=4,
    ),
    KindRow(
        name="numbers",
        output="a number for each of the names below",
        columns={"values": (("name", "string"), ("value", "double"))},
        metrics=("spearman", "pearson"),
        compared_as=("unclipped", "values clipped to their ranges"),
        targets=("values", "scores", "labels", "label"),
        fewest_labels=2,
        names_labels=True,
        names_numbers=True,
        linear="numbers",
        counted=("numbers", "rows"),
        problem_type="regression",
        schema=4,
    ),
)

KINDS: Mapping[Kind, KindRow] = MappingProxyType({row.name: row for row in _ROWS})

USUAL_TARGETS: Mapping[str, Kind] = MappingProxyType(
    {row.target: row.name for row in _ROWS if row.target}
)
"""Kinds by the name of the column of targets that means them."""

NEWEST_SCHEMA = max(row.schema for row in _ROWS)
"""The newest schema that any kind needs."""
