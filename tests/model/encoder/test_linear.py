"""Linear maps: oneDNN's layout computes what the plain one does, and each row by itself."""

from __future__ import annotations

import pytest
import torch

from adapterhub.model.encoder.linear import Linear, make_linear

SHAPES = ((1, 1), (24, 128), (96, 32), (1536, 384))
NEEDS_LAYOUT = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="this torch was built without oneDNN",
)


def random_map(outputs: int, inputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
    return weight, torch.randn(outputs, generator=generator)


def applied(linear: Linear, source: torch.Tensor) -> torch.Tensor:
    buffer = torch.full((source.shape[0], linear.bias.shape[0]), float("nan"), dtype=source.dtype)
    with torch.inference_mode():
        return linear(source, buffer=buffer)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("rows", [0, 1, 7, 300])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 4e-2), (torch.float16, 4e-3)],
)
def test_it_computes_the_map(
    outputs: int, inputs: int, rows: int, dtype: torch.dtype, tolerance: float
) -> None:
    weight, bias = (tensor.to(dtype) for tensor in random_map(outputs, inputs))
    source = torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows)).to(dtype)
    found = applied(make_linear(weight, bias), source)
    expected = source.double() @ weight.double().t() + bias.double()
    assert found.dtype == dtype
    assert found.shape == (rows, outputs)
    assert torch.allclose(found.double(), expected, rtol=tolerance, atol=tolerance)


@NEEDS_LAYOUT
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_a_row_has_the_same_bits_beside_any_rows(outputs: int, inputs: int) -> None:
    linear = make_linear(*random_map(outputs, inputs))
    source = torch.randn(200, inputs, generator=torch.Generator().manual_seed(0))
    together = applied(linear, source)
    assert linear.is_packed
    for rows in (slice(0, 1), slice(3, 10), slice(64, 128), slice(199, 200)):
        assert torch.equal(applied(linear, source[rows]), together[rows])


def test_columns_of_a_wider_tensor_are_read() -> None:
    linear = make_linear(*random_map(24, 32))
    wide = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(applied(linear, wide[:, ::2]), applied(linear, wide[:, ::2].contiguous()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_plain_weight_is_the_given_one(dtype: torch.dtype) -> None:
    weight, bias = (tensor.to(dtype) for tensor in random_map(24, 40))
    linear = make_linear(weight, bias)
    assert torch.equal(linear.plain_weight(), weight)
    assert [tensor.numel() for tensor in linear.tensors()] == [24 * 40, 24]


def test_a_plain_map_writes_into_the_buffer() -> None:
    weight, bias = random_map(24, 40)
    source, buffer = torch.ones(3, 40), torch.empty(3, 24)
    assert Linear(weight, bias, is_packed=False)(source, buffer=buffer) is buffer
    assert torch.allclose(buffer, source @ weight.t() + bias, atol=1e-5)
