"""A task of question answering in calls: beside others, over windows, and where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertModel

from adapterhub import Hub
from adapterhub.errors import InputError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.specs import Extraction
from adapterhub.store.headfile import write_head
from tests.builders import head_tensors
from tests.tiny import bert_tokenizer, tiny_task

LONG = " ".join(f"the film {place} was good , she was late ." for place in range(9))
ROWS = [
    {"question": "is it good ?", "context": "the day was good , very good !"},
    {"question": "他是", "context": "中国的天气很好，the food was bad。"},
    {"question": "what is a film", "context": LONG},
    {"question": "the " * 60, "context": "she was early"},
]
LIMITS = {"max_length": 32, "overlap": 8}


def add_task(hub_folder: Path, name: str = "answers", **changes: Any) -> str:
    backbone = open_backbone(hub_folder / "backbone")
    spec = tiny_task(backbone, "question_answering", task=name, **{**LIMITS, **changes})
    path = hub_folder / f"{name}.safetensors"
    write_head(path, spec, head_tensors(spec))
    return str(path)


@pytest.fixture
def path(tiny_registry: Path) -> str:
    return add_task(tiny_registry.parent)


def answers_of(hub: Hub, path: str, rows: list[dict[str, str]], **more: Any) -> list[Any]:
    return list(hub.score(rows, path, **more)[path])


def test_an_answer_is_what_the_context_has_there(hub: Hub, path: str) -> None:
    found = answers_of(hub, path, ROWS)
    for row, answer in zip(ROWS, found, strict=True):
        assert set(answer) == {"score", "start", "end", "answer"}
        assert answer["answer"] == row["context"][answer["start"] : answer["end"]] != ""
        assert 0 < answer["score"] <= 1
    one_by_one = [answers_of(hub, path, [row])[0] for row in ROWS]
    assert [one["answer"] for one in one_by_one] == [one["answer"] for one in found]
    many = answers_of(hub, path, ROWS, top_k=3)
    assert [row[0]["answer"] for row in many] == [one["answer"] for one in found]
    assert all(len(row) == 3 and row[0]["score"] >= row[1]["score"] for row in many)


def test_long_contexts_have_windows_and_are_cut_as_said(hub: Hub, path: str) -> None:
    whole = hub.score(ROWS, path, logits=True)[path]
    assert whole.windows[:2] == (1, 1)
    assert whole.windows[2] > 3
    assert whole.truncated == (False, False, False, True), "of the last the question is cut"
    cut = Hub(Path(path).parent / "registry.yaml", device="cpu", max_windows=2)
    short = cut.score(ROWS, path)[path]
    assert short.windows[2] == 2
    assert short.truncated[2]
    (answer,) = answers_of(cut, path, ROWS[2:3])
    assert answer["end"] < len(LONG) / 2


def test_logits_are_those_of_transformers(hub: Hub, path: str, tiny_registry: Path) -> None:
    folder = tiny_registry.parent / "backbone"
    spec = tiny_task(open_backbone(folder), "question_answering", **LIMITS)
    tensors = head_tensors(spec)
    tokenizer, model = bert_tokenizer(folder), AlbertModel.from_pretrained(folder).eval()
    found = hub.score(ROWS[:3], path, logits=True)[path].logits
    assert found is not None
    for row, logits in zip(ROWS[:3], found, strict=True):
        batch = tokenizer(
            *(row["question"], row["context"]),
            truncation="only_second",
            max_length=32,
            stride=8,
            return_overflowing_tokens=True,
        )
        expected = []
        for ids, types in zip(batch["input_ids"], batch["token_type_ids"], strict=True):
            with torch.no_grad():
                states = model(torch.tensor([ids]), token_type_ids=torch.tensor([types]))
            outputs = states.last_hidden_state[0] @ tensors["head.weight"].T + tensors["head.bias"]
            second = types.index(1)
            expected += [outputs[:1], outputs[second:-1]]
        assert logits == pytest.approx(torch.cat(expected).numpy(), abs=1e-4)


def test_no_answer_is_an_empty_one(hub: Hub, tiny_registry: Path) -> None:
    always = add_task(
        tiny_registry.parent, "none", extraction=Extraction(max_tokens=8, null_threshold=-1e6)
    )
    never = add_task(
        tiny_registry.parent, "some", extraction=Extraction(max_tokens=1, null_threshold=1e6)
    )
    assert {(one["start"], one["end"], one["answer"]) for one in answers_of(hub, always, ROWS)} == {
        (0, 0, "")
    }
    found = answers_of(hub, never, ROWS)
    assert all(one["answer"] and " " not in one["answer"] for one in found)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"question": "is it ?"}, "has no field 'context'; it has question"),
        ({"question": "is it ?", "context": "  "}, "field 'context' is empty"),
        ({"question": "", "context": "it is"}, "field 'question' is empty"),
        ("it is", "is one string, but the task reads 2 fields"),
    ],
)
def test_bad_rows_are_named(hub: Hub, path: str, row: object, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        hub.score([row], path)  # type: ignore[list-item]
    scores = hub.score([ROWS[0], row], path, on_error="skip")  # type: ignore[list-item]
    assert scores[path][1] is None
    assert problem in scores.errors[0].problem
