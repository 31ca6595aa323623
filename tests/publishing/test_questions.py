"""What the Hub shows of a task of question answering."""

from __future__ import annotations

from adapterhub.examples import Example, PredictedLabel
from adapterhub.publishing.hub_metadata import pipeline_tag
from adapterhub.publishing.task_section import task_section
from adapterhub.specs import Extraction, TaskSpec
from tests.builders import task_spec

ANSWER = PredictedLabel(label="answer", score=0.875, start=11, end=15)
EXAMPLES = (
    Example(inputs=("Where is Anna", "Anna is in Oslo"), labels=(ANSWER,)),
    Example(inputs=("Where is Rome", "Anna is in Oslo")),
)


def section(**changes: object) -> str:
    spec = task_spec("question_answering", examples=EXAMPLES, **changes)
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec
    return task_section("owner/name", spec.task, spec, ())


def test_a_card_shows_answers_and_their_limits() -> None:
    text = section()
    assert "| Where is Anna | Anna is in Oslo | Oslo 0.88 |" in text
    assert "| Where is Rome | Anna is in Oslo | none |" in text
    assert '{"question": "Where is Anna", "context": "Anna is in Oslo"}' in text
    assert "Always gives an answer, also where the context has none." in text
    assert "each with the whole question" in text
    tuned = section(extraction=Extraction(max_tokens=8, null_threshold=0.5))
    assert "Always gives an answer" not in tuned


def test_the_hub_knows_what_it_is() -> None:
    assert pipeline_tag(task_spec("question_answering")) == "question-answering"
