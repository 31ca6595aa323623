"""A parser on the states of an adapter's branch, trained with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.specs import HeadSpec
from adapterhub.training.adapters.differentiable_passes import mix_of
from adapterhub.training.adapters.examples import ExampleBatch
from adapterhub.training.features.standardized_features import Scale
from adapterhub.training.heads.parsers.layers import BiaffineLayers, ParserShape


class TrainedParser(nn.Module):
    """Biaffine layers on standardised features of words; see `run_config.TrainableHead`."""

    def __init__(
        self,
        spec: HeadSpec,
        scale: Scale,
        *,
        targets: torch.Tensor,
        prior: torch.Tensor,
        dropout: float,
        seed: int,
    ) -> None:
        """Makes a parser.

        Args:
            spec: What it reads and its shape.
            scale: Of the frozen features that it reads.
            targets: (M, 2) head and relation of all training words.
            prior: (K,) logits of the frequencies of relations.
            dropout: On the features, and on the hidden layer.
            seed: Of the initialisation and of dropout.
        """
        super().__init__()
        assert spec.hidden_width is not None  # as the spec checks
        assert spec.arc_width is not None
        self.spec = spec
        self._scale = scale
        self._targets = targets
        self._draw = torch.Generator()
        draw = torch.Generator().manual_seed(seed)
        relation_width = spec.hidden_width // 2 - spec.arc_width
        shape = ParserShape(len(scale.mean), spec.arc_width, relation_width, dropout)
        self.layers = BiaffineLayers(shape, prior.cpu(), draw)
        self.mix = nn.Parameter(torch.zeros(len(spec.depths))) if len(spec.depths) > 1 else None

    def features(
        self, taps: Mapping[int, torch.Tensor], batch: TokenBatch, picks: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns the features of words in fp32: (M, H)."""
        del batch
        assert picks is not None  # examples of parsing have words
        states = [taps[depth].index_select(0, picks).float() for depth in self.spec.depths]
        return mix_of(self.mix, states)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Returns the hidden layer of words: (M, W)."""
        mean, deviation = self._scale.mean, self._scale.deviation
        standard = (features - mean.to(features.device)) / deviation.to(features.device)
        if not self.training:
            return self.layers.units(standard)
        # The global generator, which the run seeds for each step, seeds that of dropout.
        self._draw.manual_seed(int(torch.randint(2**31, ())))
        return self.layers.units(standard, self._draw)

    def loss(self, outputs: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        """Returns the loss of the words of a batch, (M, W), for their true heads and relations."""
        assert batch.sizes is not None
        return self.layers.loss(outputs, batch.sizes, self._targets[batch.targets])

    def predictions(self, outputs: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        """Returns head and relation of each word of a batch: (M, W) -> (M, 2) int64."""
        assert batch.sizes is not None
        return self.layers.predictions(outputs, batch.sizes)

    def export(self) -> dict[str, torch.Tensor]:
        """Returns the tensors of a head file, for raw features."""
        scale = Scale(self._scale.mean.cpu(), self._scale.deviation.cpu())
        tensors = self.layers.cpu().export(scale)
        if self.mix is not None:
            tensors["mix.weights"] = self.mix.detach().cpu().softmax(0).contiguous()
        return tensors
