"""Cross-validation: no statistic of a held-out row is in what its head is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from adapterhub.specs import HeadSpec, Kind, Pooling
from adapterhub.training.features.attentive_features import AttentiveTokens, TokenStates
from adapterhub.training.features.pairs import ComparedMix
from adapterhub.training.features.standardized_features import MixedTaps, Part, Reader, SingleTaps
from adapterhub.training.heads.candidates import CVFolds
from adapterhub.training.heads.fit_ngrams import fold_features
from adapterhub.training.heads.successive_halving import fit
from adapterhub.training.kinds.table import TRAINED
from tests.training.heads.test_successive_halving import (
    CPU,
    ROWS,
    SETTINGS,
    TRUTHS,
    constant,
    crossed_problem,
    twice,
)


def _shifted(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
    """Reads as `twice`, with other features of the rows of fold 0."""
    values = twice(part, depth, pooling).clone()
    values[::2] = values[::2] * 7 + 40
    return values


def _crossed_reader(name: str, read: Callable[[Part, int, Pooling], torch.Tensor]) -> Reader:
    mask = CVFolds.cross_validated(torch.arange(ROWS) % 2).train_mask
    if name == "single":
        return SingleTaps.load([HeadSpec(depths=(2,), pooling="mean")], read, CPU, mask)
    if name == "attentive":
        states = TokenStates(
            read("train", 2, "mean")[None], torch.arange(ROWS), torch.ones(ROWS, dtype=torch.int64)
        )
        heads = [HeadSpec(depths=(2,), pooling="attentive")]
        return AttentiveTokens.load(heads, states, states, mask)
    heads = [HeadSpec(depths=depths, pooling="mean") for depths in ((1, 2), (1, 2, 3))]
    kind = MixedTaps if name == "mix" else ComparedMix
    return kind.load(heads, read, CPU, mask)


@pytest.mark.parametrize("width", [None, 8])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("name", ["single", "mix", "compared", "attentive"])
@pytest.mark.slow
def test_features_of_a_fold_do_not_change_its_head(
    name: str, dropout: float, width: int | None
) -> None:
    """Standardised over all rows, they would move and scale what the head is fitted on."""
    task = replace(crossed_problem("single_label", folds=2), judge=constant, dropout=dropout)
    task = replace(task, epochs=4)
    same, other = (
        fit(_crossed_reader(name, read), SETTINGS, hidden_width=width, problem=task)[-1]
        for read in (twice, _shifted)
    )
    for tensor, expected in same.folds[0].items():
        torch.testing.assert_close(other.folds[0][tensor], expected)
    assert not torch.equal(other.folds[1]["head.weight"], same.folds[1]["head.weight"])
    assert not torch.equal(other.tensors["head.weight"], same.tensors["head.weight"])


@pytest.mark.parametrize("name", ["single", "mix", "compared", "attentive"])
def test_every_copy_reads_its_own_rows_at_mean_zero(name: str) -> None:
    reader = _crossed_reader(name, twice)
    own = reader.parameters(2 * 3)  # two settings in three copies
    rows = torch.arange(ROWS)
    features = reader.read("train", rows, own)
    for copy, kept in enumerate((rows % 2 == 1, rows % 2 == 0, rows >= 0)):
        seen = features[0, copy, kept]
        assert float(seen.mean(0).abs().max()) < 0.01
        assert float(seen.std(0).median()) == pytest.approx(1, abs=0.3 if name == "mix" else 0.05)
        single = {key: value[:, copy::3] for key, value in own.items()}
        alone = reader.read("validation", rows, single, copy)
        torch.testing.assert_close(alone[0, 0], features[0, copy])


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_the_prior_of_a_fold_is_that_of_the_other_rows(kind: Kind) -> None:
    truth = TRUTHS[kind][:ROWS]
    mask = CVFolds.cross_validated(torch.arange(ROWS) % 2).train_mask
    assert mask is not None
    whole = TRAINED[kind].objective(truth, 3)
    priors = TRAINED[kind].fold_priors(whole, mask)
    torch.testing.assert_close(priors[-1], whole.prior, atol=1e-5, rtol=1e-5)
    for copy in (0, 1):
        own = TRAINED[kind].objective(truth[mask[copy] > 0], 3)
        expected = own.prior
        if kind == "regression":
            expected = torch.tensor([(own.unit[0] - whole.unit[0]) / whole.unit[1]])
        torch.testing.assert_close(priors[copy], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["text", "pair", "words"])
def test_ngrams_of_a_fold_do_not_change_what_other_rows_read(form: str) -> None:
    """Which n-grams have weights, and how rare they are, is counted in the other folds."""
    folds = (0, 1) * 8
    rows = [[5, 6, 7, 8 + row % 3] for row in range(16)]
    changed = [[20, 21, 21, 8] if of == 0 else row for row, of in zip(rows, folds, strict=True)]
    fields = 2 if form == "pair" else 1
    same, other = (
        fold_features([ids] * fields, folds, 2, per_token=form == "words")[0].toarray()
        for ids in (rows, changed)
    )
    kept = np.repeat(np.array(folds) == 1, 4 if form == "words" else 1)
    assert same.any()
    np.testing.assert_array_equal(same[kept], other[kept])
    assert not np.array_equal(same[~kept], other[~kept])
