"""Rows of adapters with weights of their own between rows of the block."""

from __future__ import annotations

import pytest
import torch

from adapterhub.model.encoder.changes import BlockChange, Changes, MapChange
from adapterhub.model.encoder.linear import Linear, make_linear
from adapterhub.model.encoder.weights import Block, Norm

WIDTH = 32


def random_linear(seed: int, *, is_plain: bool) -> Linear:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(WIDTH, WIDTH, generator=generator)
    bias = torch.randn(WIDTH, generator=generator)
    return Linear(weight, bias, is_packed=False) if is_plain else make_linear(weight, bias)


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize(
    "own",
    [
        (),
        (slice(0, 9),),
        (slice(0, 2),),
        (slice(7, 9),),
        (slice(1, 3), slice(3, 4), slice(6, 8)),
    ],
)
def test_each_row_is_mapped_by_the_weights_of_its_adapter(
    is_plain: bool, own: tuple[slice, ...]
) -> None:
    shared = random_linear(0, is_plain=is_plain)
    norm = Norm(torch.ones(WIDTH), torch.zeros(WIDTH))
    block = Block(shared, shared, shared, shared, norm, norm)
    owners = [random_linear(1 + place, is_plain=is_plain) for place in range(len(own))]
    shift = torch.full((WIDTH,), 3.0)
    parts = tuple(
        (rows, BlockChange(up=MapChange(own=linear, shift=shift)))
        for rows, linear in zip(own, owners, strict=True)
    )
    source = torch.randn(9, WIDTH, generator=torch.Generator().manual_seed(99))

    def mapped(linear: Linear) -> torch.Tensor:
        return source @ linear.plain_weight().t() + linear.bias

    expected = mapped(shared)
    for rows, linear in zip(own, owners, strict=True):
        expected[rows] = mapped(linear)[rows] + shift
    with torch.inference_mode():
        found = Changes(parts).map("up", block, source, buffer=torch.empty(9, WIDTH))
    assert torch.allclose(found, expected, atol=1e-4)
