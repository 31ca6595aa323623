"""The form of the facts of a kind of task, and the names of kinds, metrics, roles and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
    "label_tree",
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
    "hierarchical_f1",
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
    "path",
    "values",
]
"""What a column of predictions holds."""
LinearModel = Literal["labels", "sets", "numbers", "choices", "leaves"]
"""What a linear model is fitted to: one label per row, label sets, numbers, choices, or one label
of the rows that have a leaf."""
ArrowType = str | tuple[tuple[str, str], ...]
"""The name of a type of pyarrow, `list<…>` for a list of these, or for a list of structs the names
and types of their fields."""


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
        of_choices: Whether the second field is a list of texts, each with a logit beside the first.
        input_fields: Names of its input fields; empty for `text` and `text_pair`.
        slides_second: Whether the second field slides over the windows and the first is whole in
            each; then the tokens that the head reads are those of the second, and the first token.
        outputs: Number of logits per text, token or choice; None for one per label, and of vectors.
        of_vectors: Whether it predicts a vector, with as many numbers as the head has outputs. Then
            a labelled row is a pair of texts, each of which the task reads by itself.
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
        has_tree: Whether its labels are the leaves of a tree, and rows may have inner ones.
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
    of_choices: bool = False
    input_fields: tuple[str, ...] = ()
    slides_second: bool = False
    outputs: int | None = None
    of_vectors: bool = False
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
    has_tree: bool = False
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
    def a_task(self) -> str:
        """Returns what one of its tasks is called in a sentence."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name} task"

    @property
    def has_labels(self) -> bool:
        """Returns whether its tasks have labels."""
        return self.fewest_labels > 0

    @property
    def of_words(self) -> bool:
        """Returns whether its labelled rows are words, each with a target."""
        return "tokens" in self.reads

    @property
    def per_token(self) -> bool:
        """Returns whether its head reads every token, not a pooled feature of a text."""
        return self.of_words or self.slides_second

    @property
    def fields(self) -> tuple[int, ...]:
        """Returns the numbers of input fields that a task may have."""
        if self.input_fields:
            return (len(self.input_fields),)
        return (1, 2) if "pair" in self.reads and not self.of_vectors else (1,)

    def check_labels(self, labels: Sequence[str]) -> None:
        """Checks the labels of a task.

        Raises:
            ValueError: There are too few, some where there are none, or they contradict each other.
        """
        if self.check is not None:
            self.check(labels)
        elif labels and not self.has_labels:
            raise ValueError(f"{self.a_task} has no labels")
        elif len(labels) < self.fewest_labels:
            few = f"two labels or more, found {len(labels)}" if self.fewest_labels > 1 else "labels"
            raise ValueError(f"{self.a_task} needs {few}")
