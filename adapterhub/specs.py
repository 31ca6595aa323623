"""Schemas of backbones, adapters, heads and tasks for head files, registries and model cards.

All models are frozen, strict and refuse unknown fields. Construction checks that a spec is
consistent in itself.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, JsonValue, StringConstraints, model_validator

from adapterhub.decoding import Calibration as Calibration
from adapterhub.decoding import Extraction as Extraction
from adapterhub.diagnostics import Diagnostics, Use
from adapterhub.diagnostics import Metric as Metric
from adapterhub.examples import MOST_EXAMPLES, Example
from adapterhub.examples import KnownAnswer as KnownAnswer
from adapterhub.families import FamilyName
from adapterhub.kinds import ANSWER, KindRow
from adapterhub.kinds import INSIDE as INSIDE
from adapterhub.kinds import KINDS as KINDS
from adapterhub.kinds import Kind as Kind
from adapterhub.kinds import Role as Role
from adapterhub.schema import Spec as Spec

Pooling = Literal["cls", "mean", "max", "attentive", "tokens"]
TextPooling = Literal["cls", "mean", "max", "attentive"]
Site = Literal["query", "key", "value", "dense", "ffn", "ffn_output"]
Activation = Literal["gelu", "tanh", "relu"]

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
SITES: tuple[Site, ...] = get_args(Site)
"""The linear maps of a block: the last part of their names in transformers."""
BLOCK_METHOD = "block"
"""The one method that is not of PEFT: an own copy of the whole block at its depths."""
TEXT_POOLINGS: tuple[TextPooling, ...] = get_args(TextPooling)
APART_POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "max")
"""Poolings of pairs whose texts are encoded separately."""

TASK_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
FINGERPRINT_PATTERN = r"^sha256:[0-9a-f]{64}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

TaskName = Annotated[str, StringConstraints(pattern=TASK_NAME_PATTERN)]
Fingerprint = Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")]

MAX_LABELS = 10_000
MAX_WINDOW = 65_536  # tokens; a backbone has its own limit, its positions


class BackboneSpec(Spec):
    """The backbone of a task.

    Attributes:
        name: A Hub name, `package:<name>`, or the name of a folder.
        revision: Commit on the Hub; None for a folder or a shipped backbone.
        fingerprint: sha256 over weights, settings and tokenizer.
        hidden_size: Width H of the hidden states.
        num_hidden_layers: Depth D of the backbone.
        family: Its `model_type` in transformers.
    """

    later = ("family",)
    name: str = Field(min_length=1, max_length=256)
    revision: str | None = None
    fingerprint: Fingerprint
    hidden_size: int = Field(ge=1, le=65_536)
    num_hidden_layers: int = Field(ge=1, le=1_024)
    family: FamilyName = "albert"


class HeadSpec(Spec):
    """The features that a head reads, and its architecture.

    Attributes:
        depths: The depths that it reads, ascending; more than one means a learned mix.
        pooling: Pooling of hidden states to features.
        hidden_width: Width W of the hidden layer, or None for a linear head.
        activation: Activation of the hidden layer; `tanh` as in BERT's pooling layer,
            `relu` as in DistilBERT's classifier.
        ngrams: Number M of n-grams of subword pieces with their own weights, or None.
        pieces: N-grams of pairs only: number V of pieces whose rarity is stored; else None.
        arc_width: Parsing only: width A of the vectors between which arcs are scored. The hidden
            layer has 2 (A + R) outputs, with R the width of those that score relations.
    """

    later = ("ngrams", "pieces", "arc_width")
    depths: tuple[Annotated[int, Field(ge=0, le=1_024)], ...] = Field(min_length=1)
    pooling: Pooling
    hidden_width: int | None = Field(default=None, ge=1, le=16_384)
    activation: Activation = "gelu"
    ngrams: int | None = Field(default=None, ge=1, le=2**24)
    pieces: int | None = Field(default=None, ge=1, le=2**20)
    arc_width: int | None = Field(default=None, ge=1, le=8_191)

    @model_validator(mode="after")
    def _is_consistent(self) -> HeadSpec:
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths {self.depths} are not ascending and distinct")
        if self.hidden_width is None and self.activation != "gelu":
            raise ValueError(f"a linear head has no activation '{self.activation}'")
        if self.arc_width is not None:
            _check_arcs(self, self.arc_width)
        return self


def _check_arcs(head: HeadSpec, arc_width: int) -> None:
    if head.pooling != "tokens" or head.ngrams is not None:
        raise ValueError("a head with arc_width reads tokens, and has no n-grams")
    width = head.hidden_width
    if width is None or width % 2 or width // 2 <= arc_width:
        raise ValueError(
            f"arc_width {arc_width} and relations of some width need a hidden layer of twice their "
            f"sum, hidden_width is {width}"
        )


class AdapterSpec(Spec):
    """The adapter of a task.

    Attributes:
        method: PEFT's name of the method in lower case, for instance `lora`, or `block`.
        depths: The passes that it changes, ascending: `d` is the pass from depth d to d + 1.
        sites: The linear maps that it changes.
        tie_depths: Whether all depths share the same adapter weights, as in plain PEFT.
        config: PEFT's configuration; empty for `block`.
        parameters: Number of parameters over all depths.
        digest: sha256 of the adapter; equal digests compute the same function.
    """

    method: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    depths: tuple[Annotated[int, Field(ge=0, le=1_023)], ...] = Field(min_length=1)
    sites: tuple[Site, ...] = Field(min_length=1)
    tie_depths: bool = False
    config: dict[str, JsonValue] = Field(default={})
    parameters: int = Field(ge=1)
    digest: Sha256

    @property
    def from_depth(self) -> int:
        """Returns the depth at which the branch of this adapter leaves the trunk."""
        return self.depths[0]

    @model_validator(mode="after")
    def _is_consistent(self) -> AdapterSpec:
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"adapter depths {self.depths} are not ascending and distinct")
        if len(set(self.sites)) != len(self.sites):
            raise ValueError(f"adapter sites {self.sites} name one site twice")
        return self


class EarlierTask(Spec):
    """The task whose adapter initialized the training of another one.

    Its name, the digest of its adapter, and its training data as in `TrainingRecord`, if known.
    """

    task: str = Field(min_length=1)
    adapter: Sha256
    dataset: str | None = None
    dataset_license: str | None = None


class TrainingRecord(Spec):
    """The training data and the training of a head.

    Attributes:
        dataset: Name of the data set.
        dataset_license: Its licence, as stated by its source.
        data_digest: sha256 over the training rows in order.
        rows: Number of training rows, including copies augmented with other mentions.
        seed: Seed of splits, initialisation and order.
        candidates: Number of heads that were trained to choose from.
        epochs: Epochs over the training set.
        learning_rate: Learning rate of the chosen head.
        weight_decay: Weight decay of the chosen head.
        continued_from: The task whose adapter initialized the training, if any.
        validation_digest: As `data_digest`, of validation rows that were held out, if known.
        columns: Columns of the training data, where they have other names than the usual ones.
        join_tokens: How words became texts, where an option said it.
    """

    later = ("validation_digest", "columns", "join_tokens")
    dataset: str = Field(min_length=1)
    dataset_license: str | None = None
    data_digest: Sha256
    rows: int = Field(ge=1)
    seed: int
    candidates: int = Field(ge=1)
    epochs: int = Field(ge=0)
    learning_rate: float = Field(ge=0)
    weight_decay: float = Field(ge=0)
    continued_from: EarlierTask | None = None
    validation_digest: Sha256 | None = None
    columns: dict[Role, str] | None = None
    join_tokens: Literal["space", "none"] | None = None


class TaskSpec(Spec):
    """The spec of a task, stored in the header of its head file.

    Attributes:
        task: Name of the task.
        kind: Kind of its output.
        labels: Label names in row order of the head's weight; empty for regression. For
            tagging, BIO or BIOES tags with `O`; for parsing relations, of which `INSIDE` joins a
            unit to the word before it.
        fields: Its input fields: one text or a pair.
        apart: Whether the two fields are encoded separately and compared, instead of together
            in one sequence.
        max_length: Window in tokens, special tokens included; per field with `apart`.
        overlap: Tokens that two neighbouring windows share.
        adapter: Its adapter; None for a head on the frozen trunk.
        value_range: Regression only: outputs are clipped to it.
        extraction: Question answering only: which spans are answers.
        diagnostics: Confusions and reliability as measured; None if not known.
        known_answers: Probes that are recomputed when the task is loaded.
        examples: Texts with their predictions, for people.
    """

    later = ("apart", "extraction", "examples")
    schema_version: Literal[1] = 1
    task: TaskName
    kind: Kind
    description: str = Field(default="", max_length=2_000)
    languages: tuple[Language, ...] = ()
    license: str | None = None
    labels: tuple[Label, ...] = Field(default=(), max_length=MAX_LABELS)
    fields: tuple[FieldName, ...] = Field(default=("text",), min_length=1, max_length=2)
    apart: bool = False
    max_length: int = Field(ge=8, le=MAX_WINDOW)
    overlap: int = Field(default=0, ge=0)
    backbone: BackboneSpec
    adapter: AdapterSpec | None = None
    head: HeadSpec
    calibration: Calibration = Calibration()
    value_range: tuple[float, float] | None = None
    extraction: Extraction | None = None
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
    def outputs(self) -> int:
        """Returns the number K of logits per text, token, word or choice."""
        return len(self.labels) if self.row.outputs is None else self.row.outputs

    @property
    def per_token(self) -> bool:
        """Returns whether it reads every token of a text, as tagging and parsing do."""
        return self.row.per_token

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
        _check_labels(self)
        _check_fields(self)
        _check_reading(self)
        _check_extraction(self)
        _check_calibration(self)
        _check_known_answers(self)
        if self.diagnostics is not None and not self.diagnostics.fits(len(self.labels)):
            raise ValueError("diagnostics are about other labels")
        names = (ANSWER,) if self.extraction else self.row.label_names(self.labels)
        fields, has_choices = len(self.fields), self.row.of_choices
        if not all(one.fits(fields, names, has_choices=has_choices) for one in self.examples):
            raise ValueError("an example is of a task with other fields or labels")
        return self


def _check_labels(spec: TaskSpec) -> None:
    labels = spec.labels
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"label '{twice}' occurs twice")
    spec.row.check_labels(labels)


def _check_fields(spec: TaskSpec) -> None:
    if len(set(spec.fields)) != len(spec.fields):
        raise ValueError(f"fields {spec.fields} name one field twice")
    if len(spec.fields) not in spec.row.fields:
        few = "one field" if spec.row.fields == (1,) else "two fields"
        raise ValueError(f"a {spec.kind} task reads {few}")


def _check_reading(spec: TaskSpec) -> None:
    if spec.per_token != (spec.head.pooling == "tokens"):
        raise ValueError(f"a {spec.kind} task cannot read with pooling '{spec.head.pooling}'")
    if spec.row.biaffine != (spec.head.arc_width is not None):
        raise ValueError("head.arc_width belongs to parsing tasks, and to no others")
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


def _check_extraction(spec: TaskSpec) -> None:
    if spec.row.slides_second != (spec.extraction is not None):
        raise ValueError("extraction belongs to question_answering tasks, and to no others")
    if spec.row.slides_second and spec.apart:
        raise ValueError(f"a {spec.kind} task reads its two fields together")


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


def _check_calibration(spec: TaskSpec) -> None:
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


def _check_known_answers(spec: TaskSpec) -> None:
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


def identity(backbone: BackboneSpec) -> str:
    """Returns name, revision and fingerprint of a backbone, shortened for messages."""
    revision = f"@{backbone.revision[:12]}" if backbone.revision else ""
    return f"{backbone.name}{revision} ({backbone.fingerprint[:19]}…)"
