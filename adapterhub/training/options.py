"""The options of a training run; each is declared here once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from adapterhub.errors import UsageError
from adapterhub.specs import APART_POOLINGS, TEXT_POOLINGS, Kind, Language, Pooling, Spec, TaskName
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.parse_options import checked_options

MetricName = Literal[
    "accuracy", "macro_f1", "micro_f1", "mcc", "likelihood", "spearman", "pearson", "span_f1"
]
Joining = Literal["auto", "space", "none"]
PairReading = Literal["together", "apart", "both"]

METRICS: dict[Kind, tuple[MetricName, ...]] = {
    "single_label": ("accuracy", "macro_f1", "mcc", "likelihood"),
    "multi_label": ("macro_f1", "micro_f1", "likelihood"),
    "regression": ("spearman", "pearson"),
    "tagging": ("span_f1",),
}
"""The metrics that can choose among candidates, by kind; the first is the default."""

HELD_OUT = 0.1
"""Part of the rows that is held out where nothing else is asked for."""

FEWEST_HELD_OUT = 200
"""Under so many validation rows a choice is mostly chance, and figures are rough."""

Rate = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, le=10)]
Depth = Annotated[int, Field(ge=0, le=1_024)]
Width = Annotated[int, Field(ge=1, le=16_384)]

MentionList = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=1_000)], ...],
    Field(strict=False, min_length=1),
]


class TrainingOptions(Spec):
    """Options of one training run; the defaults suit sets of some hundred to 100,000 rows.

    Attributes:
        kind: What the task answers; None looks at the columns: `tokens` with tags -> tagging,
            a list of labels -> multi_label, a number -> regression, else single_label.
        text: Column of the text.
        pair: Column of the second text; None takes `text_pair` where there is one.
        pairs: How two texts are read: together in one sequence, or apart, each alone, and then
            compared; `both` tries the two ways. With an adapter, what is best for a head alone
            counts.
        target: Column of the answer; None takes `label`, `labels`, `score` or `tags`.
        tokens: Tagging: column of the words.
        join_tokens: How words become a text. `auto` puts a space between words, but none
            between Han characters, and none at all where every word is one character.
        mentions: Tagging: by entity type, texts that may stand for such an entity. Each training
            row with one is learned a second time, with drawn mentions in their place.
        validation: File with the validation rows.
        split_column: Column that says `train` or `validation`; `test` rows are left out.
        validation_fraction: Part of the rows to hold out where neither is given; None holds out
            a tenth, or cross-validates where that is under FEWEST_HELD_OUT rows.
        folds: Parts of cross-validation; 0 never cross-validates.
        skip_unseen: Whether validation rows with a label that no training row has are left out;
            otherwise they are refused.
        seed: Of the split, the initial weights and the order of rows.
        max_rows: Training and validation rows at most, each drawn by the seed.
        max_length: Window in tokens; None for 512 or the backbone's most, so that tasks that
            leave it alone share one pass.
        max_windows: Windows per text at most, as in scoring.
        metric: What chooses among candidates, see METRICS.
        tolerance: Points (hundredths of the metric) that a cheaper head may be worse.
        depths: Depths that heads may read; None for 0 (which costs no pass) to D.
        poolings: How text heads may pool; tagging always reads tokens.
        mixes: Whether heads that read a learned mix of several depths are tried.
        ngrams: Whether n-grams of pieces may have weights beside a head that answers for one text.
        hidden_widths: Widths of hidden layers that are tried beside linear heads.
        head_dropout: Part of a head's features that a step leaves out; beside an adapter, that of
            `adapter` counts.
        learning_rates: Tried for every head.
        weight_decays: Tried for every head; decoupled from the gradient (AdamW).
        epochs: Passes over the training rows; None chooses by their number.
        batch_size: Rows (tagging: words) per step; None chooses by their number.
        dataset: Name of the data set in the record; None takes the file's name.
        dataset_license: Its licence, as its source states it.
        description: One line on what the task answers.
        languages: Languages that the task is for, for instance `en`, `zh`.
        license: Licence of the head.
        value_range: Regression: values are clipped to it; None takes that of the training rows.
        aliases: Aliases that shall point to the new version.
        cache_dir: Where features are kept; None takes $ADAPTERHUB_CACHE/features or
            ~/.cache/adapterhub/features.
        cache_max_bytes: Size of that folder from which the oldest features are dropped.
        memory_bytes: Size of the features that are held in memory at once; more taps than fit
            are fitted one group after the other, and token states are cut to it.
        adapter: Trains an adapter with the head; None trains a head on the frozen trunk.
        adapter_of: A task whose adapter the head shall read, which stays as it is; the two tasks
            then share its branch.
    """

    kind: Kind | None = None
    text: str = "text"
    pair: str | None = None
    pairs: PairReading = "both"
    target: str | None = None
    tokens: str = "tokens"
    join_tokens: Joining = "auto"
    mentions: dict[str, MentionList] = Field(default={})
    validation: Annotated[Path | None, Field(strict=False)] = None
    split_column: str | None = None
    validation_fraction: float | None = Field(default=None, gt=0, lt=1)
    folds: int = Field(default=5, ge=0, le=20)
    skip_unseen: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    max_rows: int | None = Field(default=None, ge=2)
    max_length: int | None = Field(default=None, ge=8, le=512)
    max_windows: int = Field(default=16, ge=1)
    metric: MetricName | None = None
    tolerance: float = Field(default=0.5, ge=0, le=100)
    depths: Annotated[tuple[Depth, ...] | None, Field(strict=False, min_length=1)] = None
    poolings: Annotated[tuple[Pooling, ...], Field(strict=False, min_length=1)] = TEXT_POOLINGS
    mixes: bool = True
    ngrams: bool = True
    hidden_widths: Annotated[tuple[Width, ...], Field(strict=False)] = (128,)
    head_dropout: float = Field(default=0.0, ge=0, lt=1)
    learning_rates: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1)] = (3e-3, 2e-2)
    weight_decays: Annotated[tuple[Decay, ...], Field(strict=False, min_length=1)] = (
        0.03,
        0.5,
        5.0,
    )
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    batch_size: int | None = Field(default=None, ge=1)
    dataset: str | None = Field(default=None, min_length=1)
    dataset_license: str | None = None
    description: str = Field(default="", max_length=2_000)
    languages: Annotated[tuple[Language, ...], Field(strict=False)] = ()
    license: str | None = None
    value_range: Annotated[tuple[float, float] | None, Field(strict=False)] = None
    aliases: Annotated[tuple[TaskName, ...], Field(strict=False)] = ()
    cache_dir: Annotated[Path | None, Field(strict=False)] = None
    cache_max_bytes: int = Field(default=16 * 2**30, ge=0)
    memory_bytes: int = Field(default=3 * 2**30, ge=2**20)
    adapter: AdapterOptions | None = None
    adapter_of: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> TrainingOptions:
        if self.validation is not None and self.split_column is not None:
            raise ValueError("give a validation file or a split column, not both")
        if self.validation is not None and self.validation_fraction is not None:
            raise ValueError("give a validation file or a fraction of the rows, not both")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range {self.value_range} is empty: the smaller number first")
        if self.folds == 1:
            raise ValueError("folds are 2 or more, or 0 for no cross-validation")
        if self.adapter is not None and self.adapter_of is not None:
            raise ValueError("train an adapter or take the one of a task, not both")
        if self.pairs == "apart" and set(self.poolings) == {"attentive"}:
            raise ValueError(f"texts apart are pooled by {', '.join(APART_POOLINGS)}")
        if not set(self.poolings) <= set(TEXT_POOLINGS):
            raise ValueError(f"poolings of texts are {', '.join(TEXT_POOLINGS)}")
        if self.kind is not None and self.metric not in (None, *METRICS[self.kind]):
            raise ValueError(f"a {self.kind} task is chosen by {' or '.join(METRICS[self.kind])}")
        return self


def training_options(**values: object) -> TrainingOptions:
    """Returns options from keyword arguments or a command line.

    Raises:
        UsageError: An option is unknown or its value makes no sense.
    """
    return checked_options(TrainingOptions, values, one="Option", all_of_them="The options")


def cache_folder(options: TrainingOptions) -> Path:
    """Returns the folder where features are kept."""
    if options.cache_dir is not None:
        return options.cache_dir.expanduser()
    root = os.environ.get("ADAPTERHUB_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "adapterhub") / "features"


def selection_metric(options: TrainingOptions, kind: Kind, *, crossed: bool = False) -> MetricName:
    """Returns the metric that chooses among the candidates of a task of `kind`.

    Args:
        options: May name one.
        kind: Of the task.
        crossed: Whether the few rows are cross-validated. Counting which answers are right tells
            too little of them, so labels are then chosen by how likely they were.

    Raises:
        UsageError: The metric asked for does not fit the kind.
    """
    if options.metric is None:
        return "likelihood" if crossed and "likelihood" in METRICS[kind] else METRICS[kind][0]
    if options.metric not in METRICS[kind]:
        raise UsageError(
            f"Option metric is '{options.metric}', but the data make a {kind} task, which is "
            f"chosen by {' or '.join(METRICS[kind])}."
        )
    return options.metric
