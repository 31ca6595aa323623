"""What heads for answers are fitted and compared by: the loss of windows, the F1 of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.training.evaluation.answers.threshold import best_threshold
from adapterhub.training.kinds.answers.items import NO_TOKEN, AnswerItems
from adapterhub.training.kinds.selection import Judge

_WINDOW, _ALLOWED, _TRUE = 0, slice(1, 3), slice(3, 5)
"""Columns of the targets of an item."""
_VALUES_AT_ONCE = 2**22
"""Logits that are compared at once: 16 MB, and some times that in between."""


def item_targets(items: AnswerItems) -> torch.Tensor:
    """Returns the targets of items: (M, 5) int64, by the columns above."""
    columns = (items.windows[:, None], items.allowed, items.true)
    return torch.from_numpy(np.concatenate(columns, axis=1).astype(np.int64))


def window_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Returns the mean negative log-likelihood of start and end over the windows of a batch.

    Of several true answers in a window, each is right: their probabilities add up.

    Args:
        logits: (G, C, B, 2) of all candidates.
        targets: (B, 5) of whole windows, see `item_targets`.
        weights: Not used: each window counts once.
    """
    del weights
    _, sizes = torch.unique_consecutive(targets[:, _WINDOW], return_counts=True)
    there = torch.arange(int(sizes.max()), device=sizes.device) < sizes[:, None]  # (W, L)
    total, right = (
        _padded(logits.masked_fill(targets[:, which] == 0, -torch.inf), there).logsumexp(-2)
        for which in (_ALLOWED, _TRUE)
    )
    return (total - right).mean((-2, -1))


def _padded(values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Returns values of items as windows: (…, B, 2) -> (…, W, L, 2), -inf where nothing is."""
    padded = values.new_full((*values.shape[:-2], *there.shape, 2), -torch.inf)
    padded[..., there, :] = values
    return padded


def judge_answers(items: AnswerItems, metric: str, *, max_tokens: int) -> Judge:
    """Returns the judge of logits: the mean overlap of answers, (X, M, 2) -> (X,).

    It compares tokens. Scoring compares words, or characters, which is slower and shifts all
    candidates alike. Where some questions have no answer, each candidate has the threshold that is
    best for it.

    Args:
        items: Of the validation rows.
        metric: `f1`, or `exact_match`.
        max_tokens: Tokens of an answer at most.
    """
    rows = _Rows.of(items, max_tokens, is_exact=metric == "exact_match")

    def judge(logits: torch.Tensor) -> torch.Tensor:
        at_once = max(1, _VALUES_AT_ONCE // max(1, logits.shape[1]))
        values = [
            value
            for chunk in torch.split(logits, at_once)
            for value in rows.measure(chunk.float().cpu().numpy())
        ]
        return torch.tensor(values, device=logits.device)

    return judge


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What the judge knows of all rows.

    Attributes:
        items: Their items.
        max_tokens: Tokens of an answer at most.
        is_exact: Whether only whole answers count.
        nulls: (W,) the first item of each window.
        first_windows: (N,) the first window of each row.
        answers: (N, A, 2) first and last token of the true answers; `NO_TOKEN` where there are
            fewer.
    """

    items: AnswerItems
    max_tokens: int
    is_exact: bool
    nulls: npt.NDArray[np.int64]
    first_windows: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]

    @classmethod
    def of(cls, items: AnswerItems, max_tokens: int, *, is_exact: bool) -> _Rows:
        counts = np.array([len(context.windows) for context in items.contexts], np.int64)
        most = max(1, max(map(len, items.answers), default=1))
        answers = np.full((len(counts), most, 2), NO_TOKEN, np.int64)
        for row, own in enumerate(items.answers):
            answers[row, : len(own)] = np.array(own, np.int64).reshape(-1, 2)
        nulls = np.flatnonzero(items.tokens == NO_TOKEN)
        firsts = np.cumsum(counts) - counts
        return cls(items, max_tokens, is_exact, nulls, firsts, answers)

    def measure(self, logits: npt.NDArray[np.float32]) -> list[float]:
        """Returns the metric of each candidate: (X, M, 2)."""
        scores, lengths = self._best_ends(logits)
        best = np.maximum.reduceat(scores, self.items.starts, axis=1)  # (X, N)
        is_best = scores == np.repeat(best, self.items.sizes, axis=1)
        places = np.where(is_best, np.arange(scores.shape[1]), scores.shape[1])
        places = np.minimum.reduceat(places, self.items.starts, axis=1)
        first = self.items.tokens[places]
        last = first + np.take_along_axis(lengths, places, axis=1)
        overlaps = self._overlaps(first, last)
        answerable = self.items.answerable
        if answerable.all():
            return [float(value) for value in overlaps.mean(1)]
        nulls = np.minimum.reduceat(logits[:, self.nulls].sum(-1), self.first_windows, axis=1)
        rows = zip(nulls - best, overlaps, strict=True)
        return [best_threshold(gaps, own, answerable)[1] for gaps, own in rows]

    def _best_ends(
        self, logits: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Returns the score of the best answer that starts at each item, and its further tokens."""
        allowed, windows = self.items.allowed, self.items.windows
        is_token = (self.items.tokens != NO_TOKEN)[:, None]
        starts, ends = np.moveaxis(np.where(allowed & is_token, logits, -np.inf), -1, 0)
        scores = starts + ends
        lengths = np.zeros(scores.shape, np.int64)
        for more in range(1, min(self.max_tokens, len(windows))):
            longer = starts[:, :-more] + ends[:, more:]
            longer[:, windows[:-more] != windows[more:]] = -np.inf
            better = longer > scores[:, :-more]
            scores[:, :-more][better] = longer[better]
            lengths[:, :-more][better] = more
        return scores, lengths

    def _overlaps(
        self, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Returns how much of the most similar true answer each has: (X, N)."""
        starts, ends = np.moveaxis(self.answers, -1, 0)  # (N, A)
        shared = np.minimum(last[..., None], ends) - np.maximum(first[..., None], starts) + 1
        both = (last - first + 1)[..., None] + ends - starts + 1
        found = np.where(starts != NO_TOKEN, 2 * shared.clip(min=0) / both, 0.0)
        best: npt.NDArray[np.float64] = found.max(-1)
        return (best == 1).astype(np.float64) if self.is_exact else best
