"""Tasks whose predictions are vectors on the Hub: their card, and that they come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.publishing.task_section import task_section
from tests.builders import task_spec
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.tiny import add_task

TEXTS = ["a good day", "the film was late"]


def test_it_is_published_and_comes_back(
    hub: Hub, tiny_registry: Path, hub_server: HubServer
) -> None:
    spec = task_spec("embedding", task="same", backbone=hub.backbone)
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer)
    hub = Hub(tiny_registry, device="cpu")
    with pytest.raises(UsageError, match="those of the tasks here are vectors"):
        hub.publish("same", REPO, examples=["a day"])
    hub.publish("same", REPO)
    there = hub_server.files(REPO)
    assert yaml.safe_load(there["registry.yaml"])["schema"] == 4
    card = ModelCard(there["README.md"].decode())
    assert card.data.to_dict()["pipeline_tag"] == "sentence-similarity"
    assert card.data.to_dict()["library_name"] == "adapterhub"
    backbone = str(tiny_registry.parent / "backbone")
    opened = Hub.from_hub(REPO, backbone=backbone, device="cpu")
    assert np.array_equal(opened.encode(TEXTS, task="same"), hub.encode(TEXTS, task="same"))
    assert opened.encode(TEXTS, task="same").shape == (2, 6)


def test_the_card_says_how_vectors_are_made() -> None:
    section = task_section(REPO, "same", task_spec("embedding", task="same"), ())
    assert 'print(hub.encode(["This is a text."], task="same"))' in section
    assert "how alike two texts are; it has 6 numbers." in section
    assert "comparable with those of the same version" in section
