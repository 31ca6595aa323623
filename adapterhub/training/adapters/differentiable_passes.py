"""The differentiable passes above the trunk on packed tokens, and the head on top of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from adapterhub.model.encoder.pooling import POOLINGS, pool_attentive
from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.specs import HeadSpec
from adapterhub.training.adapters.examples import ExampleBatch
from adapterhub.training.features.standardized_features import Scale, TapReader, measure
from adapterhub.training.heads.batched_heads import BatchShape, export_head, initial_heads
from adapterhub.training.kinds.objective import Objective
from adapterhub.training.kinds.vectors.principal import SAMPLE, principal_axes

Layers = Callable[[int], Any]
"""Returns the layer of the pass from a depth on."""


def run_layers(
    hidden: torch.Tensor, batch: TokenBatch, layers: Layers, *, start: int, taps: Collection[int]
) -> dict[int, torch.Tensor]:
    """Returns the hidden states (P, H) at the depths `taps`, given those at depth `start`.

    Args:
        hidden: (P, H).
        batch: The tokens that `hidden` belongs to.
        layers: See `Layers`.
        start: Depth of `hidden`.
        taps: Depths over `start`.
    """
    found: dict[int, torch.Tensor] = {}
    for depth in range(start, max(taps)):
        hidden = run_layer(layers(depth), hidden, batch)
        if depth + 1 in taps:
            found[depth + 1] = hidden
    return found


def run_layer(layer: Any, hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns one pass of transformers' AlbertLayer: (P, H) -> (P, H).

    Source: transformers 5.23, AlbertLayer.forward, which drops out after attention only.
    """
    attention = layer.attention
    mapped = attention.output_dropout(attention.dense(_attend(attention, hidden, batch)))
    attended = attention.LayerNorm(hidden + mapped)
    wide = layer.activation(layer.ffn(attended))
    out: torch.Tensor = layer.full_layer_layer_norm(layer.ffn_output(wide) + attended)
    return out


def _attend(attention: Any, hidden: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Returns the attention output within each window, heads concatenated: (P, H)."""
    heads, size = attention.num_attention_heads, attention.attention_head_size
    dropout = attention.attention_dropout.p if attention.training else 0.0
    parts = [attention.query(hidden), attention.key(hidden), attention.value(hidden)]
    is_cpu = hidden.device.type == "cpu"
    if is_cpu:
        # Measured: on a CPU the gradient of attention takes four times as long in bf16 as in fp32.
        parts = [part.float() for part in parts]
    contexts = []
    with torch.autocast("cpu", enabled=False) if is_cpu else contextlib.nullcontext():
        for bucket in batch.buckets:
            # (n*L, H) -> (n, L, A, H/A) -> (n, A, L, H/A), all views
            query, key, value = (
                part[bucket.start : bucket.stop]
                .view(bucket.windows, bucket.length, heads, size)
                .transpose(1, 2)
                for part in parts
            )
            context = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
            # (n, A, L, H/A) -> (n*L, H)
            contexts.append(context.transpose(1, 2).reshape(-1, heads * size))
    return torch.cat(contexts)


_QUERY = "pool.query"
_MIX = "mix.weights"


class TrainedHead(nn.Module):
    """A head on standardised features, whose initial output is the prior.

    A head fitted on the frozen features before overfits the training set and leaves little gradient
    to the adapter: 79 instead of 86 % accuracy on question types with the same adapter.
    """

    def __init__(
        self, spec: HeadSpec, scale: Scale, *, objective: Objective, dropout: float, seed: int
    ) -> None:
        """Makes a head.

        Args:
            spec: What it reads and its shape.
            scale: Of the frozen features that it reads.
            objective: Of the prior and the unit of the outputs.
            dropout: On the features.
            seed: Of the initialisation.
        """
        super().__init__()
        self.spec = spec
        self._objective = objective
        self._scale = scale
        self._dropout = dropout
        hidden_size = len(scale.mean)
        draw = torch.Generator().manual_seed(seed)
        shape = BatchShape(1, 1, hidden_size, spec.hidden_width)
        prior = replace(objective, prior=objective.prior.cpu())
        for name, value in initial_heads(shape, prior, draw).items():
            self.register_parameter(name, nn.Parameter(value[0, 0].clone()))
        is_attentive, is_mixed = spec.pooling == "attentive", len(spec.depths) > 1
        self.query = nn.Parameter(torch.zeros(hidden_size)) if is_attentive else None
        self.mix = nn.Parameter(torch.zeros(len(spec.depths))) if is_mixed else None

    @torch.no_grad()
    def start_at(self, axes: torch.Tensor) -> None:
        """Begins at a projection of the features, (H, K), in the place of zeros."""
        self.get_parameter("first").copy_(axes)

    def features(
        self, taps: Mapping[int, torch.Tensor], batch: TokenBatch, picks: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns pooled features in fp32: (N, H) per window, or (M, H) per word.

        Args:
            taps: Hidden states (P, H) by depth.
            batch: Of the windows.
            picks: Tagging: (M,) the token of each word among the P packed ones.
        """
        return mix_of(self.mix, [self._pool(taps[d], batch, picks) for d in self.spec.depths])

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Returns outputs in standardised units.

        Args:
            features: (N, H), or comparisons (N, 4H) of texts that are encoded separately.

        Returns:
            (N, K) fp32.
        """
        own, scale = dict(self.named_parameters()), self._scale
        mean, deviation = scale.mean.to(features.device), scale.deviation.to(features.device)
        standard = (features - mean) / deviation
        standard = functional.dropout(standard, self._dropout, self.training)
        hidden = standard @ own["first"] + own["first_bias"]
        if "last" in own:
            hidden = functional.gelu(hidden) @ own["last"] + own["last_bias"]
        return hidden

    def loss(self, outputs: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        """Returns the loss of outputs (N, K) for the targets of a batch."""
        objective = self._objective
        return objective.loss(outputs[None, None], objective.targets[batch.targets]).sum()

    def predictions(self, outputs: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        """Returns what is judged: the outputs (N, K) themselves."""
        del batch
        return outputs

    def export(self) -> dict[str, torch.Tensor]:
        """Returns the tensors of a head file, for raw features and in the task's own unit."""
        own = {name: p.detach().cpu().float() for name, p in self.named_parameters()}
        scale = Scale(self._scale.mean.cpu(), self._scale.deviation.cpu())
        tensors = export_head(own, scale, self._objective.unit)
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


def mix_of(logits: torch.Tensor | None, features: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the features of one depth, or the learned mix of those of several.

    Args:
        logits: Of the shares of the depths; None for one depth.
        features: Of each depth, (N, H).
    """
    if logits is None:
        return features[0]
    shares = logits.softmax(0)
    total = features[0] * shares[0]
    for share, values in zip(shares[1:], features[1:], strict=True):
        total = total + values * share
    return total


def axes_of(head: HeadSpec, scale: Scale, tap: TapReader, size: int) -> torch.Tensor:
    """Returns the principal axes of the frozen features that a head reads: (H, size).

    Args:
        head: What it reads.
        scale: Of these features.
        tap: Reads them.
        size: How many.
    """
    pooling = "mean" if head.pooling == "attentive" else head.pooling
    every = tap("train", head.depths[0], pooling)
    step = -(-len(every) // SAMPLE)
    taps = [tap("train", depth, pooling)[::step].float() for depth in head.depths]
    features = torch.stack(taps).mean(0)
    mean, deviation = scale.mean.to(features.device), scale.deviation.to(features.device)
    return principal_axes((features - mean) / deviation, size)


def scale_of(head: HeadSpec, tap: TapReader) -> Scale:
    """Returns the scale of the frozen features that a head reads."""
    pooling = "mean" if head.pooling == "attentive" else head.pooling
    scales = [measure(tap("train", depth, pooling)) for depth in head.depths]
    deviation = torch.stack([scale.deviation for scale in scales]).square().mean(0).sqrt()
    return Scale(torch.stack([scale.mean for scale in scales]).mean(0), deviation)
