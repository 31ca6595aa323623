"""Answers are read in every usual form; what the context does not have is refused."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.training.data.answers.answer_rows import AnswerSpan, read_answers

CONTEXT = "Oslo is north of Rome; Oslo is in Norway. 北京 (1, 2)"
OSLO, ROME, SECOND = AnswerSpan(0, 4), AnswerSpan(17, 21), AnswerSpan(23, 27)

READ: dict[str, tuple[object, object, tuple[AnswerSpan, ...]]] = {
    "SQuAD": ([{"text": "Rome", "answer_start": 17}], None, (ROME,)),
    "start": ([{"text": "Rome", "start": 17}], None, (ROME,)),
    "the library datasets": (
        {"text": ["Oslo", "Rome"], "answer_start": [0, 17]},
        None,
        (OSLO, ROME),
    ),
    "arrays": ({"text": np.array(["Rome"]), "answer_start": np.array([17])}, None, (ROME,)),
    "one mapping": ({"text": "Rome", "answer_start": 17}, None, (ROME,)),
    "a text and its start": ("Oslo", 23, (SECOND,)),
    "numbers with a fraction": ("Oslo", 23.0, (SECOND,)),
    "numbers as texts": ("Oslo", "23", (SECOND,)),
    "texts and their starts": (["Oslo", "Rome"], [23, 17], (SECOND, ROME)),
    "a text that stands once": ("Rome", None, (ROME,)),
    "texts that stand once": (["Rome"], None, (ROME,)),
    "a missing start of pandas": ("Rome", float("nan"), (ROME,)),
    "a cell of JSON": ('[{"text": "Rome", "answer_start": 17}]', None, (ROME,)),
    "a cell of Python": ("{'text': ['Rome'], 'answer_start': [17]}", None, (ROME,)),
    "a cell of pandas": (
        "{'text': array(['Rome'], dtype=object), 'answer_start': array([17], dtype=int32)}",
        None,
        (ROME,),
    ),
    "cells of lists": ("['Oslo', 'Rome']", "[0, 17]", (OSLO, ROME)),
    "a text that looks like a list": ("(1, 2)", 45, (AnswerSpan(45, 51),)),
    "Chinese": ("北京", 42, (AnswerSpan(42, 44),)),
    "a number": (1, 46, (AnswerSpan(46, 47),)),
    "the same one twice": ([{"text": "Rome", "start": 17}] * 2, None, (ROME,)),
    "an empty list": ([], None, ()),
    "empty lists": ({"text": [], "answer_start": []}, None, ()),
    "a cell of an empty list": ("[]", None, ()),
    "nothing": (None, None, ()),
    "a missing value of pandas": (float("nan"), float("nan"), ()),
    "an empty text": ("", "", ()),
    "an empty text with a start": ([{"text": "", "answer_start": -1}], None, ()),
}


@pytest.mark.parametrize("form", READ)
def test_answers_are_read(form: str) -> None:
    value, starts, expected = READ[form]
    assert read_answers(value, CONTEXT, starts=starts) == expected


def test_spaces_at_the_ends_are_no_part_of_an_answer() -> None:
    assert read_answers(" Rome;", CONTEXT, starts=16) == (AnswerSpan(17, 22),)


REFUSED: dict[str, tuple[object, object, str]] = {
    "outside": ("Rome", 99, "starts at 99, outside the context, which has 51 characters"),
    "before": ("Rome", -3, "starts at -3, outside the context"),
    "elsewhere": ("Rome", 18, r"has the answer 'Rome' with the start 18, .* 'ome;'; .* at 17$"),
    "at several places": ("Oslo", 1, "stands at 0, 23$"),
    "nowhere": ("Paris", 3, "it stands nowhere in the context"),
    "over the end": ("2) and", 49, "it stands nowhere in the context"),
    "without a start": ("Oslo", None, "'Oslo' without a start; it stands at 0, 23$"),
    "no number": ("Rome", "x", "with the start 'x'; expected its place"),
    "a fraction": ("Rome", 17.5, r"with the start 17\.5; expected its place"),
    "a truth value": ("Rome", True, "with the start True; expected its place"),
    "more starts": (["Rome"], [17, 3], "has 1 texts, but 2 starts"),
    "one start for two": (["Rome", "Oslo"], 17, "has 2 texts, but 1 starts"),
    "no text": ([{"answer": "Rome"}], None, "without a text; expected answers such as"),
    "lists in a list": ([["Rome", 17]], None, "expected answers such as"),
    "a truth": (True, None, "is True; expected answers such as"),
    "invisible": ("\u200b", 3, "has an answer without a visible character"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_answer_is_refused(case: str) -> None:
    value, starts, problem = REFUSED[case]
    with pytest.raises(ValueError, match=problem):
        read_answers(value, CONTEXT, starts=starts)


def test_a_text_that_stands_twice_may_overlap_itself() -> None:
    with pytest.raises(ValueError, match=r"without a start; it stands at 0, 1$"):
        read_answers("人人", "人人人说")
