"""PEFT's states to adapters and back, for every method of the installed PEFT."""

from __future__ import annotations

import copy
import json
import warnings
from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import set_peft_model_state_dict

from adapterhub.errors import AdapterError
from adapterhub.model.adapters.unrolled import unrolled
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.format import PeftAdapter, adapter_from_peft, peft_config, peft_state
from adapterhub.peft.settings import UNUSABLE
from adapterhub.store.adapter_names import adapter_problem, prefixed
from adapterhub.store.headfile import digest_of
from tests.peft.peft_models import (
    CASES,
    DEPTHS,
    METHODS,
    NAMES,
    SITES,
    SOME,
    adapted,
    last_hidden,
    peft_settings,
)

PER_MODEL = ("frod", "tinylora")
"""Methods whose tensors depend on how many maps the model has."""


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def exported(model: PeftModel, *, tied: bool, **changes: Any) -> PeftAdapter:
    config = model.peft_config["default"]
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return adapter_from_peft(state, config, num_hidden_layers=4, tied=tied, **changes)


def reopened(backbone: Backbone, adapter: PeftAdapter, *, stock: bool = False) -> PeftModel:
    config = peft_config(adapter.spec, stock=stock)
    own = copy.deepcopy(backbone.model)
    model = get_peft_model(own if stock else unrolled(own), config).eval()
    state = prefixed(peft_state(adapter.spec, adapter.tensors, stock=stock))
    outcome = set_peft_model_state_dict(model, state)
    assert outcome.unexpected_keys == []
    return model


def lora(backbone: Backbone, **changes: Any) -> PeftModel:
    return adapted(backbone.model, peft_settings("lora", tied=False, **changes), tied=False)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "changes"), CASES, ids=NAMES)
def test_a_per_depth_adapter_goes_out_and_comes_back(
    method: str, changes: dict[str, Any], tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings(method, tied=False, **changes), tied=False)
    expected = last_hidden(model)
    assert (expected - last_hidden(tiny_backbone.model)).abs().max() > 1e-4
    adapter = exported(model, tied=False)
    spec = adapter.spec
    assert (spec.method, spec.depths, spec.sites) == (method, DEPTHS, SITES)
    assert not spec.tie_depths
    assert spec.digest == digest_of(spec, adapter.tensors)
    assert spec.parameters == sum(tensor.numel() for tensor in adapter.tensors.values())
    again = reopened(tiny_backbone, adapter)
    torch.testing.assert_close(last_hidden(again), expected, rtol=0, atol=1e-6)
    assert exported(again, tied=False).spec == spec


@pytest.mark.parametrize("method", SOME)
@pytest.mark.slow
def test_a_tied_adapter_goes_out_to_a_plain_albert_and_comes_back(
    method: str, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings(method, tied=True), tied=True)
    expected = last_hidden(model)
    adapter = exported(model, tied=True)
    assert adapter.spec.tie_depths
    assert adapter.spec.depths == (0, 1, 2, 3)
    again = reopened(tiny_backbone, adapter, stock=True)
    torch.testing.assert_close(last_hidden(again), expected, rtol=0, atol=1e-6)
    assert exported(again, tied=True).spec == adapter.spec
    if method not in PER_MODEL:
        replicated = reopened(tiny_backbone, adapter)
        torch.testing.assert_close(last_hidden(replicated), expected, rtol=0, atol=1e-6)


def test_every_method_of_the_installed_peft_is_known() -> None:
    known = {kind.value.lower() for kind in PEFT_TYPE_TO_TUNER_MAPPING}
    assert known == set(METHODS) | set(UNUSABLE)


@pytest.mark.parametrize("method", UNUSABLE)
def test_what_cannot_be_an_adapter_is_refused_with_the_reason(method: str) -> None:
    config = {"peft_type": method.upper()}
    with pytest.raises(AdapterError, match=f"the method '{method}' cannot be used here: .{{20,}}"):
        adapter_from_peft({"x": torch.ones(1)}, config, num_hidden_layers=4, tied=True)


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(AdapterError, match="the installed PEFT has no method 'TELEPATHY'"):
        adapter_from_peft({}, {"peft_type": "TELEPATHY"}, num_hidden_layers=4, tied=True)


def test_the_configuration_is_plain_json_and_says_nothing_of_this_machine(
    tiny_backbone: Backbone,
) -> None:
    config = peft_settings("lora", tied=False, task_type="FEATURE_EXTRACTION", revision="main")
    config.base_model_name_or_path = "/home/somebody/albert"
    model = adapted(tiny_backbone.model, config, tied=False)
    found = exported(model, tied=False).spec.config
    assert json.loads(json.dumps(found)) == found
    assert found["r"] == 4
    assert list(found) == sorted(found)
    assert "somebody" not in json.dumps(found)
    left_out = {"task_type", "revision", "peft_version", "target_modules", "layers_to_transform"}
    assert left_out & found.keys() == set()


def test_equal_adapters_have_equal_digests_however_they_were_addressed(
    tiny_backbone: Backbone,
) -> None:
    names = lora(tiny_backbone)
    path = "encoder.albert_layer_groups.{}.albert_layers.0.{}"
    parts = {site: f"attention.{site}" if "ffn" not in site else site for site in SITES}
    paths = [path.format(depth, parts[site]) for depth in DEPTHS for site in SITES]
    config = peft_settings("lora", tied=True, target_modules=paths)
    addressed = adapted(tiny_backbone.model, config, tied=False)
    state = get_peft_model_state_dict(names)
    set_peft_model_state_dict(addressed, state)
    assert exported(names, tied=False).spec == exported(addressed, tied=False).spec
    other = adapted(tiny_backbone.model, peft_settings("lora", tied=False), tied=False, seed=1)
    assert exported(other, tied=False).spec.digest != exported(names, tied=False).spec.digest


@pytest.mark.parametrize("prefix", ["", "base_model.model.", "base_model.model.albert.", "albert."])
def test_prefixes_of_peft_and_of_models_with_a_head_make_no_difference(
    prefix: str, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings("vera", tied=False), tied=False)
    expected = exported(model, tied=False)
    state = {
        key.replace("base_model.model.", prefix): value
        for key, value in get_peft_model_state_dict(model).items()
    }
    config: PeftConfig = model.peft_config["default"]
    found = adapter_from_peft(state, config, num_hidden_layers=4, tied=False)
    assert found.spec == expected.spec
    assert {"adapter.shared.vera_A", "adapter.2.query.vera_lambda_b"} <= found.tensors.keys()


def test_patterns_are_kept_for_the_maps_that_they_name(tiny_backbone: Backbone) -> None:
    pattern = {r"albert\.encoder\.albert_layer_groups\.2\..*query": 2, "value": 3}
    model = adapted(
        tiny_backbone.model,
        peft_settings("lora", tied=False, rank_pattern={"2.albert_layers.0.attention.query": 2}),
        tied=False,
    )
    config = {**model.peft_config["default"].to_dict(), "rank_pattern": pattern}
    state = get_peft_model_state_dict(model)
    found = adapter_from_peft(state, config, num_hidden_layers=4, tied=False).spec.config
    group = "encoder.albert_layer_groups.{}.albert_layers.0.attention.{}"
    assert found["rank_pattern"] == {
        group.format(2, "query"): 2,
        group.format(2, "value"): 3,
        group.format(3, "value"): 3,
    }


def test_tied_depths_may_be_chosen(tiny_backbone: Backbone) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    adapter = exported(model, tied=True, depths=(2, 3))
    assert adapter.spec.depths == (2, 3)
    state = peft_state(adapter.spec, adapter.tensors)
    assert {key.split(".")[2] for key in state} == {"2", "3"}
    plain = peft_state(adapter.spec, adapter.tensors, stock=True)
    assert {key.split(".")[2] for key in plain} == {"0"}


def test_a_per_depth_adapter_has_no_stock_form(tiny_backbone: Backbone) -> None:
    adapter = exported(lora(tiny_backbone), tied=False)
    with pytest.raises(ValueError, match="differs by depth"):
        peft_state(adapter.spec, adapter.tensors, stock=True)
    with pytest.raises(ValueError, match="differs by depth"):
        peft_config(adapter.spec, stock=True)


@pytest.mark.slow
def test_pruned_adalora_is_stored_without_masks(tiny_backbone: Backbone) -> None:
    config = peft_settings("adalora", tied=False)
    model = adapted(tiny_backbone.model, config, tied=False)
    # As the rank allocator leaves it after the last step.
    prefix = "encoder.albert_layer_groups.{}.albert_layers.0.{}.lora_E"
    masks = {
        prefix.format(2, "attention.query"): [True, False, True, True, False, False],
        prefix.format(3, "ffn"): [False] * 6,
    }
    config.rank_pattern = masks
    pruned = adapted(tiny_backbone.model, peft_settings("adalora", tied=False), tied=False)
    for key, mask in masks.items():
        layer: Any = pruned.get_submodule(f"base_model.model.{key.removesuffix('.lora_E')}")
        layer.lora_E["default"].data[~torch.tensor(mask)] = 0
    expected = last_hidden(pruned)
    state = get_peft_model_state_dict(model)
    assert state[f"base_model.model.{prefix.format(2, 'attention.query')}"].shape == (3, 1)
    adapter = adapter_from_peft(
        state, model.peft_config["default"], num_hidden_layers=4, tied=False
    )
    assert "rank_pattern" not in adapter.spec.config
    assert adapter.tensors["adapter.2.query.lora_E"].shape == (6, 1)
    again = reopened(tiny_backbone, adapter)
    torch.testing.assert_close(last_hidden(again), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays(dtype: torch.dtype, tiny_backbone: Backbone) -> None:
    model = lora(tiny_backbone)
    state = {key: value.to(dtype) for key, value in get_peft_model_state_dict(model).items()}
    config = model.peft_config["default"]
    adapter = adapter_from_peft(state, config, num_hidden_layers=4, tied=False)
    assert {tensor.dtype for tensor in adapter.tensors.values()} == {dtype}


def refused(state: dict[str, Any], config: Any, match: str, **changes: Any) -> None:
    options: dict[str, Any] = {"num_hidden_layers": 4, "tied": False, **changes}
    with pytest.raises(AdapterError, match=match) as raised:
        adapter_from_peft(state, config, **options)
    assert str(raised.value).count("\n") == 0


GROUP = "base_model.model.encoder.albert_layer_groups."


@pytest.mark.parametrize(
    ("key", "match"),
    [
        (f"{GROUP}2.albert_layers.0.attention.query.lora_A.weight", "lacks the factor 'lora_A"),
        (f"{GROUP}3.albert_layers.0.ffn.lora_B.weight", "'lora_B.weight' is at some depths only"),
    ],
)
def test_missing_halves_are_refused_by_name(key: str, match: str, tiny_backbone: Backbone) -> None:
    model = lora(tiny_backbone)
    state = get_peft_model_state_dict(model)
    del state[key]
    refused(state, model.peft_config["default"], match)


def test_a_map_that_is_missing_at_one_depth_is_refused(tiny_backbone: Backbone) -> None:
    model = lora(tiny_backbone)
    state = get_peft_model_state_dict(model)
    gone = f"{GROUP}3.albert_layers.0.attention.dense."
    kept = {key: value for key, value in state.items() if not key.startswith(gone)}
    refused(kept, model.peft_config["default"], "no tensor at depth 3, site 'dense'")


@pytest.mark.parametrize(
    ("key", "match"),
    [
        ("base_model.model.classifier.weight", "classifier.weight', which is no factor"),
        ("base_model.model.albert.pooler.lora_A.weight", "pooler.lora_A"),
        ("base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight", "no factor"),
        (f"{GROUP}2.albert_layers.0.attention.query.base_layer.bias", "base_layer.bias"),
        (f"{GROUP}2.albert_layers.0.attention.LayerNorm.lora_A.weight", "LayerNorm"),
        ("base_model.model.encoder.embedding_hidden_mapping_in.lora_A.weight", "embedding_hidden"),
        (f"{GROUP}2.albert_layers.1.attention.query.lora_A.weight", "albert_layers.1"),
    ],
)
def test_what_is_no_factor_of_the_block_is_refused_by_name(
    key: str, match: str, tiny_backbone: Backbone
) -> None:
    model = lora(tiny_backbone)
    state = {**get_peft_model_state_dict(model), key: torch.ones(2, 2)}
    refused(state, model.peft_config["default"], match)


def test_depths_beyond_the_backbone_are_refused(tiny_backbone: Backbone) -> None:
    model = lora(tiny_backbone)
    state, config = get_peft_model_state_dict(model), model.peft_config["default"]
    refused(state, config, "changes depth 3; this backbone has depths 0 to 2", num_hidden_layers=3)


def test_depths_of_a_tied_adapter_are_checked_too(tiny_backbone: Backbone) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    state, config = get_peft_model_state_dict(model), model.peft_config["default"]
    refused(state, config, "changes depth 4; this", tied=True, depths=(3, 4))


def test_a_per_depth_state_is_no_tied_one(tiny_backbone: Backbone) -> None:
    model = lora(tiny_backbone)
    state, config = get_peft_model_state_dict(model), model.peft_config["default"]
    refused(state, config, "an adapter that all depths share is in group 0", tied=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_values_are_refused_by_name(value: float, tiny_backbone: Backbone) -> None:
    model = lora(tiny_backbone)
    state = get_peft_model_state_dict(model)
    key = f"{GROUP}2.albert_layers.0.ffn.lora_B.weight"
    state[key] = state[key].clone()
    state[key][0, 0] = value
    match = r"'adapter\.2\.ffn\.lora_B\.weight' holds NaN or infinity"
    refused(state, model.peft_config["default"], match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"bias": "all"}, "bias='all' trains biases of the frozen block"),
        ({"init_lora_weights": "pissa"}, "changed the frozen weights"),
        ({"init_lora_weights": "olora"}, "changed the frozen weights"),
        ({"trainable_token_indices": [1]}, "'trainable_token_indices' changes the token table"),
        ({"layer_replication": [[0, 2]]}, "'layer_replication' changes the number of layers"),
        ({"target_parameters": ["x"]}, "'target_parameters'"),
        ({"kasa_config": {"beta": 1}}, "'kasa_config' takes a part out of the frozen weights"),
        ({"lora_alpha": float("inf")}, "'lora_alpha' is inf; expected a number"),
        ({"rank_pattern": {"(": 2}}, "pattern '\\(' is not valid"),
        ({"rank_pattern": {"(a+)+$": 2}}, "repeats too much"),
        ({"rank_pattern": {"[^!]*" * 12 + "!": 2}}, "repeats too much"),
        ({"rank_pattern": ["query"]}, "no object with a value for each"),
        ({"feedforward_modules": 5}, "no names of modules"),
        ({"feedforward_modules": [5]}, "no names of modules"),
        ({"rank_pattern": {"a" * 600: 2}}, "too long"),
        ({"lora_dropout": object()}, "'lora_dropout' is a object, which JSON cannot hold"),
    ],
)
@pytest.mark.slow
def test_settings_that_cannot_be_an_adapter_are_refused_by_name(
    changes: dict[str, Any], match: str, tiny_backbone: Backbone
) -> None:
    model = lora(tiny_backbone)
    config = {**model.peft_config["default"].to_dict(), **changes}
    refused(get_peft_model_state_dict(model), config, match)


def test_unilora_without_its_indices_is_refused(tiny_backbone: Backbone) -> None:
    config = peft_settings("unilora", tied=False, save_indices=False)
    model = adapted(tiny_backbone.model, config, tied=False)
    refused(get_peft_model_state_dict(model), config, "save it with save_indices=True")


def test_numbers_of_places_must_be_exact(tiny_backbone: Backbone) -> None:
    model = adapted(tiny_backbone.model, peft_settings("shira", tied=False), tied=False)
    state = get_peft_model_state_dict(model)
    key = next(key for key in state if key.endswith("shira_indices"))
    state[key] = state[key].long() + 2**24 + 1
    refused(state, model.peft_config["default"], "numbers more than 16777216 places")


def test_the_spec_of_a_newer_peft_is_refused_by_name(tiny_backbone: Backbone) -> None:
    adapter = exported(lora(tiny_backbone), tied=False)
    newer = adapter.spec.model_copy(update={"config": {**adapter.spec.config, "flux": 1}})
    with pytest.raises(ValueError, match=r"refuses the configuration of its 'lora'.*flux"):
        peft_config(newer)
    unknown = adapter.spec.model_copy(update={"method": "telepathy"})
    with pytest.raises(ValueError, match="has no method 'telepathy'"):
        peft_config(unknown)


@pytest.mark.parametrize(
    "config",
    [
        {"rank_pattern": {"(a+)+$": 2}},
        {"alpha_pattern": {"x" * 300: 2}},
        {"feedforward_modules": ".*ffn"},
        {"feedforward_modules": [3]},
    ],
)
def test_patterns_of_strangers_are_plain_names(
    config: dict[str, Any], tiny_backbone: Backbone
) -> None:
    adapter = exported(lora(tiny_backbone), tied=False)
    spec = adapter.spec.model_copy(update={"config": {**adapter.spec.config, **config}})
    shapes = {name: tuple(tensor.shape) for name, tensor in adapter.tensors.items()}
    assert "has the pattern" in str(adapter_problem(spec, shapes))


def test_names_and_shapes_pass_the_checks_of_head_files(tiny_backbone: Backbone) -> None:
    adapter = exported(lora(tiny_backbone), tied=False)
    shapes = {name: tuple(tensor.shape) for name, tensor in adapter.tensors.items()}
    assert adapter_problem(adapter.spec, shapes) is None
