"""The memory that a training step takes beside the weights, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

_MOMENTS = 2
"""Tensors of the size of a parameter that AdamW keeps: the means of gradients and of squares."""


def saved_bytes(forward: Callable[[], torch.Tensor], weights: Iterable[torch.Tensor]) -> int:
    """Returns the bytes that a forward pass keeps for the gradients.

    Several tensors may be views of one storage, which counts once and as a whole. Weights, which
    are there anyway, do not count.

    Args:
        forward: Computes a loss.
        weights: All weights, trained or not.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in weights}
    # The storages are held until the end, so that no address is given to a second one.
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = forward()
    total = sum(storage.nbytes() for storage in kept.values())
    del loss
    return total


def state_bytes(parameters: Iterable[torch.Tensor]) -> int:
    """Returns the bytes of the gradients of trained parameters and of AdamW's moments."""
    sizes = sum(tensor.numel() * tensor.element_size() for tensor in parameters)
    return (1 + _MOMENTS) * sizes
