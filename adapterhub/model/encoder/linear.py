"""Linear maps of the encoder, with weights in the layout in which the device multiplies fastest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional

_ROWS = 2048
"""Rows for which oneDNN chooses a layout; products of any number of rows use it."""
_LARGE = 1536
"""Rows up to which a product is made of parts, whose results are copied together."""
_PARTS = (1024, 512, 256)


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
        if not self.is_packed:
            return torch.addmm(self.bias, source, self.weight.t(), out=buffer)
        sizes = _sizes(source.shape[0])
        if len(sizes) == 1:
            return self._product(_padded(source, sizes[0]))[: source.shape[0]]
        start = 0
        for size in sizes:
            part = source[start : start + size]
            rows = part.shape[0]
            buffer[start : start + rows] = self._product(_padded(part, size))[:rows]
            start += rows
        return buffer

    def _product(self, source: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            source, self.weight, self.bias, "none", [], ""
        )
        return product

    def plain_weight(self) -> torch.Tensor:
        """Returns W (out, in) as an ordinary tensor, to be read only."""
        return self.weight.to_dense() if self.is_packed else self.weight

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yields its tensors."""
        yield from (self.weight, self.bias)


def _sizes(rows: int) -> list[int]:
    """Returns the numbers of rows of the products that together compute `rows` rows.

    Each product allocates its result, and oneDNN keeps code for each size. Results of ever new
    sizes leave holes between them, so that a process grows by hundreds of megabytes; therefore
    there are few sizes, which together are not much larger than `rows`.
    """
    sizes = []
    while rows > _ROWS:
        sizes.append(_ROWS)
        rows -= _ROWS
    if rows <= _LARGE:
        for size in _PARTS:
            while rows > size:
                sizes.append(size)
                rows -= size
    step = 8 if rows <= 64 else 16 if rows <= _PARTS[-1] else 64
    return [*sizes, -(-rows // step) * step]


def _padded(source: torch.Tensor, rows: int) -> torch.Tensor:
    """Returns `source` (P, in) with rows of any values behind it, `rows` in all."""
    own, width = source.shape
    if own == rows:
        return source
    # A buffer of the encoder mostly has room for them.
    room = source.untyped_storage().nbytes() // source.element_size() - source.storage_offset()
    if source.is_contiguous() and rows * width <= room:
        return source.as_strided((rows, width), source.stride())
    return functional.pad(source, (0, 0, 0, rows - own))


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
