"""The baselines of questions and of choices: validation rows choose, test rows only measure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.dataset import Splits, read_splits
from adapterhub.training.data.labels import Target
from adapterhub.training.evaluation.answers.overlap import answer_figures
from adapterhub.training.evaluation.attachment import attachment_figures
from adapterhub.training.options import training_options
from recipes.quality.held_out.word_overlap import AskedContext, predict_answers
from recipes.quality.linear import predict_choices
from recipes.quality.parsing import predict_trees
from recipes.quality.resampling import count_hits, metric_of
from tests.training.rows import Rows, choice_rows, question_rows, tree_rows


def _splits(train: Rows, choosing: Rows, measured: Rows) -> Splits:
    return read_splits(train, training_options(validation=choosing, test=measured))


def _question(question: str, context: str, answer: str) -> dict[str, object]:
    answers = [{"text": answer, "start": context.index(answer)}]
    return {"question": question, "context": context, "answers": answers}


_CITY = "The mill stands in Ulm. The castle of the duke stands in Bonn since 1390. All was sold."


def _span(question: str, context: str, **setting: int) -> str:
    found = AskedContext.read(question, context, {}).best_span(**setting)
    return context[found.start : found.end]


def test_the_words_around_an_answer_are_those_of_the_question() -> None:
    found = _span("Where does the castle of the duke stand?", _CITY, length=2, reach=6)
    assert found == "stands in"
    assert _span("since when in Bonn", _CITY, length=1, reach=1) == "stands"
    assert _span("桥由谁建？", "桥由李春建成。城由王建。", length=2, reach=2) == "李春"


def test_a_span_stays_within_a_sentence() -> None:
    found = _span("Ulm the castle", _CITY, length=3, reach=3)
    assert "." not in found
    assert _span("anything", "No. Yes.", length=9, reach=3) == "No. Yes"
    assert AskedContext.read("anything", "…", {}).best_span(3, 3) == AnswerSpan(0, 0)


def test_validation_rows_choose_how_long_answers_are() -> None:
    words = ("mill", "castle", "bridge", "tower", "barn", "church", "wall", "gate", "well", "inn")
    rows = [
        _question(f"where is the {word}", f"The {word} is near Old Town Road. It is {n}.", answer)
        for n, word in enumerate(words)
        for answer in ("near Old Town Road",)
    ]
    splits = _splits(rows, rows[:5], rows[5:])
    assert splits.test is not None
    found = predict_answers(splits)
    texts = [row[0] for row in replace(splits.test, targets=found).answer_texts()]
    assert texts == ["near Old Town Road"] * 5
    turned = replace(splits.test, targets=splits.test.targets[::-1])
    assert predict_answers(replace(splits, test=turned)) == found


def test_f1_of_answers_is_that_of_evaluation() -> None:
    splits = _splits(question_rows(40), question_rows(20, 3), question_rows(20, 4))
    assert splits.test is not None
    found: tuple[Target, ...] = tuple((AnswerSpan(0, 3),) for _ in range(20))
    given = [row[0] for row in replace(splits.test, targets=found).answer_texts()]
    truth = splits.test.answer_texts()
    expected = answer_figures(given, truth, by_character=True)["f1"]
    assert metric_of("question_answering", count_hits(found, splits.test)) == pytest.approx(
        expected
    )
    right = count_hits(splits.test.targets, splits.test)
    assert metric_of("question_answering", right) == 1


def test_las_is_that_of_evaluation() -> None:
    splits = _splits(tree_rows(60), tree_rows(20, 3), tree_rows(20, 4))
    assert splits.test is not None
    found = predict_trees(splits)
    expected = attachment_figures(found, splits.test.trees())["las"]  # type: ignore[arg-type]
    assert 0 < expected < 1
    assert metric_of("parsing", count_hits(found, splits.test)) == pytest.approx(expected)


def test_choices_are_predicted_and_test_rows_choose_nothing() -> None:
    splits = _splits(choice_rows(60), choice_rows(20, 3), choice_rows(20, 4))
    assert splits.test is not None
    found = predict_choices(splits)
    assert metric_of("multiple_choice", count_hits(found, splits.test)) > 0.9
    turned = replace(splits.test, targets=splits.test.targets[::-1])
    assert predict_choices(replace(splits, test=turned)) == found
