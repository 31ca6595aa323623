"""N-grams beside a head: where they win they are kept, scored as fitted, and said to be there."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub import Hub
from adapterhub.errors import HeadFileError
from adapterhub.model.backbone import Backbone
from adapterhub.model.encoder import Encoder
from adapterhub.model.ngrams import GramWeights, grams_of
from adapterhub.model.tokens import TextTokenizer
from adapterhub.plan import reading_of
from adapterhub.store.headfile import encode_head
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from adapterhub.training.trained import TrainedTask

WORDS = ("day", "film", "food", "city", "good", "bad", "late", "early", "she", "he", "very", "not")


def order_rows(count: int, answer: str) -> list[dict[str, Any]]:
    """Returns rows whose answer lies in the order of two words, which a mean state hardly shows."""
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        words = draw.choices(WORDS, k=8)
        turned = draw.random() < 0.5
        place = draw.randrange(7)
        words[place : place + 2] = ("not", "good") if turned else ("good", "not")
        label = "turned" if turned else "straight"
        answers = {"label": label, "labels": [label], "score": float(turned)}
        rows.append({"text": " ".join(words), answer: answers[answer]})
    return rows


@pytest.fixture
def options(tmp_path: Path) -> TrainingOptions:
    return training_options(
        epochs=2,
        depths=(0,),
        poolings=("mean",),
        hidden_widths=(),
        learning_rates=(0.01,),
        weight_decays=(0.01,),
        validation_fraction=0.25,
        folds=0,
        cache_dir=tmp_path / "cache",
    )


def trained_on(
    answer: str, backbone: Backbone, encoder: Encoder, options: TrainingOptions, **changes: Any
) -> TrainedTask:
    return train(
        order_rows(240, answer),
        **{"task": "order", "registry": None, **changes},
        options=options,
        backbone=backbone,
        encoder=encoder,
    )


@pytest.mark.parametrize(
    ("answer", "metric"), [("label", "accuracy"), ("labels", "macro_f1"), ("score", "spearman")]
)
def test_they_are_kept_where_they_win_and_left_out_where_told(
    answer: str,
    metric: str,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    options: TrainingOptions,
) -> None:
    wide = trained_on(answer, tiny_backbone, tiny_encoder, options)
    without = options.model_copy(update={"ngrams": False})
    plain = trained_on(answer, tiny_backbone, tiny_encoder, without)
    values = [
        next(one.value for one in trained.metrics if one.name == metric)
        for trained in (plain, wide)
    ]
    assert plain.spec.head.ngrams is None
    assert wide.spec.head.ngrams == len(wide.tensors["ngrams.keys"]) > 10
    assert values[1] > values[0] + 0.15
    assert "n-grams of pieces" in wide.table.render()


def test_scoring_adds_them_to_the_outputs_of_the_head(
    tiny_backbone: Backbone, tiny_encoder: Encoder, options: TrainingOptions, tmp_path: Path
) -> None:
    registry = tmp_path / "tasks" / "registry.yaml"
    trained = trained_on("label", tiny_backbone, tiny_encoder, options, registry=registry)
    spec, tensors = trained.spec, trained.tensors
    texts = [row["text"] for row in order_rows(40, "label")] + ["he", "good not " * 300]
    hub = Hub(registry, device="cpu")
    found = hub.score(texts, tasks="order", logits=True)["order"].logits
    features = hub.encode(texts, depth=spec.head.depths[0], pooling=spec.head.pooling)
    dense = features @ tensors["head.weight"].numpy().T + tensors["head.bias"].numpy()
    rows = TextTokenizer(tiny_backbone.tokenizer).rows(
        [(text,) for text in texts], reading=reading_of(spec), max_windows=16
    )
    table = GramWeights(tensors["ngrams.keys"].numpy(), tensors["ngrams.weight"].float())
    added = table.logits(grams_of([row.ids for row in rows]))
    assert np.abs(added).max() > 0.1
    np.testing.assert_allclose(np.array(found), dense + added, atol=1e-5)
    alone = [
        np.array(hub.score([text], tasks="order", logits=True)["order"].logits) for text in texts
    ]
    np.testing.assert_allclose(np.array(found), np.concatenate(alone), atol=1e-5)
    some = hub.score_rows([(text, ["order"]) for text in texts[::3]], logits=True)
    np.testing.assert_allclose(np.array(some["order"].logits), np.array(found)[::3], atol=1e-5)


def test_few_rows_are_judged_by_weights_that_were_not_fitted_on_them(
    tiny_backbone: Backbone, tiny_encoder: Encoder, options: TrainingOptions
) -> None:
    crossed = options.model_copy(update={"folds": 4, "validation_fraction": None})
    rows = order_rows(120, "label")
    for row, label in zip(rows, random.Random(1).choices(("a", "b"), k=120), strict=True):
        row["label"] = label  # nothing to learn: a model that saw the rows would still be right
    trained = train(
        rows,
        task="chance",
        registry=None,
        options=crossed,
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )
    accuracy = next(one.value for one in trained.metrics if one.name == "accuracy")
    assert accuracy < 0.7


def test_a_file_whose_keys_do_not_ascend_is_refused(
    tiny_backbone: Backbone, tiny_encoder: Encoder, options: TrainingOptions
) -> None:
    trained = trained_on("label", tiny_backbone, tiny_encoder, options)
    tensors = dict(trained.tensors)
    tensors["ngrams.keys"] = tensors["ngrams.keys"].flip(0).contiguous()
    with pytest.raises(HeadFileError, match="is not ascending"):
        encode_head(trained.spec, tensors)
    tensors["ngrams.keys"] = trained.tensors["ngrams.keys"].float()
    with pytest.raises(HeadFileError, match="I64 there"):
        encode_head(trained.spec, tensors)
