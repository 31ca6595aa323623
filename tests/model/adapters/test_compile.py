"""Compiled adapters compute what PEFT computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import AlbertModel

from adapterhub.errors import HeadFileError
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.changes import Applied
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.peft.format import PeftAdapter, adapter_from_peft
from adapterhub.specs import SITES
from tests.adapters import block_adapter, config_of, make_adapter, random_peft
from tests.tiny import open_tiny, plain_tensors

TOLERANCE = 1e-5
LENGTHS = (9, 9, 5, 2)
COMPILED: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("Lora", {"r": 4, "lora_alpha": 6}),
    "lora, all sites": ("Lora", {"r": 3, "sites": SITES}),
    "rslora": ("Lora", {"r": 4, "use_rslora": True}),
    "dora": ("Lora", {"r": 4, "use_dora": True, "sites": ("query", "ffn", "ffn_output")}),
    "lora, ranks by site": (
        "Lora",
        {"r": 4, "rank_pattern": {"query": 2}, "alpha_pattern": {"attention.value": 16}},
    ),
    "adalora": ("AdaLora", {"init_r": 4, "target_r": 2, "total_step": 10}),
    "ia3": (
        "IA3",
        {"sites": ("key", "value", "ffn_output"), "feedforward_modules": ("ffn_output",)},
    ),
    "vera": ("Vera", {"r": 2, "sites": ("query", "value")}),
}
MERGED: dict[str, tuple[str, dict[str, Any]]] = {
    "loha": ("LoHa", {"r": 2}),
    "lokr": ("LoKr", {"r": 2}),
    "oft": ("OFT", {"r": 0, "oft_block_size": 8}),
    "fourierft": ("FourierFT", {"n_frequency": 20}),
}
DEPTHS = (1, 3)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return open_tiny(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def encoder(backbone: Backbone) -> Encoder:
    return Encoder(backbone, device="cpu")


def _windows() -> list[Window]:
    return [
        Window(row, 0, size, [(7 * row + 3 * place) % 90 + 5 for place in range(size)], [0] * size)
        for row, size in enumerate(LENGTHS)
    ]


def _ours(encoder: Encoder, adapter: PeftAdapter, *, start: int) -> torch.Tensor:
    batch = pack(_windows(), device=torch.device("cpu"))
    compiled = compile_adapter(adapter.spec, adapter.tensors, encoder=encoder, source="a test")
    hidden = encoder.run(encoder.embed(batch), batch, 0, start)
    applied = [Applied(compiled, slice(0, batch.tokens))]
    return encoder.run(hidden, batch, start, encoder.depth, applied)


@torch.inference_mode()
def _theirs(model: PeftModel | AlbertModel) -> torch.Tensor:
    rows = []
    for window in _windows():
        ids = torch.tensor([window.ids])
        states = model(input_ids=ids, token_type_ids=torch.zeros_like(ids))
        rows.append(states.last_hidden_state[0])
    return torch.cat(rows)


def _greatest_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max())


@pytest.mark.parametrize("case", [*COMPILED, *MERGED])
@pytest.mark.slow
def test_an_adapter_computes_what_peft_computes(
    case: str, backbone: Backbone, encoder: Encoder
) -> None:
    method, changes = {**COMPILED, **MERGED}[case]
    changes = dict(changes)
    sites = changes.pop("sites", ("query", "value"))
    model, adapter = make_adapter(backbone, config_of(method, DEPTHS, sites, **changes))
    expected = _theirs(model)
    found = _ours(encoder, adapter, start=1)
    with model.disable_adapter():
        assert _greatest_difference(expected, _theirs(model)) > 1e-2
    assert _greatest_difference(found, expected) <= TOLERANCE


@pytest.mark.parametrize("case", COMPILED)
@pytest.mark.slow
def test_these_methods_share_the_product_with_the_block(
    case: str, backbone: Backbone, encoder: Encoder
) -> None:
    method, changes = COMPILED[case]
    changes = dict(changes)
    sites = changes.pop("sites", ("query", "value"))
    _, adapter = make_adapter(backbone, config_of(method, DEPTHS, sites, **changes))
    compiled = compile_adapter(adapter.spec, adapter.tensors, encoder=encoder, source="a test")
    change = compiled.changes[1].qkv
    assert change is not None
    assert change.own is None


def test_a_tied_adapter_is_the_same_at_all_depths(backbone: Backbone, encoder: Encoder) -> None:
    model = AlbertModel.from_pretrained(str(backbone.folder), dtype=torch.float32)
    wrapped = random_peft(model, config_of("Lora", (0,), r=4))
    state = get_peft_model_state_dict(wrapped)
    config = wrapped.peft_config["default"]
    adapter = adapter_from_peft(state, config, num_hidden_layers=encoder.depth, tied=True)
    assert adapter.spec.tie_depths
    compiled = compile_adapter(adapter.spec, adapter.tensors, encoder=encoder, source="a test")
    assert len({id(change) for change in compiled.changes.values()}) == 1
    assert _greatest_difference(_ours(encoder, adapter, start=0), _theirs(wrapped)) <= TOLERANCE


def test_an_own_block_replaces_everything(backbone: Backbone, encoder: Encoder) -> None:
    from adapterhub.model.adapters.unrolled import unrolled

    adapter = block_adapter(backbone, (2, 3))
    model = unrolled(AlbertModel.from_pretrained(str(backbone.folder), dtype=torch.float32)).eval()
    for depth in (2, 3):
        group = model.encoder.albert_layer_groups[depth]
        layer = group.albert_layers[0]
        for name, tensor in adapter.tensors.items():
            place, site, factor = name.removeprefix("adapter.").split(".", 2)
            if int(place) != depth:
                continue
            owner = layer if site.startswith("ffn") else layer.attention
            module = getattr(owner, site)
            if factor.startswith("norm."):
                norm = "full_layer_layer_norm" if site == "ffn_output" else "LayerNorm"
                module = getattr(owner, norm)
            setattr(module, factor.rsplit(".", 1)[-1], torch.nn.Parameter(tensor))
    assert _greatest_difference(_ours(encoder, adapter, start=2), _theirs(model)) <= TOLERANCE


def test_an_adapter_leaves_the_encoder_as_it_was(backbone: Backbone, encoder: Encoder) -> None:
    before = plain_tensors(encoder)
    for method, changes in (("Lora", {"r": 2}), ("LoHa", {"r": 2})):
        _, adapter = make_adapter(backbone, config_of(method, DEPTHS, **changes))
        _ours(encoder, adapter, start=1)
    assert all(map(torch.equal, before, plain_tensors(encoder)))


def test_factors_that_do_not_fit_are_named(
    backbone: Backbone, encoder: Encoder, tmp_path: Path
) -> None:
    other = open_tiny(tmp_path / "wide", hidden_size=48, num_attention_heads=4)
    _, adapter = make_adapter(other, config_of("Lora", DEPTHS, r=2))
    with pytest.raises(HeadFileError, match=r"at depth 1, site 'query': 'lora_A.weight' is"):
        compile_adapter(adapter.spec, adapter.tensors, encoder=encoder, source="a test")
    block = block_adapter(other, (3,))
    with pytest.raises(HeadFileError, match=r"depth 3, site '\w+': '[\w.]+' is"):
        compile_adapter(block.spec, block.tensors, encoder=encoder, source="a test")
    _, adapter = make_adapter(other, config_of("LoHa", DEPTHS, r=2))
    with pytest.raises(HeadFileError, match="PEFT cannot merge 'loha'"):
        compile_adapter(adapter.spec, adapter.tensors, encoder=encoder, source="a test")


def test_a_method_that_peft_does_not_know_is_named(backbone: Backbone, encoder: Encoder) -> None:
    _, adapter = make_adapter(backbone, config_of("Lora", DEPTHS, r=2))
    spec = adapter.spec.model_copy(update={"method": "telepathy"})
    with pytest.raises(HeadFileError, match="telepathy"):
        compile_adapter(spec, adapter.tensors, encoder=encoder, source="a test")


def test_half_precision_is_near(backbone: Backbone) -> None:
    encoder = Encoder(backbone, device="cpu", dtype="bfloat16")
    model, adapter = make_adapter(backbone, config_of("Lora", DEPTHS, r=4, use_dora=True))
    found, expected = _ours(encoder, adapter, start=1).float(), _theirs(model)
    assert np.corrcoef(found.flatten(), expected.flatten())[0, 1] > 0.99
