"""The head while it is trained with an adapter; at the end it is a head like any other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from adapterhub.model.pooling import POOLINGS, pool_attentive
from adapterhub.model.tokens import TokenBatch
from adapterhub.specs import HeadSpec
from adapterhub.training.objectives import Objective
from adapterhub.training.readers import Scale, TapReader, measure
from adapterhub.training.stack import fold_head

_QUERY = "pool.query"
_MIX = "mix.weights"


class TrainedHead(nn.Module):
    """A head on standardised features, which starts as one that was fitted on the frozen trunk."""

    def __init__(
        self,
        spec: HeadSpec,
        tensors: Mapping[str, torch.Tensor],
        scale: Scale,
        *,
        objective: Objective,
        dropout: float,
    ) -> None:
        """Takes over a fitted head.

        Args:
            spec: What it reads and its shape.
            tensors: By the names of a head file, as the fit on frozen features gave them.
            scale: Mean and deviation of the frozen features that it reads.
            objective: Gives the unit of the outputs.
            dropout: On the features.
        """
        super().__init__()
        self.spec = spec
        self._unit = objective.unit
        self._scale = scale
        self._dropout = dropout
        for name, value in unfold_head(tensors, scale, objective.unit).items():
            self.register_parameter(name, nn.Parameter(value))
        self.query = nn.Parameter(tensors[_QUERY].clone()) if _QUERY in tensors else None
        self.mix = nn.Parameter(tensors[_MIX].log()) if _MIX in tensors else None

    def features(
        self,
        taps: Mapping[int, torch.Tensor],
        below: Mapping[int, torch.Tensor],
        batch: TokenBatch,
        picks: torch.Tensor | None,
    ) -> torch.Tensor:
        """Returns standardised features in fp32: (N, H) per window, or (M, H) per word.

        Args:
            taps: Hidden states (P, H) by depth, above the fork.
            below: Frozen features of the same shape as those returned, by depth up to the fork.
            batch: Gives the windows.
            picks: Tagging: (M,) the token of each word among the P packed ones.
        """
        shares = None if self.mix is None else self.mix.softmax(0)
        total: torch.Tensor | None = None
        for place, depth in enumerate(self.spec.depths):
            frozen = below.get(depth)
            pooled = self._pool(taps[depth], batch, picks) if frozen is None else frozen
            part = pooled if shares is None else pooled * shares[place]
            total = part if total is None else total + part
        assert total is not None  # a head reads one depth at least
        scale = self._scale
        standard = (total - scale.mean.to(total.device)) / scale.deviation.to(total.device)
        return functional.dropout(standard, self._dropout, self.training)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Returns outputs in standardised units: (N, H) -> (N, K)."""
        own = dict(self.named_parameters())
        hidden = features @ own["first"] + own["first_bias"]
        if "last" in own:
            hidden = functional.gelu(hidden) @ own["last"] + own["last_bias"]
        return hidden

    def export(self) -> dict[str, torch.Tensor]:
        """Returns the tensors of a head file, for raw features and the task's own unit."""
        own = {name: p.detach().cpu().float() for name, p in self.named_parameters()}
        scale = Scale(self._scale.mean.cpu(), self._scale.deviation.cpu())
        tensors = fold_head(own, scale, self._unit)
        if "query" in own:
            tensors[_QUERY] = own["query"]
        if "mix" in own:
            tensors[_MIX] = own["mix"].softmax(0)
        return {name: value.clone().contiguous() for name, value in tensors.items()}

    def _pool(
        self, hidden: torch.Tensor, batch: TokenBatch, picks: torch.Tensor | None
    ) -> torch.Tensor:
        if picks is not None:
            return hidden.index_select(0, picks).float()
        if self.query is not None:
            return pool_attentive(hidden, batch, self.query)
        return POOLINGS[self.spec.pooling](hidden, batch)


def unfold_head(
    tensors: Mapping[str, torch.Tensor], scale: Scale, unit: tuple[float, float]
) -> dict[str, torch.Tensor]:
    """Returns what `fold_head` would turn into `tensors`.

    `first` (H, K) and `first_bias` (K,); with a hidden layer of width W `first` is (H, W) and
    `last` (W, K), `last_bias` (K,) follow.
    """
    mean, deviation = unit
    weight, bias = tensors["head.weight"] / deviation, (tensors["head.bias"] - mean) / deviation
    found: dict[str, torch.Tensor] = {}
    if "head.hidden.weight" in tensors:
        found = {"last": weight.T.clone(), "last_bias": bias.clone()}
        weight, bias = tensors["head.hidden.weight"], tensors["head.hidden.bias"]
    found["first"] = (weight * scale.deviation).T.clone()
    found["first_bias"] = bias + weight @ scale.mean
    return found


def scale_of(head: HeadSpec, tap: TapReader) -> Scale:
    """Returns mean and deviation of the frozen features that a head reads."""
    pooling = "mean" if head.pooling == "attentive" else head.pooling
    scales = [measure(tap("train", depth, pooling)) for depth in head.depths]
    deviation = torch.stack([scale.deviation for scale in scales]).square().mean(0).sqrt()
    return Scale(torch.stack([scale.mean for scale in scales]).mean(0), deviation)
