"""N-grams beside a head: where they win they are kept, scored as fitted, and said to be there."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub import Hub
from adapterhub.errors import HeadFileError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.heads.ngrams import row_grams, token_grams
from adapterhub.model.heads.wide_head import GramWeights, LexicalOverlap
from adapterhub.plan import reading_of
from adapterhub.shapes import OVERLAPS
from adapterhub.store.headfile import encode_head
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from adapterhub.training.features.ngram_features import read_ids
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train

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
@pytest.mark.slow
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
    assert "n-grams of word pieces" in wide.table.render()


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
    added = table.logits(row_grams([[row.ids for row in rows]]))
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


def add_bare(registry: Path, wide: TrainedTask) -> None:
    """Adds the task `bare`: the same head without its n-grams."""
    bare = wide.spec.model_copy(
        update={
            "task": "bare",
            "known_answers": (),
            "head": wide.spec.head.model_copy(update={"ngrams": None, "pieces": None}),
        }
    )
    own = {name: value for name, value in wide.tensors.items() if "ngrams" not in name}
    key, entry = next(iter(read_registry(registry).backbones.items()))
    add_version(registry, bare, own, backbone_key=key, backbone_entry=entry)


def pair_rows(count: int) -> list[dict[str, Any]]:
    """Returns pairs that are the same where they share most of their words."""
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        words = draw.sample(WORDS, 5)
        is_same = draw.random() < 0.5
        kept = draw.sample(words, 4 if is_same else 1)
        others = draw.sample([word for word in WORDS if word not in words], 5 - len(kept))
        second = draw.sample([*kept, *others], 5)
        label = "same" if is_same else "different"
        rows.append({"text": " ".join(words), "text_pair": " ".join(second), "label": label})
    return rows


@pytest.mark.parametrize("way", ["together", "apart"])
@pytest.mark.slow
def test_ngrams_of_pairs_say_how_much_two_texts_share(
    way: str,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    options: TrainingOptions,
    tmp_path: Path,
) -> None:
    registry = tmp_path / "tasks" / "registry.yaml"
    told = {"options": options.model_copy(update={"pairs": way}), "registry": registry}
    common = {"backbone": tiny_backbone, "encoder": tiny_encoder}
    wide = train(pair_rows(300), task="same", **told, **common)
    assert wide.spec.apart == (way == "apart")
    assert wide.spec.head.pieces == len(wide.tensors["ngrams.rarity"])
    assert wide.tensors["ngrams.overlap"].shape == (OVERLAPS, 2)
    assert next(one.value for one in wide.metrics if one.name == "accuracy") > 0.85
    add_bare(registry, wide)
    pairs = [
        *pair_rows(20),
        {"text": "he", "text_pair": "he"},
        {"text": "he", "text_pair": "好 he"},
    ]
    pairs.append({"text": "good not " * 40, "text_pair": "not good " * 35})
    hub = Hub(registry, device="cpu")
    found = hub.score(pairs, tasks=["same", "bare"], logits=True)
    difference = np.array(found["same"].logits) - np.array(found["bare"].logits)
    tokenizer = TextTokenizer(tiny_backbone.tokenizer)
    inputs = [(row["text"], row["text_pair"]) for row in pairs]
    ids = read_ids(inputs, reading_of(wide.spec), tokenizer, 16)
    names = ("keys", "weight", "rarity", "overlap")
    keys, weight, rarity, shares = (wide.tensors[f"ngrams.{name}"] for name in names)
    table = GramWeights(
        keys.numpy(),
        weight.float(),
        LexicalOverlap(rarity.double().numpy(), shares.double().numpy()),
    )
    np.testing.assert_allclose(difference, table.logits(row_grams(ids)), atol=1e-5)
    alone = [hub.score([pair], tasks="same", logits=True)["same"].logits[0] for pair in pairs]
    np.testing.assert_allclose(np.array(found["same"].logits), np.array(alone), atol=1e-5)
    some = hub.score_rows([(pair, ["same"]) for pair in pairs[::3]], logits=True)
    expected = np.array(found["same"].logits)[::3]
    np.testing.assert_allclose(np.array(some["same"].logits), expected, atol=1e-5)


def tag_rows(count: int) -> list[dict[str, Any]]:
    """Returns rows in which a word is tagged by the word before it, which the words hide."""
    draw = random.Random(0)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        words = draw.choices(WORDS, k=9)
        tags = ["B-named" if before == "not" else "O" for before in ("", *words[:-1])]
        rows.append({"tokens": words, "tags": tags})
    return rows


@pytest.mark.parametrize("folds", [0, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_ngrams_around_a_token_say_how_it_is_tagged(
    folds: int,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    options: TrainingOptions,
    tmp_path: Path,
) -> None:
    registry = tmp_path / "tasks" / "registry.yaml"
    changes: dict[str, Any] = {"poolings": ("mean",), "folds": folds}
    changes["validation_fraction"] = None if folds else 0.25
    wide = train(
        tag_rows(120),
        task="named",
        options=options.model_copy(update=changes),
        registry=registry,
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )
    assert wide.spec.head.ngrams
    assert next(one.value for one in wide.metrics if one.name == "span_f1") > 0.9
    add_bare(registry, wide)
    texts = [" ".join(row["tokens"]) for row in tag_rows(20)] + ["he", "not he " * 200]
    hub = Hub(registry, device="cpu")
    found = hub.score(texts, tasks=["named", "bare"], logits=True)
    ids = read_ids(
        [(text,) for text in texts],
        reading_of(wide.spec),
        TextTokenizer(tiny_backbone.tokenizer),
        16,
    )
    weight = wide.tensors["ngrams.weight"].float()
    added = GramWeights(wide.tensors["ngrams.keys"].numpy(), weight).logits(token_grams(ids[0]))
    with_them, without = (np.concatenate(found[name].logits) for name in ("named", "bare"))
    np.testing.assert_allclose(with_them - without, added, atol=1e-5)
    some = hub.score_rows([(text, ["named"]) for text in texts[::3]], logits=True)
    for one, other in zip(some["named"].logits, found["named"].logits[::3], strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-5)
