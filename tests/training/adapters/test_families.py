"""Adapters in training on every family: each pass computes what scoring computes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig

from adapterhub.errors import UsageError
from adapterhub.families import FAMILIES
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.changes import Applied
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.specs import Site
from adapterhub.training.adapter_options import Shape
from adapterhub.training.adapters.differentiable_passes import run_layers
from adapterhub.training.adapters.peft_methods import sites_of_config, with_own_names
from adapterhub.training.adapters.trial import make_adapter
from tests.encoders import FAMILY_NAMES, save_encoder
from tests.peft.peft_models import METHODS

SITES: tuple[Site, ...] = ("query", "value", "dense", "ffn_output")
SOME = ("lora", "dora", "ia3", "vera", "block")
TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Backbone]:
    root = tmp_path_factory.mktemp("families")
    return {name: open_backbone(save_encoder(root / name, name)) for name in FAMILY_NAMES}


def shape_of(method: Any, *, tied: bool, **changes: Any) -> Shape:
    values: dict[str, Any] = {
        "method": method,
        "depths": (1, 3),
        "sites": SITES,
        "rank": 2,
        "alpha": 4.0,
        "dropout": 0.0,
        "tie_depths": tied,
        "steps": 10,
    }
    return Shape(**{**values, **changes})


def check_passes(backbone: Backbone, method: Any, *, tied: bool, **changes: Any) -> Any:
    """Checks that training and scoring agree after a change; returns the exported adapter."""
    change = make_adapter(shape_of(method, tied=tied, **changes), backbone, seed=0)
    change.module.train(False)
    draw = torch.Generator().manual_seed(1)
    encoder = Encoder(backbone, device="cpu")
    rows = [torch.randint(5, 90, (length,), generator=draw).tolist() for length in (9, 4)]
    windows = [Window(i, 0, len(row), row, [0] * len(row)) for i, row in enumerate(rows)]
    batch = pack(windows, device=torch.device("cpu"))
    start = encoder.run(encoder.embed(batch), batch, 0, 1)
    plain = encoder.run(start, batch, 1, 4)
    with torch.no_grad():
        fresh = run_layers(start, batch, change.layer, start=1, taps=(4,))[4]
        for parameter in change.parameters.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
        trained = run_layers(start, batch, change.layer, start=1, taps=(4,))[4]
    exported = change.export()
    compiled = compile_adapter(exported.spec, exported.tensors, encoder=encoder, source="a test")
    scored = encoder.run(start, batch, 1, 4, [Applied(compiled, slice(0, batch.tokens))])
    assert (scored - plain).abs().max() > 1e-3
    torch.testing.assert_close(trained, scored, rtol=0, atol=TOLERANCE)
    if method in ("lora", "dora") and not tied:
        torch.testing.assert_close(fresh, plain, rtol=0, atol=TOLERANCE)
    assert exported.spec.tie_depths is tied
    return exported


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("method", SOME)
@pytest.mark.parametrize("tied", [False, True], ids=["per-depth", "tied"])
def test_training_computes_what_scoring_computes(
    family: str, method: str, tied: bool, backbones: Mapping[str, Backbone]
) -> None:
    check_passes(backbones[family], method, tied=tied)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_may_be_tied_on_a_bert(method: str, backbones: Mapping[str, Backbone]) -> None:
    check_passes(backbones["bert"], method, tied=True)
