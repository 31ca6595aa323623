"""An unrolled ALBERT: another arrangement of the same parameters, and the same function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
    BertConfig,
    BertModel,
)

import adapterhub
from adapterhub.errors import UsageError
from adapterhub.model.adapters.unrolled import inner_albert, unrolled, untie

CLASSES = (
    AlbertModel,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertForMaskedLM,
)
TOKENS = torch.tensor([[2, 7, 9, 3], [2, 8, 30, 3]])


def config(**changes: Any) -> AlbertConfig:
    settings: dict[str, Any] = {
        "vocab_size": 40,
        "embedding_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 6,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 16,
        "initializer_range": 0.3,
        "hidden_dropout_prob": 0.1,
        **changes,
    }
    return AlbertConfig(**settings)


def model_of(kind: Any = AlbertModel, **changes: Any) -> Any:
    torch.manual_seed(0)
    return kind(config(**changes)).eval()


def states(model: Any) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(model(TOKENS, output_hidden_states=True).hidden_states)


@pytest.mark.parametrize("kind", CLASSES)
def test_same_class_same_parameters_same_bits(kind: Any) -> None:
    model = model_of(kind)
    before = states(model)
    twin = adapterhub.unrolled(model)
    assert type(twin) is kind
    assert twin.config.num_hidden_groups == 6
    assert {id(p) for p in twin.parameters()} == {id(p) for p in model.parameters()}
    assert sum(p.numel() for p in twin.parameters()) == sum(p.numel() for p in model.parameters())
    with torch.inference_mode():
        assert torch.equal(twin(TOKENS)[0], model(TOKENS)[0])
    after = states(twin)
    assert len(after) == 7
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6])
def test_every_number_of_groups_keeps_its_function(groups: int) -> None:
    model = model_of(num_hidden_groups=groups)
    twin = unrolled(model)
    assert torch.equal(states(twin)[-1], states(model)[-1])
    assert {id(p) for p in twin.parameters()} <= {id(p) for p in model.parameters()}


def test_the_model_itself_stays_as_it_is() -> None:
    model = model_of(AlbertForSequenceClassification)
    names = [name for name, _ in model.named_modules()]
    twin = unrolled(model)
    get_peft_model(twin, LoraConfig(target_modules=["query"]))
    assert [name for name, _ in model.named_modules()] == names
    assert model.config.num_hidden_groups == 1
    assert model.albert.encoder.config.num_hidden_groups == 1
    assert twin.albert.encoder.config is twin.config


def test_every_depth_has_modules_of_its_own() -> None:
    twin = unrolled(model_of())
    modules = [module for module in twin.modules() if isinstance(module, torch.nn.Linear)]
    # query, key, value, dense, ffn and ffn_output of 6 depths; the map behind the embeddings; the
    # pooler.
    assert len({id(module) for module in modules}) == 6 * 6 + 2


def test_peft_chooses_depths() -> None:
    model = unrolled(model_of())
    depths = LoraConfig(
        target_modules=["query", "value"],
        layers_to_transform=[4, 5],
        layers_pattern="albert_layer_groups",
    )
    adapted = get_peft_model(model, depths)
    trainable = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * 2 * 2
    assert all(".4." in name or ".5." in name for name in trainable)


def test_untie_gives_the_chosen_maps_their_own_weights_and_no_others() -> None:
    model = model_of()
    twin = unrolled(model)
    expected = states(model)[-1]
    untie(twin, (3, 5), ("query", "ffn"))
    assert torch.equal(states(twin)[-1], expected)
    shared = {id(p) for p in model.parameters()}
    own = [name for name, p in twin.named_parameters() if id(p) not in shared]
    assert len(own) == 2 * 2 * 2  # two depths, two maps, weight and bias
    assert all(".3." in name or ".5." in name for name in own)
    assert all(".query." in name or ".ffn." in name for name in own)


def test_untied_weights_can_be_merged_without_harm_to_the_backbone() -> None:
    model = model_of()
    original = [p.clone() for p in model.parameters()]
    lora = LoraConfig(
        target_modules=["query"],
        layers_to_transform=[4],
        layers_pattern="albert_layer_groups",
        init_lora_weights=False,
    )
    adapted = get_peft_model(unrolled(model), lora).eval()
    expected = states(adapted)[-1]
    untie(adapted, (4,), ("query",))
    merged = adapted.merge_and_unload()
    torch.testing.assert_close(states(merged)[-1], expected, rtol=0, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(original, model.parameters(), strict=True))


def test_frozen_stays_frozen_and_eval_stays_eval() -> None:
    model = model_of().requires_grad_(False)
    twin = unrolled(model)
    untie(twin, (1,), ("value",))
    assert not any(p.requires_grad for p in twin.parameters())
    assert not any(module.training for module in twin.modules())


def test_inner_groups_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="inner_group_num 2"):
        unrolled(model_of(inner_group_num=2))


def test_other_models_are_refused_by_name() -> None:
    bert: Any = BertModel(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )
    own = "A BertModel has a module for every depth already: give it to PEFT as it is"
    with pytest.raises(UsageError, match=own):
        unrolled(bert)
    with pytest.raises(UsageError, match=own):
        unrolled(get_peft_model(bert, LoraConfig(target_modules=["query"])))  # type: ignore[type-var]
    with pytest.raises(UsageError, match="A Linear has no depths; expected an ALBERT"):
        unrolled(torch.nn.Linear(2, 2))  # type: ignore[type-var]


def test_inner_albert_looks_through_heads_and_peft() -> None:
    model = model_of(AlbertForTokenClassification)
    assert inner_albert(model) is model.albert
    adapted = get_peft_model(model, LoraConfig(target_modules=["query"]))
    assert inner_albert(adapted) is model.albert
