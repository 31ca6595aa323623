"""Exact match and F1 are those of SQuAD's and CMRC's scripts; the values are counted by hand."""

from __future__ import annotations

import pytest

from adapterhub.training.evaluation.answers.overlap import (
    answer_figures,
    are_chinese,
    character_f1,
    character_match,
    exact_match,
    word_f1,
)

# What is predicted, what is true, exact match, and F1 as 2 * common / (predicted + true).
ENGLISH = {
    "case, article, punctuation, spaces": ("The  Broncos!", "broncos", 1, 1),
    "articles are words only": ("theatre", "atre", 0, 0),
    "an article in the middle": ("city of an angel", "City of angel", 1, 1),
    "joined by punctuation": ("twenty-one", "twentyone", 1, 1),
    "an apostrophe is dropped": ("Levi's stadium", "Levis Stadium", 1, 1),
    "other dashes are none of ASCII": ("1990\u20132000", "19902000", 0, 0),
    "two of three": ("in Santa Clara", "Santa Clara", 0, 2 * 2 / (3 + 2)),
    "words count as often as they occur": ("New York New York", "New York", 0, 2 * 2 / (4 + 2)),
    "the order does not count for F1": ("Clara Santa", "Santa Clara", 0, 1),
    "nothing in common": ("Denver", "Carolina", 0, 0),
    "no answer, and none": ("", "", 1, 1),
    "no answer, but one": ("", "Denver", 0, 0),
    "an answer, but none": ("Denver", "", 0, 0),
    "only an article is none": ("The", "", 1, 1),
}
CHINESE = {
    "signs are dropped": ("《奔跑吧兄弟》", "奔跑吧兄弟", 1, 1),
    "the longest run counts": ("北京和上海", "北京上海", 0, 2 * 2 / (5 + 4)),
    "one run of four of five": ("北京大学的", "在北京大学", 0, 2 * 4 / (5 + 5)),
    "a word is one segment": ("IBM公司", "ibm", 0, 2 * 1 / (3 + 1)),
    "a number is one segment": ("4.7 GHz", "速度为4.7 ghz", 0, 2 * 2 / (2 + 5)),
    "a dash joins": ("2001-2002年", "20012002年", 1, 1),
    "spaces stay within": ("理查 德", "理查德", 0, 1),
    "no sign of the list": ("天气…", "天气", 0, 2 * 2 / (3 + 2)),
    "no answer, and none": ("", "", 1, 1),
    "no answer, but one": ("", "天气", 0, 0),
    "an answer, but none": ("天气", "", 0, 0),
}


@pytest.mark.parametrize("case", ENGLISH)
def test_english_answers(case: str) -> None:
    found, truth, match, f1 = ENGLISH[case]
    assert exact_match(found, truth) == match
    assert word_f1(found, truth) == pytest.approx(f1)


@pytest.mark.parametrize("case", CHINESE)
def test_chinese_answers(case: str) -> None:
    found, truth, match, f1 = CHINESE[case]
    assert character_match(found, truth) == match
    assert character_f1(found, truth) == pytest.approx(f1)


def test_the_most_similar_true_answer_counts() -> None:
    truth = (("Denver Broncos", "The Broncos"), ("in the city", "Santa Clara, California"))
    assert answer_figures(["broncos", "Santa Clara"], truth, by_character=False) == {
        "exact_match": 0.5,
        "f1": pytest.approx((1 + 2 * 2 / (2 + 3)) / 2),
    }


def test_rows_without_an_answer_are_measured_beside_those_with_one() -> None:
    # The true answer of the last row is an article, which counts as none.
    found = ("Denver", "", "Paris", "", "Oslo")
    truth = (("Denver",), ("Rome",), (), ("",), ("the",))
    assert answer_figures(found, truth, by_character=False) == {
        "exact_match": pytest.approx(2 / 5),
        "f1": pytest.approx(2 / 5),
        "answerable_exact_match": 0.5,
        "answerable_f1": 0.5,
        "unanswerable_accuracy": pytest.approx(1 / 3),
    }
    assert set(answer_figures(["a b"], [()], by_character=False)) == {"exact_match", "f1"}


def test_answers_are_compared_as_most_of_them_are_written() -> None:
    assert are_chinese([("北京", "2001年"), ("IBM",)])
    assert not are_chinese([("Peking", "北京"), ()])
    assert not are_chinese([])
