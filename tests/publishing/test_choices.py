"""What the Hub shows of a task of multiple choice."""

from __future__ import annotations

from adapterhub.examples import Example, PredictedLabel
from adapterhub.publishing.task_section import task_section
from tests.builders import task_spec
from tests.publishing.tasks import REPO


def test_a_card_shows_choices_and_the_predicted_one() -> None:
    found = PredictedLabel(label="1", score=0.875)
    example = Example(inputs=("the film", "was good", "was late"), labels=(found,))
    spec = task_spec("multiple_choice", task="choose", examples=(example,))
    section = task_section(REPO, "choose", spec, ())
    assert "| the film | was good / was late | was late 0.88 |" in section
    assert example.choice(found) == "was late"


def test_the_card_has_a_row_to_try() -> None:
    section = task_section(REPO, "choose", task_spec("multiple_choice", task="choose"), ())
    assert '{"prompt": "This is a text.", "choices": ["This is another text.",' in section
