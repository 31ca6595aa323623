"""How good the vectors of many candidates are: texts find their partners, or scores are followed.

Reported figures are computed by `retrieval`; these are the same for X candidates together.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from adapterhub.training.data.kinds.embedding import SAME
from adapterhub.training.evaluation.similarity import TIE
from adapterhub.training.kinds.selection import Judge, judge_numbers
from adapterhub.training.kinds.vectors.pairs import FIRST, SCORE, SECOND, sides

_VALUES_AT_ONCE = 2**24


def judge_cosines(truth: torch.Tensor) -> Judge:
    """Returns the judge of the order of cosines, given how alike the pairs are (M,)."""
    judge = judge_numbers("spearman", truth)

    def of_vectors(logits: torch.Tensor) -> torch.Tensor:
        first, second = sides(logits)
        return judge((first * second).sum(-1, keepdim=True))

    return of_vectors


def judge_partners(targets: torch.Tensor, k: int) -> Judge:
    """Returns the judge of how often texts find their partners among all texts.

    It is `recall_at_k` of all texts with a partner, each among all other texts of these rows; equal
    texts are one. Where no text has another one as its partner, it is 0.

    Args:
        targets: (M, 3), see `pair_targets`.
        k: How many texts are looked at.
    """
    numbers = targets[:, [FIRST, SECOND]].long()
    _, of_rows = torch.unique(numbers, return_inverse=True)
    count = int(of_rows.max()) + 1
    place = torch.zeros(count, dtype=torch.int64, device=targets.device)
    place[of_rows.flatten()] = torch.arange(of_rows.numel(), device=targets.device)
    partners = torch.zeros(count, count, dtype=torch.bool, device=targets.device)
    first, second = of_rows[targets[:, SCORE] == SAME].unbind(1)
    partners[first, second] = partners[second, first] = True
    partners.fill_diagonal_(False)
    queries = partners.any(1).nonzero().flatten()
    partners = partners[queries]
    found = min(k, count - 1)

    def judge(logits: torch.Tensor) -> torch.Tensor:
        if not len(queries):
            return logits.new_zeros(len(logits))
        texts = logits.reshape(len(logits), -1, logits.shape[-1] // 2)[:, place]
        vectors = functional.normalize(texts, dim=-1)
        return torch.stack([recall(one) for one in vectors])

    def recall(vectors: torch.Tensor) -> torch.Tensor:
        hits = torch.cat(list(hits_of(vectors))).float()
        return (hits / partners.sum(1)).mean()

    def hits_of(vectors: torch.Tensor) -> Iterator[torch.Tensor]:
        for chunk in torch.split(torch.arange(len(queries), device=vectors.device), rows_at_once):
            own = queries[chunk]
            similar = vectors[own] @ vectors.T
            similar -= TIE * partners[chunk]
            similar[torch.arange(len(own), device=vectors.device), own] = -torch.inf
            best = similar.topk(found, dim=1).indices
            yield partners[chunk].gather(1, best).sum(1)

    rows_at_once = max(1, _VALUES_AT_ONCE // count)
    return judge
