"""The schema of a task, stored in the header of its head file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from adapterhub.decoding import Calibration, Extraction
from adapterhub.diagnostics import Diagnostics, Metric, Use
from adapterhub.examples import MOST_EXAMPLES, Example, KnownAnswer
from adapterhub.kinds import ANSWER, KINDS, Kind, KindRow
from adapterhub.label_trees import inner_labels
from adapterhub.schema import Spec
from adapterhub.specs.abstention import ABSTENTION_SCHEMA, Abstention
from adapterhub.specs.adapter import AdapterSpec
from adapterhub.specs.backbone import BackboneSpec
from adapterhub.specs.consistency import (
    check_abstention,
    check_calibration,
    check_extraction,
    check_fields,
    check_known_answers,
    check_labels,
    check_ranges,
    check_reading,
)
from adapterhub.specs.head import HeadSpec
from adapterhub.specs.names import MAX_LABELS, MAX_WINDOW, FieldName, Label, Language, TaskName
from adapterhub.specs.training import TrainingRecord


class TaskSpec(Spec):
    """The spec of a task, stored in the header of its head file.

    Attributes:
        task: Name of the task.
        kind: Kind of its output.
        labels: Label names in row order of the head's weight, from the lowest to the highest
            where they have an order; empty for regression, of several numbers their names. For
            tagging, BIO or BIOES tags with `O`; for parsing relations, of which `INSIDE` joins a
            unit to the word before it; of a tree its leaves.
        parents: Labels in a tree only: the label above each label that is no root.
        fields: Its input fields: one text or a pair.
        apart: Whether the two fields are encoded separately and compared, instead of together
            in one sequence.
        max_length: Window in tokens, special tokens included; per field with `apart`.
        overlap: Tokens that two neighbouring windows share.
        adapter: Its adapter; None for a head on the frozen trunk.
        value_range: Regression only: outputs are clipped to it.
        value_ranges: The same for each of several numbers.
        extraction: Question answering only: which spans are answers.
        abstention: When it does not answer; None where it always does.
        diagnostics: Confusions and reliability as measured; None if not known.
        known_answers: Probes that are recomputed when the task is loaded.
        examples: Texts with their predictions, for people.
    """

    later = ("apart", "extraction", "abstention", "examples", "parents", "value_ranges")
    schema_version: Literal[1] = 1
    task: TaskName
    kind: Kind
    description: str = Field(default="", max_length=2_000)
    languages: tuple[Language, ...] = ()
    license: str | None = None
    labels: tuple[Label, ...] = Field(default=(), max_length=MAX_LABELS)
    parents: dict[Label, Label] = Field(default={}, max_length=2 * MAX_LABELS)
    fields: tuple[FieldName, ...] = Field(default=("text",), min_length=1, max_length=2)
    apart: bool = False
    max_length: int = Field(ge=8, le=MAX_WINDOW)
    overlap: int = Field(default=0, ge=0)
    backbone: BackboneSpec
    adapter: AdapterSpec | None = None
    head: HeadSpec
    calibration: Calibration = Calibration()
    value_range: tuple[float, float] | None = None
    value_ranges: tuple[tuple[float, float], ...] | None = None
    extraction: Extraction | None = None
    abstention: Abstention | None = None
    metrics: tuple[Metric, ...] = ()
    diagnostics: Diagnostics | None = None
    training: TrainingRecord | None = None
    known_answers: tuple[KnownAnswer, ...] = ()
    examples: tuple[Example, ...] = Field(default=(), max_length=MOST_EXAMPLES)

    @property
    def row(self) -> KindRow:
        """Returns the facts of its kind."""
        return KINDS[self.kind]

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the labels that rows have: of a tree also inner ones, of tags the types."""
        return self.row.label_names((*self.labels, *inner_labels(self.parents)))

    @property
    def outputs(self) -> int:
        """Returns the number K of logits per text, token, word or choice, or of a vector."""
        own = self.head.outputs if self.row.outputs is None else self.row.outputs
        return len(self.labels) if own is None else own

    @property
    def per_token(self) -> bool:
        """Returns whether it reads every token of a text, as tagging and parsing do."""
        return self.row.per_token

    @property
    def schema_needed(self) -> int:
        """Returns the oldest schema of head files that can hold it.

        Examples came with schema 2, abstention with 4, kinds with those of their rows.
        """
        return max(
            self.row.schema,
            2 if self.examples else 1,
            ABSTENTION_SCHEMA if self.abstention else 1,
        )

    @property
    def deepest(self) -> int:
        """Returns the deepest depth that the head reads."""
        return self.head.depths[-1]

    def used_for(self, metric: Metric) -> tuple[Use, ...] | None:
        """Returns what the rows of a metric had done before, or None where that is not known."""
        # Before it was recorded, `train` measured on what chose; importers name no training.
        own_split = metric.split in ("validation", "cross-validation")
        if metric.used_for is None and self.training is not None and own_split:
            return ("selection", "calibration")
        return metric.used_for

    @model_validator(mode="after")
    def _is_consistent(self) -> TaskSpec:
        check_labels(self)
        check_fields(self)
        check_reading(self)
        check_extraction(self)
        check_calibration(self)
        check_ranges(self)
        check_abstention(self)
        check_known_answers(self)
        if self.diagnostics is not None and not self.diagnostics.fits(len(self.labels)):
            raise ValueError("diagnostics are about other labels")
        names = (ANSWER,) if self.extraction else self.names
        fields, has_choices = len(self.fields), self.row.of_choices
        if not all(one.fits(fields, names, has_choices=has_choices) for one in self.examples):
            raise ValueError("an example is of a task with other fields or labels")
        numbers = len(self.labels) if self.row.names_numbers else 0
        if any(len(one.values) != numbers for one in self.examples):
            raise ValueError(f"an example does not have {numbers} numbers")
        return self
