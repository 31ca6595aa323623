"""A task of multiple choice goes to the Hub, is shown to people there, and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from adapterhub import Hub
from adapterhub.publishing.card import task_section
from adapterhub.remote.find import find
from tests.builders import task_spec
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.tiny import add_task

ROW: dict[str, Any] = {"prompt": "the film", "choices": ["was good", "was late", "a day"]}


@pytest.mark.slow
def test_it_is_published_and_comes_back(
    hub: Hub, tiny_registry: Path, hub_server: HubServer
) -> None:
    spec = task_spec("multiple_choice", task="choose", backbone=hub.backbone)
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer)
    hub = Hub(tiny_registry, device="cpu")
    hub.publish("choose", REPO, examples=[ROW])
    there = hub_server.files(REPO)
    assert yaml.safe_load(there["registry.yaml"])["schema"] == 4
    card = ModelCard(there["README.md"].decode())
    assert card.data.to_dict()["pipeline_tag"] == "multiple-choice"
    assert "was good / was late / a day" in card.text
    backbone = str(tiny_registry.parent / "backbone")
    opened = Hub.from_hub(REPO, backbone=backbone, device="cpu")
    found, expected = (one.score(ROW, "choose", logits=True)["choose"] for one in (opened, hub))
    assert list(found) == list(expected)
    assert found.logits is not None
    assert expected.logits is not None
    assert np.array_equal(found.logits[0], expected.logits[0])
    (example,) = find(f"{REPO}:choose", tiny_registry).spec.examples
    assert example.inputs == (ROW["prompt"], *ROW["choices"])
    assert example.choice(example.labels[0]) == expected[0]["choice"]  # type: ignore[index, call-overload]


def test_the_card_has_a_row_to_try() -> None:
    section = task_section(REPO, "choose", task_spec("multiple_choice", task="choose"), ())
    assert '{"prompt": "This is a text.", "choices": ["This is another text.",' in section
