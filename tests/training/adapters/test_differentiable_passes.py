"""Packed training passes against transformers' own forward on the padded, unrolled model."""

from __future__ import annotations

import pytest
import torch

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.specs import SITES, Site
from adapterhub.training.adapter_options import Shape
from adapterhub.training.adapters.differentiable_passes import run_layers
from adapterhub.training.adapters.trial import make_adapter

LENGTHS = (9, 9, 5, 3)


def shape(method: object = "lora", *, sites: tuple[Site, ...] = SITES, tied: bool = False) -> Shape:
    return Shape(
        method=method,
        depths=(1, 2, 3),
        sites=sites,
        rank=2,
        alpha=4.0,
        dropout=0.0,
        tie_depths=tied,
        steps=10,
    )


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "block"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.slow
def test_packed_passes_are_those_of_transformers(
    tiny_backbone: Backbone, method: str, tied: bool
) -> None:
    change = make_adapter(shape(method, tied=tied), tiny_backbone, seed=0)
    change.module.train(False)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in change.parameters.values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
    ids = [torch.randint(5, 90, (length,), generator=draw) for length in LENGTHS]
    batch = pack(
        [Window(0, 0, len(row), row.tolist(), [0] * len(row)) for row in ids],
        device=torch.device("cpu"),
    )
    plain = tiny_backbone.model
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
    bias = torch.zeros(mask.shape).masked_fill(mask == 0, torch.finfo(torch.float32).min)
    bias = bias[:, None, None]
    with torch.no_grad():
        hidden = plain.encoder.embedding_hidden_mapping_in(plain.embeddings(padded))
        packed = hidden[mask.bool()]
        found = run_layers(packed, batch, change.layer, start=1, taps=(2, 4))
        expected = {}
        for depth in range(1, 4):
            hidden = change.layer(depth)(hidden, bias)
            expected[depth + 1] = hidden[mask.bool()]
    for depth in (2, 4):
        assert torch.allclose(found[depth], expected[depth], atol=1e-5)
    frozen = run_layers(packed, batch, lambda _: plain_layer(tiny_backbone), start=1, taps=(4,))
    assert not torch.allclose(found[4], frozen[4], atol=1e-2)


def plain_layer(backbone: Backbone) -> torch.nn.Module:
    layer: torch.nn.Module = backbone.model.encoder.albert_layer_groups[0].albert_layers[0]
    return layer
