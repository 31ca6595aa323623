"""Heads: logits as torch computes them, and answers that can be checked by hand."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn import functional

from adapterhub.decoding import BEST, AnswerOptions
from adapterhub.model.heads.heads import (
    RowLogits,
    log_softmax,
    read_weights,
    sigmoid,
    softmax,
)
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.model.heads.spans import TaggedText
from adapterhub.results import Answer
from adapterhub.specs import KINDS, Calibration, HeadSpec, Kind, TaskSpec
from tests.builders import abstention, head_tensors, task_spec

CPU = torch.device("cpu")


def decode(spec: TaskSpec, rows: list[list[float]], top_k: int | None = 1) -> list[Any]:
    return DECODERS[spec.kind].decode(
        RowLogits(np.array(rows, np.float32)), spec, AnswerOptions(top_k)
    )


def scores_of(answer: Any) -> dict[str, float]:
    return {found["label"]: found["score"] for found in answer}


# Logits


def test_a_linear_head_is_one_product() -> None:
    spec = task_spec()
    tensors = head_tensors(spec)
    weights = read_weights(spec, tensors, device=CPU)
    features = torch.randn(5, 16)
    assert weights.is_linear
    assert weights.mix == (1.0,)
    expected = features @ tensors["head.weight"].T + tensors["head.bias"]
    torch.testing.assert_close(weights.forward(features), expected)


def test_a_hidden_layer_has_the_exact_gelu() -> None:
    spec = task_spec(hidden_width=6)
    tensors = head_tensors(spec)
    weights = read_weights(spec, tensors, device=CPU)
    features = torch.randn(5, 16)
    inner = features @ tensors["head.hidden.weight"].T + tensors["head.hidden.bias"]
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    expected = inner @ tensors["head.weight"].T + tensors["head.bias"]
    assert not weights.is_linear
    torch.testing.assert_close(weights.forward(features), expected)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_hidden_layer_may_have_another_activation(activation: Literal["tanh", "relu"]) -> None:
    head = HeadSpec(depths=(4,), pooling="cls", hidden_width=16, activation=activation)
    spec = task_spec(head=head)
    tensors = head_tensors(spec)
    weights = read_weights(spec, tensors, device=CPU)
    features = torch.randn(5, 16)
    inner = features @ tensors["head.hidden.weight"].T + tensors["head.hidden.bias"]
    expected = getattr(torch, activation)(inner) @ tensors["head.weight"].T + tensors["head.bias"]
    torch.testing.assert_close(weights.forward(features), expected)


def test_a_query_and_a_mix_are_read() -> None:
    spec = task_spec(pooling="attentive", depths=(1, 3))
    tensors = head_tensors(spec)
    weights = read_weights(spec, tensors, device=CPU)
    assert not weights.is_linear
    assert torch.equal(weights.query, tensors["pool.query"])  # type: ignore[arg-type]
    assert weights.mix == tuple(tensors["mix.weights"].tolist())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_compute_in_fp32(dtype: torch.dtype) -> None:
    spec = task_spec(hidden_width=4, pooling="attentive")
    tensors = {name: tensor.to(dtype) for name, tensor in head_tensors(spec).items()}
    weights = read_weights(spec, tensors, device=CPU)
    found = (weights.weight, weights.bias, weights.hidden_weight, weights.hidden_bias)
    assert {tensor.dtype for tensor in found if tensor is not None} == {torch.float32}
    assert weights.forward(torch.randn(2, 16)).dtype is torch.float32


# Answers


def test_one_label_is_the_most_probable() -> None:
    found = decode(task_spec(), [[0.0, math.log(3)], [2.0, 0.0]])
    assert [answer["label"] for answer in found] == ["positive", "negative"]
    assert found[0]["score"] == pytest.approx(0.75)
    assert type(found[0]["score"]) is float


def test_a_tie_goes_to_the_first_label() -> None:
    assert decode(task_spec(), [[1.0, 1.0]]) == [{"label": "negative", "score": 0.5}]


@pytest.mark.parametrize(
    ("top_k", "labels"),
    [
        (2, ["b", "c"]),
        (3, ["b", "c", "a"]),
        (9, ["b", "c", "a"]),
        (None, ["b", "c", "a"]),
    ],
)
@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_the_best_labels_come_best_first(kind: Kind, top_k: int | None, labels: list[str]) -> None:
    (found,) = decode(task_spec(kind, labels=("a", "b", "c")), [[-1.0, 2.0, 0.5]], top_k)
    assert [answer["label"] for answer in found] == labels
    assert [a["score"] for a in found] == sorted((a["score"] for a in found), reverse=True)


def test_all_scores_of_one_label_tasks_sum_to_one() -> None:
    (found,) = decode(task_spec(labels=("a", "b", "c")), [[-1.0, 2.0, 0.5]], None)
    assert sum(scores_of(found).values()) == pytest.approx(1.0)


def test_labels_over_a_half_are_given_best_first() -> None:
    found = decode(task_spec("multi_label"), [[0.1, -0.1, 3.0], [-1.0, -1.0, -1.0]])
    assert [answer["label"] for answer in found[0]] == ["sport", "politics"]
    assert found[1] == []


def test_every_label_has_its_threshold_and_meets_it_when_equal() -> None:
    calibration = Calibration(thresholds=(0.9, 0.5, 0.0))
    spec = task_spec("multi_label", calibration=calibration)
    ((*found,),) = decode(spec, [[2.0, 0.0, -9.0]])
    assert [answer["label"] for answer in found] == ["science", "sport"]


def test_thresholds_do_not_cut_the_n_best() -> None:
    spec = task_spec("multi_label", calibration=Calibration(thresholds=(0.9, 0.9, 0.9)))
    (found,) = decode(spec, [[0.0, -1.0, 1.0]], 2)
    assert [answer["label"] for answer in found] == ["sport", "politics"]


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_temperature_softens_scores_and_keeps_the_order(kind: Kind) -> None:
    labels = ("a", "b", "c")
    sharp = task_spec(kind, labels=labels)
    soft = task_spec(kind, labels=labels, calibration=Calibration(temperature=2.0))
    (cold,) = decode(sharp, [[1.0, -0.5, 0.25]], None)
    (warm,) = decode(soft, [[2.0, -1.0, 0.5]], None)
    assert warm == cold


def test_a_value_is_given_in_its_range() -> None:
    rows = [[-3.0], [2.25], [99.0]]
    assert decode(task_spec("regression"), rows) == [{"value": row[0]} for row in rows]
    clipped = decode(task_spec("regression", value_range=(0.0, 5.0)), rows, None)
    assert clipped == [{"value": 0.0}, {"value": 2.25}, {"value": 5.0}]
    assert type(clipped[1]["value"]) is float


def test_tags_become_spans() -> None:
    spec = task_spec("tagging")
    texts = (TaggedText("Ann sat", [(0, 3), (4, 7)]), TaggedText("", []))
    rows = (np.array([[0, 9, 0], [9, 0, 0]], np.float32), np.zeros((0, 3), np.float32))
    found: list[Answer] = DECODERS["tagging"].decode(RowLogits(rows, texts), spec, BEST)
    assert found[1] == []
    ((entity,),) = found[:1]  # type: ignore[misc]
    assert (entity["word"], entity["entity_group"]) == ("Ann", "PER")  # type: ignore[index]
    assert entity["score"] == pytest.approx(1 / (1 + 2 * math.exp(-9)))  # type: ignore[index]


def test_temperature_softens_the_scores_of_spans() -> None:
    texts = (TaggedText("Ann", [(0, 3)]),)
    rows = (np.array([[0, 9, 0]], np.float32),)
    soft = task_spec("tagging", calibration=Calibration(temperature=3.0))
    ((entity,),) = DECODERS["tagging"].decode(RowLogits(rows, texts), soft, BEST)  # type: ignore[misc]
    assert entity["score"] == pytest.approx(1 / (1 + 2 * math.exp(-3)))  # type: ignore[index]


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_no_rows_have_no_answers(kind: Kind) -> None:
    spec = task_spec(kind)
    empty = RowLogits(np.zeros((0, spec.outputs), np.float32))
    for top_k in (1, None):
        assert DECODERS[kind].decode(empty, spec, AnswerOptions(top_k)) == []


def test_logits_per_token_are_not_taken_for_logits_per_text() -> None:
    rows = (np.zeros((2, 2), np.float32),)
    with pytest.raises(TypeError, match="per token"):
        DECODERS["single_label"].decode(RowLogits(rows), task_spec(), BEST)


def test_every_kind_has_a_decoder() -> None:
    assert set(DECODERS) == set(KINDS)


# Numbers

EXTREME = [1e4, -1e4, 88.8, -103.9, 1e38, -1e38, 0.0]


@pytest.mark.parametrize("value", EXTREME)
@pytest.mark.parametrize("other", EXTREME)
def test_extreme_logits_give_probabilities(value: float, other: float) -> None:
    row = np.array([[value, other]], np.float32)
    with np.errstate(over="raise", invalid="raise", divide="ignore"):
        assert softmax(row).sum() == pytest.approx(1.0)
        assert sigmoid(row).min() >= 0.0
        assert sigmoid(row).max() <= 1.0
        assert not np.isnan(log_softmax(row)).any()
        for kind in ("single_label", "multi_label"):
            labels = ("a", "b")
            (found,) = decode(task_spec(kind, labels=labels), row.tolist(), None)
            assert all(0.0 <= score <= 1.0 for score in scores_of(found).values())


ROWS = arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32))


@given(ROWS)
@settings(deadline=None)
def test_scores_are_those_of_torch(logits: np.ndarray) -> None:
    tensor = torch.from_numpy(logits).double()
    cases = [
        (softmax(logits), functional.softmax(tensor, -1)),
        (sigmoid(logits), torch.sigmoid(tensor)),
        (np.exp(log_softmax(logits)), functional.softmax(tensor, -1)),
    ]
    for found, expected in cases:
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("stored", "asked", "expected"),
    [
        (None, None, "a"),
        (0.9, None, None),
        (0.9, 0.0, "a"),
        (0.9, 0.5, "a"),
        (None, 0.9, None),
        (0.1, 0.9, None),
    ],
)
def test_a_label_under_the_minimum_is_none(
    stored: float | None, asked: float | None, expected: str | None
) -> None:
    spec = task_spec(labels=("a", "b"), abstention=None if stored is None else abstention(stored))
    logits = RowLogits(np.array([[math.log(0.6), math.log(0.4)]], np.float32))
    decoder = DECODERS["single_label"]
    (answer,) = decoder.decode(logits, spec, AnswerOptions(1, asked))
    assert answer == {"label": expected, "score": pytest.approx(0.6)}
    (ranking,) = decoder.decode(logits, spec, AnswerOptions(2, asked))
    assert list(scores_of(ranking)) == ["a", "b"]


def test_labels_under_the_minimum_are_left_out() -> None:
    spec = task_spec("multi_label", labels=("a", "b", "c"), abstention=abstention(0.9))
    logits = RowLogits(np.array([[3.0, 1.0, -1.0]], np.float32))
    decoder = DECODERS["multi_label"]
    found = [
        list(scores_of(decoder.decode(logits, spec, AnswerOptions(1, least))[0]))
        for least in (None, 0, 1)
    ]
    assert found == [["a"], ["a", "b"], []]


def test_spans_under_the_minimum_are_left_out_whatever_top_k_is() -> None:
    texts = (TaggedText("Ann Bob", [(0, 3), (4, 7)]),)
    rows = (np.array([[0, 9, 0], [0, 1, 0]], np.float32),)
    spec, decoder = task_spec("tagging"), DECODERS["tagging"]
    for top_k in (1, 3, None):
        answers = decoder.decode(RowLogits(rows, texts), spec, AnswerOptions(top_k, 0.9))
        assert [[one["word"] for one in row] for row in answers] == [["Ann"]]  # type: ignore[index, union-attr, misc]
