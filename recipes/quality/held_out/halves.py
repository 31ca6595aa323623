"""The rows of a data set for the protocol: training rows, those that choose, those that measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import cast

from adapterhub.kinds import KINDS
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.training.data.dataset import Dataset, Splits, read_splits
from adapterhub.training.data.splits import draw_rows
from adapterhub.training.options import TrainingOptions
from recipes.quality.datasets import compared_metric, is_treebank, training_file
from recipes.quality.held_out.record import Limits
from recipes.quality.untouched import folded, listed_texts

_SAMPLE = 200
"""Training rows whose mean number of tokens stands for all."""
_HALF = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """The rows of one data set.

    Attributes:
        splits: Training rows; validation rows that choose; test rows, which only measure.
        shared: Number of rows that were left out of the latter, since the backbone was tuned on
            a text of theirs.
    """

    splits: Splits
    shared: int

    @property
    def measured(self) -> Dataset:
        """Returns the rows that only measure."""
        return cast("Dataset", self.splits.test)

    @property
    def seen(self) -> Splits:
        """Returns the splits as systems are trained on them, without the rows that measure."""
        return replace(self.splits, test=None)


class TunedTexts:
    """The texts of the training rows that a backbone was tuned on, by data set."""

    def __init__(self, data: Path, listed: Sequence[str]) -> None:
        """Reads the texts.

        Args:
            data: Holds a folder per data set.
            listed: The sets of the model card; those that are not in the folder are left out.
        """
        self._texts = {name: listed_texts(data, [name]) for name in listed}

    def untouched(self, dataset: Dataset, name: str) -> list[int]:
        """Returns the rows of a data set that share no text with a training row of another set.

        Those of its own set are no obstacle: there a text of a pair stands in several pairs.
        """
        others = [texts for own, texts in self._texts.items() if own != name]
        return [
            row
            for row, texts in enumerate(dataset.inputs)
            if all(known.isdisjoint(folded(texts)) for known in others)
        ]


def split_options(folder: Path, limits: Limits) -> TrainingOptions:
    """Returns the options by which the rows of a data set are read.

    Half of the validation file is a test set, drawn as `train` draws one: labels are spread evenly,
    and equal texts, or questions on one context, stay together.
    """
    return TrainingOptions(
        validation=folder / "validation.jsonl.gz",
        test_fraction=_HALF,
        dataset=folder.name,
        folds=0,
        seed=limits.seed,
        # Of trees only some relations may be new; they count as wrong.
        skip_unseen=not is_treebank(folder),
    )


def head_options(
    options: TrainingOptions, train: Dataset, limits: Limits, depth: int
) -> TrainingOptions:
    """Returns the options of heads.

    Args:
        options: As `split_options` returns them.
        train: The training rows.
        limits: Which candidates there are.
        depth: Depths of the backbone.
    """
    changes: dict[str, object] = {
        "poolings": ("mean", "max"),
        "metric": compared_metric(train.kind),
        **fewer_candidates(limits, depth),
    }
    is_pair = len(train.fields) == 2 and not KINDS[train.kind].slides_second
    if limits.candidates == "few" and is_pair:
        changes["pairs"] = "apart"
    return options.model_copy(update=changes)


def fewer_candidates(limits: Limits, depth: int) -> dict[str, object]:
    """Returns the options that leave heads on few depths; none where all are tried.

    Args:
        limits: Which candidates there are.
        depth: Depths of the backbone.
    """
    if limits.candidates == "all":
        return {}
    thirds = sorted({max(1, round(share * depth)) for share in (1 / 3, 2 / 3)})
    return {"depths": tuple(thirds), "mixes": False}


def read_halves(folder: Path, limits: Limits, *, backbone: Backbone, tuned: TunedTexts) -> Halves:
    """Returns the rows of a data set.

    Args:
        folder: The data set.
        limits: How many rows there are.
        backbone: Has the tokenizer by which long texts are fewer.
        tuned: The texts that measured rows must not have.

    Raises:
        DataError: The rows cannot be used.
    """
    options = split_options(folder, limits)
    splits = read_splits(training_file(folder), options)
    measured = cast("Dataset", splits.test)  # the options ask for one
    kept = measured.take(tuned.untouched(measured, folder.name))
    train_rows, held_out_rows = _most_rows(splits.train, limits, backbone)

    def drawn(dataset: Dataset, rows: int | None) -> Dataset:
        return dataset.take(draw_rows(len(dataset), options.model_copy(update={"max_rows": rows})))

    splits = replace(
        splits,
        train=drawn(splits.train, train_rows),
        validation=drawn(splits.validation, held_out_rows),
        test=drawn(kept, held_out_rows),
    )
    return Halves(splits, len(measured) - len(kept))


def _most_rows(train: Dataset, limits: Limits, backbone: Backbone) -> tuple[int | None, int]:
    """Returns the largest numbers of training rows, and of rows that choose or measure."""
    if limits.max_tokens is None:
        return limits.max_rows, limits.held_out_rows
    sample = Random(limits.seed).sample(train.inputs, min(_SAMPLE, len(train)))
    texts = [text for row in sample for text in row]
    tokens = sum(map(len, backbone.tokenizer(texts, verbose=False)["input_ids"])) / len(sample)
    rows = max(8, int(limits.max_tokens / tokens))
    most = rows if limits.max_rows is None else min(rows, limits.max_rows)
    return most, min(max(8, rows // 2), limits.held_out_rows)
