"""Whole classifiers of transformers: a head, where the encoder is bit-equal to the backbone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AlbertForMaskedLM,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
)

from adapterhub.errors import AdapterError, BackboneError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from tests.importing.folders import (
    classifier_model,
    imported,
    logits_of,
    reference_logits,
)
from tests.tiny import open_tiny

NAMES = {0: "no", 1: "maybe", 2: "yes"}
TAGS = {0: "O", 1: "B-PER", 2: "I-PER"}


def save(folder: Path, backbone: Backbone, kind: Any, **said: Any) -> Any:
    model = classifier_model(backbone, kind, **said)
    model.save_pretrained(folder)
    return model


def assert_same(registry: Path, backbone: Backbone, model: Any) -> None:
    found = logits_of(registry, backbone)
    for ours, theirs in zip(found, reference_logits(model, backbone), strict=True):
        wanted = theirs if theirs.ndim == 1 else theirs[1:-1]
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def test_a_text_classifier_becomes_a_head(tmp_path: Path, tiny_backbone: Backbone) -> None:
    kind = AlbertForSequenceClassification
    model = save(tmp_path / "model", tiny_backbone, kind, id2label=NAMES)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "model", registry, tiny_backbone)
    assert done.spec.adapter is None
    assert done.spec.labels == ("no", "maybe", "yes")
    assert done.spec.head.hidden_width == 32
    assert_same(registry, tiny_backbone, model)


def test_a_token_classifier_becomes_a_head(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = save(tmp_path / "model", tiny_backbone, AlbertForTokenClassification, id2label=TAGS)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "model", registry, tiny_backbone)
    assert (done.spec.kind, done.spec.head.hidden_width) == ("tagging", None)
    assert_same(registry, tiny_backbone, model)


@pytest.mark.parametrize(
    ("problem_type", "outputs", "kind"),
    [
        ("multi_label_classification", 3, "multi_label"),
        ("regression", 1, "regression"),
        ("regression", 3, "numbers"),
        (None, 1, "regression"),
        (None, 3, "single_label"),
    ],
)
def test_the_config_says_the_kind(
    problem_type: str | None, outputs: int, kind: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    names = dict(list(NAMES.items())[:outputs])
    said = {"id2label": names, "problem_type": problem_type, "outputs": outputs}
    save(tmp_path / "model", tiny_backbone, AlbertForSequenceClassification, **said)
    done = imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)
    assert done.spec.kind == kind


def test_a_regression_of_several_outputs_becomes_numbers(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    names = {0: "valence", 1: "arousal", 2: "dominance"}
    said = {"id2label": names, "problem_type": "regression", "outputs": 3}
    model = save(tmp_path / "model", tiny_backbone, AlbertForSequenceClassification, **said)
    registry = tmp_path / "registry.yaml"
    done = imported(tmp_path / "model", registry, tiny_backbone)
    assert (done.spec.labels, done.spec.value_ranges) == (tuple(names.values()), None)
    assert_same(registry, tiny_backbone, model)


def test_the_first_tensor_that_differs_is_named(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = classifier_model(tiny_backbone, id2label=NAMES)
    with torch.no_grad():
        layer = model.albert.encoder.albert_layer_groups[0].albert_layers[0]
        layer.attention.key.weight[0, 0] += 0.25
        layer.ffn.bias += 1
    model.save_pretrained(tmp_path / "model")
    match = r"attention\.key\.weight' differs .* tiny by up to 0\.25 \(2 of 23 tensors differ\)"
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)
    assert not (tmp_path / "registry.yaml").exists()


def test_another_width_is_named_with_both_shapes(tmp_path: Path, tiny_backbone: Backbone) -> None:
    other = open_tiny(tmp_path / "wide", embedding_size=24)
    save(tmp_path / "model", other, AlbertForSequenceClassification, id2label=NAMES)
    match = r"word_embeddings\.weight' is \(\d+, 24\), that of the backbone tiny \(\d+, 16\)"
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("num_hidden_layers", 3, "num_hidden_layers is 3; the backbone tiny has 4"),
        ("num_attention_heads", 2, "num_attention_heads is 2"),
        ("hidden_act", "gelu", "hidden_act is 'gelu'"),
        ("layer_norm_eps", 1e-5, "layer_norm_eps is 1e-05"),
    ],
)
def test_settings_that_make_another_function_are_named(
    name: str, value: Any, match: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    save(tmp_path / "model", tiny_backbone, AlbertForSequenceClassification, id2label=NAMES)
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)


def test_its_own_tokenizer_must_give_the_same_ids(tmp_path: Path, tiny_backbone: Backbone) -> None:
    save(tmp_path / "model", tiny_backbone, AlbertForSequenceClassification, id2label=NAMES)
    vocabulary = tmp_path / "model" / "vocab.txt"
    shutil.copy(tiny_backbone.folder / "vocab.txt", vocabulary)
    imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    lines[-1], lines[-2] = lines[-2], lines[-1]
    vocabulary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(AdapterError, match="its tokenizer gives other ids"):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)


def test_other_models_are_refused_by_name(tmp_path: Path, tiny_backbone: Backbone) -> None:
    AlbertForMaskedLM(tiny_backbone.config).save_pretrained(tmp_path / "model")
    with pytest.raises(AdapterError, match="it is an AlbertForMaskedLM; expected AlbertFor"):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)


def test_a_backbone_alone_is_no_task(tmp_path: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(AdapterError, match=r"config\.json names no classifier"):
        imported(tiny_backbone.folder, tmp_path / "registry.yaml", tiny_backbone)


def test_another_family_is_refused_by_name(tmp_path: Path, tiny_backbone: Backbone) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "bert", "architectures": ["BertForSequenceClassification"]})
    )
    match = "it is of model_type 'bert'; the backbone tiny is of 'albert'"
    with pytest.raises(AdapterError, match=match):
        imported(tmp_path, tmp_path / "registry.yaml", tiny_backbone)


def test_a_model_of_no_family_is_refused_by_name(tmp_path: Path, tiny_backbone: Backbone) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]})
    )
    with pytest.raises(AdapterError, match=r"it is an GPT2For.*; expected \[Albert\|Bert\|"):
        imported(tmp_path, tmp_path / "registry.yaml", tiny_backbone)


def test_pickles_are_never_opened(tmp_path: Path, tiny_backbone: Backbone) -> None:
    folder = tmp_path / "model"
    save(folder, tiny_backbone, AlbertForSequenceClassification, id2label=NAMES)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="in a pickle, which is never opened"):
        imported(folder, tmp_path / "registry.yaml", tiny_backbone)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"architectures": 3}', '{"id2label": {"1": "a"}}', '{"id2label": 3}']
)
def test_a_damaged_config_is_refused(content: str, tmp_path: Path, tiny_backbone: Backbone) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(AdapterError, match=r"config\.json is not valid"):
        imported(tmp_path, tmp_path / "registry.yaml", tiny_backbone)


def test_outputs_without_names_need_them(tmp_path: Path, tiny_backbone: Backbone) -> None:
    save(tmp_path / "model", tiny_backbone, AlbertForSequenceClassification)
    path = tmp_path / "model" / "config.json"
    values = json.loads(path.read_text())
    values.pop("id2label", None)
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError, match="The 3 outputs of the classifier have no names"):
        imported(tmp_path / "model", tmp_path / "registry.yaml", tiny_backbone)
    imported(tmp_path / "model", tmp_path / "r.yaml", tiny_backbone, labels=("a", "b", "c"))


def test_a_missing_folder_is_named(tmp_path: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(AdapterError, match="nowhere: no such folder"):
        imported(tmp_path / "nowhere", tmp_path / "registry.yaml", tiny_backbone)
