"""Tasks with adapters from rows to answers, as users make them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig

import adapterhub
from adapterhub import Hub
from adapterhub.errors import TrainingError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import SITES, TaskSpec
from adapterhub.store.headfile import read_head
from adapterhub.training.adapter_options import AdapterOptions, adapter_options
from adapterhub.training.adapters.result import AdapterTable
from adapterhub.training.adapters.train_loop import AdapterRun
from adapterhub.training.adapters.trial import AdapterTrials
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.evaluation.calibration import best_affine
from adapterhub.training.evaluation.measure import run_head
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.pairs import pair_readings
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.heads.fit_inputs import make_fit_inputs
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.training.rows import (
    Rows,
    pair_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
)

pytest.importorskip("sklearn")
pytest.importorskip("seqeval")

QUICK: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 16,
    "learning_rates": (0.01,),
    "weight_decays": (0.01,),
    "validation_fraction": 0.25,
}
ADAPTER: dict[str, Any] = {"from_depth": 2, "rank": 2, "epochs": 2, "learning_rate": 5e-3}


def options_with(tmp_path: Path, changes: dict[str, Any], **more: Any) -> TrainingOptions:
    adapter = adapter_options(**{**ADAPTER, **changes})
    return training_options(**QUICK, **more, cache_dir=tmp_path / "cache", adapter=adapter)


def run(rows: Rows, options: TrainingOptions, backbone: Backbone, **more: Any) -> TrainedTask:
    settings = {"task": "mine", "registry": None, **more}
    return train(rows, options=options, backbone=backbone, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (sentiment_rows(64), {"method": "lora", "sites": ("query", "value")}),
        (pair_rows(64), {"method": "block", "from_depth": 3}),
        (topic_rows(64), {"method": "ia3"}),
        (rating_rows(64), {"method": "lora", "tie_depths": True, "from_depth": 0}),
        (tagged_rows(64), {"method": "dora"}),
        (sentiment_rows(64), {"method": "block", "tie_depths": True}),
    ],
    ids=["lora", "pair-block", "topics-ia3", "rating-tied", "tags-dora", "tied-block"],
)
def test_a_task_of_every_kind_is_trained_and_served(
    rows: Rows, changes: dict[str, Any], tiny_backbone: Backbone, tmp_path: Path
) -> None:
    options = options_with(tmp_path, changes)
    registry = tmp_path / "tasks" / "registry.yaml"
    trained = run(rows, options, tiny_backbone, registry=registry)
    adapter = trained.spec.adapter
    assert adapter is not None
    start = changes.get("from_depth", 2)
    assert adapter.depths == tuple(range(start, 4))
    assert adapter.sites == changes.get("sites", SITES)
    assert adapter.tie_depths == changes.get("tie_depths", False)
    assert trained.spec.known_answers
    assert trained.saved is not None
    assert not list((tmp_path / "cache" / "runs").iterdir())
    inputs = [dict(zip(trained.spec.fields, ("the food was good",) * 2, strict=False))]
    hub = Hub(registry, device="cpu")
    answer = hub.score(inputs, tasks=["mine"])
    assert answer["mine"][0] is not None
    check_diagnostics(read_head(trained.saved.path).spec)


def check_diagnostics(spec: TaskSpec) -> None:
    """Checks that a head file with an adapter says where its task is wrong, as others do."""
    found = spec.diagnostics
    if spec.kind not in ("single_label", "multi_label"):
        assert found is None
        return
    assert found is not None
    assert (found.split, found.rows) == ("validation", 16)
    answers = 16 if spec.kind == "single_label" else 16 * len(spec.labels)
    assert sum(one.answers for one in found.reliability) == answers
    if spec.kind == "single_label":
        assert sum(map(sum, found.confusion)) == 16
        right = sum(found.confusion[label][label] for label in range(len(spec.labels)))
        accuracy = next(one.value for one in spec.metrics if one.name == "accuracy")
        assert accuracy == pytest.approx(right / 16, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mixes", [True, False])
@pytest.mark.parametrize(
    ("rows", "method", "tied", "pairs"),
    [
        (sentiment_rows(64), "lora", False, "both"),
        (tagged_rows(64), "lora", True, "both"),
        (rating_rows(64), "vera", False, "both"),
        (topic_rows(64), "pissa", False, "both"),
        (pair_rows(64), "block", False, "together"),
        (pair_rows(64), "lora", False, "apart"),
        (pair_rows(64), "dora", True, "both"),
    ],
    ids=["lora", "tied", "vera", "pissa", "together", "apart", "pairs"],
)
def test_scoring_gives_what_training_gave(
    rows: Rows,
    method: str,
    tied: bool,
    pairs: str,
    mixes: bool,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    source: FeatureSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A window of 8 tokens cuts the rows, so that means over windows are compared too."""
    changes = {"method": method, "tie_depths": tied, "trunk_dtype": "float32"}
    told = {"max_length": 8, "folds": 0, "mixes": mixes, "ngrams": False, "pairs": pairs}
    options = options_with(tmp_path, changes, **told)
    bench = bench_for(rows, options, source, tiny_backbone)
    runs: list[AdapterRun] = []
    train_run = AdapterRun.train
    monkeypatch.setattr(
        AdapterRun, "train", lambda self, kept: (runs.append(self), train_run(self, kept))
    )
    bench.fit(bench.fork(2), 2)
    trained = run(rows, options, tiny_backbone, encoder=tiny_encoder)
    assert trained.spec.apart == bench.alone.chosen.apart
    assert trained.spec.apart == (pairs == "apart") or pairs == "both"
    inside = runs[-1].validation_logits().numpy()
    validation = bench.fit_inputs.splits.validation
    scored = run_head(
        trained.spec, trained.tensors, validation.inputs, source=source, max_windows=16
    )
    if isinstance(scored.values, tuple):
        examples = bench.validation
        assert examples.words is not None
        for row, values in enumerate(scored.values):
            own = inside[examples.words[row] : examples.words[row + 1]]
            tokens = [np.abs(values - word).max(1).min() for word in own]
            assert max(tokens, default=0.0) < 1e-4
        return
    mean, deviation = bench.fit_inputs.problem.objective.unit
    expected = inside * deviation + mean
    if trained.spec.kind == "regression":
        line = best_affine(expected[:, 0], validation.truth(), trained.spec.value_range)
        expected = line.of(expected)
    assert np.allclose(scored.values, expected, atol=1e-4)
    assert np.ptp(scored.values, axis=0).max() > 1e-3


def bench_for(
    rows: Rows, options: TrainingOptions, source: FeatureSource, backbone: Backbone
) -> AdapterTrials:
    splits = read_splits(rows, options)
    ways = pair_readings(options, splits.train.fields)
    all_inputs = [
        make_fit_inputs(splits, options=options, source=source, apart=apart) for apart in ways
    ]
    return AdapterTrials(all_inputs, options, source, backbone)


@pytest.mark.slow
def test_an_adapter_learns_what_a_frozen_head_cannot(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    changes = {"epochs": 20, "learning_rate": 1e-2, "head_learning_rate": 1e-2, "patience": 20}
    reads: dict[str, Any] = {"poolings": ("cls",), "depths": (4,), "hidden_widths": ()}
    options = options_with(tmp_path, changes, **reads, mixes=False)
    trained = run(sentiment_rows(96), options, tiny_backbone)
    assert isinstance(trained.table, AdapterTable)
    frozen, adapted = trained.table.rows
    assert adapted.value >= frozen.value + 0.1
    assert adapted.epoch > 1


@pytest.mark.slow
def test_a_peft_config_says_where_and_how_much(tiny_backbone: Backbone, tmp_path: Path) -> None:
    config = LoraConfig(
        r=3, lora_alpha=9, target_modules=["query", "ffn"], layers_to_transform=[1, 3]
    )
    options = training_options(
        **QUICK, cache_dir=tmp_path, adapter=AdapterOptions(method=config, epochs=1)
    )
    trained = run(sentiment_rows(), options, tiny_backbone)
    adapter = trained.spec.adapter
    assert adapter is not None
    assert adapter.depths == (1, 3)
    assert adapter.sites == ("query", "ffn")
    assert (adapter.config["r"], adapter.config["lora_alpha"]) == (3, 9)
    assert trained.tensors["adapter.3.ffn.lora_A.weight"].shape[0] == 3
    assert config.layers_to_transform == [1, 3]
    assert isinstance(trained.table, AdapterTable)
    assert (trained.table.rows[1].from_depth, trained.table.rows[1].rank) == (1, 3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_task(tiny_backbone: Backbone, tmp_path: Path) -> None:
    changes, rows = {"dropout": 0.2}, sentiment_rows()
    one, two, other = (
        run(rows, options_with(tmp_path / str(place), changes, seed=seed), tiny_backbone)
        for place, seed in enumerate((1, 1, 2))
    )
    assert one.spec == two.spec
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in two.tensors)
    assert other.spec.adapter is not None
    assert one.spec.adapter is not None
    assert one.spec.adapter.digest != other.spec.adapter.digest


@pytest.mark.slow
def test_a_search_shows_passes_and_marks_the_cheapest_good_one(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    changes = {"from_depth": None, "from_depths": (1, 3), "ranks": (1, 2)}
    options = options_with(tmp_path, changes, tolerance=100)
    trained = run(sentiment_rows(), options, tiny_backbone)
    table = trained.table
    assert isinstance(table, AdapterTable)
    tried = [(row.from_depth, row.rank, row.own_passes) for row in table.rows]
    assert tried == [(None, None, 0), (3, 1, 1), (3, 2, 1), (1, 1, 3), (1, 2, 3)]
    assert table.chosen == 1
    assert trained.spec.adapter is not None
    assert trained.spec.adapter.from_depth == 3
    text = table.render()
    assert "chosen" in text
    assert "best" in text
    assert "own" in text


@pytest.mark.slow
def test_training_stops_where_nothing_gets_better(
    tiny_backbone: Backbone, source: FeatureSource, tmp_path: Path
) -> None:
    changes = {"epochs": 50, "patience": 2, "learning_rate": 1e-12, "head_learning_rate": 1e-12}
    options = options_with(tmp_path, {**changes, "head_dropout": 0.0}, folds=0)
    bench = bench_for(sentiment_rows(), options, source, tiny_backbone)
    fitted = bench.fit(bench.fork(2), 2)
    assert fitted.epoch == 1
    assert fitted.checkpoints is not None
    saved = fitted.checkpoints.read()
    assert saved is not None
    assert saved.progress.is_done
    assert [record.epoch for record in saved.progress.history] == [1, 2, 3]


@pytest.mark.slow
def test_the_last_epoch_is_kept_where_that_is_asked_for(
    tiny_backbone: Backbone, source: FeatureSource, tmp_path: Path
) -> None:
    changes = {"epochs": 4, "patience": 1, "learning_rate": 0.2, "head_learning_rate": 0.2}
    found = {}
    for keep in ("best", "last"):
        options = options_with(tmp_path, {**changes, "keep": keep}, folds=0)
        bench = bench_for(sentiment_rows(), options, source, tiny_backbone)
        found[keep] = bench.fit(bench.fork(2), 2)
    best, last = found["best"], found["last"]
    assert last.epoch == 4
    assert best.epoch < 4, "such steps must lose what an epoch before had"
    assert best.checkpoints is not None
    assert last.checkpoints is not None
    assert best.checkpoints.path != last.checkpoints.path
    history = last.checkpoints.read().progress.history  # type: ignore[union-attr]
    assert [record.epoch for record in history] == [1, 2, 3, 4]
    assert (best.value, last.value) == (history[best.epoch - 1].value, history[3].value)
    assert any(not torch.equal(last.tensors[name], best.tensors[name]) for name in best.tensors)


@pytest.mark.slow
def test_what_is_done_is_not_trained_again(
    tiny_backbone: Backbone, source: FeatureSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is stopped goes on at the adapter it was at."""
    bench = bench_for(sentiment_rows(), options_with(tmp_path, {}, folds=0), source, tiny_backbone)
    fork = bench.fork(2)
    first = bench.fit(fork, 2)
    monkeypatch.setattr(AdapterRun, "_take_step", None)
    again = bench.fit(fork, 2)
    assert again.adapter == first.adapter
    assert (again.value, again.epoch) == (first.value, first.epoch)
    with pytest.raises(TypeError):
        bench.fit(fork, 3)
    # The same rows from elsewhere, with something else said of them, are the same run.
    said = {"cache_max_bytes": 2**30, "description": "Other words.", "target": "label"}
    bench = replace(bench, options=bench.options.model_copy(update=said))
    assert bench.fit(fork, 2).epoch == first.epoch
    bench = replace(bench, options=bench.options.model_copy(update={"seed": 1}))
    with pytest.raises(TypeError):
        bench.fit(fork, 2)


def test_a_loss_that_is_no_number_ends_the_training(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = AdapterRun._logits

    def broken(self: AdapterRun, *args: Any) -> torch.Tensor:
        values = logits(self, *args)
        return values * math.nan if torch.is_grad_enabled() else values

    monkeypatch.setattr(AdapterRun, "_logits", broken)
    with pytest.raises(TrainingError, match="in epoch 1, step 1, with"):
        run(sentiment_rows(), options_with(tmp_path, {}), tiny_backbone)


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({"from_depth": 4}, {}, "starts at depth 4, but this backbone has depths 0 to 3"),
        ({"method": "laura"}, {}, "PEFT has no method 'laura'; known: adalora, "),
        ({"method": "prefix_tuning"}, {}, "'prefix_tuning' cannot be used here: it puts virtual"),
        ({"from_depth": 2}, {"depths": (1, 2)}, "reads no depth over 2"),
        ({"method": "ia3", "dropout": 0.1}, {}, "'ia3' has no dropout"),
        ({"method": LoraConfig(bias="all")}, {}, "bias='all'|frozen block"),
        ({"method": LoraConfig(target_modules=["q_proj"])}, {}, "names .*q_proj.*the block has"),
        ({"method": LoraConfig(modules_to_save=["pooler"])}, {}, "modules_to_save"),
    ],
    ids=["depth", "method", "prompts", "reads", "dropout", "bias", "targets", "modules"],
)
@pytest.mark.slow
def test_what_cannot_work_is_refused_by_name(
    changes: dict[str, Any],
    more: dict[str, Any],
    message: str,
    tiny_backbone: Backbone,
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=message):
        run(sentiment_rows(), options_with(tmp_path, changes, **more), tiny_backbone)


def test_options_are_checked() -> None:
    assert adapterhub.AdapterOptions is AdapterOptions
    with pytest.raises(UsageError, match="neither a name nor a PEFT config"):
        adapter_options(method=3)
    with pytest.raises(UsageError, match="'block' changes all sites"):
        adapter_options(method="block", sites=("query",))
    with pytest.raises(UsageError, match="Adapter option rank"):
        adapter_options(rank=0)
    assert adapter_options(method="LoRA").method == "lora"


@pytest.mark.slow
def test_a_second_head_shares_the_adapter_of_the_first(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    registry = tmp_path / "tasks" / "registry.yaml"
    changes = {"epochs": 6, "learning_rate": 1e-2, "patience": 6}
    options = options_with(tmp_path, changes)
    first = run(sentiment_rows(96), options, tiny_backbone, task="first", registry=registry)
    again = training_options(**QUICK, cache_dir=tmp_path / "cache", adapter_of="first")
    second = run(rating_rows(96), again, tiny_backbone, task="second", registry=registry)
    assert second.spec.adapter == first.spec.adapter
    assert second.spec.kind == "regression"
    assert min(second.spec.head.depths) > 2
    for name, tensor in first.tensors.items():
        if name.startswith("adapter."):
            assert torch.equal(second.tensors[name], tensor)
    hub = Hub(registry, device="cpu")
    plan = hub.explain(["first", "second"])
    assert plan.passes == hub.explain(["first"]).passes
    assert len(hub.score(["the food was good"], tasks=["first", "second"]).to_columns()) >= 2
    plain = run(rating_rows(96), again.model_copy(update={"adapter_of": None}), tiny_backbone)
    assert plain.spec.adapter is None


def test_a_head_can_only_share_an_adapter_that_is_there(
    tiny_backbone: Backbone, tiny_registry: Path, tmp_path: Path
) -> None:
    options = training_options(**QUICK, cache_dir=tmp_path, adapter_of="sentiment")
    with pytest.raises(UsageError, match="'sentiment' has no adapter"):
        run(sentiment_rows(), options, tiny_backbone, registry=tiny_registry)
    with pytest.raises(UsageError, match="not both"):
        training_options(adapter_of="sentiment", adapter=AdapterOptions())
