"""Multiple choice: each choice is scored beside its prompt, and a row chooses among its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub.errors import InputError
from adapterhub.hub import Hub
from adapterhub.model.execution import run_trunk
from adapterhub.model.heads.heads import softmax
from adapterhub.specs import TaskSpec
from tests.builders import task_spec
from tests.tiny import add_task

FP32 = 1e-5
LONG = "she was early, he was late! the food: very good " * 12
ROWS = [
    {"prompt": "the film", "choices": ["was good", "was late", "中国"]},
    {"prompt": LONG, "choices": ["a day", "the film"]},
    {"prompt": "the film", "choices": ["was good", "a day", LONG, "was late", "not"]},
]
SHAPES: dict[str, dict[str, Any]] = {
    "together": {"depths": (3,), "pooling": "mean"},
    "deep": {"depths": (1, 4), "pooling": "cls", "hidden_width": 8},
    "attentive": {"pooling": "attentive"},
    "apart": {"depths": (2,), "pooling": "mean", "apart": True},
}


def choice_task(hub: Hub, name: str, **changes: Any) -> TaskSpec:
    shape = {**SHAPES[name], "task": name, "max_length": 48, "overlap": 6, **changes}
    return task_spec("multiple_choice", backbone=hub.backbone, **shape)


@pytest.fixture
def choice_hub(tiny_registry: Path) -> Hub:
    """Returns a hub with tasks of multiple choice, each beside the same head on pairs."""
    hub = Hub(tiny_registry, device="cpu")
    for seed, name in enumerate(SHAPES):
        spec = choice_task(hub, name)
        pair = task_spec(
            "regression",
            backbone=hub.backbone,
            **SHAPES[name],
            task=f"{name}-pairs",
            fields=("prompt", "choice"),
            max_length=48,
            overlap=6,
        )
        for one in (spec, pair):
            add_task(tiny_registry, one, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=seed)
    return Hub(tiny_registry, device="cpu")


@pytest.mark.parametrize("name", SHAPES)
def test_a_choice_has_the_logit_of_its_pair(choice_hub: Hub, name: str) -> None:
    found = choice_hub.score(ROWS, [name], logits=True)[name]
    pairs = [{"prompt": row["prompt"], "choice": one} for row in ROWS for one in row["choices"]]
    expected = choice_hub.score(pairs, [f"{name}-pairs"], logits=True)[f"{name}-pairs"].logits
    assert found.logits is not None
    assert [one.shape for one in found.logits] == [(3, 1), (2, 1), (5, 1)]
    assert np.abs(np.concatenate(found.logits) - expected).max() < FP32


def test_a_row_chooses_among_its_own_choices(choice_hub: Hub) -> None:
    best = choice_hub.score(ROWS, ["together"], logits=True)["together"]
    ranked = choice_hub.score(ROWS, ["together"], top_k=None)["together"]
    two = choice_hub.score(ROWS, ["together"], top_k=2)["together"]
    assert best.logits is not None
    for row, logits, one, every, few in zip(ROWS, best.logits, best, ranked, two, strict=True):
        scores = softmax(logits[:, 0])
        place = int(scores.argmax())
        assert one == {
            "choice": row["choices"][place],
            "index": place,
            "score": pytest.approx(scores[place]),
        }
        assert [part["index"] for part in every] == np.argsort(-scores, kind="stable").tolist()
        assert sum(part["score"] for part in every) == pytest.approx(1)
        assert (every[0], few) == (one, every[:2])
    assert best.windows[0] == 3
    assert best.windows[1] > 4


def test_tasks_of_other_kinds_run_in_the_same_call(choice_hub: Hub) -> None:
    rows = [{"text": "a good day", **row} for row in ROWS]
    names = ["sentiment", "together", "apart", "entities"]
    scores = choice_hub.score(rows, names)
    for name in names:
        assert scores[name].answers == choice_hub.score(rows, [name])[name].answers
    given = [(rows[0], ["together"]), (rows[1], ["sentiment", "apart"]), (rows[2], "together")]
    own = choice_hub.score_rows(given)
    columns, whole = own.to_columns(), scores.to_columns()
    expected = whole["together.index"]
    assert columns["together.index"] == [expected[0], None, expected[2]]
    assert columns["apart.index"] == [None, whole["apart.index"][1], None]


def test_a_bad_row_costs_only_itself(choice_hub: Hub) -> None:
    rows = [ROWS[0], {"prompt": "a day", "choices": ["one"]}, {"text": "a day"}, ROWS[1]]
    scores = choice_hub.score(rows, ["together", "apart"], on_error="skip", logits=True)
    assert [(error.row, error.tasks) for error in scores.errors] == [
        (1, ("together",)),
        (1, ("apart",)),
        (2, ("together",)),
        (2, ("apart",)),
    ]
    assert scores["together"].answers[1:3] == (None, None)
    assert scores["together"].logits is not None
    assert scores["together"].logits[1].shape == (0, 1)
    whole = choice_hub.score(ROWS[:2], ["apart"])["apart"]
    assert [scores["apart"][0], scores["apart"][3]] == list(whole)
    with pytest.raises(InputError, match="has one choice; two or more are needed"):
        choice_hub.score(rows, ["together"])
    invisible = {"prompt": "a day", "choices": ["one", "\u00ad"]}
    with pytest.raises(InputError, match=r"choice 1 \(from 0\) of field 'choices' is empty"):
        choice_hub.score([invisible], ["together"])


def test_rows_apart_run_in_whole_pieces(choice_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = choice_hub.score(ROWS, ["apart"], logits=True)["apart"]
    monkeypatch.setattr(run_trunk, "_PAIRS_AT_ONCE", 4)
    cut = choice_hub.score(ROWS, ["apart"], logits=True)["apart"]
    assert whole.logits is not None
    assert cut.logits is not None
    for one, other in zip(whole.logits, cut.logits, strict=True):
        assert np.abs(one - other).max() < FP32


def test_the_plan_shows_that_each_choice_is_read(choice_hub: Hub) -> None:
    plan = choice_hub.explain(["together", "apart"])
    assert [trunk.reading.name for trunk in plan.trunks] == [
        "prompt + each of choices",
        "prompt | each of choices, each alone",
    ]
