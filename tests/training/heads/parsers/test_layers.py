"""The layers of a parser: their loss, and what a head file holds of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from adapterhub.model.heads.biaffine import arc_scores, read_biaffine, relation_scores
from adapterhub.training.data.words.units import NONE
from adapterhub.training.features.standardized_features import Scale
from adapterhub.training.heads.parsers.layers import BiaffineLayers, ParserShape

SIZES = torch.tensor([3, 1, 4])
TARGETS = torch.tensor([[2, 0], [0, 1], [2, 2], [0, 1], [2, NONE], [3, 0], [NONE, 0], [0, 1]])


@pytest.fixture
def layers() -> BiaffineLayers:
    draw = torch.Generator().manual_seed(0)
    made = BiaffineLayers(ParserShape(6, 4, 3, 0.0), torch.zeros(3), draw)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=draw)
    return made


def _features() -> torch.Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1))


def test_the_loss_is_that_of_each_sentence_by_itself(layers: BiaffineLayers) -> None:
    units = layers.units(_features())
    heads, relations = [], []
    for own, targets in zip(
        units.split(SIZES.tolist()), TARGETS.split(SIZES.tolist()), strict=True
    ):
        known = targets[:, 0] != NONE
        of_heads = arc_scores(own, layers.weights).log_softmax(-1)
        heads += [of_heads[row, targets[row, 0]] for row in known.nonzero().flatten()]
        scores = relation_scores(own, targets[:, 0].clamp(min=0), layers.weights).log_softmax(-1)
        wanted = known & (targets[:, 1] != NONE)
        relations += [scores[row, targets[row, 1]] for row in wanted.nonzero().flatten()]
    expected = -torch.stack(heads).mean() - torch.stack(relations).mean()
    torch.testing.assert_close(layers.loss(units, SIZES, TARGETS), expected)


def test_a_head_file_scores_raw_features_alike(layers: BiaffineLayers) -> None:
    scale = Scale(torch.randn(6), torch.rand(6) + 0.5)
    tensors = layers.export(scale)
    features = _features()
    raw = features * scale.deviation + scale.mean
    hidden = functional.linear(raw, tensors["head.hidden.weight"], tensors["head.hidden.bias"])
    weights = read_biaffine(tensors, torch.device("cpu"))
    assert weights is not None
    own = functional.gelu(hidden)[:3]
    predicted = layers.predictions(layers.units(features), SIZES)[:3]
    assert arc_scores(own, weights).argmax(-1).tolist() == predicted[:, 0].tolist()
    scores = relation_scores(own, predicted[:, 0], weights)
    assert scores.argmax(-1).tolist() == predicted[:, 1].tolist()


def test_calibration_lowers_the_loss_and_keeps_the_trees(layers: BiaffineLayers) -> None:
    units = layers.units(_features()).detach()
    before, predicted = layers.loss(units, SIZES, TARGETS), layers.predictions(units, SIZES)
    layers.calibrate([(units, SIZES, TARGETS)])
    assert layers.loss(units, SIZES, TARGETS) < before
    assert layers.predictions(units, SIZES).equal(predicted)
