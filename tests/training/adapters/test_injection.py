"""Every method of the installed PEFT that can change the block is trained and exported."""

from __future__ import annotations

import pytest
import torch
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.peft.settings import UNUSABLE
from adapterhub.training.adapter_options import Shape
from adapterhub.training.adapters.differentiable_passes import run_layers
from adapterhub.training.adapters.trial import make_adapter

VARIANTS = ("dora", "rslora", "pissa", "olora")
METHODS = sorted(
    {kind.value.lower() for kind in PEFT_TYPE_TO_TUNER_MAPPING} - set(UNUSABLE) | set(VARIANTS)
)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.slow
def test_a_method_trains_per_depth(method: str, tiny_backbone: Backbone) -> None:
    shape = Shape(
        method=method,
        depths=(2, 3),
        sites=("query", "value"),
        rank=2,
        alpha=4.0,
        dropout=0.0,
        tie_depths=False,
        steps=20,
    )
    before = {name: p.clone() for name, p in tiny_backbone.model.named_parameters()}
    change = make_adapter(shape, tiny_backbone, seed=0)
    change.module.train(False)  # The tiny backbone drops out, which would hide small gains.
    window = Window(0, 0, 7, [2, 60, 61, 62, 63, 64, 3], [0] * 7)
    batch = pack([window, window], device=torch.device("cpu"))
    draw = torch.Generator().manual_seed(1)
    hidden = torch.randn(14, tiny_backbone.config.hidden_size, generator=draw)
    goal = torch.randn(hidden.shape, generator=draw)
    parameters = list(change.parameters.values())
    optimiser = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    for step in range(6):
        found = run_layers(hidden, batch, change.layer, start=2, taps=(4,))[4]
        loss = (found - goal).square().mean()
        losses.append(float(loss.detach()))
        torch.autograd.backward([loss])
        optimiser.step()
        change.after_step(step)
        optimiser.zero_grad()
    assert losses[-1] < losses[0]
    exported = change.export()
    assert exported.spec.depths == (2, 3)
    assert exported.spec.sites == ("query", "value")
    assert exported.spec.parameters > 0
    for name, parameter in tiny_backbone.model.named_parameters():
        assert torch.equal(parameter, before[name]), name
