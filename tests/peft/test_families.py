"""Adapters of PEFT on models of every family: in by layer number, out by the family's own names."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import set_peft_model_state_dict

from adapterhub.families import FAMILIES
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.changes import Applied
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.peft.export_folder import export_peft, is_stock, opens_on
from adapterhub.peft.family_names import canonical_key, families_of, family_key
from adapterhub.peft.format import PeftAdapter, adapter_from_peft, peft_config, peft_state
from adapterhub.specs import SITES
from adapterhub.store.adapter_names import prefixed
from adapterhub.store.headfile import HeadFile, encode_head, parse_head
from tests.builders import head_tensors
from tests.encoders import MODELS, save_encoder
from tests.peft.family_models import DEPTHS, FAMILY_NAMES, family_settings, trained
from tests.peft.peft_models import CASES, NAMES, SOME, last_hidden
from tests.tiny import tiny_task

TOLERANCE = 1e-5
WITH_SEVERAL_NAMES = ("bert", "distilbert")


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Backbone]:
    root = tmp_path_factory.mktemp("families")
    names = (*FAMILY_NAMES, "albert")
    return {name: open_backbone(save_encoder(root / name, name)) for name in names}


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


@pytest.mark.slow
@pytest.mark.parametrize("method", SOME)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_an_adapter_of_a_plain_model_comes_in_and_goes_out(
    family: str, method: str, backbones: Mapping[str, Backbone]
) -> None:
    check_round_trip(backbones[family], method)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "changes"), CASES, ids=NAMES)
def test_every_method_on_a_bert(
    method: str, changes: dict[str, Any], backbones: Mapping[str, Backbone]
) -> None:
    check_round_trip(backbones["bert"], method, **changes)
