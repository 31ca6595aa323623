"""Refuses texts that the tokenizer leaves nothing of, before anything is encoded."""

from __future__ import annotations

from adapterhub.errors import DataError
from adapterhub.inputs import tokenless
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.features.encoding import FeatureSource


def check_tokens(dataset: Dataset, source: FeatureSource) -> None:
    """Checks that every text leaves a token.

    Raises:
        DataError: One leaves none; names its row.
    """
    for row, texts in enumerate(dataset.inputs, start=1):
        for name, text in zip(dataset.fields, texts, strict=True):
            if not source.tokenizer.has_tokens(text):
                raise DataError(
                    dataset.name, f"row {row} of those read: field '{name}' {tokenless(text)}"
                )
