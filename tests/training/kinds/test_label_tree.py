"""Loss, calibration and metrics of labels in a tree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS, MetricName
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import label_temperature, leaf_temperature
from adapterhub.training.heads.fit_ngrams import fit_linear
from adapterhub.training.kinds.kind import Outputs, Targets
from adapterhub.training.kinds.label_tree import LabelTreeKind
from adapterhub.training.kinds.one_label import OneLabelKind, label_loss
from tests.builders import task_spec

KIND = LabelTreeKind()
LEAVES = ("a.b.c", "a.b.d", "a.e", "f.g", "f.h", "i")
PARENTS = {"a.b.c": "a.b", "a.b.d": "a.b", "a.b": "a", "a.e": "a", "f.g": "f", "f.h": "f"}
ROOTED = {**PARENTS, "a": "all", "f": "all", "i": "all"}


def dataset(*targets: str, parents: dict[str, str] = PARENTS) -> Dataset:
    inputs = tuple((f"text {row}",) for row in range(len(targets)))
    return Dataset("d", "label_tree", ("text",), inputs, targets, LEAVES, parents=parents)


def targets_of(rows: Dataset) -> Targets:
    return KIND.targets(rows, ())


def figures(rows: Dataset, logits: np.ndarray) -> dict[str, float]:
    spec = task_spec("label_tree", labels=LEAVES, parents=dict(rows.parents))
    return KIND.figures(spec, Outputs(logits.astype(np.float32)), rows)


def test_an_inner_label_is_any_leaf_below_it() -> None:
    rows = dataset("a.b", "f.h", "a")
    assert rows.truth().tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0]]
    logits = torch.randn(2, 3, len(rows), 6, generator=torch.Generator().manual_seed(0))
    objective = KIND.objective(targets_of(rows).values, 6)
    p = logits.softmax(-1)
    expected = -(p[:, :, 0, :2].sum(-1).log() + p[:, :, 1, 4].log() + p[:, :, 2, :3].sum(-1).log())
    torch.testing.assert_close(objective.loss(logits, objective.targets), expected / 3)
    shares = torch.tensor([1 / 2 + 1 / 3, 1 / 2 + 1 / 3, 1 / 3, 0, 1, 0]) + 1
    torch.testing.assert_close(objective.prior.exp(), shares / shares.sum())
    mask = torch.tensor([[1.0, 0, 0], [1, 1, 1]])
    priors = KIND.fold_priors(objective, mask)
    torch.testing.assert_close(priors[1], objective.prior)
    assert priors[0].exp().tolist() == pytest.approx([1.5 / 7] * 2 + [1 / 7] * 4)


def test_of_leaves_alone_it_is_one_label_per_row() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 6, 80)
    rows = dataset(*(LEAVES[place] for place in truth))
    logits = torch.from_numpy(draw.normal(size=(2, 3, 80, 6)).astype(np.float32))
    objective, flat = KIND.objective(targets_of(rows).values, 6), torch.from_numpy(truth)
    weights = torch.rand(80)
    torch.testing.assert_close(
        objective.loss(logits, objective.targets, weights), label_loss(logits, flat, weights)
    )
    prior = OneLabelKind.objective(KIND, flat, 6).prior  # type: ignore[arg-type]
    torch.testing.assert_close(objective.prior, prior)
    one = logits[0, 0].numpy() * 5
    assert leaf_temperature(one, rows.truth()) == label_temperature(one, truth)


def test_far_logits_have_a_finite_temperature() -> None:
    logits = np.array([[900.0, -900, 0, 0, 0, 0], [0, 0, 0, 0, 0, 900]], np.float32)
    assert math.isfinite(leaf_temperature(logits, dataset("f", "a.b").truth()))


@pytest.mark.parametrize("parents", [PARENTS, ROOTED])
@pytest.mark.parametrize("metric", [m for m in KINDS["label_tree"].metrics if m != "likelihood"])
def test_judged_as_reported(metric: MetricName, parents: dict[str, str]) -> None:
    draw = np.random.default_rng(1)
    names = [*LEAVES, *dict.fromkeys(parents.values())]
    rows = dataset(*(names[n] for n in draw.integers(0, len(names), 60)), parents=parents)
    logits = draw.normal(size=(3, 60, 6)) + 2 * rows.truth()[None]
    judged = KIND.judge(metric, rows, targets_of(rows))(torch.from_numpy(logits))
    assert judged.tolist() == pytest.approx([figures(rows, one)[metric] for one in logits])
    assert len(set(judged.tolist())) > 1


def test_hierarchical_f1_by_hand() -> None:
    logits = np.eye(6)[[0, 2, 3, 5]] * 9
    # {a, a.b, a.b.c} right; {a, a.e} for {a, a.b, a.b.d}; {f} of {f, f.g} for the inner f; i for f.
    rows = dataset("a.b.c", "a.b.d", "f", "f.h")
    assert figures(rows, logits)["hierarchical_f1"] == pytest.approx(2 * 5 / (7 + 9))
    assert figures(rows, logits)["accuracy"] == 0.5
    # All are under one root, which says nothing.
    rooted = dataset("a.b.c", "a.b.d", "f", "f.h", parents=ROOTED)
    assert figures(rooted, logits)["hierarchical_f1"] == pytest.approx(2 * 5 / (7 + 9))


def test_likelihood_prefers_the_right_branch() -> None:
    rows = dataset("a", "f.g")
    judge = KIND.judge("likelihood", rows, targets_of(rows))
    good, bad = np.eye(6)[[1, 3]] * 3, np.eye(6)[[4, 3]] * 3
    better, worse = judge(torch.from_numpy(np.stack([good, bad]))).tolist()
    assert worse < better <= 1


def test_rows_without_a_leaf_have_no_macro_f1() -> None:
    rows = dataset("a", "f")
    assert "macro_f1" not in figures(rows, np.eye(6)[[0, 1]])
    with pytest.raises(UsageError, match="no validation row has a leaf"):
        KIND.judge("macro_f1", rows, targets_of(rows))


def test_leaves_are_compared_where_rows_have_them() -> None:
    rows, spec = (
        dataset("a.b.c", "a", "f.g"),
        task_spec("label_tree", labels=LEAVES, parents=PARENTS),
    )
    logits = np.eye(6, dtype=np.float32)[[0, 0, 4]] * 9
    found = KIND.compare(spec, Outputs(logits), rows, split="given")
    assert found.rows == 2
    assert found.diagnostics is not None
    confusion = np.array(found.diagnostics.confusion)
    assert (confusion[0, 0], confusion[3, 4], confusion.sum()) == (1, 1, 2)
    inner = KIND.compare(spec, Outputs(logits[:2]), dataset("a", "f"), split="given")
    assert inner.diagnostics is not None
    assert (inner.rows, sum(one.answers for one in inner.diagnostics.reliability)) == (2, 2)


def test_ngrams_learn_from_rows_with_a_leaf() -> None:
    rows = dataset(*("a.b.c", "f.g", "a") * 8)
    features = sparse.csr_matrix(np.tile(np.eye(3), (8, 1)))
    model = KINDS["label_tree"].linear
    assert model is not None
    made = fit_linear(features, rows.truth(), model, outputs=6, strength=4.0)
    first, second, inner = made.logits(sparse.csr_matrix(np.eye(3)))
    assert (int(first.argmax()), int(second.argmax())) == (0, 3)
    assert inner[0] == pytest.approx(inner[3], abs=1e-3)
    only_inner = fit_linear(features[2::3], rows.truth()[2::3], model, outputs=6, strength=4.0)
    assert np.ptp(only_inner.logits(features)) == 0
