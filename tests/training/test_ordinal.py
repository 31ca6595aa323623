"""Labels that have an order, from labelled rows to predictions, as users do it."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score
from torch.nn import functional

from adapterhub import Hub
from adapterhub.decoding import BEST, AnswerOptions
from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.heads.heads import RowLogits, softmax
from adapterhub.model.heads.kinds.ordinal import median_places
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.data.labels import order_of
from adapterhub.training.evaluation.metrics import ordinal_figures
from adapterhub.training.kinds.ordinal import step_loss
from adapterhub.training.kinds.selection import judge_steps
from adapterhub.training.options import training_options
from adapterhub.training.prepare import summary_of
from tests.builders import task_spec
from tests.training.rows import star_rows
from tests.training.run import train_in

STARS = ("1 star", "2 stars", "3 stars")
QUICK: dict[str, Any] = {
    "kind": "ordinal",
    "depths": (0, 2),
    "poolings": ("mean",),
    "hidden_widths": (),
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "validation_fraction": 0.25,
}


trained_on = partial(train_in, task="stars", **QUICK)


def test_a_head_learns_stars(tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder):
    task = trained_on(star_rows(), tmp_path, tiny_backbone, tiny_encoder)
    assert task.spec.labels == STARS
    assert (task.table.metric, task.table.measure) == ("kappa", "kappa (before calibration)")
    figures = {metric.name: metric.value for metric in task.metrics}
    assert list(figures) == ["kappa", "mae", "spearman", "accuracy", "macro_f1", "ece"]
    assert figures["kappa"] > 0.9
    assert task.spec.diagnostics is not None
    assert np.shape(task.spec.diagnostics.confusion) == (3, 3)
    hub, rows = Hub(tmp_path / "registry.yaml", device="cpu"), star_rows(30, seed=5)
    found = hub.evaluate(rows, "stars")["stars"]
    columns = hub.score([row["text"] for row in rows], ["stars"]).to_columns()
    assert list(columns) == ["stars.label", "stars.score"]
    right = np.mean(
        [a == row["stars"] for a, row in zip(columns["stars.label"], rows, strict=True)]
    )
    assert {one.name: one.value for one in found.metrics}["accuracy"] == pytest.approx(right)
    ranking = hub.score(["a good film"], ["stars"], top_k=None)["stars"][0]
    assert isinstance(ranking, list)
    assert {one["label"] for one in ranking} == set(STARS)  # type: ignore[typeddict-item]


def test_rows_of_the_training_are_known_again(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    # The rows are split as in training only with the order of the labels, which no number tells.
    options: dict[str, Any] = {"labels": ("bad", "ok", "good"), "folds": 0}
    options["validation_fraction"] = None
    trained_on(WORDS, tmp_path, tiny_backbone, tiny_encoder, **options)
    found = Hub(tmp_path / "registry.yaml", device="cpu").evaluate(WORDS, "stars")["stars"]
    assert found.earlier_use is not None
    assert found.labels == ("bad", "ok", "good")


def test_files_have_labels_and_scores(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    trained_on(
        star_rows(), tmp_path, tiny_backbone, tiny_encoder, folds=2, validation_fraction=None
    )
    hub, out = Hub(tmp_path / "registry.yaml", device="cpu"), tmp_path / "scored.csv"
    hub.score_file([row["text"] for row in star_rows(9)], out, tasks=["stars"])
    with out.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert len(read) == 9
    assert {row["stars.label"] for row in read} <= set(STARS)
    assert all(0 <= float(row["stars.score"]) <= 1 for row in read)


@pytest.mark.slow
def test_an_adapter_learns_stars(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    adapter = {"method": "lora", "rank": 2, "epochs": 2}
    task = trained_on(
        star_rows(), tmp_path, tiny_backbone, tiny_encoder, adapter=adapter, depths=(4,)
    )
    assert task.spec.labels == STARS
    assert Hub(tmp_path / "registry.yaml", device="cpu").score(["a film"], ["stars"])


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ("5 1 3 2 4", "1 2 3 4 5"),
        ("10 9 1", "1 9 10"),
        ("0 -1 1", "-1 0 1"),
        ("1.5 1 0.5", "0.5 1 1.5"),
        ("2_Stars 1_star", "1_star 2_Stars"),
        ("level-3 level-1 level-2", "level-1 level-2 level-3"),
        ("三星2 三星1", "三星1 三星2"),
        ("bad good", ""),
        ("1 2 good", ""),
        ("a1 b2", ""),
        ("1 1.0", ""),
        ("1-2 3-4", ""),
    ],
)
def test_numbers_in_labels_are_an_order(labels: str, order: str) -> None:
    assert order_of(labels.split()) == tuple(order.split())


WORDS = [
    {"text": f"a {word} film {n}", "label": word} for n in range(24) for word in ("bad", "good")
]


def test_an_order_that_cannot_be_known_is_asked_for() -> None:
    options = training_options(**QUICK)
    with pytest.raises(UsageError, match=r"order of the labels bad, good is not known.*--labels"):
        read_splits(WORDS, options)
    with pytest.raises(DataError, match="have 'good', which the option labels does not name"):
        read_splits(WORDS, options.model_copy(update={"labels": ("bad", "ok")}))
    odd = [*star_rows(20), {"text": "a film", "stars": "none"}]
    with pytest.raises(DataError, match="row 21: the label 'none' has no place in the order of"):
        read_splits(odd, options)
    # A scale has its steps even where no row has one of them.
    found = read_splits(WORDS, options.model_copy(update={"labels": ("bad", "ok", "good")}))
    assert found.train.labels == found.validation.labels == ("bad", "ok", "good")
    assert set(found.train.truth()) == {0, 2}
    with pytest.raises(UsageError, match="one is named twice"):
        training_options(**QUICK, labels=("bad", "bad"))
    with pytest.raises(UsageError, match="Option labels is for ordinal"):
        read_splits(WORDS, training_options(labels=("bad", "good")))


def test_the_judge_is_what_is_reported() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 4, (80,), generator=draw)
    logits = torch.randn(5, 80, 6, generator=draw)
    logits[0] += 20 * functional.one_hot(truth, 6)
    logits[1] = functional.one_hot(torch.tensor(3), 6)
    for metric in ("kappa", "spearman", "accuracy", "macro_f1"):
        values = judge_steps(metric, truth, 6)(logits)  # type: ignore[arg-type]
        for own, value in zip(logits.numpy(), values, strict=True):
            scores = softmax(own)
            figures = ordinal_figures(scores, median_places(scores), truth.numpy())
            assert float(value) == pytest.approx(figures[metric], abs=1e-6), metric
        assert float(values[0]) == pytest.approx(1)
    assert float(judge_steps("kappa", truth, 6)(logits)[1]) == 0


def test_figures_are_those_of_scikit_learn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 3, 50), rng.dirichlet(np.ones(5), 50).astype(np.float32)
    chosen = median_places(scores)
    figures = ordinal_figures(scores, chosen, truth)
    kappa = cohen_kappa_score(truth, chosen, labels=range(5), weights="quadratic")
    assert figures["kappa"] == pytest.approx(kappa)
    assert figures["mae"] == np.abs(chosen - truth).mean()
    assert figures["spearman"] == pytest.approx(spearmanr(chosen, truth).statistic)


def test_the_prediction_is_the_median() -> None:
    spec = task_spec("ordinal")
    logits = RowLogits(np.log(np.array([[0.4, 0.3, 0.3], [0.6, 0.2, 0.2]], np.float32)))
    first, second = DECODERS["ordinal"].decode(logits, spec, BEST)
    assert first == {"label": "fair", "score": pytest.approx(0.3)}
    assert second == {"label": "bad", "score": pytest.approx(0.6)}
    ranked = DECODERS["ordinal"].decode(logits, spec, AnswerOptions(top_k=2))
    assert [one["label"] for one in ranked[0]] == ["bad", "fair"]  # type: ignore[union-attr,index,typeddict-item]
    # The median has the least expected error of all labels.
    scores = np.random.default_rng(1).dirichlet(np.ones(6), 100).astype(np.float32)
    places = np.arange(6)
    errors = scores @ np.abs(places[:, None] - places)
    np.testing.assert_allclose(errors.min(1), errors[np.arange(100), median_places(scores)])


def test_errors_of_more_steps_cost_more() -> None:
    logits = torch.zeros(1, 1, 3, 4)
    logits[0, 0, torch.arange(3), torch.tensor([1, 2, 3])] = 3.0
    each = torch.stack([step_loss(logits[:, :, i : i + 1], torch.tensor([0])) for i in range(3)])
    assert bool((each[1:] > each[:-1]).all())
    # Against its definition: cumulated probabilities, less one from the true label on.
    chances = logits[0, 0].softmax(-1)
    wanted = chances.cumsum(-1)[:, :3].sub(1).square().sum(-1) - chances[:, 0].log()
    torch.testing.assert_close(each.flatten(), wanted)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        ("1 2 3", "--kind ordinal"),
        ("1 2 3 4 5 6", "--kind regression"),
        ("1-star 2-stars 3-stars", "--kind ordinal"),
        ("0 1", ""),
        ("red green blue", ""),
    ],
)
def test_labels_that_may_have_an_order_are_hinted_at(labels: str, hint: str) -> None:
    names = labels.split()
    rows = [{"text": f"text {n}", "label": names[n % len(names)]} for n in range(60)]
    warnings = summary_of(read_splits(rows, training_options())).warnings
    assert len(warnings) == bool(hint)
    assert all(hint in warning for warning in warnings)
    if hint:
        options = training_options(kind="ordinal")
        assert not summary_of(read_splits(rows, options)).warnings


def test_an_improbable_median_is_withheld() -> None:
    logits = RowLogits(np.log(np.array([[0.4, 0.3, 0.3], [0.6, 0.2, 0.2]], np.float32)))
    options = AnswerOptions(min_confidence=0.5)
    first, second = DECODERS["ordinal"].decode(logits, task_spec("ordinal"), options)
    assert first == {"label": None, "score": pytest.approx(0.3)}
    assert second == {"label": "bad", "score": pytest.approx(0.6)}
