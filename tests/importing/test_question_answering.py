"""Models of transformers that find answers become tasks with the same logits."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AlbertForQuestionAnswering

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from tests.importing.folders import imported
from tests.tiny import bert_tokenizer

QUESTION, CONTEXT = "is it good ?", "the day was good , very good !"


def question_model(backbone: Backbone) -> Any:
    config = copy.deepcopy(backbone.config)
    config.num_labels = 2
    torch.manual_seed(0)
    model = AlbertForQuestionAnswering(config)
    found = {f"albert.{name}": tensor for name, tensor in backbone.weights.items()}
    model.load_state_dict(found, strict=False)
    torch.nn.init.normal_(model.qa_outputs.weight)
    return model.eval()


@pytest.mark.parametrize("has_adapter", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_that_finds_answers_becomes_a_task(
    has_adapter: bool, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = question_model(tiny_backbone)
    if has_adapter:
        config = LoraConfig(r=2, target_modules=["query", "value"], modules_to_save=["qa_outputs"])
        model = get_peft_model(model, config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name or "qa_outputs.modules_to_save" in name:
                    parameter.normal_(std=0.1)
    model.eval().save_pretrained(tmp_path / "model")
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "model", registry, tiny_backbone, any_base=True)
    assert done.spec.kind == "question_answering"
    assert done.spec.fields == ("question", "context")
    assert (done.spec.adapter is not None) == has_adapter
    hub = Hub(registry, backbone=tiny_backbone.folder, device="cpu")
    (name,) = [info.name for info in hub.tasks()]
    scores = hub.score([{"question": QUESTION, "context": CONTEXT}], name, logits=True)[name]
    batch = bert_tokenizer(tiny_backbone.folder)(QUESTION, CONTEXT, return_tensors="pt")
    with torch.no_grad():
        out = model(**batch)
    expected = torch.stack([out.start_logits[0], out.end_logits[0]], dim=1).numpy()
    second = batch["token_type_ids"][0].tolist().index(1)
    assert scores.logits is not None
    np.testing.assert_allclose(
        scores.logits[0], np.concatenate([expected[:1], expected[second:-1]]), atol=1e-4
    )


def test_a_kind_that_does_not_fit_is_refused(tmp_path: Path, tiny_backbone: Backbone) -> None:
    question_model(tiny_backbone).save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match="kind is 'tagging', but the model finds answers"):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone, kind="tagging")
