"""Linear systems: validation rows choose, test rows are only predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.training.data.dataset import Splits, read_splits
from adapterhub.training.options import training_options
from recipes.quality.linear import predict_tags, predict_texts, vector_features
from recipes.quality.resampling import count_hits, metric_of
from tests.training.rows import (
    Rows,
    pair_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
)

_MAKERS = {
    "single_label": sentiment_rows,
    "multi_label": topic_rows,
    "regression": rating_rows,
    "pairs": pair_rows,
}


def _splits(make: Callable[..., Rows]) -> Splits:
    options = training_options(test=make(40, seed=7), folds=0, validation_fraction=0.3)
    return read_splits(make(64), options)


@pytest.mark.slow
@pytest.mark.parametrize("name", _MAKERS)
def test_texts_that_words_tell_apart_are_predicted(name: str) -> None:
    splits = _splits(_MAKERS[name])
    assert splits.test is not None
    found = predict_texts(splits)
    assert metric_of(splits.test.kind, count_hits(found, splits.test)) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", [*_MAKERS, "tagging"])
def test_targets_of_test_rows_choose_nothing(name: str) -> None:
    splits = _splits(_MAKERS.get(name, tagged_rows))
    predict = predict_tags if name == "tagging" else predict_texts
    assert splits.test is not None
    turned = replace(splits.test, targets=splits.test.targets[::-1])
    assert predict(replace(splits, test=turned)) == predict(splits)


def test_tags_of_words_are_predicted() -> None:
    splits = _splits(tagged_rows)
    assert splits.test is not None
    assert metric_of("tagging", count_hits(predict_tags(splits), splits.test)) > 0.9


@pytest.mark.slow
def test_vectors_are_those_of_the_hub(tiny_backbone: Backbone, tiny_encoder: Encoder) -> None:
    features = vector_features(tiny_backbone, tiny_encoder)
    splits = _splits(pair_rows)
    train, held_out = features(splits)
    assert train.shape == (len(splits.train), 4 * tiny_encoder.spec.hidden_size)
    hub = Hub(backbone=tiny_backbone.folder, device="cpu")
    u, v = (
        np.asarray(hub.encode([row[field] for row in splits.validation.inputs])) for field in (0, 1)
    )
    np.testing.assert_allclose(held_out, np.hstack([u, v, abs(u - v), u * v]), atol=1e-5)
    assert isinstance(predict_texts(splits, features)[0], str)
