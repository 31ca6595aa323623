"""`import` and `export`: folders of PEFT and transformers in, folders of PEFT out."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import (
    AlbertForSequenceClassification,
    AlbertModel,
    BertForSequenceClassification,
    BertModel,
)

from adapterhub.hub import Hub
from adapterhub.model.adapters.unrolled import unrolled
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from tests.commands.conftest import Run
from tests.encoders import save_encoder
from tests.importing.folders import TEXTS, classifier_model, save_adapter
from tests.peft.family_models import trained

LABELS = "no,maybe,yes"


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def stock(tmp_path: Path, tiny_backbone: Backbone) -> Path:
    config = LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=4)
    save_adapter(tmp_path / "stock", tiny_backbone, config)
    return tmp_path / "stock"


@pytest.fixture
def per_depth(tmp_path: Path, tiny_backbone: Backbone) -> Path:
    config = LoraConfig(
        task_type="SEQ_CLS",
        target_modules=["query"],
        layers_to_transform=[2],
        layers_pattern="albert_layer_groups",
    )
    save_adapter(tmp_path / "deep", tiny_backbone, config, tied=False)
    return tmp_path / "deep"


def test_in_scored_out_and_in_again(
    run: Run, stock: Path, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    backbone = tiny_backbone.folder
    words = ("--backbone", backbone, "--labels", LABELS, "--aliases", "prod")
    done = run("import", stock, "--task", "mood", *words)
    assert done.code == 0
    assert "lora on query, value at depths 0, 1, 2, 3 (one for all), 512 numbers" in done.out
    assert "mood:1 is in" in done.err
    assert read_registry(Path("registry.yaml")).tasks["mood"].aliases == {"prod": 1}

    scored = run("score", "a good day", "--task", "mood", "--device", "cpu")
    assert scored.code == 0

    out = run("export", "mood@prod", "out")
    assert out.code == 0
    assert out.out == "out\n"
    assert "PeftModel.from_pretrained(model, 'out')" in out.err

    again = run("import", "out", "--task", "mood", "--json")
    assert again.code == 0
    assert again.value["version"] == 1, "the same bytes are the same version"
    assert again.value["labels"] == ["no", "maybe", "yes"]

    renamed = run("import", "out", "--task", "mood-2", "--description", "of moods", "--json")
    assert renamed.code == 0
    first = read_head(Path("heads/mood.safetensors")).spec
    second = read_head(Path(renamed.value["file"])).spec
    assert first.adapter is not None
    assert second.adapter is not None
    assert first.adapter.digest == second.adapter.digest
    assert second.description == "of moods"


def test_an_exported_task_is_the_same_function_in_plain_peft(
    run: Run, per_depth: Path, tiny_backbone: Backbone
) -> None:
    backbone = tiny_backbone.folder
    assert (
        run("import", per_depth, "--task", "x", "--backbone", backbone, "--labels", LABELS).code
        == 0
    )
    done = run("export", "x", "out", "--format", "peft", "--json")
    assert done.value == {"task": "x", "folder": "out", "stock": False}
    model = AlbertModel.from_pretrained(str(backbone), add_pooling_layer=False)
    opened = PeftModel.from_pretrained(unrolled(model), "out").eval()
    from safetensors.torch import load_file

    head = load_file("out/head.safetensors")
    hub = Hub("registry.yaml", device="cpu")
    logits = hub.score(list(TEXTS), tasks=["x"], logits=True)["x"].logits
    assert isinstance(logits, np.ndarray)
    for text, ours in zip(TEXTS, logits, strict=True):
        tokens = tiny_backbone.tokenizer(text, return_tensors="pt", return_token_type_ids=True)
        with torch.inference_mode():
            first = opened(**tokens)[0][:, 0]
            hidden = torch.tanh(first @ head["head.hidden.weight"].T + head["head.hidden.bias"])
            theirs = hidden @ head["head.weight"].T + head["head.bias"]
        np.testing.assert_allclose(ours, theirs[0].numpy(), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_of_transformers(run: Run, tmp_path: Path, tiny_backbone: Backbone) -> None:
    names = {0: "no", 1: "yes"}
    kind = AlbertForSequenceClassification
    model = classifier_model(tiny_backbone, kind, outputs=2, id2label=names)
    model.save_pretrained(tmp_path / "model")
    done = run("import", tmp_path / "model", "--task", "y", "--backbone", tiny_backbone.folder)
    assert done.code == 0
    assert "none, a head on the frozen backbone" in done.out
    refused = run("export", "y", "out")
    assert refused.code == 5
    assert "task 'y' has none" in refused.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "The 3 outputs of the classifier have no names"),
        (("--labels", "a,b"), 2, "2 labels are given"),
        (("--labels", LABELS, "--kind", "taging"), 2, "Did you mean 'tagging'?"),
        (("--labels", LABELS, "--max-length", "4"), 2, "Option --max-length"),
        (("--labels", LABELS, "--languages", "english"), 2, "Option --languages"),
        (("--labels", LABELS, "--aliases", "No Good"), 2, "Option --aliases"),
        (("--labels", LABELS, "--per-depth", "--pair"), 0, ""),
    ],
)
@pytest.mark.slow
def test_what_is_said_wrongly(
    words: tuple[str, ...],
    code: int,
    message: str,
    run: Run,
    stock: Path,
    tiny_backbone: Backbone,
) -> None:
    done = run("import", stock, "--task", "x", "--backbone", tiny_backbone.folder, *words)
    assert done.code == code
    assert message in done.err
    assert Path("registry.yaml").exists() is (code == 0)
    if code:
        assert done.err.count("\n") == 1


def test_bad_folders_are_one_line(run: Run, stock: Path, tiny_backbone: Backbone) -> None:
    config = stock / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "TELEPATHY"}))
    done = run("import", stock, "--task", "x", "--backbone", tiny_backbone.folder, "--json")
    assert done.code == 5
    told = json.loads(done.err)
    assert told["error"] == "AdapterError"
    assert "has no method 'TELEPATHY'" in told["message"]


def test_a_task_of_another_kind_keeps_its_name(
    run: Run, stock: Path, tiny_registry: Path, tiny_backbone: Backbone
) -> None:
    words = ("--registry", tiny_registry, "--backbone", tiny_backbone.folder, "--labels", LABELS)
    done = run("import", stock, "--task", "rating", *words)
    assert done.code == 5
    assert "task 'rating' is regression" in done.err


def test_formats_are_named(run: Run) -> None:
    done = run("export", "x", "out", "--format", "onnx")
    assert done.code == 2
    assert "--format is 'onnx'; expected peft" in done.err


@pytest.mark.slow
def test_an_adapter_of_a_bert_goes_in_and_out(run: Run, tmp_path: Path) -> None:
    backbone = save_encoder(tmp_path / "bert", "bert")
    model = BertForSequenceClassification.from_pretrained(str(backbone), num_labels=3)
    config = LoraConfig(
        task_type="SEQ_CLS",
        target_modules=["query", "output.dense"],
        layers_to_transform=[1, 3],
        layers_pattern="layer",
    )
    trained(model, config).save_pretrained(str(tmp_path / "peft"))
    words = ("--backbone", backbone, "--labels", LABELS)
    done = run("import", tmp_path / "peft", "--task", "mood", *words)
    assert done.code == 0
    assert "lora on query, dense, ffn_output at depths 1, 3, " in done.out
    assert run("score", "a good day", "--task", "mood", "--device", "cpu").code == 0
    assert run("show", "mood").code == 0
    assert "PeftModel.from_pretrained(model, 'out')" in run("export", "mood", "out").err
    assert run("export", "mood", "again", "--json").value["stock"] is True
    plain = BertModel.from_pretrained(str(backbone))
    PeftModel.from_pretrained(plain, "out")
    assert run("import", "out", "--task", "mood", "--json").value["version"] == 1
    tied = run("import", tmp_path / "peft", "--task", "x", "--tied", *words)
    assert tied.code != 0
    assert "Leave out --tied" in tied.err
