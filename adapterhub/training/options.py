"""The options of a training run; each is declared here once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_serializer, model_validator

from adapterhub.errors import UsageError
from adapterhub.inputs import Record, parse_bytes
from adapterhub.kinds import KINDS, Kind
from adapterhub.kinds import MetricName as MetricName
from adapterhub.label_trees import check_parents
from adapterhub.option_models import Option, Options, Part, parse_options
from adapterhub.specs import (
    APART_POOLINGS,
    MAX_WINDOW,
    TEXT_POOLINGS,
    LabelOrder,
    Language,
    TaskName,
    TextPooling,
)
from adapterhub.store.paths import absolute_path
from adapterhub.training.adapter_options import (
    AdapterOptions,
    Decay,
    Depth,
    Epochs,
    Fraction,
    Rate,
    Several,
)
from adapterhub.training.option_files import read_descriptions, read_mentions, read_parents
from adapterhub.training.tune import Tune, adapter_for, check_together, read_tune

Joining = Literal["auto", "space", "none"]
PairReading = Literal["together", "apart", "both"]

HELD_OUT = 0.1
"""Part of the rows that is held out where nothing else is asked for."""

TEST_FRACTION = 0.5
"""Part of the held-out rows that is the test set where these are plenty."""

PLENTY_HELD_OUT = 1_000
"""From so many held-out rows on, a half is enough to choose by, and to measure on: two standard
errors of a rate on 500 rows are 4.5 points at most, about the slack of the search."""

FEWEST_HELD_OUT = 200
"""Under so many validation rows a choice is mostly chance, and figures are rough."""

Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=16_384)]
Window = Annotated[int, Field(ge=8, le=MAX_WINDOW)]
Name = Annotated[str, Field(min_length=1)]
Mention = Annotated[str, Field(min_length=1, max_length=1_000)]
Loose: Any = Field(strict=False)

_BY_ROWS = "by the number of rows"
_SPLIT = f"{HELD_OUT}, or cross-validation where that is under {FEWEST_HELD_OUT} rows"
_TEST = f"{TEST_FRACTION} of {PLENTY_HELD_OUT:,} rows or more, else 0"
_SIZE = Option("SIZE", read=parse_bytes, expected="a size such as 500MB, 2GB or 1GiB")


def path_or_table(data: object) -> object:
    """Returns the path that a string is; any other data unchanged."""
    return Path(data) if isinstance(data, str) else data


def _begins_adapter(given: Mapping[str, object]) -> bool:
    """Returns whether some options, by field, make an adapter."""
    is_tuned = str(given.get("tune") or "head").strip().lower() != "head"
    return is_tuned or not given.keys().isdisjoint(("method", "continue_from", "at_depths"))


class TrainingOptions(Options):
    """Options of one training run; the defaults suit data sets of some hundred to 100,000 rows."""

    kind: Annotated[Kind | None, Option("KIND", "by the columns")] = None
    """Kind of the task. Without it names and values of the columns decide: `tokens` with tags means
    tagging, with heads and relations parsing; a question with a context and answers means
    question_answering; lists of labels mean multi_label, fractions or a column `score` regression,
    other values single_label, and with tree or parents label_tree; where they may be more than one
    kind, none is guessed. embedding, prototype, ordinal and numbers are only by name."""
    text: Annotated[str, Option("COLUMN", flags=("--text-column", "--text"))] = "text"
    """Column of the text; for multiple choice of the prompt, for question answering of the
    question, by default `prompt` and `question`."""
    pair: Annotated[
        str | None, Option("COLUMN", "text_pair, if any", ("--pair-column", "--pair"))
    ] = None
    """Column of the second text; for question answering of the context, for multiple choice of the
    choices, or what stands before the numbers of columns with one choice each."""
    pairs: PairReading = "both"
    """How two texts are encoded: together in one sequence, or apart, each alone, and then compared;
    both tries the two ways. With an adapter, the choice is made with a head alone."""
    target: Annotated[
        str | None,
        Option(
            "COLUMN",
            "label, labels, score, tags, deprel or answers",
            ("--target-column", "--target"),
        ),
    ] = None
    """Column of the target; of kind numbers also one for each, as a,b."""
    tokens: Annotated[str, Option("COLUMN", flags=("--tokens-column", "--tokens"))] = "tokens"
    """Tagging and parsing: column of the words."""
    heads: Annotated[str, Option("COLUMN", flags=("--heads-column", "--heads"))] = "head"
    """Parsing: column of the heads, the place of each word's head among the words from 1; 0 is the
    root."""
    join_tokens: Joining = "auto"
    """Tagging and parsing: how words become a text. auto puts a space between words, but none
    between Han characters, and none at all where every word is one character."""
    mentions: Annotated[
        dict[str, Annotated[tuple[Mention, ...], Several]],
        Option("FILE", "none", read=read_mentions),
    ] = Field(default={})
    """Tagging: texts by entity type (for the command line, in a JSON file). Each training row with
    such an entity is trained a second time, with drawn texts in the place of its entities."""
    descriptions: Annotated[
        dict[str, str],
        Option("FILE", "none", flags=("--describe",), read=read_descriptions),
    ] = Field(default={})
    """Prototypes: a sentence by label (for the command line, in a YAML or JSON file) that says what
    texts it is for; each counts as one more example, and a label may have no other."""
    tree: Annotated[Name | None, Option("SEPARATOR")] = None
    """Labels in a tree (label_tree): what stands between the levels in a label, as the dot in
    card.lost, which is under card. Rows may have inner labels too."""
    parents: Annotated[
        dict[Name, Name | None],
        Option("FILE", "none", read=read_parents),
    ] = Field(default={})
    """Labels in a tree (label_tree): the label above each label, null for a root; for the command
    line a YAML or JSON file with lines such as lost: card."""
    labels: Annotated[LabelOrder, Option("A,B,C", "by the numbers in them"), Loose] = ()
    """Ordinal: the labels from the lowest to the highest, for instance bad,ok,good. Numbers: their
    names in order, by default as in the rows."""
    validation: Annotated[object, BeforeValidator(path_or_table), Option("FILE", read=Path)] = None
    """File with the validation set; in Python also a table, as the training data."""
    test: Annotated[object, BeforeValidator(path_or_table), Option("FILE", read=Path)] = None
    """File with the test set, which has no part in selection and calibration; in Python also a
    table."""
    split_column: Annotated[str | None, Option("COLUMN")] = None
    """Column that says train, validation or test; test rows without a target are left out."""
    validation_fraction: Annotated[float | None, Option(shown=_SPLIT)] = Field(None, gt=0, lt=1)
    """Fraction of the rows to hold out as validation set, where neither a validation file nor a
    split column is given."""
    test_fraction: Annotated[float | None, Option(shown=_TEST)] = Field(None, ge=0, lt=1)
    """Fraction of the held-out rows that is a test set, where none is given; 0 for none."""
    folds: int = Field(default=5, ge=0, le=20)
    """Folds of cross-validation; 0 never cross-validates."""
    skip_unseen: bool = False
    """Drop validation rows whose label is not in the training set; without it they are refused, of
    parsing counted as wrong."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the split, the initial weights and the order of the rows."""
    max_rows: Annotated[int | None, Option(shown="all")] = Field(default=None, ge=2)
    """Maximum size of the training, the validation and the test set each, drawn by the seed."""
    max_length: Annotated[Window | None, Option(shown="the backbone's positions")] = None
    """Window in tokens; tasks that leave it alone share one pass."""
    max_windows: Count = 16
    """Maximum number of windows per text, as in scoring."""
    metric: Annotated[
        MetricName | None, Option(shown="by kind; likelihood in cross-validation")
    ] = None
    """Validation metric that chooses among the candidates."""
    dimensions: Annotated[Width | None, Option("N", "128, or the backbone's width")] = None
    """Embedding: size of a vector."""
    tolerance: float = Field(default=0.5, ge=0, le=100)
    """How many points (hundredths of the metric) below the best a cheaper head may score and still
    be chosen."""
    min_accuracy: Annotated[float | None, Option("SHARE", "none")] = Field(None, gt=0, le=1)
    """Do not answer under a confidence: the lowest one over which this share of the answers is
    right, 0.95 for instance."""
    none_label: Annotated[Name | None, Option("LABEL", "none")] = None
    """Label of rows that belong to none of the labels. It does not become one: the confidence under
    which the task does not answer is chosen so that it tells these rows from the others best."""
    depths: Annotated[tuple[Depth, ...] | None, Option(shown="all"), Several] = None
    """Depths that heads may read, for instance 2,4,6; 0 costs no pass."""
    poolings: Annotated[tuple[TextPooling, ...], Several] = TEXT_POOLINGS
    """Poolings to try for heads of texts; tagging always reads tokens."""
    mixes: bool = True
    """Try heads that read a learned mix of several depths."""
    ngrams: bool = True
    """Try weights of n-grams of pieces beside heads with one output per text."""
    hidden_widths: Annotated[tuple[Width, ...], Loose] = (128,)
    """Widths of hidden layers to try beside linear heads; '' for none."""
    parser_widths: Annotated[tuple[Width, Width], Loose] = (128, 32)
    """Parsing: width of the vectors that score heads, and of those that score relations."""
    head_dropout: Annotated[Fraction, Option(shown="0; adapters: 0.1; parsing: 0.1")] = 0.0
    """Dropout on the head's features."""
    learning_rates: Annotated[tuple[Rate, ...], Several] = (3e-3, 2e-2)
    """Learning rates to try for every head."""
    weight_decays: Annotated[tuple[Decay, ...], Several] = (0.03, 0.5, 5.0)
    """Weight decays to try for every head, decoupled from the gradient (AdamW)."""
    epochs: Annotated[Epochs | None, Option(shown=_BY_ROWS)] = None
    """Passes over the training set; beside an adapter, at most."""
    batch_size: Annotated[Count | None, Option(shown=f"{_BY_ROWS}; adapters: 16")] = None
    """Rows (tagging and parsing: words) per step."""
    dataset: Annotated[Name | None, Option(shown="the file's name")] = None
    """Name of the data set in the record of the training."""
    dataset_license: str | None = None
    """Licence of the data set, as its source states it."""
    description: str = Field(default="", max_length=2_000)
    """One line on what the task predicts."""
    languages: Annotated[
        tuple[Language, ...], Option("TAG,TAG", flags=("--languages", "-l")), Loose
    ] = ()
    """Languages that the task is for, for instance en,zh."""
    license: str | None = None
    """Licence of the task."""
    examples: Annotated[
        tuple[Record, ...], Option("TEXT", flags=("--example",), repeated=True), Loose
    ] = ()
    """Text that the model card shows with its prediction, of a pair JSON such as {"text": "…",
    "text_pair": "…"}; kept in the head file. No training row is taken of itself. Repeatable."""
    value_range: Annotated[tuple[float, float] | None, Option(shown="of the rows"), Loose] = None
    """Regression and numbers: predictions are clipped to this range, for instance 1,5."""
    aliases: Annotated[tuple[TaskName, ...], Option(flags=("--aliases", "--alias")), Loose] = ()
    """Aliases that point to the new version."""
    cache_dir: Annotated[Path | None, Option("FOLDER", "$ADAPTERHUB_CACHE, ~/.cache/…"), Loose] = (
        None
    )
    """Folder where features are kept."""
    cache_max_bytes: Annotated[int, replace(_SIZE, shown="16GiB")] = Field(default=16 * 2**30, ge=0)
    """Size of that folder, for instance 500MB or 16GiB, beyond which the oldest are dropped."""
    memory_bytes: Annotated[int, replace(_SIZE, shown="3GiB")] = Field(default=3 * 2**30, ge=2**20)
    """Size of the features that are held in memory at once; taps beyond it are fitted one group
    after the other, and token states are cut to it."""
    adapter: Annotated[
        AdapterOptions | None,
        Part(
            begins=_begins_adapter,
            otherwise="is for adapters; name a method, for instance --adapter lora.",
        ),
    ] = None
    """Train an adapter with the head; without it, a head on the frozen backbone."""
    tune: Annotated[
        Tune | None,
        BeforeValidator(read_tune),
        Option("RECIPE", "head, or as the adapter's options say", read=str),
    ] = None
    """What trains beside the head: head for nothing; top:K, own copies of the block at the last K
    depths; middle-frozen, adapters on the lower and the upper third of the depths; at:0,1,5,
    adapters at these depths; tied, one adapter for all depths; block, the block itself; embeddings,
    the tables and the map below depth 0; all, these and the block. The last two make a backbone of
    their own. rank, epochs and other options of adapters go with it."""
    adapter_of: Annotated[Name | None, Option("TASK")] = None
    """Fit a new head on the adapter of this task, which stays as it is; both share its branch."""

    @field_serializer("tune")
    def _plain_tune(self, tune: Tune | None) -> str | None:
        return None if tune is None else str(tune)

    @property
    def trains_encoder(self) -> bool:
        """Returns whether more than a head trains."""
        return self.adapter is not None or (self.tune is not None and self.tune.trains_encoder)

    @model_validator(mode="after")
    def _is_consistent(self) -> TrainingOptions:
        if self.validation is not None and self.split_column is not None:
            raise ValueError("give a validation file or a split column, not both")
        if self.validation is not None and self.validation_fraction is not None:
            raise ValueError("give a validation file or a fraction of the rows, not both")
        if self.test is not None and self.test_fraction:
            raise ValueError("give a test file or a fraction of the held-out rows, not both")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range {self.value_range} is empty: the smaller number first")
        if self.folds == 1:
            raise ValueError("folds are 2 or more, or 0 for no cross-validation")
        if self.tune is not None:
            check_together(self.tune, self.adapter, self.adapter_of)
        if self.adapter is not None and self.adapter_of is not None:
            raise ValueError("train an adapter or take the one of a task, not both")
        if self.pairs == "apart" and set(self.poolings) == {"attentive"}:
            raise ValueError(f"texts apart are pooled by {', '.join(APART_POOLINGS)}")
        row = None if self.kind is None else KINDS[self.kind]
        if row is not None and self.metric not in (None, *row.metrics):
            raise ValueError(f"{row.a_task} is chosen by {' or '.join(row.metrics)}")
        return self

    @model_validator(mode="after")
    def _has_one_tree(self) -> TrainingOptions:
        if self.tree is not None and self.parents:
            raise ValueError("give tree, which separates the levels of a label, or parents")
        check_parents(self.parents)
        return self


def training_options(**values: object) -> TrainingOptions:
    """Returns options from keyword arguments.

    Raises:
        UsageError: An option is unknown or its value is not valid.
    """
    return parse_options(TrainingOptions, values)


_OF_BOTH = sorted(TrainingOptions.model_fields.keys() & AdapterOptions.model_fields.keys())


def with_recipe(options: TrainingOptions, *, depth: int, shares_block: bool) -> TrainingOptions:
    """Returns options whose recipe, if any, is spelled out as those of an adapter.

    As on the command line, options that heads and adapters both have, such as epochs, are then
    those of the tuning.

    Args:
        options: As given.
        depth: Number of depths of the backbone.
        shares_block: Whether one block runs at all depths.

    Raises:
        UsageError: The backbone does not have the depths of the recipe.
    """
    tune, adapter = options.tune, options.adapter
    if tune is None or not tune.trains_encoder:
        return options
    own = set() if adapter is None else adapter.model_fields_set
    moved = {name: getattr(options, name) for name in _OF_BOTH if name not in own}
    moved = {n: v for n, v in moved.items() if n in options.model_fields_set and v is not None}
    made = adapter_for(tune, adapter, depth=depth, shares_block=shares_block)
    if made is None:
        return options
    made = made.model_copy(update=moved)
    usual = {name: TrainingOptions.model_fields[name].default for name in moved}
    return options.model_copy(update={**usual, "adapter": made})


def cache_folder(options: TrainingOptions) -> Path:
    """Returns the folder where features are kept."""
    if options.cache_dir is not None:
        return absolute_path(options.cache_dir)
    root = os.environ.get("ADAPTERHUB_CACHE") or "~/.cache/adapterhub"
    return absolute_path(root) / "features"


def check_abstention(options: TrainingOptions, kind: Kind) -> None:
    """Checks that tasks of a kind can abstain as the options ask for.

    Raises:
        UsageError: They cannot.
    """
    row = KINDS[kind]
    if options.min_accuracy is not None and not row.withheld:
        raise UsageError(
            f"Option min_accuracy is {options.min_accuracy:g}, but the data make {row.a_task}, "
            f"whose predictions have no confidence to abstain by."
        )
    if options.none_label is not None and not row.has_none:
        raise UsageError(
            f"Option none_label is '{options.none_label}', but the data make {row.a_task}; "
            f"only where each row has one of the labels can a label mean none of them."
        )


def measure_name(metric: MetricName, kind: Kind) -> str:
    """Returns the name of a metric as it is computed for choosing among candidates."""
    forms = KINDS[kind].compared_as
    return metric if forms is None or metric == "likelihood" else f"{metric} ({forms[0]})"


def selection_metric(
    options: TrainingOptions,
    kind: Kind,
    known: tuple[MetricName, ...],
    *,
    crossed: bool = False,
) -> MetricName:
    """Returns the metric that chooses among the candidates of a task of `kind`.

    Args:
        options: May name one.
        kind: Of the task.
        known: The metrics that can choose, by its targets; the default first.
        crossed: Whether the few rows are cross-validated. Counting which answers are right tells
            too little of them, so labels are then chosen by how likely they were.

    Raises:
        UsageError: The metric asked for does not fit the kind or its targets.
    """
    if options.metric is None:
        return "likelihood" if crossed and "likelihood" in known else known[0]
    if options.metric not in known:
        raise UsageError(
            f"Option metric is '{options.metric}', but the data make {KINDS[kind].a_task}, "
            f"which is chosen by {' or '.join(known)}."
        )
    return options.metric
