"""What n-grams are counted for: the rows of a task, or the tokens of rows that are tagged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from adapterhub.model.heads import Array, RowLogits
from adapterhub.model.ngrams import Ints
from adapterhub.training.data import Dataset
from adapterhub.training.encoding import Source
from adapterhub.training.gram_features import GramFeatures, read_ids
from adapterhub.training.material import Material
from adapterhub.training.options import TrainingOptions
from adapterhub.training.words import units_of


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """What n-grams are counted for: N rows, or for tagging the tokens of all rows.

    Attributes:
        known: The n-grams of the training rows, and how they become features.
        train: (N, F) features of the training rows.
        validation: The same of the validation rows.
        fitted: Which of `train` have the answers that `material` knows: words' first tokens.
        judged: Which of `validation` have.
        folds: Of each of `train` in cross-validation, else empty.
        lengths: Tokens of each validation row, for tagging.
    """

    known: GramFeatures
    train: sparse.csr_matrix
    validation: sparse.csr_matrix
    fitted: Ints
    judged: Ints
    folds: Ints
    lengths: list[int]

    @classmethod
    def read(
        cls, material: Material, source: Source, options: TrainingOptions, outputs: int
    ) -> Items | None:
        """Returns them, or None where no n-gram is in enough rows."""
        splits, around = material.splits, material.splits.train.kind == "tagging"

        def ids_of(dataset: Dataset) -> list[list[list[int]]]:
            windows = options.max_windows
            return read_ids(dataset.inputs, material.reading, source.tokenizer, windows)

        def answering(dataset: Dataset, lengths: list[int]) -> Ints:
            if not around:
                return np.arange(len(dataset))
            units = units_of(dataset, material.reading, options, source)
            starts = np.cumsum([0, *lengths[:-1]])
            words = (
                start + word.token for start, row in zip(starts, units, strict=True) for word in row
            )
            return np.fromiter(words, np.int64)

        ids = ids_of(splits.train)
        known = GramFeatures.choose(ids, outputs, around=around)
        if known is None:
            return None
        lengths = list(map(len, ids[0]))
        train, fitted = known.of(ids), answering(splits.train, lengths)
        folds = np.array(splits.folds, np.int64)
        if len(folds) and around:
            folds = np.repeat(folds, lengths)
        held_out, judged = train, fitted
        if not splits.folds:
            ids = ids_of(splits.validation)
            lengths = list(map(len, ids[0]))
            held_out, judged = known.of(ids), answering(splits.validation, lengths)
        return cls(known, train, held_out, fitted, judged, folds, lengths if around else [])

    def answers(self, logits: RowLogits) -> Array:
        """Returns the logits that answer for validation rows, or for their words: (M, K)."""
        if not isinstance(logits.values, tuple):
            return logits.values
        answers: Array = np.concatenate(logits.values)[self.judged]
        return answers

    def join(self, logits: RowLogits, share: float, added: Array) -> RowLogits:
        """Returns `share` of the logits of the validation rows, and what is added to them."""
        if not isinstance(logits.values, tuple):
            return RowLogits((share * logits.values + added).astype(np.float32))
        parts = np.split(added, np.cumsum(self.lengths)[:-1])
        joined = (share * row + part for row, part in zip(logits.values, parts, strict=True))
        return RowLogits(tuple(row.astype(np.float32) for row in joined), logits.texts)
