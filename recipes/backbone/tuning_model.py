"""A pretraining model with one linear head per set, read at several depths and poolings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AlbertForPreTraining
from transformers.models.albert.configuration_albert import AlbertConfig

from adapterhub.model.heads.pair_features import compare
from adapterhub.shapes import COMPARED_PARTS
from recipes.backbone.batches import Batch
from recipes.backbone.objective import run_batch, to_device
from recipes.backbone.tuning_batches import TuningBatch, apart_head
from recipes.backbone.tuning_sets import NO_TAG, TuningSet

POOLINGS = ("cls", "mean", "max")
_FEWEST_TAPS = 3
_DROPOUT = 0.1
"""Share of its features that a head does not see: a small set is gone through many times."""


@dataclass(frozen=True)
class TuningOutcome:
    """What a batch gave.

    Attributes:
        name: Of the set.
        loss: Scalar to minimise.
        quality: Scalar, detached: accuracy of labels, tags and masked tokens, cosine of vectors,
            1 minus the squared error of numbers (their variance is 1); of the deepest tap.
    """

    name: str
    loss: Tensor
    quality: Tensor


def tap_depths(depth: int) -> tuple[int, ...]:
    """Returns the depths that heads read: a third, two thirds and all of the way."""
    return tuple(
        sorted({math.ceil(depth * part / _FEWEST_TAPS) for part in range(1, _FEWEST_TAPS + 1)})
    )


class TuningModel(nn.Module):
    """The model and the heads of all sets; the heads are dropped afterwards.

    Features have to serve a linear head at any depth, so every head is several: of texts one per
    depth in `tap_depths` and pooling, of tags and vectors one per depth.

    Args:
        model: The pretrained model.
        sets: What will be learned.
    """

    def __init__(self, model: AlbertForPreTraining, sets: list[TuningSet]) -> None:
        super().__init__()
        self.model = model
        self.depths = tap_depths(model.config.num_hidden_layers)
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        for rows in sets:
            if rows.kind == "text":
                continue
            taps = len(self.depths) * (1 if rows.kind in ("tags", "vectors") else len(POOLINGS))
            self._add_head(rows.head, (taps, model.config.hidden_size, rows.outputs))
            if rows.paired:
                size = (taps, COMPARED_PARTS * model.config.hidden_size, rows.outputs)
                self._add_head(apart_head(rows.head), size)
            if rows.kind == "vectors":  # a cosine has no gradient at 0
                nn.init.normal_(self.weights[rows.head], std=model.config.hidden_size**-0.5)

    def _add_head(self, name: str, size: tuple[int, int, int]) -> None:
        taps, _, outputs = size
        self.weights[name] = nn.Parameter(torch.zeros(size))
        self.biases[name] = nn.Parameter(torch.zeros(taps, outputs))

    @property
    def config(self) -> AlbertConfig:
        """Returns the shape of the model."""
        return self.model.config

    def run(self, batch: TuningBatch | Batch) -> TuningOutcome:
        """Returns loss and quality of one batch; losses are about 1 for a random guess."""
        if isinstance(batch, Batch):
            return self._corpus(batch)
        device = self.model.device
        output = self.model.albert(
            input_ids=torch.from_numpy(batch.input_ids).to(device),
            token_type_ids=torch.from_numpy(batch.token_type_ids).to(device),
            attention_mask=(mask := torch.from_numpy(batch.attention_mask).to(device)),
            output_hidden_states=True,
        )
        targets = torch.from_numpy(batch.targets).to(device)
        if batch.kind == "text":
            places = torch.from_numpy(batch.positions).to(device)
            logits = self.model.predictions(output.last_hidden_state.flatten(0, 1)[places]).float()
            found = functional.cross_entropy(logits, targets) / math.log(logits.shape[-1])
            return TuningOutcome(batch.name, found, _share(logits.argmax(-1) == targets))
        states = torch.stack([output.hidden_states[depth] for depth in self.depths])
        with torch.autocast(device.type, enabled=False):
            loss, quality = self._answer(batch, states.float(), mask, targets)
        return TuningOutcome(batch.name, loss, quality)

    def _corpus(self, batch: Batch) -> TuningOutcome:
        outcome = run_batch(self.model, to_device(batch, self.model.device))
        loss = outcome.loss / math.log(self.config.vocab_size)
        return TuningOutcome("corpus", loss, outcome.mlm_correct / batch.labels.size)

    def _answer(
        self, batch: TuningBatch, states: Tensor, mask: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns loss and quality; `states` is (taps, N, S, H), `mask` (N, S)."""
        weight, bias = self.weights[batch.head], self.biases[batch.head]
        if batch.kind == "tags":
            kept = targets != NO_TAG
            features = self._drop(states[:, kept], batch.seed)  # (taps, words, H)
            return _label_loss(_linear(features, weight, bias), targets[kept])
        pooled = pool_states(states, mask)  # (taps, poolings, N, H)
        if batch.apart:  # (taps, poolings, N, H) -> (taps, poolings, N / 2, 4H)
            pooled = compare(*pooled.chunk(2, dim=2))
        if batch.kind == "vectors":
            guess = _linear(pooled[:, POOLINGS.index("mean")], weight, bias)
            cosine = functional.cosine_similarity(guess, targets[None].float(), dim=-1)
            return 1.0 - cosine.mean(), cosine[-1].mean().detach()
        logits = _linear(self._drop(pooled.flatten(0, 1), batch.seed), weight, bias)
        if batch.kind == "number":
            errors = (logits - targets).square().mean((1, 2))
            return errors.mean(), 1.0 - errors[-2].detach()
        return _label_loss(logits, targets)

    def _drop(self, features: Tensor, seed: int) -> Tensor:
        """Returns the features less a share that `seed` chooses: a resumed run drops the same."""
        if not self.training:
            return features
        generator = torch.Generator().manual_seed(seed)
        kept = torch.rand(features.shape, generator=generator) >= _DROPOUT
        return features * kept.to(features.device) / (1.0 - _DROPOUT)


def pool_states(states: Tensor, mask: Tensor) -> Tensor:
    """Returns `POOLINGS` of hidden states, (taps, N, S, H) -> (taps, poolings, N, H).

    Args:
        states: Hidden states.
        mask: (N, S), 0 for padding.
    """
    kept = mask[None, :, :, None].to(states.dtype)
    mean = (states * kept).sum(2) / kept.sum(2)
    most = states.masked_fill(kept == 0, float("-inf")).amax(2)
    return torch.stack([states[:, :, 0], mean, most], dim=1)


def _linear(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Returns (taps, N, K) from features (taps, N, H) and weight (taps, H, K)."""
    return torch.baddbmm(bias[:, None], features, weight)


def _label_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns cross-entropy as a share of log K, and accuracy.

    `targets` are classes, (N,), or shares of classes, (N, K); logits are (taps, N, K).
    """
    taps, _, classes = logits.shape
    repeated = targets.repeat(taps, *[1] * (targets.dim() - 1))
    loss = functional.cross_entropy(logits.flatten(0, 1), repeated) / math.log(max(classes, 2))
    guess = logits[-1].argmax(-1)
    if targets.dim() == 1:
        return loss, _share(guess == targets)
    return loss, _share(targets.gather(1, guess[:, None]) > 0)


def _share(hits: Tensor) -> Tensor:
    return hits.float().mean().detach()
