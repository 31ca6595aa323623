"""Answers are measured as the scripts of SQuAD and CMRC measure them, on files in their form."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from adapterhub.training.data.dataset import read_for_task
from adapterhub.training.evaluation.answers.overlap import answer_figures
from adapterhub.training.options import training_options
from tests.builders import task_spec
from tests.training.evaluation.answers.scripts import cmrc_exact, cmrc_f1, squad_scores

CONTEXT = "The city of Oslo, in the south of Norway, has 717,710 people; Bergen's fewer."
# True answers of a question, and what is predicted.
QUESTIONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Oslo", "The city of Oslo"), "the city of Oslo,"),
    (("in the south of Norway", "the south"), "South of Norway"),
    (("717,710", "717,710 people"), "717710"),
    (("717,710 people",), "717,710"),
    (("Bergen",), "Bergen's"),
    (("Norway",), ""),
    (("The",), ""),
    ((), ""),
    ((), "Oslo"),
    ((), "the"),
    (("Oslo",), "Oslo Oslo city"),
    (("fewer", "Bergen's fewer"), "people; Bergen's fewer."),
)
NAMES = {
    "exact": "exact_match",
    "f1": "f1",
    "HasAns_exact": "answerable_exact_match",
    "HasAns_f1": "answerable_f1",
    "NoAns_exact": "unanswerable_accuracy",
    "NoAns_f1": "unanswerable_accuracy",
}


def squad(questions: tuple[tuple[tuple[str, ...], str], ...]) -> dict[str, Any]:
    """Returns questions in the form of SQuAD 2.0, each paragraph with two of them."""
    made = []
    for number, (golds, _) in enumerate(questions):
        spans = [{"text": text, "answer_start": CONTEXT.index(text)} for text in golds]
        own: dict[str, Any] = {"id": f"q{number}", "question": f"What is {number}?"}
        own |= {"answers": spans, "is_impossible": not spans}
        # The script does not read these, which are no answers.
        own |= {} if spans else {"plausible_answers": [{"text": "Oslo", "answer_start": 12}]}
        made.append(own)
    paragraphs = [
        {"context": CONTEXT, "qas": made[first : first + 2]} for first in range(0, len(made), 2)
    ]
    return {"version": "v2.0", "data": [{"title": "Oslo", "paragraphs": paragraphs}]}


def figures_of(path: Path, document: Any, found: list[str]) -> dict[str, float]:
    path.write_text(json.dumps(document), encoding="utf-8")
    dataset = read_for_task(path, task_spec("question_answering"), training_options())
    assert len(dataset) == len(found)
    return answer_figures(found, dataset.answer_texts(), by_character=False)


@pytest.mark.parametrize("answerable", ["all", "some", "none"])
def test_a_file_of_squad_is_measured_as_by_its_script(tmp_path: Path, answerable: str) -> None:
    wanted = {"all": (True,), "some": (True, False), "none": (False,)}[answerable]
    # An article counts as no answer in the means, but the script lists it as a question with one.
    questions = tuple(one for one in QUESTIONS if bool(one[0]) in wanted and one[0] != ("The",))
    document, found = squad(questions), [found for _, found in questions]
    expected = squad_scores(document, {f"q{n}": one for n, one in enumerate(found)})
    figures = figures_of(tmp_path / "dev-v2.0.json", document, found)
    names = NAMES if answerable == "some" else {"exact": "exact_match", "f1": "f1"}
    assert figures == pytest.approx({own: expected[theirs] / 100 for theirs, own in names.items()})
    assert expected["total"] == len(questions)


def test_an_answer_that_is_an_article_counts_as_none(tmp_path: Path) -> None:
    document, found = squad(QUESTIONS), [found for _, found in QUESTIONS]
    expected = squad_scores(document, {f"q{n}": one for n, one in enumerate(found)})
    figures = figures_of(tmp_path / "dev.json", document, found)
    for theirs in ("exact", "f1"):
        assert figures[NAMES[theirs]] == pytest.approx(expected[theirs] / 100)


def test_drawn_answers_are_measured_as_by_the_script(tmp_path: Path) -> None:
    draw = random.Random(0)
    words = CONTEXT.split(" ")

    def phrase() -> str:
        first = draw.randrange(len(words))
        return " ".join(words[first : first + draw.randrange(1, 6)])

    golds = [tuple(phrase() for _ in range(draw.randrange(4))) for _ in range(200)]
    questions = tuple(
        (own, draw.choice(("", phrase(), own[0] if own else phrase()))) for own in golds
    )
    document, found = squad(questions), [found for _, found in questions]
    expected = squad_scores(document, {f"q{n}": one for n, one in enumerate(found)})
    figures = figures_of(tmp_path / "dev.json", document, found)
    for theirs in ("exact", "f1"):
        assert figures[NAMES[theirs]] == pytest.approx(expected[theirs] / 100)


CHINESE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("1953年7月27日", "1953年"), "1953年7月"),
    (("《战国无双3》", "战国无双3"), "战国 无双3"),
    (("光荣和ω-force", "光荣"), "光荣和ω force"),
    (("任天堂游戏谜之村雨城",), "谜之村雨城"),
    (("村雨城",), "北京"),
    (("IBM 公司",), "ibm公司"),
    (("一九九〇年，在北京。", "在北京"), "北京"),
    (("中国中国人",), "人中国中"),
)


def test_answers_in_chinese_are_measured_as_by_the_script_of_cmrc() -> None:
    golds, found = [golds for golds, _ in CHINESE], [found for _, found in CHINESE]
    draw = random.Random(1)
    for _ in range(200):
        golds.append(tuple("".join(draw.choices("北京上海，。·a ", k=8)) + "天" for _ in range(2)))
        found.append("天" + "".join(draw.choices("北京上海，。·a ", k=draw.randrange(9))))
    assert answer_figures(found, golds, by_character=True) == pytest.approx(
        {
            "f1": sum(map(cmrc_f1, golds, found)) / len(golds),
            "exact_match": sum(map(cmrc_exact, golds, found)) / len(golds),
        }
    )
