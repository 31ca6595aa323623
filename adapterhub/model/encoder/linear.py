"""Linear maps of the encoder, with weights in the layout in which the device multiplies fastest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

_ROWS = 2048
"""Rows for which oneDNN chooses a layout; products of any number of rows use it."""


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """y = W x + b.

    oneDNN's own layout of W makes a CPU up to three times as fast where rows are few, and a row's
    result the same bits beside any other rows.

    Attributes:
        weight: (out, in), W; in oneDNN's layout if `is_packed`.
        bias: (out,), b.
        is_packed: Whether `weight` is in oneDNN's layout.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    is_packed: bool

    def __call__(self, source: torch.Tensor, *, buffer: torch.Tensor) -> torch.Tensor:
        """Returns W x + b of each row, in a new tensor or in `buffer`.

        Args:
            source: (P, in).
            buffer: (P, out), of any values.
        """
        if self.is_packed:
            product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
                source, self.weight, self.bias, "none", [], ""
            )
            return product
        return torch.addmm(self.bias, source, self.weight.t(), out=buffer)

    def plain_weight(self) -> torch.Tensor:
        """Returns W (out, in) as an ordinary tensor, to be read only."""
        return self.weight.to_dense() if self.is_packed else self.weight

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        yield from (self.weight, self.bias)


def make_linear(weight: torch.Tensor, bias: torch.Tensor) -> Linear:
    """Returns the linear map of `weight` (out, in) and `bias` (out,) on their device."""
    if not _can_pack(weight):
        return Linear(weight, bias, is_packed=False)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
    return Linear(packed, bias, is_packed=True)


def _can_pack(weight: torch.Tensor) -> bool:
    """Returns whether oneDNN multiplies with `weight` in its own layout on this machine."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    operators = torch.ops.mkldnn  # no public interface: torch's compiler calls the same two
    if not all(
        hasattr(operators, name) for name in ("_reorder_linear_weight", "_linear_pointwise")
    ):
        return False
    if weight.dtype == torch.bfloat16:
        return bool(operators._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
