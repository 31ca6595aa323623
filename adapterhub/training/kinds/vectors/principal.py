"""Where a projection starts: the directions in which features vary most."""

from __future__ import annotations

import torch

SAMPLE = 20_000
"""Number of texts that suffice to find them."""
_LENGTH = 4.0
"""The norm of a direction. It changes no cosine, but how far a step of a learning rate goes."""


def principal_axes(features: torch.Tensor, size: int) -> torch.Tensor:
    """Returns the leading principal axes of features: (N, H) -> (H, size) fp32.

    With all H of them cosines are those of the features themselves.

    Args:
        features: Standardised, so that their mean is zero.
        size: How many, H at most.
    """
    sample = features.double().cpu()  # not every device has the decomposition, or fp64
    _, axes = torch.linalg.eigh(sample.T @ sample / len(sample))  # ascending
    found: torch.Tensor = (axes.flip(-1)[:, :size] * _LENGTH).float().to(features.device)
    return found
