"""Adapters of PEFT on models of every family: in by layer number, out by the family's own names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import set_peft_model_state_dict

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.changes import Applied
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.peft.export_folder import export_peft, is_stock, opens_on
from adapterhub.peft.family_names import block_paths, canonical_key, families_of, family_key
from adapterhub.peft.format import PeftAdapter, adapter_from_peft, peft_config, peft_state
from adapterhub.specs import SITES, AdapterSpec, Site
from adapterhub.store.adapter_names import prefixed
from adapterhub.store.headfile import HeadFile, encode_head, parse_head
from tests.builders import head_tensors
from tests.encoders import MODELS
from tests.peft.family_models import DEPTHS, FAMILY_NAMES, family_settings, trained
from tests.peft.peft_models import CASES, NAMES, SOME, adapted, last_hidden, peft_settings
from tests.tiny import tiny_task

TOLERANCE = 1e-5


pytestmark = pytest.mark.filterwarnings("ignore")


def plain(backbone: Backbone) -> Any:
    """Returns the model as anybody would load it."""
    return MODELS[backbone.spec.family][1].from_pretrained(str(backbone.folder)).eval()


def from_model(model: PeftModel) -> PeftAdapter:
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return adapter_from_peft(state, model.peft_config["default"], num_hidden_layers=4, tied=False)


def reopened(backbone: Backbone, adapter: PeftAdapter) -> PeftModel:
    family = FAMILIES[backbone.spec.family]
    model = get_peft_model(plain(backbone), peft_config(adapter.spec, family=family)).eval()
    state = prefixed(peft_state(adapter.spec, adapter.tensors, family=family))
    assert set_peft_model_state_dict(model, state).unexpected_keys == []
    assert isinstance(model, PeftModel)
    return model


def ours(backbone: Backbone, adapter: PeftAdapter) -> torch.Tensor:
    """Returns the hidden states of the texts of `last_hidden`, with the adapter."""
    encoder = Encoder(backbone, device="cpu")
    compiled = compile_adapter(adapter.spec, adapter.tensors, encoder=encoder, source="a test")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, 90, (2, 7), generator=generator).tolist()
    batch = pack(
        [Window(i, 0, 7, row, [0] * 7) for i, row in enumerate(tokens)], device=torch.device("cpu")
    )
    hidden = encoder.embed(batch)
    first = adapter.spec.from_depth
    hidden = encoder.run(hidden, batch, 0, first)
    applied = [Applied(compiled, slice(0, batch.tokens))]
    return encoder.run(hidden, batch, first, 4, applied).view(2, 7, -1)


def check_round_trip(backbone: Backbone, method: str, **changes: Any) -> None:
    model = trained(plain(backbone), family_settings(method, backbone.spec.family, **changes))
    expected = last_hidden(model)
    assert (expected - last_hidden(plain(backbone))).abs().max() > 1e-4
    adapter = from_model(model)
    spec = adapter.spec
    assert (spec.method, spec.depths, spec.tie_depths) == (method, DEPTHS, False)
    assert spec.sites == ("query", "value", "dense", "ffn", "ffn_output")
    torch.testing.assert_close(ours(backbone, adapter), expected, rtol=0, atol=TOLERANCE)
    again = reopened(backbone, adapter)
    torch.testing.assert_close(last_hidden(again), expected, rtol=0, atol=1e-6)
    assert from_model(again).spec == spec


@pytest.mark.parametrize(
    ("family", "method"),
    [
        *(("distilbert", method) for method in SOME),
        *((family, method) for family in FAMILY_NAMES[2:] for method in ("lora", "ia3", "frod")),
    ],
)
@pytest.mark.slow
def test_an_adapter_of_a_plain_model_comes_in_and_goes_out(
    family: str, method: str, backbones: Mapping[str, Backbone]
) -> None:
    check_round_trip(backbones[family], method)


@pytest.mark.parametrize(("method", "changes"), CASES, ids=NAMES)
@pytest.mark.slow
def test_every_method_on_a_bert(
    method: str, changes: dict[str, Any], backbones: Mapping[str, Backbone]
) -> None:
    check_round_trip(backbones["bert"], method, **changes)


@pytest.mark.parametrize(
    ("key", "families"),
    [
        ("base_model.model.bert.encoder.layer.3.attention.self.query.lora_A.weight", ("bert",)),
        ("base_model.model.distilbert.transformer.layer.0.ffn.lin1.lora_B.weight", ("distilbert",)),
        ("base_model.model.electra.encoder.layer.0.output.dense.x", ("electra",)),
        ("roberta.encoder.layer.11.output.dense.x", ("roberta", "xlm-roberta")),
        (
            "base_model.model.encoder.layer.3.attention.self.query.lora_A.weight",
            ("bert", "electra", "roberta", "xlm-roberta"),
        ),
        ("transformer.layer.3.attention.q_lin.lora_A.weight", ("distilbert",)),
        ("base_model.model.encoder.albert_layer_groups.0.albert_layers.0.ffn.x", ("albert",)),
        ("base_model.model.deberta.pooler.dense.lora_A.weight", ()),
        ("base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight", ()),
    ],
)
def test_keys_tell_the_family(key: str, families: tuple[str, ...]) -> None:
    assert families_of([key]) == families


def test_most_keys_tell_the_family_in_any_order() -> None:
    own = [f"bert.encoder.layer.{depth}.output.dense.lora_A.weight" for depth in range(2)]
    other = "distilbert.transformer.layer.0.ffn.lin1.lora_A.weight"
    assert families_of([other, *own]) == families_of([*own, other]) == families_of(own)


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("prefix", ["", "base_model.model.", "own"])
def test_keys_are_translated_there_and_back(family: str, prefix: str) -> None:
    found = next(one for one in FAMILIES.values() if one.name == family)
    before = f"base_model.model.{found.prefix}" if prefix == "own" else prefix
    for site in SITES:
        theirs, ours = block_paths(11, site, found)
        key = f"{before}{theirs}.lora_A.weight"
        assert canonical_key(key, found) == f"{before}{ours}.lora_A.weight"
        assert family_key(canonical_key(key, found), found) == key
    other = f"{before}{found.layer.format(2)}{found.parts['full_layer_layer_norm']}.lora_A.weight"
    assert canonical_key(other, found) == other


@pytest.mark.parametrize(
    ("sites", "targets", "left_out"),
    [
        (("query", "value"), ["query", "value"], None),
        (("ffn_output",), ["output.dense"], ["attention.output.dense"]),
        (("dense", "ffn_output"), ["attention.output.dense", "output.dense"], None),
        (("dense", "ffn"), ["attention.output.dense", "intermediate.dense"], None),
    ],
)
@pytest.mark.parametrize("method", ["lora", "ia3"])
@pytest.mark.slow
def test_a_configuration_names_only_what_is_changed(
    sites: tuple[Site, ...], targets: list[str], left_out: list[str] | None, method: str,
    backbones: Mapping[str, Backbone],
) -> None:  # fmt: skip
    spec = AdapterSpec(method=method, depths=(1, 3), sites=sites, parameters=1, digest="0" * 64)
    config: Any = peft_config(spec, family=FAMILIES["bert"])
    if method == "lora":
        assert set(config.target_modules) == set(targets)
        assert (config.layers_to_transform, config.layers_pattern) == ([1, 3], "layer")
        assert set(config.exclude_modules or ()) == set(left_out or ())
    model = MODELS["bert"][1].from_pretrained(str(backbones["bert"].folder))
    opened = get_peft_model(model, config)
    changed = {name for name, module in opened.named_modules() if hasattr(module, "base_layer")}
    wanted = {block_paths(depth, site, FAMILIES["bert"])[0] for depth in (1, 3) for site in sites}
    assert {name.removeprefix("base_model.model.") for name in changed} == wanted


def head_file(backbone: Backbone, adapter: PeftAdapter) -> HeadFile:
    spec = tiny_task(backbone, "single_label", task="mood")
    tensors = {**head_tensors(spec), **adapter.tensors}
    spec = spec.model_copy(update={"adapter": adapter.spec})
    return parse_head(encode_head(spec, tensors), source="mood.safetensors")


@pytest.mark.slow
def test_an_exported_folder_says_how_to_open_it(
    tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    for family, article in (("bert", "a BertModel"), ("electra", "an ElectraModel")):
        backbone = backbones[family]
        model = trained(plain(backbone), family_settings("lora", family))
        head = head_file(backbone, from_model(model))
        assert not is_stock(head.spec)
        assert opens_on(head.spec) == "model"
        export_peft(head, tmp_path / family)
        config = json.loads((tmp_path / family / "adapter_config.json").read_text())
        assert (config["layers_to_transform"], config["layers_pattern"]) == ([1, 3], "layer")
        readme = (tmp_path / family / "README.md").read_text()
        assert f"at depth 1, 3 of {article}, exported" in readme
        assert f"from transformers import {article.split()[1]}" in readme
        assert "unrolled" not in readme
        assert 'PeftModel.from_pretrained(model, ".")' in readme
    assert "add_pooling_layer=False" in (tmp_path / "bert" / "README.md").read_text()
    assert "add_pooling_layer" not in readme


@pytest.mark.parametrize("method", ["lora", "ia3", "vera"])
@pytest.mark.slow
def test_a_tied_adapter_is_repeated_for_each_layer(
    method: str, tmp_path: Path, backbones: Mapping[str, Backbone]
) -> None:
    backbone = backbones["bert"]
    changes = {"rank_pattern": {"query": 2}} if method == "lora" else {}
    albert = adapted(
        backbones["albert"].model, peft_settings(method, tied=True, **changes), tied=True
    )
    state = get_peft_model_state_dict(albert, save_embedding_layers=False)
    config = albert.peft_config["default"]
    found = adapter_from_peft(state, config, num_hidden_layers=4, tied=True, depths=(2, 3))
    export_peft(head_file(backbone, found), tmp_path / "out")
    opened = PeftModel.from_pretrained(plain(backbone), str(tmp_path / "out")).eval()
    expected = ours(backbone, found)
    torch.testing.assert_close(last_hidden(opened), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("pattern", "ranks"),
    [
        ({"query": 2}, {(1, "query"): 2, (3, "query"): 2}),
        ({r"layer\.1\.attention\.self\.query": 2}, {(1, "query"): 2}),
        ({r"^bert\.encoder\.layer\.3\..*dense": 2}, {(3, "dense"): 2, (3, "ffn_output"): 2}),
        (
            {"output.dense": 2},
            {(1, "dense"): 2, (3, "dense"): 2, (1, "ffn_output"): 2, (3, "ffn_output"): 2},
        ),
        ({"attention.output.dense": 2, "output.dense": 4}, {(1, "dense"): 2, (3, "dense"): 2}),
    ],
)
def test_patterns_are_those_of_the_model(
    pattern: dict[str, int], ranks: dict[tuple[int, str], int]
) -> None:
    sites: tuple[Site, ...] = ("query", "dense", "ffn_output")
    places: list[tuple[int, Site]] = [(depth, site) for depth in (1, 3) for site in sites]
    state = {}
    for depth, site in places:
        path = f"base_model.model.bert.{block_paths(depth, site, FAMILIES['bert'])[0]}"
        rank = ranks.get((depth, site), 4)
        inside = 64 if site == "ffn_output" else 32
        state[f"{path}.lora_A.weight"] = torch.ones(rank, inside)
        state[f"{path}.lora_B.weight"] = torch.ones(32, rank)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": pattern}
    found = adapter_from_peft(state, config, num_hidden_layers=4, tied=False)
    resolved = found.spec.config["rank_pattern"]
    assert isinstance(resolved, dict)
    for place in places:
        path = block_paths(*place, FAMILIES["albert"])[1]
        assert resolved.get(path, 4) == ranks.get(place, 4)


@pytest.mark.slow
def test_a_live_model_needs_no_other_words(backbones: Mapping[str, Backbone]) -> None:
    model = trained(plain(backbones["roberta"]), family_settings("lora", "roberta"))
    found = from_model(model)
    assert found.spec.depths == DEPTHS
    assert "adapter.3.ffn.lora_A.weight" in found.tensors
    state = {**get_peft_model_state_dict(model), "pooler.dense.x": torch.ones(1)}
    with pytest.raises(AdapterError, match=r"'pooler\.dense\.x', which is no factor"):
        adapter_from_peft(state, model.peft_config["default"], num_hidden_layers=4, tied=False)


def test_masks_of_a_pruned_adalora_are_by_the_names_of_the_model() -> None:
    path = "encoder.layer.{}.attention.self.query.lora_{}"
    state = {}
    for depth, rank in ((1, 2), (3, 4)):
        state[f"base_model.model.bert.{path.format(depth, 'A')}"] = torch.ones(rank, 32)
        state[f"base_model.model.bert.{path.format(depth, 'B')}"] = torch.ones(32, rank)
        state[f"base_model.model.bert.{path.format(depth, 'E')}"] = torch.ones(rank, 1)
    masks = {f"bert.{path.format(1, 'E')}": [False, True, False, True]}
    config = {"peft_type": "ADALORA", "init_r": 4, "lora_alpha": 8, "rank_pattern": masks}
    found = adapter_from_peft(state, config, num_hidden_layers=4, tied=False)
    assert found.spec.depths == (1, 3)
    assert found.tensors["adapter.1.query.lora_E"].flatten().tolist() == [0, 1, 0, 1]
    assert "rank_pattern" not in found.spec.config
