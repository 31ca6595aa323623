"""A task of prototypes goes to the Hub, says there how it was made, and comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from adapterhub import Hub, add_labels, rename_label
from adapterhub.publishing.card import task_section
from adapterhub.specs import LabelEdit, TrainingRecord
from tests.builders import task_spec
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.tiny import add_task

EDITS = (
    LabelEdit(action="added", labels=("film", "she"), rows=5, data_digest="1" * 64),
    LabelEdit(action="renamed", labels=("film", "le <b>cinéma</b>")),
    LabelEdit(action="dropped", labels=("she",)),
)


@pytest.mark.slow
def test_it_is_published_and_comes_back(
    hub: Hub, tiny_registry: Path, hub_server: HubServer
) -> None:
    spec = task_spec("prototype", task="few", backbone=hub.backbone)
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer)
    hub = Hub(tiny_registry, device="cpu")
    add_labels("few", {"film": ["a film"]}, hub=hub)
    rename_label("few", "film", "cinema", registry=tiny_registry)
    hub.publish("few", REPO)
    there = hub_server.files(REPO)
    assert yaml.safe_load(there["registry.yaml"])["schema"] == 4
    assert "cinema" in there["README.md"].decode()
    backbone = str(tiny_registry.parent / "backbone")
    opened = Hub.from_hub(REPO, backbone=backbone, device="cpu")
    texts = ["a film", "a good day"]
    found, expected = (one.score(texts, ["few"], logits=True)["few"] for one in (opened, hub))
    assert list(found) == list(expected)
    assert np.array_equal(np.asarray(found.logits), np.asarray(expected.logits))


def test_the_card_says_what_was_done() -> None:
    record = TrainingRecord(
        dataset="few",
        data_digest="0" * 64,
        rows=12,
        seed=0,
        candidates=21,
        epochs=0,
        learning_rate=0,
        weight_decay=0,
        edits=EDITS,
    )
    section = task_section(REPO, "few", task_spec("prototype", task="few", training=record), ())
    assert "No weights were fitted" in section
    assert "learning rate" not in section
    assert "Since then labels were added: film, she (5 examples)." in section
    assert "Since then 'film' was renamed to 'le &lt;b&gt;cinéma&lt;/b&gt;'." in section
    assert "Since then labels were dropped: she." in section
