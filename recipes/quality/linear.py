"""Predictions of the linear systems, TF-IDF or vectors, for rows that chose nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.text_features import FeatureOptions, features_of
from adapterhub.model.heads.heads import Array, sigmoid
from adapterhub.training.data.dataset import Dataset, Splits
from adapterhub.training.data.labels import Target
from adapterhub.training.evaluation.calibration import best_tag_bias, find_thresholds
from recipes.quality.baseline import (
    biased_spans,
    choice_probabilities,
    tag_scores,
    text_logits,
    tfidf_features,
)
from recipes.quality.resampling import count_hits, metric_of

STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Inverses of the L2 penalty; vectors of length 1 need greater ones than TF-IDF."""

_MAX_WINDOWS = 16  # as in training and scoring

Features = Callable[[Splits], tuple[Any, Any]]
"""Returns features of the training and of the validation rows, (rows, F) each."""


def predict_texts(splits: Splits, features: Features = tfidf_features) -> tuple[Target, ...]:
    """Returns the predictions for the test rows, by logistic regression or ridge regression.

    The validation rows choose the strength of the penalty, and the thresholds of label sets.
    """
    choosing, measured = splits.validation, _test_of(splits)
    both = replace(splits, validation=_joined(choosing, measured))
    found = text_logits(both, features(both), STRENGTHS)
    candidates = [_predictions(logits, choosing) for logits in found]
    return _best(candidates, choosing)[len(choosing) :]


def predict_tags(splits: Splits) -> tuple[Target, ...]:
    """Returns the spans of the test rows by the linear tagger; validation rows choose its bias."""
    choosing, measured = splits.validation, _test_of(splits)
    labels = splits.train.labels
    scores = tag_scores(replace(splits, validation=_joined(choosing, measured)))
    rows = len(choosing)
    chosen, others = (
        replace(scores, values=scores.values[part], texts=scores.texts[part])
        for part in (slice(rows), slice(rows, None))
    )
    bias = best_tag_bias(
        lambda tried: metric_of(
            "tagging", count_hits(_as_targets(biased_spans(chosen, tried, labels)), choosing)
        )
    )
    return _as_targets(biased_spans(others, bias, labels))


def predict_choices(splits: Splits) -> tuple[Target, ...]:
    """Returns the places of the choices of the test rows, by TF-IDF.

    The validation rows choose between the cosine with the prompt and a conditional logistic
    regression, and its penalty.
    """
    choosing = splits.validation
    both = replace(splits, validation=_joined(choosing, _test_of(splits)))
    found = [scores.argmax(1) for scores in choice_probabilities(both)]
    candidates = [tuple(map(str, places.tolist())) for places in found]
    return _best(candidates, choosing)[len(choosing) :]


def vector_features(backbone: Backbone, encoder: Encoder) -> Features:
    """Returns the features of sentence vectors: of pairs u, v, |u - v| and u v.

    The vectors are those of `Hub.encode`: as the backbone's repository makes them, else the mean of
    the last hidden states.

    Args:
        backbone: Has the tokenizer, and says how vectors are made.
        encoder: Its encoder.
    """
    context = ExecutionContext(encoder, TextTokenizer(backbone.tokenizer), _MAX_WINDOWS)
    options = FeatureOptions(None, None, ("text",), None, None)

    def vectors(texts: Sequence[str]) -> Array:
        different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        found = features_of(list(different), options, context=context, sentence=backbone.sentence)
        chosen: Array = np.asarray(found)[[different[text] for text in texts]]
        return chosen

    def features(dataset: Dataset) -> Array:
        fields = [
            vectors([row[field] for row in dataset.inputs]) for field in range(len(dataset.fields))
        ]
        if len(fields) == 1:
            return fields[0]
        u, v = fields
        return np.hstack([u, v, abs(u - v), u * v])

    return lambda splits: (features(splits.train), features(splits.validation))


def _predictions(logits: npt.NDArray[np.float32], choosing: Dataset) -> tuple[Target, ...]:
    """Returns predictions from logits of rows of which the first are `choosing`."""
    labels = choosing.labels
    if choosing.kind == "regression":
        return tuple(map(float, logits[:, 0]))
    if choosing.kind == "single_label":
        return tuple(labels[place] for place in logits.argmax(1))
    scores = sigmoid(logits)
    limits = np.array(find_thresholds(scores[: len(choosing)], choosing.truth() > 0), np.float32)
    return tuple(tuple(labels[place] for place in np.flatnonzero(row >= limits)) for row in scores)


def _best(candidates: Sequence[tuple[Target, ...]], choosing: Dataset) -> tuple[Target, ...]:
    """Returns the predictions that are best on their first rows, the first of equal ones."""
    rows = len(choosing)
    return max(
        candidates,
        key=lambda found: metric_of(choosing.kind, count_hits(found[:rows], choosing)),
    )


def _joined(first: Dataset, second: Dataset) -> Dataset:
    return replace(
        first, inputs=first.inputs + second.inputs, targets=first.targets + second.targets
    )


def _test_of(splits: Splits) -> Dataset:
    if splits.test is None:
        raise ValueError("splits without test rows")
    return splits.test


def _as_targets(rows: Sequence[Sequence[Any]]) -> tuple[Target, ...]:
    return tuple(map(tuple, rows))
