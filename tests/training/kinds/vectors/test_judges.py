"""What compares candidates computes the same as what is reported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapterhub.model.heads.kinds.embedding import unit_vectors
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.similarity import cosine_spearman, partner_recalls
from adapterhub.training.kinds.vectors import judges
from adapterhub.training.kinds.vectors.judges import judge_cosines, judge_partners
from adapterhub.training.kinds.vectors.pairs import pair_targets
from adapterhub.training.kinds.vectors.principal import principal_axes

DRAW = np.random.default_rng(0)
TEXTS = [f"text {number}" for number in range(50)]
PAIRS = tuple((TEXTS[a], TEXTS[b]) for a, b in DRAW.integers(0, 50, (60, 2)))
SAME = (DRAW.random(60) < 0.6).astype(np.float32)
# Equal texts have equal vectors, as a task gives them.
OF_TEXTS = dict(zip(TEXTS, DRAW.normal(size=(50, 3, 5)).astype(np.float32), strict=True))
SIDES = [np.stack([OF_TEXTS[row[side]] for row in PAIRS], axis=1) for side in (0, 1)]
LOGITS = torch.from_numpy(np.concatenate(SIDES, axis=-1))  # 3 candidates


def dataset(scores: np.ndarray) -> Dataset:
    return Dataset("pairs", "embedding", ("text",), PAIRS, tuple(scores.tolist()), ())


@pytest.mark.parametrize("k", [1, 5, 10, 99])
def test_the_recall_of_candidates_is_that_which_is_reported(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "_VALUES_AT_ONCE", 400)
    found = judge_partners(pair_targets(PAIRS, SAME), k)(LOGITS)
    for candidate, value in enumerate(found.tolist()):
        vectors = [unit_vectors(side[candidate]) for side in SIDES]
        reported = partner_recalls(vectors[0], vectors[1], dataset(SAME), (k,))
        assert value == pytest.approx(reported[k], abs=1e-6)
    assert (k < 99) == (float(found.max()) < 1)


def test_without_partners_no_candidate_is_better() -> None:
    equal = tuple((text, text) for text in TEXTS[:9])
    targets = pair_targets(equal, np.ones(9, np.float32))
    assert judge_partners(targets, 1)(LOGITS[:, :9]).tolist() == [0, 0, 0]


def test_of_equal_vectors_no_partner_is_found() -> None:
    equal = torch.ones(1, len(PAIRS), 10) * (1 + 1e-8)
    assert judge_partners(pair_targets(PAIRS, SAME), 5)(equal).tolist() == [0]
    vectors = unit_vectors(np.ones((len(PAIRS), 5), np.float32))
    assert partner_recalls(vectors, vectors, dataset(SAME), (1, 5)) == {1: 0, 5: 0}


def test_the_correlation_of_candidates_is_that_which_is_reported() -> None:
    scores = DRAW.integers(0, 5, 60).astype(np.float32)
    found = judge_cosines(torch.from_numpy(scores))(LOGITS)
    for candidate, value in enumerate(found.tolist()):
        sides = [unit_vectors(side[candidate]) for side in SIDES]
        assert value == pytest.approx(cosine_spearman(*sides, scores), abs=1e-6)


def test_all_principal_axes_leave_cosines_as_they_are_and_few_keep_what_varies() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(400, 12, generator=draw) @ torch.diag(torch.arange(12, 0, -1.0))
    whole = features @ principal_axes(features, 12)
    cosines = [torch.nn.functional.normalize(one, dim=1) for one in (features, whole)]
    assert torch.allclose(cosines[0] @ cosines[0].T, cosines[1] @ cosines[1].T, atol=1e-5)
    kept = (features @ principal_axes(features, 3)).var(0).sum()
    assert float(kept) == pytest.approx(float(whole[:, :3].var(0).sum()), rel=1e-5)
    assert float(kept / whole.var(0).sum()) > 0.5
