"""Similarity of two sentences by vectors of any depth, and by a trained head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from scipy.stats import spearmanr

from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.pooling import POOLINGS
from adapterhub.model.encoder.tokens import batches
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.heads.heads import Array
from adapterhub.plan import Reading
from adapterhub.specs import Pooling
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from recipes.quality.datasets import training_file
from recipes.quality.freezing_encoders import NamedEncoder
from recipes.quality.freezing_record import Similarity
from recipes.quality.predictions import what_it_reads
from recipes.quality.untouched import MeasuredRows

SIMILARITY_SETS = ("stsb", "stsb_zh")
SIMILARITY_ROWS = 4
"""How many times the rows of the recipes: heads alone are cheap, and comparing needs more rows."""

_POOLINGS: tuple[Pooling, ...] = ("cls", "mean")
_SAME = 1e-5
"""Cosines that differ by less say nothing: their rounding errors are near it."""


def measure_similarity(
    folder: Path, measured: MeasuredRows, one: NamedEncoder, max_rows: int
) -> Similarity:
    """Returns the correlations on the measured rows of a set of pairs.

    Args:
        folder: The data set: two texts and a score.
        measured: Its validation rows without those that share a text with a listed set.
        one: The encoder.
        max_rows: Training rows, and rows that choose or measure, at most.
    """
    options = training_options(
        test=list(measured.rows),
        dataset=folder.name,
        max_rows=max_rows,
        folds=0,
        poolings=_POOLINGS,
        pairs="apart",
        hidden_widths=(),
        mixes=False,
        ngrams=False,
        metric="spearman",
    )
    trained = train(
        training_file(folder),
        task="similarity",
        options=options,
        registry=None,
        backbone=one.backbone,
        encoder=one.encoder,
    )
    splits = read_splits(training_file(folder), options)
    test = splits.test
    if test is None:
        raise AssertionError("the options name test rows")
    scores = [cast("float", target) for target in test.targets]
    found = cosines([(row[0], row[1]) for row in test.inputs], one.context)
    by_depth = {
        pooling: tuple(_correlation(values, scores) for values in found[pooling])
        for pooling in _POOLINGS
    }
    return Similarity(
        name=folder.name,
        encoder=one.name,
        train=len(splits.train),
        rows=len(test),
        cls=by_depth["cls"],
        mean=by_depth["mean"],
        head=next(metric.value for metric in trained.metrics if metric.name == "spearman"),
        reads=what_it_reads(trained),
    )


def _correlation(values: Array, scores: Sequence[float]) -> float | None:
    """Returns Spearman's correlation; None for a constant, such as the first token at depth 0."""
    if np.ptp(values) < _SAME:
        return None
    return float(spearmanr(values, scores).statistic)


def cosines(
    pairs: Sequence[tuple[str, str]], context: ExecutionContext
) -> dict[Pooling, list[Array]]:
    """Returns the cosine of each pair by pooling and by depth from 0."""
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    vectors = _vectors(texts, context)
    places = {text: place for place, text in enumerate(texts)}
    left, right = ([places[pair[side]] for pair in pairs] for side in (0, 1))
    return {
        pooling: [np.einsum("nh,nh->n", one[left], one[right]) for one in by_depth]
        for pooling, by_depth in vectors.items()
    }


@inference
def _vectors(texts: Sequence[str], context: ExecutionContext) -> dict[Pooling, list[Array]]:
    """Returns vectors of length 1 by pooling and depth, all from one pass over the depths."""
    encoder, tokenizer = context.encoder, context.tokenizer
    reading = Reading(("text",), encoder.max_positions, 0)
    # As in sentence-transformers, what is beyond the first window is cut off.
    rows = tokenizer.rows([(text,) for text in texts], reading=reading, max_windows=1)
    windows = tokenizer.windows(rows, reading=reading)
    depths = tuple(range(encoder.depth + 1))
    found: dict[Pooling, list[Array]] = {
        pooling: [np.zeros((len(texts), encoder.spec.hidden_size), np.float32) for _ in depths]
        for pooling in _POOLINGS
    }
    packed = batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device)
    for states in each_depth(packed, depths, encoder=encoder):
        own = [window.row for window in states.batch.windows]
        for pooling in _POOLINGS:
            values = POOLINGS[pooling](states.hidden, states.batch).cpu().numpy()
            lengths = np.linalg.norm(values, axis=1, keepdims=True)
            found[pooling][states.depth][own] = values / np.maximum(lengths, 1e-12)
    return found
