"""The options of `adapterhub train`: the fields of TrainingOptions, by the same names.

None means that the option was not given, so that defaults stand in one place only. Lists are
written `a,b`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Text = Annotated[
    str | None,
    typer.Option("--text-column", "--text", metavar="COLUMN", help="Column of the text. [text]"),
]
Pair = Annotated[
    str | None,
    typer.Option(
        "--pair-column",
        "--pair",
        metavar="COLUMN",
        help="Column of the second text. [text_pair, if any]",
    ),
]
Pairs = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        metavar="NAME",
        help="Two texts are read together, apart (each alone, then compared), or both are tried. "
        "[both]",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target-column",
        "--target",
        metavar="COLUMN",
        help="Column of the answer. [label, labels, score or tags]",
    ),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        "--tokens-column",
        "--tokens",
        metavar="COLUMN",
        help="Tagging: column of the words. [tokens]",
    ),
]
JoinTokens = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Tagging: how words become a text: auto, space or none. [auto]"
    ),
]
Mentions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Tagging: JSON of texts by entity type, to learn rows with them too. [none]",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="single_label, multi_label, regression or tagging. [told by the columns]",
    ),
]
Validation = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with the validation rows.")
]
SplitColumn = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Column that says train or validation; test rows are left out."
    ),
]
ValidationFraction = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Part of the rows to hold out, without the two above. [0.1, or cross-validation "
        "where that is under 200 rows]",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(metavar="N", help="Parts of cross-validation; 0 never cross-validates. [5]"),
]
SkipUnseen = Annotated[
    bool | None,
    typer.Option("--skip-unseen", help="Leave out validation rows whose label no row trains."),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Of split, initial weights and order. [0]")
]
MaxRows = Annotated[
    int | None, typer.Option(metavar="N", help="Rows at most, drawn by the seed. [all]")
]
MaxLength = Annotated[
    int | None, typer.Option(metavar="N", help="Window in tokens. [512, or the backbone's]")
]
MaxWindows = Annotated[int | None, typer.Option(metavar="N", help="Windows per text at most. [16]")]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What chooses: accuracy, macro_f1, micro_f1, mcc, likelihood, spearman, pearson or "
        "span_f1. [by kind; likelihood in cross-validation]",
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(metavar="X", help="Points of the metric that a cheaper head may be worse. [0.5]"),
]
Depths = Annotated[
    str | None, typer.Option(metavar="N,N", help="Depths that heads may read: 2,4,6. [all]")
]
Poolings = Annotated[
    str | None,
    typer.Option(metavar="NAME,NAME", help="How texts may be pooled. [cls,mean,max,attentive]"),
]
Mixes = Annotated[
    bool | None,
    typer.Option("--mixes/--no-mixes", help="Try heads that read several depths. [mixes]"),
]
Ngrams = Annotated[
    bool | None,
    typer.Option("--ngrams/--no-ngrams", help="Try n-grams of pieces beside the head. [ngrams]"),
]
HiddenWidths = Annotated[
    str | None,
    typer.Option(
        metavar="N,N", help="Hidden layers to try beside linear heads; '' for none. [128]"
    ),
]
HeadDropout = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="Part of a head's features that a step leaves out. [0; adapters: 0.1]"
    ),
]
LearningRates = Annotated[
    str | None, typer.Option(metavar="X,X", help="Tried for every head. [0.003,0.02]")
]
WeightDecays = Annotated[
    str | None, typer.Option(metavar="X,X", help="Tried for every head. [0.03,0.5,5.0]")
]
Epochs = Annotated[
    int | None, typer.Option(metavar="N", help="Passes over the rows. [by their number]")
]
BatchSize = Annotated[
    int | None, typer.Option(metavar="N", help="Rows per step. [by their number]")
]
Dataset = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Name of the data set. [the file's name]")
]
DatasetLicense = Annotated[str | None, typer.Option(help="Licence of the data set.")]
Description = Annotated[
    str | None, typer.Option(metavar="TEXT", help="One line on what the task answers.")
]
Languages = Annotated[
    str | None,
    typer.Option("--languages", "-l", metavar="TAG,TAG", help="What the task is for: en,zh."),
]
License = Annotated[str | None, typer.Option(metavar="TEXT", help="Licence of the task.")]
ValueRange = Annotated[
    str | None,
    typer.Option(metavar="X,X", help="Regression: values are clipped to it: 1,5. [of the rows]"),
]
Aliases = Annotated[
    str | None,
    typer.Option(
        "--aliases", "--alias", metavar="NAME,NAME", help="Names that point to the new version."
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where features are kept. [$ADAPTERHUB_CACHE, ~/.cache/…]"),
]
CacheMaxBytes = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Size of that folder: 500MB, 16GiB. [16GiB]")
]
MemoryBytes = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Features held in memory at once. [3GiB]")
]
