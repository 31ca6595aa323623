"""What vectors are fitted by: partners that are found among others, or the order of similarities.

Sources: Henderson et al., "Efficient Natural Language Response Suggestion for Smart Reply", 2017
(other pairs of the batch as negatives); Su, "CoSENT", 2022, https://kexue.fm/archives/8847 (order).
"""

from __future__ import annotations

import torch

from adapterhub.training.data.kinds.embedding import SAME
from adapterhub.training.kinds.vectors.pairs import SCORE, known_pairs, sides

SHARPNESS = 20.0
"""The inverse of the temperature of cosines, as sentence-transformers has it in both losses."""


def partner_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the negative log-likelihood of the partner of each text among those of a batch.

    Both ways: of the first text among all second ones, and of the second among all first ones. A
    text that is equal to it, or to one of its partners, is left out. Pairs that do not mean the
    same have no partner to be found, and their texts are among the others.

    Args:
        logits: (G, C, B, 2 K) of all candidates.
        targets: (B, 3), see `pair_targets`.
        weights: Not used: each pair counts once.

    Returns:
        (G, C); zeros where the batch has no pair that means the same.
    """
    del weights
    first, second = sides(logits)
    is_pair = targets[:, SCORE] == SAME
    similar = first @ second.transpose(-1, -2) * SHARPNESS  # (G, C, B, B)
    left_out = known_pairs(targets)
    left_out.fill_diagonal_(False)
    similar = similar.masked_fill(left_out, -torch.inf)
    own = similar.diagonal(dim1=-2, dim2=-1)
    both = similar.logsumexp(-1) + similar.logsumexp(-2) - 2 * own
    return (both * is_pair).sum(-1) / (2 * is_pair.sum().clamp(min=1))


def order_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns how far the cosines of a batch are from the order of its scores.

    Args:
        logits: (G, C, B, 2 K) of all candidates.
        targets: (B, 3), see `pair_targets`.
        weights: Not used: each pair counts once.

    Returns:
        (G, C).
    """
    del weights
    first, second = sides(logits)
    cosines = (first * second).sum(-1) * SHARPNESS  # (G, C, B)
    score = targets[:, SCORE]
    # (G, C, B, B): what the cosine of row j is over that of row i, where i has the higher score.
    over = cosines[..., None, :] - cosines[..., :, None]
    over = over.masked_fill(score[:, None] <= score, -torch.inf).flatten(-2)
    nothing = over.new_zeros(*over.shape[:-1], 1)
    return torch.cat([nothing, over], dim=-1).logsumexp(-1)
