"""Recipes of tuning on every family: what trains changes, and all else stays bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.training.adapters.result import AdapterTable
from adapterhub.training.adapters.train_loop import AdapterRun
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions
from adapterhub.training.train import train
from tests.encoders import FAMILY_NAMES, save_encoder
from tests.training.rows import Rows, pair_rows, sentiment_rows, tagged_rows

pytest.importorskip("sklearn")
pytest.importorskip("seqeval")

QUICK: dict[str, Any] = {
    "learning_rates": (0.01,),
    "weight_decays": (0.01,),
    "poolings": ("mean",),
    "mixes": False,
    "hidden_widths": (),
    "validation_fraction": 0.25,
    "ngrams": False,
}
DEPTHS = {
    "top:2": (2, 3),
    "middle-frozen": (0, 3),
    "at:0,2": (0, 2),
    "tied": (0, 1, 2, 3),
    "block": (0, 1, 2, 3),
}
"""The depths that a recipe changes, of four."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    for name in FAMILY_NAMES:
        save_encoder(folder / name, name)
    save_encoder(folder / "groups", "albert", num_hidden_groups=2)
    save_encoder(folder / "inner", "albert", inner_group_num=2)
    return folder


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[AdapterRun, dict[str, torch.Tensor]]]:
    """Collects the runs of adapters, each with the parameters that it started from."""
    found: list[tuple[AdapterRun, dict[str, torch.Tensor]]] = []
    whole = AdapterRun.train

    def train_run(self: AdapterRun, checkpoints: Any = None) -> None:
        own = self.adapter.module.named_parameters()
        found.append((self, {name: p.detach().clone() for name, p in own}))
        whole(self, checkpoints)

    monkeypatch.setattr(AdapterRun, "train", train_run)
    return found


def run(
    rows: Rows, tune: str | None, backbone: Backbone, folder: Path, **changes: Any
) -> TrainedTask:
    settings = {**QUICK, "epochs": 2, "cache_dir": folder / "cache", "tune": tune, **changes}
    options = TrainingOptions(**settings)
    registry = folder / "tasks" / "registry.yaml"
    return train(rows, task="mine", options=options, backbone=backbone, registry=registry)


def check_figures(trained: TrainedTask, run: AdapterRun) -> None:
    """Checks the figures of the table against the modules that were trained."""
    table = trained.table
    assert isinstance(table, AdapterTable)
    row = table.rows[table.chosen]
    modules = (run.adapter.module, run.head)
    own = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    assert row.parameters == sum(p.numel() for p in own.values())
    assert row.memory_bytes > 12 * row.parameters
    assert row.seconds > 0
    accuracy = next(one.value for one in trained.metrics if one.name == "accuracy")
    assert accuracy == pytest.approx(row.value), "scored as it was trained"
    assert row.own_passes == row.passes - (row.from_depth or 0)
    assert table.rows[0].own_passes == 0
    assert 0 < table.rows[0].memory_bytes < row.memory_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "tune"),
    [
        *(("albert", tune) for tune in (*DEPTHS, "embeddings")),
        *((family, "all") for family in FAMILY_NAMES),
        ("bert", "block"),
        ("groups", "block"),
        ("groups", "all"),
    ],
)
def test_frozen_parameters_stay_and_trained_ones_do_not(
    family: str, tune: str, root: Path, tmp_path: Path, runs: list[Any]
) -> None:
    backbone = open_backbone(root / family)
    before = {name: tensor.clone() for name, tensor in backbone.weights.items()}
    trained = run(sentiment_rows(32), tune, backbone, tmp_path)
    assert all(torch.equal(backbone.weights[name], tensor) for name, tensor in before.items())
    [(found, start)] = runs
    for name, parameter in found.adapter.module.named_parameters():
        assert torch.equal(parameter, start[name]) is not parameter.requires_grad, name
    check_figures(trained, found)
    if tune in DEPTHS:
        adapter = trained.spec.adapter
        assert adapter is not None
        assert adapter.depths == DEPTHS[tune]
        assert adapter.tie_depths == (tune == "tied" or (tune, family) == ("block", "albert"))
        assert trained.spec.backbone == backbone.spec
        return
    check_backbone(trained, backbone, only_embeddings=tune == "embeddings")


def check_backbone(trained: TrainedTask, base: Backbone, *, only_embeddings: bool) -> None:
    """Checks a backbone that training made: what changed, its files, and what it computes."""
    assert trained.saved is not None
    registry = trained.saved.path.parent.parent / "registry.yaml"
    folder = registry.parent / "backbones" / "mine-1"
    opened = open_backbone(folder)
    assert trained.spec.adapter is None
    assert trained.spec.backbone == opened.spec
    assert {path.name for path in folder.iterdir()} == {path.name for path in base.folder.iterdir()}
    changed = {n for n, old in base.weights.items() if not torch.equal(old, opened.weights[n])}
    blocks = {name for name in base.weights if "albert_layer_groups" in name}
    assert blocks & changed == (set() if only_embeddings else blocks)
    words = "embeddings.word_embeddings.weight"
    rows = (base.weights[words] != opened.weights[words]).any(1)
    assert 0 < rows.sum() < len(rows) / 2, "rows of tokens that no text has stay as they were"
    ids = opened.tokenizer("the food was good")["input_ids"]
    batch = pack([Window(0, 0, len(ids), ids, [0] * len(ids))], device=torch.device("cpu"))
    encoder = Encoder(opened, device="cpu")
    ours = encoder.run(encoder.embed(batch), batch, 0, encoder.depth)
    model = AutoModel.from_pretrained(str(folder)).eval()
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    hub = Hub(registry, device="cpu")
    assert hub.score(["the food was good"], tasks=["mine"])["mine"][0] is not None


@pytest.mark.slow
def test_several_sets_of_weights_at_one_depth_are_refused_before_anything_is_encoded(
    root: Path, tmp_path: Path
) -> None:
    backbone = open_backbone(root / "inner")
    for tune in ("all", "block", "at:1"):
        with pytest.raises(UsageError, match=r"inner_group_num 2.*Train a head"):
            run(sentiment_rows(32), tune, backbone, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_head_alone_is_what_trains_by_default(root: Path, tmp_path: Path) -> None:
    backbone = open_backbone(root / "albert")
    usual, head = (run(sentiment_rows(), t, backbone, tmp_path / str(t)) for t in (None, "head"))
    assert head.spec == usual.spec
    assert all(torch.equal(tensor, head.tensors[name]) for name, tensor in usual.tensors.items())
    row = head.table.rows[head.table.chosen]
    assert (row.own_passes, row.passes) == (0, head.spec.deepest)
    assert row.parameters == sum(tensor.numel() for tensor in head.tensors.values())
    assert row.seconds > 0
    assert row.memory_bytes > 12 * row.parameters
    assert "no passes of its own" in head.table.render()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "tune", "adapter"),
    [
        (tagged_rows(32), "all", {"epochs": 1}),
        (pair_rows(32), "embeddings", {"epochs": 1}),
        (tagged_rows(32), "at:1,3", {"ranks": (1, 2), "sites": ("query",)}),
        (sentiment_rows(32), "middle-frozen", {"method": "dora", "rank": 2}),
        (sentiment_rows(32), "at:0,2", {"method": "block", "tie_depths": True}),
    ],
    ids=["tags-all", "apart-embeddings", "tags-ranks", "dora", "tied-copies"],
)
def test_recipes_go_with_other_options(
    rows: Rows, tune: str, adapter: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    changes = {"adapter": adapter, "epochs": 1}
    if "text_pair" in rows[0]:
        changes["pairs"] = "apart"
    trained = run(rows, tune, open_backbone(root / "albert"), tmp_path, **changes)
    fields = trained.spec.fields
    assert trained.spec.apart == (len(fields) == 2)
    if trained.spec.adapter is not None:
        sites = adapter.get("sites", trained.spec.adapter.sites)
        assert trained.spec.adapter.sites == sites
        assert trained.spec.adapter.config.get("use_dora", False) == (
            adapter.get("method") == "dora"
        )
        assert trained.spec.adapter.tie_depths == adapter.get("tie_depths", False)
        assert len(trained.table.rows) == 1 + len(adapter.get("ranks", (1,)))
    hub = Hub(tmp_path / "tasks" / "registry.yaml", device="cpu")
    inputs = [dict.fromkeys(fields, "she was city film early")]
    assert hub.score(inputs, tasks=["mine"])["mine"][0] is not None


@pytest.mark.slow
def test_an_adapter_at_single_depths_is_continued_there(root: Path, tmp_path: Path) -> None:
    backbone = open_backbone(root / "albert")
    run(sentiment_rows(32), "at:0,2", backbone, tmp_path)
    adapter = {"continue_from": "mine", "epochs": 1}
    trained = run(sentiment_rows(32), None, backbone, tmp_path, adapter=adapter)
    assert trained.spec.adapter is not None
    assert trained.spec.adapter.depths == (0, 2)
    other = run(sentiment_rows(32), "at:2,3", backbone, tmp_path, adapter=adapter)
    assert other.spec.adapter is not None
    assert other.spec.adapter.depths == (2, 3)


@pytest.mark.slow
def test_training_of_an_encoder_goes_on_where_it_stopped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, rows = open_backbone(root / "albert"), sentiment_rows(32)
    whole = run(rows, "all", backbone, tmp_path / "whole")
    step, taken = AdapterRun._take_step, []

    def stops(self: AdapterRun, batch: Any) -> float:
        taken.append(batch)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(AdapterRun, "_take_step", stops)
    with pytest.raises(KeyboardInterrupt):
        run(rows, "all", backbone, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "tasks" / "backbones").exists()
    resumed = run(rows, "all", backbone, tmp_path / "stopped")
    assert len(taken) == 3 + 2  # two steps an epoch, of which the first epoch is done
    assert resumed.spec == whole.spec
