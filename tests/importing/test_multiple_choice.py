"""Classifiers of choices of every family: the logits are transformers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.importing.import_task import import_task
from adapterhub.model.backbone.open_backbone import Backbone
from tests.encoders import FAMILY_NAMES
from tests.peft.family_models import class_name

ROWS = [
    {"prompt": "a good day", "choices": ["it is late", "not a day"]},
    {"prompt": "the film", "choices": ["was good", "he", "she was early"]},
]


def choice_model(backbone: Backbone) -> Any:
    """Returns a model of transformers with a random classifier of choices."""
    kind = getattr(transformers, class_name(backbone.spec.family, "ForMultipleChoice"))
    torch.manual_seed(0)
    model = kind.from_pretrained(str(backbone.folder))
    for name, parameter in model.named_parameters():
        if not torch.equal(parameter, torch.zeros_like(parameter)) and "classifier" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def expected(model: Any, backbone: Backbone, row: Mapping[str, Any]) -> list[float]:
    """Returns transformers' logit of each choice, one pair at a time."""
    found = []
    for choice in row["choices"]:
        tokens = backbone.tokenizer(
            row["prompt"], choice, return_tensors="pt", return_token_type_ids=True
        )
        if backbone.spec.family == "distilbert":
            del tokens["token_type_ids"]
        with torch.inference_mode():
            found.append(
                float(model(**{name: ids[:, None] for name, ids in tokens.items()}).logits)
            )
    return found


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.slow
def test_a_classifier_of_choices_becomes_a_head(
    family: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone, registry = backbones[family], tmp_path / "registry.yaml"
    model = choice_model(backbone)
    model.save_pretrained(tmp_path / "model")
    done = import_task(tmp_path / "model", task="choose", backbone=backbone, registry=registry)
    assert (done.spec.kind, done.spec.fields) == ("multiple_choice", ("prompt", "choices"))
    found = Hub(registry, backbone=str(backbone.folder), device="cpu").score(
        ROWS, "choose", logits=True
    )["choose"]
    assert found.logits is not None
    for logits, row in zip(found.logits, ROWS, strict=True):
        np.testing.assert_allclose(
            logits[:, 0], expected(model, backbone, row), rtol=1e-5, atol=1e-5
        )


def test_a_classifier_makes_no_vectors(tmp_path: Path, tiny_backbone: Backbone) -> None:
    choice_model(tiny_backbone).save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match="an embedding task is trained or added"):
        import_task(
            tmp_path / "model",
            task="same",
            backbone=tiny_backbone,
            registry=None,
            options={"kind": "embedding"},
        )


def test_labels_are_refused(tmp_path: Path, tiny_backbone: Backbone) -> None:
    choice_model(tiny_backbone).save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match="A multiple_choice task has no labels"):
        import_task(
            tmp_path / "model",
            task="choose",
            backbone=tiny_backbone,
            registry=None,
            options={"labels": ("a",)},
        )
