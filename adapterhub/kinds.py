"""The kinds of tasks: the facts of each in one row of the table KINDS.

What is computed for a kind is in its classes: `training/data/kinds` (labelled rows to targets),
`training/kinds` (loss, metrics, calibration) and `model/heads/kinds` (logits to predictions).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from adapterhub.tags import check_tags, entity_types

Kind = Literal[
    "single_label",
    "multi_label",
    "regression",
    "tagging",
    "parsing",
    "multiple_choice",
    "question_answering",
    "embedding",
    "prototype",
    "ordinal",
    "numbers",
]
MetricName = Literal[
    "accuracy",
    "macro_f1",
    "micro_f1",
    "mcc",
    "likelihood",
    "spearman",
    "pearson",
    "span_f1",
    "las",
    "uas",
    "f1",
    "exact_match",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "kappa",
]
Role = Literal["text", "pair", "tokens", "heads", "question", "context", "starts", "target"]
"""What a column of labelled rows is."""
What = Literal[
    "label",
    "score",
    "value",
    "labels",
    "entities",
    "words",
    "choice",
    "index",
    "choices",
    "answer",
    "start",
    "end",
    "answers",
    "vector",
    "values",
]
"""What a column of predictions holds."""
LinearModel = Literal["labels", "sets", "numbers", "choices"]
"""What a linear model is fitted to: one label per row, label sets, numbers, or choices."""
ArrowType = str | tuple[tuple[str, str], ...]
"""The name of a type of pyarrow, `list<…>` for a list of these, or for a list of structs the names
and types of their fields."""

INSIDE = "_"
"""The relation of a unit that belongs to the same word as the unit before it, as the second
character of a Chinese word does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """The facts of one kind; the defaults are those of labels of a whole text.

    Attributes:
        name: Its name.
        output: What a card says that it predicts.
        columns: What the columns of predictions hold, in order, with their types.
        best_columns: The same where only the best label is asked for; None for no difference.
        metrics: The metrics that can choose among candidates; the first is the default.
        compared_as: How outputs are read where candidates are compared, and how in scoring;
            None where there is no difference.
        target: Name of the column that means this kind where none is given; empty for none.
        targets: Usual names of the column of targets where the kind is given.
        reads: What the input columns of labelled rows are, in order.
        fields: Numbers of input fields that a task may have.
        per_token: Whether its head reads every token, not a pooled feature of a text.
        of_choices: Whether the second field is a list of texts, each with a logit beside the first.
        input_fields: Names of its input fields; empty for `text` and `text_pair`.
        slides_second: Whether the second field slides over the windows and the first is whole in
            each; then the tokens that the head reads are those of the second, and the first token.
        outputs: Number of logits per text, token or choice; None for one per label, or as many as
            the head says.
        sized: Whether the head says how many outputs it has: the numbers of a vector, not labels.
        of_pairs: Whether a labelled row is a pair of texts, each of which the task reads by itself.
        fewest_labels: Fewest labels in the training rows; 0 for a kind without labels.
        check: Checks the labels of a task in the place of their number; raises ValueError.
        label_names: What the labels of a task are called in targets and predictions.
        joining: The label that joins outputs, which no prediction has; empty for none.
        prototypes: Whether the head compares a text with a stored vector of each label, the mean of
            its examples, so that labels are added and dropped without training. Nothing is fitted
            by steps, and examples are measured by leaving each out.
        fewest_rows: Fewest training rows.
        biaffine: Whether the head scores pairs of words. Its logits are those at the best tree:
            they have no temperature, and rounding can change all of a word's.
        has_thresholds: Whether each label has a threshold.
        has_range: Whether it predicts numbers, which are clipped to a range.
        names_numbers: Whether its labels are names of numbers, each of them clipped to a range of
            its own; several columns of targets are then of one task.
        linear: The linear model of n-grams that may stand beside the head; None for none.
        cross_validated: Whether few rows are cross-validated.
        allows_unseen: Whether rows may have labels that the task lacks, which count as wrong.
        withheld: What a prediction under the minimum of confidence loses, in the plural; empty for
            kinds that always answer.
        has_none: Whether rows may belong to none of its labels, by an option of training.
        names_labels: Whether an option may give its labels, in their order.
        counted: What labels are, and what is counted of each, in the summary of a data set.
        total: What their number is of, in that summary; empty where it is not said.
        limits: Known limits, for the card.
        always: Known limit of tasks that never abstain, for the card; empty for none.
        pipeline: The Hub's pipeline tag.
        pair_pipeline: The same for tasks of two fields; empty for no difference.
        problem_type: Its name in a config of transformers; None for none.
        schema: The oldest schema of head files and registries that can hold it.
    """

    name: Kind
    output: str
    columns: Mapping[What, ArrowType]
    best_columns: Mapping[What, ArrowType] | None = None
    metrics: tuple[MetricName, ...]
    compared_as: tuple[str, str] | None = None
    target: str = ""
    targets: tuple[str, ...]
    reads: tuple[Role, ...] = ("text", "pair")
    fields: tuple[int, ...] = (1, 2)
    per_token: bool = False
    of_choices: bool = False
    input_fields: tuple[str, ...] = ()
    slides_second: bool = False
    outputs: int | None = None
    sized: bool = False
    of_pairs: bool = False
    fewest_labels: int = 1
    check: Callable[[Sequence[str]], None] | None = None
    label_names: Callable[[Iterable[str]], tuple[str, ...]] = tuple
    joining: str = ""
    prototypes: bool = False
    fewest_rows: int = 8
    biaffine: bool = False
    has_thresholds: bool = False
    has_range: bool = False
    names_numbers: bool = False
    linear: LinearModel | None = "labels"
    cross_validated: bool = True
    allows_unseen: bool = False
    withheld: str = ""
    has_none: bool = False
    names_labels: bool = False
    counted: tuple[str, str] = ("labels", "rows")
    total: str = ""
    limits: tuple[str, ...] = ()
    always: str = ""
    pipeline: str = "text-classification"
    pair_pipeline: str = ""
    problem_type: str | None = None
    schema: int = 1

    @property
    def has_labels(self) -> bool:
        """Returns whether its tasks have labels."""
        return self.fewest_labels > 0

    @property
    def of_words(self) -> bool:
        """Returns whether its labelled rows are words, each with a target."""
        return "tokens" in self.reads

    def check_labels(self, labels: Sequence[str]) -> None:
        """Checks the labels of a task.

        Raises:
            ValueError: There are too few, some where there are none, or they contradict each other.
        """
        if self.check is not None:
            self.check(labels)
        elif labels and not self.has_labels:
            raise ValueError(f"a {self.name} task has no labels")
        elif len(labels) < self.fewest_labels:
            few = f"two labels or more, found {len(labels)}" if self.fewest_labels > 1 else "labels"
            raise ValueError(f"a {self.name} task needs {few}")


def _check_relations(labels: Sequence[str]) -> None:
    if not set(labels) - {INSIDE}:
        raise ValueError(f"a parsing task needs a relation other than '{INSIDE}'")


ANSWER = "answer"
"""What a predicted answer is called among the labels of an example."""


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
        always="Always predicts one of its labels, also for a text that none of them fits.",
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
        fields=(1,),
        per_token=True,
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
        fields=(1,),
        per_token=True,
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
        fields=(2,),
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
        fields=(2,),
        per_token=True,
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
        fields=(1,),
        sized=True,
        of_pairs=True,
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
        fields=(1,),
        prototypes=True,
        fewest_rows=2,
        fewest_labels=2,
        linear=None,
        cross_validated=False,
        withheld="rows",
        has_none=True,
        always="Always predicts one of its labels, also for a text that none of them fits.",
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
        always="Always predicts one of its labels, also for a text that none of them fits.",
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
