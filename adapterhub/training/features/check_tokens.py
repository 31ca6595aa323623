"""Refuses texts that the tokenizer leaves nothing of, before anything is encoded."""

from __future__ import annotations

from adapterhub.choices.rows import place_name
from adapterhub.errors import DataError
from adapterhub.inputs import tokenless
from adapterhub.training.data.columns import TEXT_PAIR
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.features.encoding import FeatureSource


def check_tokens(dataset: Dataset, source: FeatureSource) -> None:
    """Checks that every text leaves a token.

    Raises:
        DataError: One leaves none; names its row.
    """
    names = (*dataset.fields, TEXT_PAIR)  # of pairs that a task reads one by one
    for row, texts in enumerate(dataset.inputs, start=1):
        for place, text in enumerate(texts):
            if not source.tokenizer.has_tokens(text):
                name = place_name(names, place, has_choices=dataset.has_choices)
                raise DataError(dataset.name, f"row {row} of those read: {name} {tokenless(text)}")
