"""The best spans are those that trying every span of every window finds."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.model.heads.answers.best_spans import (
    MOST_ANSWERS,
    AnswerRules,
    decode_answers,
    span_scores,
)
from adapterhub.model.heads.answers.context import Context, Units
from adapterhub.model.heads.spans import Array, TaggedText
from adapterhub.results import ExtractedAnswer

# Words of several tokens, signs, Han characters, and a token of a space.
TEXT = "It costs $20,000 in 北京 today ."
PIECES = ("It", " cost", "s", " $", "20", ",", "000", " in", " ", "北", "京", " to", "day", " .")


def offsets() -> list[tuple[int, int]]:
    found, at = [], 0
    for piece in PIECES:
        found.append((at, at + (len(piece) if piece.strip() else 0)))
        at += len(piece)
    assert at == len(TEXT)
    return found


TAGGED = TaggedText(TEXT, offsets())
TOKENS = len(PIECES)


def context(*windows: tuple[int, int]) -> Context:
    return Context(TAGGED, windows or ((0, TOKENS),))


def logits_of(where: Context, seed: int, *, levels: int = 3) -> Array:
    """Returns whole numbers, of which many are equal."""
    rows = sum(1 + stop - first for first, stop in where.windows)
    return np.random.default_rng(seed).integers(-levels, levels + 1, (rows, 2)).astype(np.float32)


def test_units_are_words_signs_and_han_characters() -> None:
    units = Units.of(TAGGED)
    texts = [TEXT[a:b] for a, b in zip(units.starts, units.ends, strict=True)]
    assert texts == ["It", "costs", "$", "20,000", "in", "北", "京", "today", "."] or texts == [
        *("It", "costs", "$", "20", ",", "000", "in", "北", "京", "today", ".")
    ]
    assert units.firsts[units.covering(3, 8)].tolist() == [1]
    assert units.lasts[units.covering(4, 5)].tolist() == [2], "part of a word is that word"
    assert texts[units.covering(TEXT.index("北"), TEXT.index(" today"))] == ["北", "京"]
    assert len(range(*units.covering(2, 3).indices(99))) == 0, "a space is in no unit"
    assert texts[units.within(2, 4)] == ["$"], "a word that the window cuts is not in it"


def by_hand(
    logits: Array, where: Context, rules: AnswerRules
) -> tuple[list[ExtractedAnswer], float]:
    """Returns all answers, best first, and the gap of null, by trying everything."""
    units, scores, nulls, row = where.units, {}, [], 0
    for first, stop in where.windows:
        own = logits[row : row + 1 + stop - first]
        row += len(own)
        nulls.append(own[0, 0] + own[0, 1])
        for a in range(len(units)):
            for b in range(a, len(units)):
                start, end = int(units.firsts[a]), int(units.lasts[b])
                if start < first or end >= stop or (b > a and end - start + 1 > rules.max_tokens):
                    continue
                score = float(own[1 + start - first, 0] + own[1 + end - first, 1])
                place = (int(units.starts[a]), int(units.ends[b]))
                scores[place] = max(score, scores.get(place, -math.inf))
    gap = min(nulls) - max(scores.values(), default=-math.inf)
    if rules.null_threshold is not None or not scores:
        scores[0, 0] = float(min(nulls)) - (rules.null_threshold or 0)
    scores = {place: score / rules.temperature for place, score in scores.items()}
    total = sum(map(math.exp, scores.values()))
    order = sorted(scores, key=lambda place: (-scores[place], place == (0, 0), place))
    return [
        ExtractedAnswer(score=math.exp(scores[a, b]) / total, start=a, end=b, answer=TEXT[a:b])
        for a, b in order
    ], gap


WINDOWS = (
    ((0, TOKENS),),
    ((0, 6), (3, 9), (8, TOKENS)),
    ((0, 2), (2, 5), (5, TOKENS)),  # cut within words, without overlap
    ((0, 0),),
)


@given(
    seed=st.integers(0, 2**32),
    windows=st.sampled_from(WINDOWS),
    max_tokens=st.integers(1, 20),
    threshold=st.sampled_from([None, -2.0, 0.0, 1.5]),
    top_k=st.integers(1, 30),
    temperature=st.sampled_from([1.0, 2.0]),
)
@settings(deadline=None, max_examples=60)
def test_the_best_answers_are_those_of_trying_all(
    seed: int,
    windows: tuple[tuple[int, int], ...],
    max_tokens: int,
    threshold: float | None,
    top_k: int,
    temperature: float,
) -> None:
    where, rules = context(*windows), AnswerRules(max_tokens, threshold, temperature)
    logits = logits_of(where, seed)
    found = span_scores(logits, where, max_tokens=max_tokens)
    answers = found.best(top_k, rules)
    expected, gap = by_hand(logits, where, rules)
    assert [a["answer"] for a in answers] == [a["answer"] for a in expected[:top_k]]
    assert [(a["start"], a["end"]) for a in answers] == [
        (a["start"], a["end"]) for a in expected[:top_k]
    ]
    assert [a["score"] for a in answers] == pytest.approx([a["score"] for a in expected[:top_k]])
    assert found.null_gap == pytest.approx(gap)
    is_none = answers[0]["end"] == 0
    assert is_none == (gap > threshold if threshold is not None else gap == math.inf)


def test_no_answer_reaches_over_windows() -> None:
    where = context((0, 4), (4, TOKENS))
    logits = np.zeros((2 + TOKENS, 2), np.float32)
    logits[1 + 1, 0] = 9  # the start of `costs`
    logits[1 + 4 + 1 + 3, 1] = 9  # the end of `in`, in the second window
    (answer,) = decode_answers([logits], [where], AnswerRules(30), 1)[0]
    assert answer["answer"] == "costs"
    (whole,) = decode_answers([np.delete(logits, 5, axis=0)], [context()], AnswerRules(30), 1)[0]
    assert whole["answer"] == "costs $20,000 in"


def test_an_answer_of_several_rows_has_its_own_context() -> None:
    where = [context(), context((0, 6), (3, TOKENS))]
    logits = [logits_of(one, seed) for seed, one in enumerate(where)]
    rules = AnswerRules(5, 0.0)
    found = decode_answers(logits, where, rules, None)
    assert [len(row) for row in found] == [MOST_ANSWERS] * 2
    pairs = zip(logits, where, strict=True)
    alone = [decode_answers([own], [one], rules, 3)[0] for own, one in pairs]
    assert [row[:3] for row in found] == alone


@pytest.mark.slow
def test_a_long_context_is_quick() -> None:
    count = 6_000
    text = TaggedText("a " * count, [(2 * i, 2 * i + 1) for i in range(count)])
    where = Context(text, [(first, first + 400) for first in range(0, count - 399, 200)])
    logits = np.random.default_rng(0).normal(size=(401 * len(where.windows), 2)).astype(np.float32)
    len(where.units)
    start = time.thread_time()
    decode_answers([logits], [where], AnswerRules(40), 20)
    assert time.thread_time() - start < 0.5
