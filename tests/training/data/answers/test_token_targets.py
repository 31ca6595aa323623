"""The target tokens of an answer are those from which decoding cuts it."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.model.heads.answers.best_spans import AnswerRules, decode_answers
from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.spans import TaggedText
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.answers.token_targets import TokenTargets, token_targets

TEXT = "He lives in 北京 since 1990."
PIECES = ("He", " live", "s", " in", " ", "北", "京", " since", " 19", "90", ".")


def context(*windows: tuple[int, int], tokens: int = len(PIECES)) -> Context:
    places, at = [], 0
    for piece in PIECES[:tokens]:
        places.append((at, at + (len(piece) if piece.strip() else 0)))
        at += len(piece)
    return Context(TaggedText(TEXT, places), windows or ((0, tokens),))


def span(text: str) -> AnswerSpan:
    return AnswerSpan(TEXT.index(text), TEXT.index(text) + len(text))


def triples(found: TokenTargets) -> list[tuple[int, ...]]:
    return list(zip(*(c.tolist() for c in (found.windows, found.starts, found.ends)), strict=True))


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [("lives", (1, 2)), ("北京", (5, 6)), ("京", (6, 6)), ("1990", (8, 9)), ("ve", (1, 2))],
)
def test_an_answer_has_the_tokens_of_its_words(answer: str, tokens: tuple[int, int]) -> None:
    assert triples(token_targets(context(), [span(answer)])) == [(0, *tokens)]


def test_each_window_has_the_answers_that_lie_whole_in_it() -> None:
    where = context((0, 6), (3, 9), (6, 11))
    answers = [span("北京 since"), span("北"), span("lives in 北京"), span("北")]
    assert triples(token_targets(where, answers)) == [(0, 5, 5), (1, 5, 7), (1, 5, 5)]
    assert triples(token_targets(where, [])) == []


def test_what_was_truncated_has_no_target() -> None:
    where = context((0, 9), tokens=9)  # `19` of 1990 is the last token
    assert triples(token_targets(where, [span("since 1990.")])) == []
    assert triples(token_targets(where, [span("90")])) == [(0, 8, 8)], "the word is read whole"
    assert triples(token_targets(where, [span("since")])) == [(0, 7, 7)]
    assert triples(token_targets(context((0, 0), tokens=0), [span("He")])) == []


def test_decoding_finds_the_targets() -> None:
    where = context((0, 7), (4, 11))
    ((window, start, end),) = triples(token_targets(where, [span("since 1990")]))
    logits = np.zeros((2 + 7 + 7, 2), np.float32)
    row = 8 * window + 1 - where.windows[window][0]
    logits[row + start, 0] = logits[row + end, 1] = 5
    (answer,) = decode_answers([logits], [where], AnswerRules(30), 1)[0]
    assert answer["answer"] == "since 1990"
