"""Tasks with adapters on encoders beside ALBERT, from rows to predictions, and out to PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel

from adapterhub import Hub
from adapterhub.importing.import_task import import_task
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.peft.export_folder import export_peft
from adapterhub.store.headfile import read_head
from adapterhub.training.adapter_options import adapter_options
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.encoders import MODELS, save_encoder
from tests.training.rows import Rows, rating_rows, sentiment_rows, tagged_rows

pytest.importorskip("sklearn")
pytest.importorskip("seqeval")

FAMILIES = ("bert", "distilbert", "electra", "roberta", "xlm-roberta")
ADAPTER: dict[str, Any] = {"from_depth": 2, "rank": 2, "epochs": 2, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        save_encoder(folder / name, name)
    return folder


def run(rows: Rows, task: str, backbone: Backbone, folder: Path, **adapter: Any) -> TrainedTask:
    options = training_options(
        learning_rates=(0.01,),
        weight_decays=(0.01,),
        validation_fraction=0.25,
        ngrams=False,
        epochs=3,
        cache_dir=folder / "cache",
        adapter=adapter_options(**adapter),
    )
    registry = folder / "registry.yaml"
    return train(rows, task=task, options=options, backbone=backbone, registry=registry)


LORA: dict[str, Any] = {"method": "lora", "sites": ("query", "ffn_output")}
TIED: dict[str, Any] = {"method": "lora", "tie_depths": True, "from_depth": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "rows", "changes"),
    [
        *((family, sentiment_rows(64), LORA) for family in FAMILIES),
        ("bert", tagged_rows(64), {"method": "block", "from_depth": 3}),
        ("bert", rating_rows(64), TIED),
    ],
    ids=[*FAMILIES, "tags-block", "rating-tied"],
)
def test_a_task_is_trained_served_and_continued(
    family: str, rows: Rows, changes: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    backbone = open_backbone(root / family)
    first = run(rows, "first", backbone, tmp_path, **{**ADAPTER, **changes})
    adapter = first.spec.adapter
    assert adapter is not None
    assert adapter.depths == tuple(range(changes.get("from_depth", 2), 4))
    hub = Hub(tmp_path / "registry.yaml", device="cpu")
    assert hub.score(["the food was good"], tasks=["first"])["first"][0] is not None
    still = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    second = run(rows, "second", backbone, tmp_path, continue_from="first", **still)
    for name, tensor in first.tensors.items():
        if name.startswith("adapter."):
            torch.testing.assert_close(second.tensors[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
def test_what_was_trained_opens_in_plain_peft(tied: bool, root: Path, tmp_path: Path) -> None:
    backbone = open_backbone(root / "bert")
    rows = sentiment_rows(64)
    trained = run(rows, "mine", backbone, tmp_path, **ADAPTER, method="lora", tie_depths=tied)
    assert trained.saved is not None
    export_peft(read_head(trained.saved.path), tmp_path / "out")
    plain = MODELS["bert"][1].from_pretrained(str(root / "bert"))
    opened = PeftModel.from_pretrained(plain, str(tmp_path / "out")).eval()
    parts = {name.split(".")[4] for name, p in opened.named_parameters() if "lora_A" in name}
    assert parts == {"2", "3"}
    again = import_task(tmp_path / "out", task="again", backbone=backbone, registry=None)
    assert again.spec.adapter is not None
    # Once out, each layer has an adapter of its own.
    assert not again.spec.adapter.tie_depths
    ours, theirs = trained.spec.known_answers, again.spec.known_answers
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(
            torch.tensor(one.logits), torch.tensor(other.logits), rtol=1e-5, atol=1e-5
        )


@pytest.mark.slow
def test_a_config_of_peft_as_for_the_model(root: Path, tmp_path: Path) -> None:
    config = LoraConfig(
        r=2,
        target_modules=["q_lin", "lin1"],
        layers_to_transform=[1, 3],
        layers_pattern="layer",
        rank_pattern={"lin1": 3},
    )
    options = {**ADAPTER, "method": config}
    del options["rank"], options["from_depth"]
    backbone = open_backbone(root / "distilbert")
    trained = run(sentiment_rows(64), "mine", backbone, tmp_path, **options)
    adapter = trained.spec.adapter
    assert adapter is not None
    assert (adapter.depths, adapter.sites) == ((1, 3), ("query", "ffn"))
    assert trained.tensors["adapter.3.ffn.lora_A.weight"].shape[0] == 3
