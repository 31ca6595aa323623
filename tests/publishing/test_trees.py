"""A parsing task goes to the Hub with others, is shown to people there, and comes back."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from pydantic import ValidationError

from adapterhub import Hub
from adapterhub.examples import Example, PredictedLabel
from adapterhub.remote.find import find
from adapterhub.specs import Calibration
from adapterhub.store.headfile import parse_head
from tests.builders import task_spec
from tests.hubserver.server import HubServer
from tests.publishing.cards import card, full
from tests.publishing.tasks import REPO

TEXT = "the film was good"
TASKS = ["sentiment", "trees", "entities"]
PLAIN = {"calibration": Calibration(), "metrics": ()}


@pytest.mark.slow
def test_it_is_published_and_loads_with_others(hub: Hub, hub_server: HubServer) -> None:
    hub.publish(TASKS, REPO, examples=[TEXT])
    there = hub_server.files(REPO)
    content = yaml.safe_load(there["registry.yaml"])
    # Versions of adapterhub from before name the newer schema instead of an unknown kind.
    assert (content["schema"], content["tasks"]["trees"]["kind"]) == (3, "parsing")
    card = ModelCard(there["README.md"].decode())
    assert card.data.to_dict()["pipeline_tag"] == "token-classification"
    assert "Output: a dependency tree" in card.text
    backbone = str(hub.registry_path.parent / "backbone")
    opened = Hub.from_hub(REPO, backbone=backbone, device="cpu")
    texts = [TEXT, "he was late, not early"]
    expected = hub.score(texts, TASKS, logits=True)
    found = opened.score(texts, TASKS, logits=True)
    for name in TASKS:
        assert list(found[name]) == list(expected[name])
        pairs = zip(found[name].logits, expected[name].logits, strict=True)  # type: ignore[arg-type]
        assert all(map(np.array_equal, *zip(*pairs, strict=True)))
    # The example has the heads of its words.
    (example,) = find(f"{REPO}:trees", hub.registry_path).spec.examples
    words = expected["trees"][0]
    assert [(one.label, one.start, one.end, one.head) for one in example.labels] == [
        (word["relation"], word["start"], word["end"], word["head"])  # type: ignore[index]
        for word in words  # type: ignore[union-attr]
    ]


def test_an_example_is_shown_as_words_and_their_heads() -> None:
    labels = (
        PredictedLabel(label="nsubj", score=0.9, start=0, end=4, head=2),
        PredictedLabel(label="root", score=0.98, start=5, end=10, head=0),
    )
    task = full(kind="parsing", examples=(Example(inputs=("Anna sings",), labels=labels),), **PLAIN)
    assert b'\\"schema_version\\":3,' in task.data
    assert parse_head(task.data, source="here").spec == task.spec
    text = card(task)
    assert "| 3 | punct |" in text
    assert "| 4 |" not in text  # the relation of units inside a word is in no prediction
    assert "| Anna sings | Anna is nsubj of sings 0.90, sings is root 0.98 |" in text
    (entry,) = ModelCard(text).data.to_dict()["widget"]
    assert [one["label"] for one in entry["output"]] == ["nsubj: Anna", "root: sings"]


def test_an_example_whose_heads_are_no_words_is_refused() -> None:
    wrong = PredictedLabel(label="root", score=0.9, start=0, end=4, head=2)
    with pytest.raises(ValidationError, match="an example is of a task with other fields"):
        task_spec("parsing", examples=(Example(inputs=("Anna",), labels=(wrong,)),))
