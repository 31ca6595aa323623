"""Folders as PEFT and transformers save them, on a tiny backbone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
)

from adapterhub.hub import Hub
from adapterhub.importing.classifiers import pooling_layer
from adapterhub.importing.import_options import ImportOptions
from adapterhub.importing.import_task import ImportedTask, import_task
from adapterhub.model.adapters.unrolled import unrolled
from adapterhub.model.backbone.open_backbone import Backbone
from tests.peft.peft_models import train_a_little

TEXTS = ("a good day", "the film was late, and very bad", "它很好", "it")


def classifier_model(
    backbone: Backbone,
    kind: Any = AlbertForSequenceClassification,
    *,
    outputs: int = 3,
    **said: Any,
) -> Any:
    """Returns a classifier of transformers on the encoder of a backbone, with a random head."""
    config: AlbertConfig = copy.deepcopy(backbone.config)
    config.num_labels = outputs
    for name, value in said.items():
        setattr(config, name, value)
    torch.manual_seed(0)
    model = kind(config)
    found = {f"albert.{name}": tensor for name, tensor in backbone.weights.items()}
    pooler = pooling_layer(backbone)
    if kind is AlbertForSequenceClassification:
        found |= {f"albert.{name}": tensor for name, tensor in pooler.items()}
    outcome = model.load_state_dict(found, strict=False)
    assert set(outcome.missing_keys) == {"classifier.weight", "classifier.bias"}
    torch.nn.init.normal_(model.classifier.weight)
    torch.nn.init.normal_(model.classifier.bias)
    return model.eval()


def save_adapter(
    folder: Path, backbone: Backbone, config: Any, *, tied: bool = True, **changes: Any
) -> PeftModel:
    """Writes what PEFT saves of a trained adapter, and returns its model."""
    plain = classifier_model(backbone, **changes)
    model = get_peft_model(plain if tied else unrolled(plain), config)
    train_a_little(model)
    model.eval()
    model.save_pretrained(str(folder))
    assert isinstance(model, PeftModel)
    return model


def imported(folder: Path, registry: Path, backbone: Backbone, **said: Any) -> ImportedTask:
    """Imports a folder as the task `x`."""
    options = ImportOptions(**said)
    return import_task(folder, task="x", options=options, registry=registry, backbone=backbone)


def logits_of(registry: Path, backbone: Backbone, texts: Any = TEXTS, task: str = "x") -> Any:
    """Returns what a hub answers: (N, K), or one (tokens, K) array per text."""
    hub = Hub(registry, backbone=backbone.folder, device="cpu")
    rows = [
        {"text": text[0], "text_pair": text[1]} if isinstance(text, tuple) else text
        for text in texts
    ]
    return hub.score(rows, tasks=[task], logits=True)[task].logits


def reference_logits(model: Any, backbone: Backbone, texts: Any = TEXTS) -> list[np.ndarray]:
    """Returns what a model of transformers gives, one text at a time: (K,) or (tokens, K)."""
    found = []
    for text in texts:
        pair = text if isinstance(text, tuple) else (text,)
        tokens = backbone.tokenizer(
            *pair, return_tensors="pt", return_token_type_ids=True, truncation=True, max_length=64
        )
        with torch.inference_mode():
            found.append(model(**tokens).logits[0].numpy())
    return found
