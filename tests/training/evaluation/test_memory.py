"""The memory of a training step: what autograd keeps, each storage once, without the weights."""

from __future__ import annotations

import torch
from torch import nn

from adapterhub.training.evaluation.memory import saved_bytes, state_bytes


def test_kept_storages_count_once_and_weights_do_not() -> None:
    layer, inputs = nn.Linear(8, 4), torch.randn(16, 8)
    weights = list(layer.parameters())

    def forward() -> torch.Tensor:
        out = layer(inputs[:8]) + layer(inputs[8:])  # both halves are views of one storage
        return torch.sigmoid(out).sum()  # keeps its result

    assert saved_bytes(forward, weights) == 16 * 8 * 4 + 8 * 4 * 4
    layer.requires_grad_(False)
    assert saved_bytes(forward, weights) == 0


def test_the_state_is_what_adamw_holds() -> None:
    layer = nn.Linear(8, 4)
    optimiser = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(2, 8)).sum().backward()
    optimiser.step()
    held = [p.grad for p in layer.parameters() if p.grad is not None]
    held += [value for state in optimiser.state.values() for value in state.values() if value.dim()]
    assert state_bytes(layer.parameters()) == sum(t.numel() * t.element_size() for t in held)
