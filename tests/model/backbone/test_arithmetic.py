"""Counts from sizes alone against models that are really made and run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from adapterhub.model.backbone.arithmetic import count_operations, count_parameters
from adapterhub.model.backbone.config import read_config
from tests.encoders import FAMILY_NAMES, MODELS, random_model

BASE = {
    "vocab_size": 30_000,
    "embedding_size": 128,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
SHAPES: list[dict[str, Any]] = [
    {},
    {"num_hidden_groups": 2},
    {"inner_group_num": 2, "num_hidden_layers": 3},
    {"embedding_size": 32, "intermediate_size": 50, "max_position_embeddings": 40},
    {"type_vocab_size": 3, "vocab_size": 101},
]


def config(**changes: Any) -> AlbertConfig:
    sizes: dict[str, Any] = {
        "vocab_size": 200,
        "embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }
    return AlbertConfig(**{**sizes, **changes})


@pytest.mark.parametrize("changes", SHAPES)
def test_parameters_are_those_of_a_model(changes: dict[str, Any]) -> None:
    sizes = config(**changes)
    model = AlbertModel(sizes, add_pooling_layer=False)
    found = count_parameters(sizes)
    assert found.total == sum(parameter.numel() for parameter in model.parameters())


def test_a_bert_of_this_shape() -> None:
    sizes = config()
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    names = (*names, "intermediate_size", "max_position_embeddings", "type_vocab_size")
    bert = BertModel(
        BertConfig(**{name: getattr(sizes, name) for name in names}), add_pooling_layer=False
    )
    found = count_parameters(sizes)
    assert found.unshared_total == sum(parameter.numel() for parameter in bert.parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_parameters_are_those_of_a_model_of_the_family(family: str, tmp_path: Path) -> None:
    settings = MODELS[family][2] | {"vocab_size": 50}
    model = random_model(family, vocab_size=50)
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict()))
    read = read_config(tmp_path)
    found = count_parameters(read.albert, has_map=read.has_embedding_map, more_rows=read.more_rows)
    stored = {n: p.numel() for n, p in model.named_parameters() if not n.startswith("pooler")}
    assert found.total == sum(stored.values())
    assert found.blocks == (1 if family == "albert" else 4)
    assert found.factored_table == (50 * 16 + 16 * 32 if "embedding_size" in settings else 50 * 32)


def test_an_albert_of_the_shape_of_a_bert() -> None:
    found = count_parameters(
        config(embedding_size=160, hidden_size=160, num_hidden_groups=4), has_map=False
    )
    albert = AlbertModel(config(embedding_size=128, hidden_size=160), add_pooling_layer=False)
    assert found.shared_total == sum(parameter.numel() for parameter in albert.parameters())
    assert found.shared_table == 200 * 128 + 128 * 160
    assert found.total == found.unshared_total


@pytest.mark.parametrize("changes", [{}, {"inner_group_num": 2}])
def test_an_albert_of_one_group_is_its_own_neighbour(changes: dict[str, Any]) -> None:
    found = count_parameters(config(**changes))
    assert found.shared_total == found.total


@pytest.mark.parametrize("family", ["bert", "electra", "roberta", "distilbert"])
@pytest.mark.slow
def test_operations_of_a_family_are_those_that_torch_counts(family: str, tmp_path: Path) -> None:
    model = random_model(family, vocab_size=50, attn_implementation="eager")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    (tmp_path / "config.json").write_text(json.dumps(model.config.to_dict()))
    read = read_config(tmp_path)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.full((1, 20), 7))
    found = count_operations(read.albert, 20, has_map=read.has_embedding_map)
    assert found.per_text == counter.get_total_flops()


@pytest.mark.parametrize("changes", SHAPES)
@pytest.mark.parametrize("length", [1, 20, 33])
@pytest.mark.slow
def test_operations_are_those_that_torch_counts(changes: dict[str, Any], length: int) -> None:
    sizes = config(attn_implementation="eager", **changes)
    model = AlbertModel(sizes, add_pooling_layer=False).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, length, dtype=torch.long))
    assert count_operations(sizes, length).per_text == counter.get_total_flops()


def test_albert_base() -> None:
    """The published checkpoint has 11,683,584 parameters, 590,592 of them in the pooling layer.

    Source: Lan et al. 2020 (arXiv:1909.11942), table 1 rounds to 12 M against 108 M of BERT base.
    """
    sizes = AlbertConfig(**BASE)
    found = count_parameters(sizes)
    assert found.factored_table == 3_938_304
    assert found.unshared_table == 23_040_000
    assert found.block == 7_087_872
    assert found.total == 11_683_584 - 590_592
    assert 108e6 < found.unshared_total < 110e6


def test_sharing_saves_no_operation() -> None:
    one, many = config(), config(num_hidden_groups=4)
    assert count_operations(one, 20) == count_operations(many, 20)
    assert count_parameters(one).total < count_parameters(many).total
