"""Counts from sizes alone against models that are really made and run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from adapterhub.model.backbone.arithmetic import count_operations, count_parameters

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
