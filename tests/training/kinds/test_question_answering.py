"""Question answering in training: features of contexts, threshold, temperature, adapters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer, pack
from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.spans import TaggedText
from adapterhub.plan import Reading
from adapterhub.specs import Extraction, TaskSpec
from adapterhub.training.data.answers.answer_rows import AnswerSpan
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.calibration import TunedHead
from adapterhub.training.features.encoding import FeatureSource, Layout, encode
from adapterhub.training.kinds.question_answering import QuestionAnsweringKind
from adapterhub.training.train import train
from tests.builders import task_spec
from tests.training.rows import question_rows

TEXT = "a b c d"


def some_rows(
    answers: list[tuple[AnswerSpan, ...]], logits: np.ndarray
) -> tuple[RowLogits, Dataset]:
    context = Context(TaggedText(TEXT, [(2 * i, 2 * i + 1) for i in range(4)]), ((0, 4),))
    inputs = tuple(("q", TEXT) for _ in answers)
    fields = ("question", "context")
    rows = Dataset("d", "question_answering", fields, inputs, tuple(answers), ())
    values = tuple(np.asarray(logits, np.float32))
    return RowLogits(values, contexts=(context,) * len(answers)), rows


def qa_spec(threshold: float | None) -> TaskSpec:
    extraction = Extraction(max_tokens=4, null_threshold=threshold)
    return task_spec("question_answering", extraction=extraction)


def test_features_are_the_states_of_first_tokens_and_contexts(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    tokenizer = TextTokenizer(tiny_backbone.tokenizer)
    reading = Reading(("question", "context"), 16, 4, slides_second=True)
    inputs = [("is it good", "the day was " * 6), ("a film", "she was late")]
    source = FeatureSource(tiny_encoder, tokenizer, tmp_path, 10**9)
    ((counts, values),) = encode(inputs, [Layout("context", reading, 4, (2, 4))], source)
    rows = tokenizer.rows(inputs, reading=reading, max_windows=4)
    windows = tokenizer.windows(rows, reading=reading)
    assert len(windows) > 3
    expected = []
    for window in windows:
        batch = pack([window], device=torch.device("cpu"))
        (states,) = each_depth([batch], (4,), encoder=tiny_encoder)
        picked = [0, *range(window.place, window.place + window.last - window.first)]
        expected.append(states.hidden[picked])
    assert counts == [sum(map(len, expected[:-1])), len(expected[-1])]
    assert values[1] == pytest.approx(torch.cat(expected).numpy(), abs=2e-3)


def test_the_threshold_of_no_answer_is_tuned_where_some_rows_have_none() -> None:
    spans = [(AnswerSpan(0, 1),), (), (AnswerSpan(2, 3),), ()]
    logits = np.zeros((4, 5, 2))
    logits[0, 1] = logits[2, 2] = 2.0  # the true answers
    logits[:, 0] = [[0.5, 0.5], [3, 3], [1, 1], [2.5, 2.5]]  # the first tokens
    head_logits, rows = some_rows(spans, logits)
    spec = qa_spec(None)
    head = TunedHead(spec, {}, head_logits)
    tuned = QuestionAnsweringKind().tuned(head, rows, tolerance=0)
    assert tuned.spec.extraction is not None
    # Gaps are -3, 6, -2 and 5.
    assert tuned.spec.extraction.null_threshold == 1.5
    assert "f1 1.0000, if all questions were answered 0.5000" in tuned.notes[0]
    answered = replace(rows, targets=(spans[0],) * 4)
    assert QuestionAnsweringKind().tuned(head, answered, tolerance=0) is head


def test_the_temperature_makes_true_answers_most_probable() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(60, 5, 2))
    spans = [(AnswerSpan(2 * (row % 4), 2 * (row % 4) + 1),) for row in range(60)]
    for row in range(40):  # the others are wrong
        logits[row, 1 + row % 4] += 3
    kind, spec = QuestionAnsweringKind(), qa_spec(None)
    plain, sharp = (
        kind.calibrate_rows(spec, *some_rows(spans, logits * factor)).temperature
        for factor in (1, 3)
    )
    assert sharp == pytest.approx(3 * plain, rel=0.01)
    assert 0.5 < plain < 5


def test_the_temperature_is_that_of_scores_less_the_threshold() -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(60, 5, 2))
    spans = [(AnswerSpan(0, 1),) if row % 3 else () for row in range(60)]  # some logits are wrong
    logits[1::2, 1] += 3
    logits[::2, 0] += 4
    lower = logits.copy()
    lower[:, 0, 0] -= 2.5
    kind = QuestionAnsweringKind()
    found = kind.calibrate_rows(qa_spec(2.5), *some_rows(spans, logits))
    assert found == kind.calibrate_rows(qa_spec(0.0), *some_rows(spans, lower))
    assert found != kind.calibrate_rows(qa_spec(0.0), *some_rows(spans, logits))


def test_a_task_may_find_no_answer_where_training_rows_have_none() -> None:
    kind = QuestionAnsweringKind()
    for spans, expected in (([(AnswerSpan(0, 3),)], None), ([(AnswerSpan(0, 3),), ()], 0.0)):
        logits, rows = some_rows(spans, np.zeros((len(spans), 5, 2)))
        found = kind.extraction(kind.targets(rows, logits.contexts))
        assert found == Extraction(max_tokens=2, null_threshold=expected)


@pytest.mark.slow
def test_an_adapter_learns_answers_too(
    tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    options = {
        "adapter": {
            "method": "lora",
            "from_depth": 2,
            "epochs": 30,
            "learning_rate": 5e-3,
            "head_learning_rate": 1e-2,
        },
        "validation_fraction": 0.25,
        "cache_dir": tmp_path / "cache",
        "depths": (4,),
        "max_length": 24,
        "epochs": 2,
    }
    trained = train(
        question_rows(80),
        task="answers",
        options=options,
        registry=tmp_path / "registry.yaml",
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )
    values = {metric.name: metric.value for metric in trained.metrics}
    assert values["f1"] >= 0.7
    assert trained.spec.extraction is not None
    assert trained.spec.extraction.null_threshold is not None
    hub = Hub(tmp_path / "registry.yaml", device="cpu")  # replays the known answers
    row = question_rows(2)[1]
    (found,) = hub.score([{"question": "is it 1 ?", "context": row["context"]}], "answers")[
        "answers"
    ]
    assert set(found) == {"score", "start", "end", "answer"}  # type: ignore[arg-type]
