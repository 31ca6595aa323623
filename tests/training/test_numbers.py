"""Several numbers of a text, from labelled rows to predictions, as users do it."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge

from adapterhub import Hub
from adapterhub.cli import app
from adapterhub.errors import DataError, UsageError
from adapterhub.examples import Example
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.heads.heads import RowLogits
from adapterhub.publishing.task_section import task_section
from adapterhub.publishing.widget import _output
from adapterhub.store.headfile import read_head
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.evaluation.calibration import TunedHead, recalibrate
from adapterhub.training.evaluation.metrics import numbers_figures
from adapterhub.training.heads.fit_ngrams import fit_linear
from adapterhub.training.kinds.numbers import NumbersKind, numbers_loss
from adapterhub.training.kinds.selection import judge_several
from adapterhub.training.options import training_options
from adapterhub.training.several.train_tasks import train_tasks
from tests.builders import head_tensors, task_spec
from tests.training.rows import Rows, number_rows, write_rows
from tests.training.run import train_in

NAMES = ("valence", "minutes")
QUICK: dict[str, Any] = {
    "kind": "numbers",
    "depths": (0, 2),
    "poolings": ("mean",),
    "hidden_widths": (8,),
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "validation_fraction": 0.25,
}


def in_one(rows: Rows) -> Rows:
    """Returns rows with a column of mappings."""
    return [{"text": r["text"], "values": {name: r[name] for name in NAMES}} for r in rows]


def with_gaps(rows: Rows) -> Rows:
    """Returns rows of which every fifth lacks the second number."""
    return [{**row, "minutes": None} if n % 5 == 0 else row for n, row in enumerate(rows)]


trained_on = partial(train_in, task="mood", **QUICK)


def test_a_head_learns_two_numbers(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    rows = number_rows(80)
    examples = ("a good day and a late film",)
    task = trained_on(
        rows, tmp_path, tiny_backbone, tiny_encoder, target="valence,minutes", examples=examples
    )
    assert (task.spec.kind, task.spec.labels) == ("numbers", NAMES)
    assert task.spec.value_ranges == (
        (pytest.approx(0.1), pytest.approx(0.9)),
        (0.0, 40.0),
    )
    figures = {metric.name: metric.value for metric in task.metrics}
    assert list(figures) == ["spearman", "pearson"]
    assert figures["pearson"] > 0.8
    hub, held_out = Hub(tmp_path / "registry.yaml", device="cpu"), number_rows(30, seed=7)
    found = hub.evaluate(held_out, "mood")["mood"]
    each = found.as_dict()["labels"]
    assert [one["label"] for one in each] == list(NAMES)  # type: ignore[index,attr-defined]
    scores = hub.score([row["text"] for row in held_out], ["mood"])
    predicted = np.array([[one["values"][name] for name in NAMES] for one in scores["mood"]])  # type: ignore[index,call-overload]
    truth = np.array([[row[name] for name in NAMES] for row in held_out])
    correlations = [pearsonr(a, b).statistic for a, b in zip(predicted.T, truth.T, strict=True)]
    metrics = {one.name: one.value for one in found.metrics}
    assert metrics["pearson"] == pytest.approx(np.mean(correlations), abs=1e-5)
    assert each[1]["mean_absolute_error"] == pytest.approx(  # type: ignore[index]
        np.abs(predicted[:, 1] - truth[:, 1]).mean(), rel=1e-3
    )
    assert found.comparison.panels(NAMES)
    assert task.saved is not None
    (example,) = read_head(task.saved.path).spec.examples
    shown = hub.score(list(examples), ["mood"])["mood"][0]["values"]  # type: ignore[index,call-overload]
    assert example.values == pytest.approx(tuple(shown.values()), abs=1e-5)
    assert f"valence {example.values[0]:.3g}" in task_section("a/b", "mood", task.spec, ())
    assert _output(task.spec, example)[1] == {"label": "minutes", "score": example.values[1]}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_have_a_list_of_named_numbers(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, ending: str
) -> None:
    rows = in_one(with_gaps(number_rows()))
    trained_on(rows, tmp_path, tiny_backbone, tiny_encoder, folds=2, validation_fraction=None)
    hub, out = Hub(tmp_path / "registry.yaml", device="cpu"), tmp_path / f"scored.{ending}"
    source = write_rows(tmp_path / "rows.jsonl", [{"text": row["text"]} for row in rows[:9]])
    hub.score_file(source, out, tasks=["mood"])
    if ending == "csv":
        with out.open(newline="") as file:
            (first, *_) = [json.loads(row["mood.values"]) for row in csv.DictReader(file)]
        assert [one["name"] for one in first] == list(NAMES)
    # Predictions train again.
    again = read_splits(out, training_options(kind="numbers", target="mood.values"))
    assert (again.train.labels, len(again.train)) == (NAMES, 9)


@pytest.mark.slow
def test_an_adapter_learns_numbers_of_which_some_are_missing(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"adapter": {"method": "lora", "rank": 2, "epochs": 2}, "depths": (4,)}
    rows = in_one(with_gaps(number_rows()))
    task = trained_on(rows, tmp_path, tiny_backbone, tiny_encoder, **options)
    assert task.spec.adapter is not None
    assert all(np.isfinite(metric.value) for metric in task.metrics)
    assert Hub(tmp_path / "registry.yaml", device="cpu").score(["a film"], ["mood"])


def test_every_form_of_rows_is_read_alike(tmp_path: Path) -> None:
    rows, options = with_gaps(number_rows(20)), training_options(**QUICK)
    plain = in_one(rows)
    listed = [{**row, "values": list(row["values"].values())} for row in plain]
    named = [
        {**row, "values": [{"name": n, "value": v} for n, v in row["values"].items()]}
        for row in plain
    ]
    cells = [{**row, "values": json.dumps(row["values"])} for row in plain]
    columns = options.model_copy(update={"target": "valence, minutes"})
    found = [read_splits(data, options) for data in (plain, named, cells)]
    found.append(read_splits(listed, options.model_copy(update={"labels": NAMES})))
    found.append(read_splits(rows, columns))
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["text", *NAMES])
        writer.writeheader()
        writer.writerows(rows)
    found.append(read_splits(file, columns))
    assert {one.train.labels for one in found} == {NAMES}
    assert len({one.train.digest() for one in found}) == 1
    truth = found[0].train.truth()
    assert truth.shape == (len(found[0].train), 2)
    assert 0 < np.isnan(truth).sum() < 8
    swapped = read_splits(plain, options.model_copy(update={"labels": NAMES[::-1]}))
    np.testing.assert_array_equal(swapped.train.truth(), truth[:, ::-1])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"valence": "high", "minutes": 1}, "has 'valence', which is 'high'; expected a number"),
        ([0.1, 0.2], "expected numbers with their names"),
        ({}, "has no number"),
        ({"valence": None, "minutes": float("nan")}, "has no number"),
        (0.5, "expected numbers with their names"),
        ({"valence": float("inf")}, "expected a finite number"),
        ([{"name": "minutes", "value": 1}, {"name": "minutes", "value": 2}], "two numbers of one"),
    ],
)
def test_what_is_no_number_is_named_with_its_row(value: object, problem: str) -> None:
    rows: Rows = in_one(number_rows(20))
    rows[4]["values"] = value
    with pytest.raises(DataError, match=f"row 5: column 'values'.*{problem}"):
        read_splits(rows, training_options(**QUICK))


def test_what_cannot_be_learned_is_refused() -> None:
    rows, options = number_rows(20), training_options(**QUICK)
    same = [{**row, "minutes": 3} for row in rows]
    with pytest.raises(DataError, match="rows that have 'minutes' have the same value"):
        read_splits(in_one(same), options)
    alone = [{"text": row["text"], "values": {"valence": row["valence"]}} for row in rows]
    with pytest.raises(DataError, match="only the label 'valence'"):
        read_splits(alone, options)
    with pytest.raises(DataError, match="there is no column 'arousal'"):
        read_splits(rows, options.model_copy(update={"target": "valence,arousal"}))
    with pytest.raises(DataError, match="no training row has 'arousal'"):
        read_splits(in_one(rows), options.model_copy(update={"labels": (*NAMES, "arousal")}))
    with pytest.raises(UsageError, match="--kind numbers"):
        read_splits(
            [{"text": r["text"], "label": r["values"]} for r in in_one(rows)], training_options()
        )


def test_marked_test_rows_may_lack_all_numbers() -> None:
    rows = [
        {**row, "part": ("train", "train", "validation", "test")[n % 4]}
        for n, row in enumerate(number_rows(40))
    ]
    rows[3] |= dict.fromkeys(NAMES)
    options = training_options(kind="numbers", target="valence,minutes", split_column="part")
    splits = read_splits(rows, options)
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (20, 10, 9)


def test_the_judge_is_what_is_reported() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.randn(50, 3, generator=draw)
    truth[:20, 1] = torch.nan
    truth[:, 2] = torch.nan  # No validation row has it.
    logits = torch.randn(4, 50, 3, generator=draw)
    logits[0] = truth.nan_to_num()
    for metric, measure in (("spearman", spearmanr), ("pearson", pearsonr)):
        values = judge_several(metric, truth)(logits)  # type: ignore[arg-type]
        for own, value in zip(logits.numpy(), values, strict=True):
            figures = numbers_figures(own, truth.numpy())
            mean = np.mean([one[metric] for one in figures])
            assert float(value) == pytest.approx(mean, abs=1e-6)
            assert figures[1][metric] == pytest.approx(
                measure(own[20:, 1], truth[20:, 1].numpy()).statistic, abs=1e-6
            )
        assert float(values[0]) == pytest.approx(2 / 3)


def test_numbers_that_are_missing_have_no_gradient() -> None:
    truth = torch.tensor([[1.0, 200.0], [3.0, torch.nan], [5.0, 400.0]])
    objective = NumbersKind().objective(truth, 2)
    known = objective.targets[[0, 2]]
    torch.testing.assert_close(objective.targets[:, 0].mean(), torch.tensor(0.0))
    torch.testing.assert_close(known[:, 1], torch.tensor([-1.0, 1.0]))
    logits = torch.zeros(1, 1, 3, 2, requires_grad=True)
    loss = numbers_loss(logits, objective.targets)
    loss.sum().backward()
    assert logits.grad is not None
    assert (logits.grad[0, 0] == 0).tolist() == [[False, False], [True, True], [False, False]]
    own = objective.targets.square()
    expected = (own[[0, 2]].mean(1).sum() + own[1, 0]) / 3
    torch.testing.assert_close(loss.flatten()[0], expected)
    priors = NumbersKind().fold_priors(objective, torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]))
    torch.testing.assert_close(priors[0], torch.tensor([own[0, 0].sqrt() / -2, -1.0]))
    assert float(priors[1, 1]) == 0


def test_each_number_has_a_ridge_regression_of_its_own_rows() -> None:
    rng = np.random.default_rng(0)
    features = sparse.csr_matrix(rng.random((30, 6)))
    truth = rng.random((30, 3)).astype(np.float32)
    truth[:10, 1] = np.nan
    truth[:, 2] = np.nan
    found = fit_linear(features, truth, "numbers", outputs=3, strength=2.0).logits(features)
    own = Ridge(alpha=0.5).fit(features[10:], truth[10:, 1]).predict(features)
    np.testing.assert_allclose(found[:, 1], own, atol=1e-6)
    assert not found[:, 2].any()


def test_each_number_is_recalibrated_by_itself() -> None:
    rng = np.random.default_rng(0)
    spec = task_spec("numbers", value_ranges=((-9.0, 9.0), (-99.0, 99.0)))
    truth = rng.normal(size=(60, 2)).astype(np.float32) * (1, 10)
    values = np.stack([truth[:, 0] * 0.5 + 1, truth[:, 1]], 1).astype(np.float32)
    truth = truth.astype(np.float32)
    tensors = head_tensors(spec)
    truth[:5, 0] = np.nan
    tuned = recalibrate(TunedHead(spec, tensors, RowLogits(values)), truth)
    assert tuned is not None
    assert len(tuned.notes) == 1
    assert "* valence" in tuned.notes[0]
    torch.testing.assert_close(tuned.tensors["head.weight"][1], tensors["head.weight"][1])
    torch.testing.assert_close(
        tuned.tensors["head.weight"][0], tensors["head.weight"][0] * 2, atol=1e-3, rtol=1e-3
    )
    np.testing.assert_allclose(tuned.logits.matrix[5:], truth[5:], atol=1e-2)


def test_several_targets_are_one_task_only_with_this_kind(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    rows = number_rows(48)
    own = {**QUICK, "target": list(NAMES), "cache_dir": tmp_path / "cache", "hidden_widths": ()}
    both: Any = {"mood": own, "each": {**own, "kind": "regression"}}
    found = train_tasks(both, data=rows, registry=tmp_path / "r.yaml", backbone=tiny_backbone)
    assert list(found) == ["mood", "each-valence", "each-minutes"]
    assert found["mood"].spec.labels == NAMES


@pytest.mark.slow
def test_the_command_takes_several_targets(
    tmp_path: Path, tiny_registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_rows(tmp_path / "rows.jsonl", number_rows(48))
    words = ["train", str(file), "--task", "mood", "--kind", "numbers", "--registry"]
    more = ["--target", "valence", "--target", "minutes", "--depths", "0,2", "--hidden-widths", ""]
    with pytest.raises(SystemExit) as ended:
        app([*words, str(tiny_registry), *more, "--cache-dir", str(tmp_path / "cache")])
    assert ended.value.code == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        app(["score", "a good day", "--task", "mood", "--registry", str(tiny_registry)])
    assert "mood.values" in capsys.readouterr().out
    # Without options the columns are those of the training.
    with pytest.raises(SystemExit) as ended:
        app(["eval", "mood", str(file), "--registry", str(tiny_registry)])
    assert ended.value.code == 0
    assert "target from 'valence,minutes'" in (out := capsys.readouterr()).out + out.err


def test_ranges_and_examples_fit_the_numbers() -> None:
    for ranges, problem in [
        (((0.0, 1.0),), "1 value_ranges for 2 numbers"),
        (((0.0, 1.0), (2.0, 2.0)), "empty"),
    ]:
        with pytest.raises(ValueError, match=problem):
            task_spec("numbers", value_ranges=ranges)
    with pytest.raises(ValueError, match="several numbers"):
        task_spec("regression", value_ranges=((0.0, 1.0),))
    with pytest.raises(ValueError, match="does not have 2 numbers"):
        task_spec("numbers", examples=(Example(inputs=("a",), values=(1.0,)),))
    spec = task_spec(
        "regression", value_range=(0.0, 1.0), examples=(Example(inputs=("a",), value=1.0),)
    )
    assert '"values"' not in spec.model_dump_json()
    assert "value_ranges" not in spec.model_dump_json()
