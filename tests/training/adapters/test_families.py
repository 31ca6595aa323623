"""Adapters in training on every family: each pass computes what scoring computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig

from adapterhub.errors import UsageError
from adapterhub.families import FAMILIES
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.changes import Applied
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.specs import Site
from adapterhub.training.adapter_options import Shape
from adapterhub.training.adapters.differentiable_passes import run_layers
from adapterhub.training.adapters.trainable.peft_methods import sites_of_config, with_own_names
from adapterhub.training.adapters.trial import make_adapter
from tests.encoders import FAMILY_NAMES
from tests.peft.peft_models import METHODS

SITES: tuple[Site, ...] = ("query", "value", "dense", "ffn_output")
SOME = ("lora", "dora", "ia3", "vera", "block")
FROM_WEIGHTS = (
    *("adamss", "deft", "delora", "dora", "frod", "ln_tuning"),
    *("olora", "osf", "pissa", "supertuning", "tinylora"),
)
"""Methods whose first numbers depend on the weights of a map, not on the seed alone."""

TOLERANCE = 2e-5


pytestmark = pytest.mark.filterwarnings("ignore")


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
    if method in ("lora", "dora", "block") and not tied:
        torch.testing.assert_close(fresh, plain, rtol=0, atol=TOLERANCE)
    assert exported.spec.tie_depths is tied
    return exported


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize(
    ("method", "tied"),
    [*((method, False) for method in SOME), *((m, True) for m in SOME if m not in FROM_WEIGHTS)],
)
@pytest.mark.slow
def test_training_computes_what_scoring_computes(
    family: str, method: str, tied: bool, backbones: Mapping[str, Backbone]
) -> None:
    check_passes(backbones[family], method, tied=tied)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - set(FROM_WEIGHTS)))
@pytest.mark.slow
def test_a_method_may_be_tied_on_a_bert(method: str, backbones: Mapping[str, Backbone]) -> None:
    check_passes(backbones["bert"], method, tied=True)


@pytest.mark.parametrize("method", FROM_WEIGHTS)
@pytest.mark.slow
def test_a_start_from_the_weights_is_not_shared_by_different_ones(
    method: str, backbones: Mapping[str, Backbone]
) -> None:
    with pytest.raises(UsageError, match=r"which differ by depth on this backbone.*tie_depths"):
        make_adapter(shape_of(method, tied=True), backbones["bert"], seed=0)


@pytest.mark.parametrize("method", ["pissa", "olora", "dora"])
@pytest.mark.slow
def test_starts_from_the_weights_per_depth(method: str, backbones: Mapping[str, Backbone]) -> None:
    check_passes(backbones["bert"], method, tied=False)
    check_passes(backbones["albert"], method, tied=True)


@pytest.mark.parametrize(
    ("family", "targets", "sites"),
    [
        ("bert", ["dense"], ("dense", "ffn", "ffn_output")),
        ("bert", ["query", "output.dense"], ("query", "dense", "ffn_output")),
        ("bert", ["intermediate.dense", "key"], ("key", "ffn")),
        ("bert", r".*\.attention\.self\.(query|value)", ("query", "value")),
        ("bert", ["ffn_output"], ("ffn_output",)),
        ("bert", "all-linear", ("query", "key", "value", "dense", "ffn", "ffn_output")),
        ("distilbert", ["q_lin", "lin2"], ("query", "ffn_output")),
        ("distilbert", ["query"], ("query",)),
        ("albert", ["dense"], ("dense",)),
    ],
)
def test_a_config_names_maps_as_the_model_does(
    family: str, targets: Any, sites: tuple[str, ...]
) -> None:
    config = (
        LoraConfig(target_modules=targets, layers_to_transform=[1], layers_pattern="layer")
        if (isinstance(targets, list))
        else LoraConfig(target_modules=targets)
    )
    assert sites_of_config(config, FAMILIES[family]) == sites  # type: ignore[index]


def test_a_config_may_exclude_maps() -> None:
    config = LoraConfig(target_modules=["dense"], exclude_modules=["attention.output.dense"])
    assert sites_of_config(config, FAMILIES["bert"]) == ("ffn", "ffn_output")
    config = LoraConfig(target_modules=["query", "dense"], exclude_modules=["dense"])
    assert sites_of_config(config, FAMILIES["albert"]) == ("query",)


def test_a_config_of_another_family_is_refused_with_the_names_here() -> None:
    with pytest.raises(UsageError, match=r"q_lin.*the block has attention\.self\.query"):
        sites_of_config(LoraConfig(target_modules=["q_lin"]), FAMILIES["bert"])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.slow
def test_patterns_of_a_config_are_by_the_names_of_the_model(
    tied: bool, backbones: Mapping[str, Backbone]
) -> None:
    config = LoraConfig(
        r=4,
        target_modules=["query", "output.dense"],
        rank_pattern={"attention.output.dense": 2, "output.dense": 3},
        alpha_pattern={"self.query": 16},
    )
    sites: tuple[Site, ...] = ("query", "dense", "ffn_output")
    found = check_passes(backbones["bert"], config, tied=tied, sites=sites)
    place = "tied" if tied else "3"
    ranks = {
        site: found.tensors[f"adapter.{place}.{site}.lora_A.weight"].shape[0] for site in sites
    }
    assert ranks == {"query": 4, "dense": 2, "ffn_output": 3}
    own = with_own_names(shape_of(config, tied=tied, sites=sites), FAMILIES["albert"])
    assert own.method is config


@pytest.mark.slow
def test_ia3_scales_the_inputs_that_its_config_names(backbones: Mapping[str, Backbone]) -> None:
    config = IA3Config(target_modules=["key", "output.dense"], feedforward_modules=["output.dense"])
    found = check_passes(
        backbones["bert"], config, tied=False, sites=("key", "dense", "ffn_output")
    )
    assert found.spec.config["feedforward_modules"] == ["dense", "ffn_output"]
    assert found.tensors["adapter.1.ffn_output.ia3_l"].shape == (1, 64)
