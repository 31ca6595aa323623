"""Example texts with their predictions: in the head file, on the card and in its widget."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from pydantic import ValidationError

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.examples import Example, PredictedLabel
from adapterhub.publishing.publish import publish
from adapterhub.remote.find import find
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import encode_head, parse_head
from adapterhub.store.registry import read_registry
from adapterhub.training.train import train
from tests.builders import head_tensors, task_spec
from tests.commands.conftest import Run
from tests.commands.conftest import run as run
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.cards import card, files, full
from tests.publishing.tasks import DEFAULTS, REPO
from tests.training.rows import pair_rows, sentiment_rows
from tests.training.test_train import QUICK

TEXT = "a good day"
PAIR = {"text": "a good day", "text_pair": "not a day"}
MADE = (Example(inputs=("A | film.",), labels=(PredictedLabel(label="positive", score=0.98),)),)


def front(server: HubServer) -> dict[str, Any]:
    return ModelCard(server.files(REPO)["README.md"].decode()).data.to_dict()


def versions(server: HubServer, name: str) -> list[int]:
    content = yaml.safe_load(server.files(REPO)["registry.yaml"])
    return list(content["tasks"][name]["versions"])


def test_an_unset_field_is_in_no_dump() -> None:
    assert "examples" not in task_spec().model_dump()
    assert "examples" in task_spec(examples=MADE).model_dump()


def test_a_head_file_is_of_the_oldest_schema_that_holds_it() -> None:
    for examples, schema in (((), 1), (MADE, 2)):
        spec = task_spec(examples=examples)
        data = encode_head(spec, head_tensors(spec))
        assert f'\\"schema_version\\":{schema},'.encode() in data
        assert parse_head(data, source="here").spec == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": ("one", "two")},
        {"labels": (PredictedLabel(label="other", score=0.5),)},
        {"value": 0.5},
    ],
    ids=["fields", "labels", "value"],
)
def test_examples_of_another_task_are_refused(changes: dict[str, Any]) -> None:
    other = MADE[0].model_copy(update=changes)
    with pytest.raises(ValidationError, match="an example is of a task with other fields"):
        TaskSpec.model_validate_json(task_spec(examples=(other,)).model_dump_json())


@pytest.mark.slow
def test_the_card_shows_them_escaped_and_the_widget_as_they_are() -> None:
    text = card(full(examples=MADE))
    assert "| `text` | prediction |" in text
    assert "| A &#124; film. | positive 0.98 |" in text
    assert ModelCard(text).data.to_dict()["widget"] == [
        {
            "text": "A | film.",
            "example_title": "spam (example 1)",
            "output": [{"label": "positive", "score": 0.98}],
        }
    ]


@pytest.mark.slow
def test_entries_of_the_widget_that_people_wrote_stay() -> None:
    first = files(full(examples=MADE), full("topic", examples=MADE))
    theirs = "widget:\n- text: Ours.\n  example_title: By hand\n"
    text = first["README.md"].decode().replace("widget:\n", theirs)
    second = card(full(seed=1), before={**first, "README.md": text.encode()})
    titles = [entry["example_title"] for entry in ModelCard(text).data.to_dict()["widget"]]
    assert titles == ["By hand", "spam (example 1)", "topic (example 1)"]
    titles = [entry["example_title"] for entry in ModelCard(second).data.to_dict()["widget"]]
    assert titles == ["By hand", "topic (example 1)"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "given"), [(sentiment_rows(48), TEXT), (pair_rows(48), PAIR)], ids=["text", "pair"]
)
def test_training_stores_them_with_what_scoring_predicts(
    rows: list[dict[str, Any]], given: Any, tmp_path: Path, tiny_backbone_folder: Path
) -> None:
    registry = tmp_path / "registry.yaml"
    options = {**QUICK, "cache_dir": tmp_path / "cache", "examples": [given]}
    made = train(
        rows, task="mine", registry=registry, options=options, backbone=tiny_backbone_folder
    )
    (example,) = find("mine", read_registry(registry)).spec.examples
    assert example == made.spec.examples[0]
    assert example.inputs == ((given,) if isinstance(given, str) else tuple(given.values()))
    scored: Any = Hub(registry, device="cpu").score(given, "mine")["mine"][0]
    assert example.labels[0].label == scored["label"]
    assert example.labels[0].score == pytest.approx(scored["score"], abs=2e-6)


def test_training_refuses_what_does_not_fit_before_it_starts(tiny_backbone_folder: Path) -> None:
    options = {"examples": ["good", "  "]}
    with pytest.raises(UsageError, match="Example 2: the text is empty"):
        train(
            sentiment_rows(20),
            task="mine",
            registry=None,
            options=options,
            backbone=tiny_backbone_folder,
        )


@pytest.mark.slow
def test_publishing_puts_them_into_the_file_that_is_published(
    hub: Hub, hub_server: HubServer
) -> None:
    tasks = ["sentiment", "topics", "rating", "entities", "entails"]
    hub.publish(tasks, REPO, examples=[TEXT, PAIR])
    for name in tasks:
        (example,) = find(f"{REPO}:{name}", hub.registry_path).spec.examples
        given: Any = PAIR if name == "entails" else TEXT
        scored: Any = hub.score(given, name)[name][0]
        if name == "rating":
            assert example.value == pytest.approx(scored["value"], abs=2e-6)
            continue
        found = [scored] if isinstance(scored, dict) else scored
        labels = [one.get("label") or one["entity_group"] for one in found]
        assert [one.label for one in example.labels] == labels
        if name == "entities":
            assert [example.entity(one) for one in example.labels] == [x["word"] for x in found]
    assert len(front(hub_server)["widget"]) == len(tasks)
    text = hub_server.files(REPO)["README.md"].decode()
    assert text.count("### Examples") == len(tasks)
    assert "| `text` | `text_pair` | prediction |\n" in text
    local = find("sentiment", hub.registry_path)
    assert local.spec.examples == ()


@pytest.mark.slow
def test_without_them_it_is_the_same_task(hub: Hub, hub_server: HubServer) -> None:
    first = hub.publish("sentiment", REPO, examples=[TEXT])
    again = hub.publish("sentiment", REPO)
    assert (again.files, again.commit) == ((), first.commit)
    assert not again.tasks[0].is_new
    assert hub.publish("sentiment", REPO, examples=[TEXT]).files == ()
    hub.publish("sentiment@prod", REPO)
    assert versions(hub_server, "sentiment") == [1]
    assert "### Examples" in hub_server.files(REPO)["README.md"].decode()
    hub.publish("sentiment", REPO, examples=["not a day"])
    assert versions(hub_server, "sentiment") == [1, 2]


@pytest.mark.parametrize(("score", "known"), [(0.980001, [1]), (0.9, [1, 2])])
def test_last_digits_make_no_version(score: float, known: list[int], hub_server: HubServer) -> None:
    publish(REPO, [full(examples=MADE)], DEFAULTS)
    labels = (PredictedLabel(label="positive", score=score),)
    publish(REPO, [full(examples=(MADE[0].model_copy(update={"labels": labels}),))], DEFAULTS)
    assert versions(hub_server, "spam") == known


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (PAIR, "Example 1 fits no task here; these read text"),
        ("x " * 1_001, "Example 1 is longer than 2,000"),
        ("\u200b", "Example 1: .* is empty"),
    ],
    ids=["fields", "long", "empty"],
)
def test_publishing_refuses_what_does_not_fit(
    given: Any, problem: str, hub: Hub, hub_server: HubServer
) -> None:
    with pytest.raises(UsageError, match=problem):
        hub.publish("sentiment", REPO, examples=[given])
    assert REPO not in hub_server.state.repositories


@pytest.mark.slow
def test_the_command_line_takes_several(
    run: Run, tiny_registry: Path, hub_server: HubServer
) -> None:
    words = ["publish", "sentiment", "entails", "--to", REPO, "--registry", tiny_registry]
    pair = '{"text": "a good day", "text_pair": "not a day"}'
    done = run(*words, "--example", TEXT, "--example", "not a, day", "--example", pair)
    assert done.code == 0, done.err
    texts = [entry["text"] for entry in front(hub_server)["widget"]]
    assert texts == [TEXT, TEXT, "not a, day"]


@pytest.mark.slow
def test_a_widget_that_is_none_of_ours_is_left_alone(hub: Hub, hub_server: HubServer) -> None:
    hub.publish("sentiment", REPO)
    text = hub_server.files(REPO)["README.md"].decode()
    theirs = re.sub(r"^tags:", "widget: false\ntags:", text, count=1, flags=re.MULTILINE)
    HfApi(hub_server.url, token=TOKEN).create_commit(
        REPO, [CommitOperationAdd("README.md", theirs.encode())], commit_message="by hand"
    )
    hub.publish("topics", REPO)
    assert front(hub_server)["widget"] is False
