"""Which encoders open, by their config.json: the families, and why others do not."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from adapterhub.errors import BackboneError
from adapterhub.families import FAMILIES, REFUSED
from adapterhub.model.backbone.config import EncoderConfig, read_config
from tests.encoders import FAMILY_NAMES, MODELS

NAN, INFINITE = float("nan"), float("inf")


def read(folder: Path, values: object) -> EncoderConfig:
    (folder / "config.json").write_text(json.dumps(values))
    return read_config(folder)


def refusal(folder: Path, values: object) -> str:
    """Returns the message with which a config is refused; it is one line."""
    with pytest.raises(BackboneError) as refused:
        read(folder, values)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def settings(family: str) -> dict[str, Any]:
    """Returns what transformers writes into the config.json of a tiny encoder."""
    config, _, sizes = MODELS[family]
    return dict(config(vocab_size=100, **sizes).to_dict())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_family_is_one_encoder_config(family: str, tmp_path: Path) -> None:
    found = read(tmp_path, settings(family))
    assert found.family is FAMILIES[found.family.name]
    assert found.family.name == family
    albert = found.albert
    assert (albert.hidden_size, albert.num_hidden_layers, albert.vocab_size) == (32, 4, 100)
    assert albert.num_hidden_groups == (1 if family == "albert" else 4)


@pytest.mark.parametrize(
    ("model_type", "reason"),
    [
        ("modernbert", "rotations of query and key (rotary), not a table that is added, and its"),
        ("modernbert", "layer norms stand before the maps (pre-norm)"),
        ("nomic_bert", "gated"),
        ("new", "rotary"),
        ("deberta", "relative positions"),
        ("deberta-v2", "relative positions"),
        ("mpnet", "relative positions"),
        ("xlnet", "relative positions"),
        ("megatron-bert", "pre-norm"),
        ("roberta-prelayernorm", "pre-norm"),
        ("camembert", "its tokenizer is not read"),
        ("t5", "it is an encoder with a decoder"),
        ("bart", "it is an encoder with a decoder"),
        ("gpt2", "it is a decoder: a token sees only those before it"),
        ("llama", "it is a decoder"),
        ("qwen3", "it is a decoder"),
        ("mistral", "it is a decoder"),
        ("phi3", "it is a decoder"),
    ],
)
def test_another_model_is_refused_by_name_and_reason(
    model_type: str, reason: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, {**settings("bert"), "model_type": model_type})
    assert f"is of model_type '{model_type}', which cannot run here: " in message
    assert reason in message
    assert "These can: albert, bert, distilbert, electra, roberta, xlm-roberta" in message


def test_no_family_is_refused_by_name() -> None:
    assert not REFUSED.keys() & FAMILIES.keys()


@pytest.mark.parametrize("model_type", ["vit", "berta", "BERT", 7, ["bert"], "b" * 1000])
def test_an_unknown_model_is_refused(model_type: object, tmp_path: Path) -> None:
    message = refusal(tmp_path, {"model_type": model_type})
    assert "expected albert, bert, distilbert" in message
    assert len(message) < 500


def test_a_missing_model_type_is_explained(tmp_path: Path) -> None:
    values = settings("bert")
    del values["model_type"]
    assert "has no model_type. If it is one of albert, bert, " in refusal(tmp_path, values)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"is_decoder": True}, "is_decoder True; expected an encoder"),
        ({"add_cross_attention": True}, "add_cross_attention True; expected an encoder"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type 'rotary'"),
        ({"position_embedding_type": "alibi"}, "position_embedding_type 'alibi'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config; expected plain weights"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads; expected all attention heads"),
        ({"auto_map": {"AutoModel": "a--code.Model"}}, "never run here"),
        ({"layer_norm_eps": -1e-12}, "layer_norm_eps -1e-12; expected a small number"),
        ({"layer_norm_eps": NAN}, "layer_norm_eps nan; expected a small number"),
        ({"layer_norm_eps": INFINITE}, "layer_norm_eps inf; expected a small number"),
        ({"max_position_embeddings": 0}, "max_position_embeddings 0; expected "),
        ({"vocab_size": -1}, "vocab_size -1; expected 1 or more"),
        ({"vocab_size": None}, "config.json cannot be used"),
        ({"vocab_size": 10.5}, "config.json cannot be used"),
        ({"vocab_size": "100"}, "config.json cannot be used"),
        ({"vocab_size": [100]}, "config.json cannot be used"),
        ({"vocab_size": NAN}, "config.json cannot be used"),
    ],
)
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_a_setting_that_cannot_run_is_refused(
    family: str, values: dict[str, object], problem: str, tmp_path: Path
) -> None:
    assert problem in refusal(tmp_path, {**settings(family), **values})


@pytest.mark.parametrize(
    ("family", "values", "problem"),
    [
        ("distilbert", {"activation": "relu"}, "activation 'relu'; expected one of gelu, "),
        ("distilbert", {"dim": 30}, "dim 30, which 4 attention heads do not divide"),
        ("distilbert", {"dim": 0}, "dim 0; expected 1 or more"),
        ("distilbert", {"n_layers": 2_000}, "n_layers 2000; at most 1024"),
        ("distilbert", {"n_heads": "x"}, "config.json cannot be used"),
        ("bert", {"hidden_act": "quick_gelu"}, "hidden_act 'quick_gelu'; expected one of gelu, "),
        ("bert", {"hidden_act": "swish"}, "hidden_act 'swish'; expected one of gelu, "),
        ("bert", {"hidden_act": "silu" * 99}, "hidden_act 'silusilu"),
        ("bert", {"num_hidden_layers": 10**30}, "at most 1024"),
        ("bert", {"type_vocab_size": 0}, "type_vocab_size 0; expected 1 or more"),
        ("roberta", {"max_position_embeddings": 2}, "max_position_embeddings 2; expected 3"),
        ("roberta", {"pad_token_id": None}, "pad_token_id is None"),
        ("roberta", {"pad_token_id": -1}, "pad_token_id is -1"),
        ("xlm-roberta", {"pad_token_id": 99}, "max_position_embeddings 64; expected 101 or more"),
        ("albert", {"num_hidden_groups": 1_000, "inner_group_num": 2}, "more than 1024 inner"),
    ],
)
def test_a_setting_is_named_as_in_its_config(
    family: str, values: dict[str, object], problem: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, {**settings(family), **values})
    assert problem in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "values",
    [
        {"position_embedding_type": "absolute"},
        {"pruned_heads": {}},
        {"quantization_config": None},
        {"auto_map": {"AutoModelForSequenceClassification": "code.Head"}},
        {"num_labels": 10**12},
        {"id2label": {"a": 1}, "dtype": "os.system", "attn_implementation": "owner/kernel"},
        {"use_cache": False, "architectures": ["BertForMaskedLM"], "num_labels": 7},
    ],
)
def test_a_setting_that_changes_nothing_is_accepted(
    values: dict[str, object], tmp_path: Path
) -> None:
    assert read(tmp_path, {**settings("bert"), **values}).albert.hidden_size == 32


def test_settings_of_the_first_berts_are_enough(tmp_path: Path) -> None:
    values = {
        "model_type": "bert",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 128,
        "initializer_range": 0.02,
        "intermediate_size": 512,
        "max_position_embeddings": 512,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    }
    found = read(tmp_path, values).albert
    assert (found.hidden_size, found.num_hidden_groups, found.layer_norm_eps) == (128, 2, 1e-12)


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("0_Transformer/config.json", "Its encoder is in the folder 0_Transformer: give that"),
        ("bert_config.json", "a checkpoint of TensorFlow 1: adapterhub convert"),
        ("albert_config.json", "a checkpoint of TensorFlow 1: adapterhub convert"),
    ],
)
def test_an_older_layout_is_recognised(file: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(BackboneError, match=part):
        read_config(tmp_path)


def test_names_of_refused_models_are_spelt_as_transformers_does() -> None:
    # These came from other repositories, or went with an earlier version of transformers.
    gone = {"ernie_m", "jina_bert", "new", "nezha", "retribert"}
    assert REFUSED.keys() - CONFIG_MAPPING_NAMES.keys() == gone


def test_an_odd_padding_token_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    assert "expected 10002" in refusal(tmp_path, {**settings("roberta"), "pad_token_id": 10_000})
    assert caplog.messages == []
