"""Pairs that are read apart: features from the cache of single texts, mixes, whole trainings."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.text_features import encode_rows
from adapterhub.model.heads.heads import softmax
from adapterhub.model.heads.pair_features import compare
from adapterhub.plan import Reading, Tap
from adapterhub.specs import HeadSpec
from adapterhub.store.registry import read_registry
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.pairs import ComparedMix, pair_readings
from adapterhub.training.heads.candidates import Hyperparameters
from adapterhub.training.heads.fit_inputs import FitInputs, make_fit_inputs
from adapterhub.training.heads.search_heads import search_heads
from adapterhub.training.heads.successive_halving import fit
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.training.rows import Rows, pair_rows, sentiment_rows, write_rows

WORDS = ("film", "food", "city", "day", "late", "early", "good", "bad")
QUICK: dict[str, Any] = {
    "epochs": 6,
    "batch_size": 16,
    "depths": (0, 1, 3),
    "poolings": ("mean", "cls"),
    "hidden_widths": (8,),
    "learning_rates": (0.01, 0.03),
    "weight_decays": (0.01,),
    "validation_fraction": 0.25,
    "folds": 0,
}


def same_rows() -> Rows:
    """Returns pairs of few words, labelled by whether both are the same: 8 texts, 112 pairs."""
    same = [(word, word) for word in WORDS] * 7
    other = list(itertools.permutations(WORDS, 2))
    return [
        {"text": one, "text_pair": two, "label": "same" if one == two else "other"}
        for pair in zip(same, other, strict=True)
        for one, two in pair
    ]


def likeness_rows() -> Rows:
    """Returns pairs with a number: how many of three words they share."""
    rows = []
    for one in itertools.combinations(WORDS[:5], 3):
        for two in itertools.combinations(WORDS[:5], 3):
            texts = {"text": " ".join(one), "text_pair": " ".join(two)}
            rows.append({**texts, "score": float(len(set(one) & set(two)))})
    return rows


@pytest.fixture
def options() -> TrainingOptions:
    return training_options(**QUICK, pairs="apart")


@pytest.fixture
def fit_inputs(options: TrainingOptions, source: FeatureSource) -> FitInputs:
    return make_fit_inputs(
        read_splits(same_rows(), options), options=options, source=source, apart=True
    )


def test_features_are_of_each_text_alone_and_each_text_is_encoded_once(
    options: TrainingOptions, source: FeatureSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    embed = Encoder.embed

    def counting(self: Encoder, batch: TokenBatch) -> torch.Tensor:
        encoded.append(len(batch.windows))
        return embed(self, batch)

    monkeypatch.setattr(Encoder, "embed", counting)
    splits = read_splits(same_rows(), options)
    fit_inputs = make_fit_inputs(splits, options=options, source=source, apart=True)
    assert sum(encoded) == len(WORDS)
    assert fit_inputs.reading == Reading(("text", "text_pair"), 64, 0, apart=True)
    # A task on single texts of the same words finds them in the cache.
    single = [{"text": word, "label": word[0]} for word in WORDS * 6]
    plain = options.model_copy(update={"pairs": "both"})
    make_fit_inputs(read_splits(single, plain), options=plain, source=source)
    assert sum(encoded) == len(WORDS)
    inputs = splits.train.inputs
    context = ExecutionContext(source.encoder, source.tokenizer, options.max_windows)
    for depth, pooling in ((1, "mean"), (3, "cls")):
        sides = [
            torch.from_numpy(
                encode_rows(
                    [(row[side],) for row in inputs],
                    tap=Tap(depth, pooling, ()),  # type: ignore[arg-type]
                    reading=Reading(("text",), 64, 0),
                    context=context,
                )
            )
            for side in (0, 1)
        ]
        expected = compare(*sides)
        found = fit_inputs.tap("train", depth, pooling)  # type: ignore[arg-type]
        assert found.dtype == torch.float16
        assert found.shape == (len(inputs), 4 * source.encoder.hidden_size)
        assert torch.allclose(found.float(), expected, rtol=2e-3, atol=1e-2)


def test_a_fitted_mix_gives_in_a_file_what_it_gave_while_it_was_fitted(
    fit_inputs: FitInputs, options: TrainingOptions, source: FeatureSource
) -> None:
    heads = [HeadSpec(depths=depths, pooling="mean") for depths in ((0, 1), (0, 1, 3))]
    reader = ComparedMix.load(heads, fit_inputs.tap, fit_inputs.problem.device)
    settings = [Hyperparameters(0.05, 0.0), Hyperparameters(0.01, 0.1)]
    for one in fit(reader, settings, hidden_width=None, problem=fit_inputs.problem):
        shares = one.tensors["mix.weights"]
        assert shares.shape == (len(one.head.depths),)
        assert float(shares.sum()) == pytest.approx(1.0)
        assert float((shares - 1 / len(shares)).abs().max()) > 1e-3
        size = source.encoder.hidden_size
        texts = torch.stack(
            [
                fit_inputs.tap("validation", depth, "mean")[:, : 2 * size]
                for depth in one.head.depths
            ]
        ).float()
        mixed = torch.einsum("d,dbh->bh", shares, texts)
        features = compare(mixed[:, :size], mixed[:, size:])
        logits = features @ one.tensors["head.weight"].T + one.tensors["head.bias"]
        value = float(fit_inputs.problem.judge(logits[None])[0])
        assert value == pytest.approx(one.value, abs=0.04)


def test_the_start_of_a_mix_is_standardised(fit_inputs: FitInputs) -> None:
    heads = [HeadSpec(depths=(0, 1, 3), pooling="mean"), HeadSpec(depths=(0, 1), pooling="mean")]
    reader = ComparedMix.load(heads, fit_inputs.tap, fit_inputs.problem.device)
    rows = torch.arange(len(fit_inputs.splits.train))
    features = reader.read("train", rows, reader.parameters(2))
    assert features.shape[:3] == (2, 2, len(rows))
    assert float(features.mean(2).abs().max()) < 0.02
    assert float(features.std(2).median()) == pytest.approx(1.0, abs=0.05)
    (kept,) = reader.keep([1]).heads
    assert kept == heads[1]
    only = reader.keep([1]).read("train", rows, {"mix": torch.zeros(1, 2, 3)})
    assert torch.allclose(only[0], features[1], atol=1e-5)


def trained_by(rows: Rows, tmp_path: Path, backbone: Backbone, **changes: Any) -> tuple[Any, Path]:
    registry = tmp_path / "registry.yaml"
    options = training_options(**{**QUICK, **changes}, cache_dir=tmp_path / "cache")
    data = write_rows(tmp_path / "rows.jsonl", rows)
    return train(
        data, task="compared", options=options, registry=registry, backbone=backbone
    ), registry


@pytest.mark.slow
def test_both_ways_are_tried_and_validation_chooses(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    trained, registry = trained_by(same_rows(), tmp_path, tiny_backbone)
    assert {row.apart for row in trained.table.rows} == {False, True}
    best = {
        way: max(row.value for row in trained.table.rows if row.apart is way)
        for way in (False, True)
    }
    chosen = trained.table.rows[trained.table.chosen]
    assert trained.spec.apart is chosen.apart
    # Random states of two single words: the same or not is in |u - v|.
    assert best[True] > best[False]
    assert trained.spec.apart
    text = trained.table.render(every=True)
    assert "| pairs" in text
    assert text.count(" apart ") + text.count(" together ") == len(trained.table.rows)
    hub = Hub(registry, device="cpu")
    scores = hub.score(same_rows(), "compared", logits=True)["compared"]
    truth = [row["label"] for row in same_rows()]
    given = [answer["label"] for answer in scores.answers]  # type: ignore[index,call-overload]
    assert np.mean([a == b for a, b in zip(given, truth, strict=True)]) > 0.9
    logits = np.asarray(scores.logits) / trained.spec.calibration.temperature
    chances = softmax(logits).max(1)
    found = [answer["score"] for answer in scores.answers]  # type: ignore[index,call-overload]
    assert found == pytest.approx(chances.tolist())
    entry = read_registry(registry).resolve("compared").record
    assert entry.depths == trained.spec.head.depths
    assert trained.spec.diagnostics is not None


def test_a_mix_of_depths_trains_and_scores(tmp_path: Path, tiny_backbone: Backbone) -> None:
    trained, registry = trained_by(
        likeness_rows(),
        tmp_path,
        tiny_backbone,
        pairs="apart",
        poolings=("mean",),
        tolerance=0,
        hidden_widths=(),
        ngrams=False,
        seed=2,
    )
    mixes = [row for row in trained.table.rows if len(row.head.depths) > 1]
    assert mixes
    assert all(row.apart for row in trained.table.rows)
    (metric,) = (one for one in trained.metrics if one.name == "spearman")
    assert metric.value == pytest.approx(trained.table.rows[trained.table.chosen].value, abs=0.02)
    assert metric.value > 0.5
    assert (
        "value"
        in Hub(registry, device="cpu").score(likeness_rows()[:1], "compared")["compared"].answers[0]
    )  # type: ignore[operator]


def test_few_pairs_are_cross_validated(tmp_path: Path, tiny_backbone: Backbone) -> None:
    trained, _ = trained_by(
        same_rows()[:60],
        tmp_path,
        tiny_backbone,
        pairs="apart",
        validation_fraction=None,
        folds=3,
        hidden_widths=(),
        depths=(0, 1),
        poolings=("mean",),
        tolerance=0,
    )
    assert trained.spec.apart
    assert any("cross-validation" in note for note in trained.table.notes)
    assert trained.metrics[0].rows == 60
    assert trained.spec.known_answers


def test_one_way_alone_can_be_asked_for(tmp_path: Path, tiny_backbone: Backbone) -> None:
    trained, _ = trained_by(pair_rows(), tmp_path, tiny_backbone, pairs="together", mixes=False)
    assert not trained.spec.apart
    assert not any(row.apart for row in trained.table.rows)
    assert "pairs" not in trained.table.render()


def test_which_ways_are_tried() -> None:
    pair = ("text", "text_pair")
    base = TrainingOptions()
    assert pair_readings(base, pair) == (False, True)
    assert pair_readings(base, ("text",)) == (False,)
    assert pair_readings(base.model_copy(update={"poolings": ("attentive",)}), pair) == (False,)
    assert pair_readings(base.model_copy(update={"adapter_of": "other"}), pair) == (False, True)
    assert pair_readings(training_options(pairs="apart"), pair) == (True,)
    assert pair_readings(training_options(pairs="together"), pair) == (False,)
    with pytest.raises(UsageError, match="the rows have one text; it needs two"):
        pair_readings(training_options(pairs="apart"), ("text",))
    with pytest.raises(UsageError, match="texts apart are pooled by cls, mean, max"):
        training_options(pairs="apart", poolings=("attentive",))
    with pytest.raises(UsageError, match="pairs"):
        training_options(pairs="alone")


def test_one_text_cannot_be_read_apart(tmp_path: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(UsageError, match="Option pairs is 'apart'"):
        trained_by(sentiment_rows(), tmp_path, tiny_backbone, pairs="apart")
    assert not (tmp_path / "cache").exists()


def test_ways_are_searched_as_one(options: TrainingOptions, source: FeatureSource) -> None:
    few = options.model_copy(
        update={"pairs": "both", "hidden_widths": (), "mixes": False, "depths": (1,)}
    )
    splits = read_splits(same_rows(), few)
    ways = [
        make_fit_inputs(splits, options=few, source=source, apart=apart) for apart in (False, True)
    ]
    noted = [replace(way, notes=("seen",)) for way in ways]
    found = search_heads(noted, options=few, source=source)
    assert found.table.candidates == 2 * 2 * 2  # ways, poolings, settings
    assert found.table.notes == ("seen",)
    assert [row.apart for row in found.table.rows].count(True) == 2
    assert found.chosen.apart is found.table.rows[found.table.chosen].apart
