"""A task of labels in a tree goes to the Hub, is shown to people there, and comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from adapterhub import Hub
from adapterhub.errors import HeadFileError
from adapterhub.remote.find import find
from adapterhub.store.headfile import parse_head
from tests.builders import PARENTS, task_spec
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.store.raw import good_file, with_spec
from tests.tiny import add_task

TEXT = "the film was late"


@pytest.mark.slow
def test_it_is_published_and_comes_back(
    hub: Hub, tiny_registry: Path, hub_server: HubServer
) -> None:
    spec = task_spec("label_tree", task="queue", backbone=hub.backbone)
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer)
    hub = Hub(tiny_registry, device="cpu")
    hub.publish("queue", REPO, examples=[TEXT])
    there = hub_server.files(REPO)
    assert yaml.safe_load(there["registry.yaml"])["schema"] == 4
    card = ModelCard(there["README.md"].decode())
    assert card.data.to_dict()["pipeline_tag"] == "text-classification"
    assert "| 3 | transfer.late | transfer |" in card.text
    assert "| 4 | other |  |" in card.text
    backbone = str(tiny_registry.parent / "backbone")
    opened = Hub.from_hub(REPO, backbone=backbone, device="cpu")
    found, expected = (one.score(TEXT, "queue", logits=True)["queue"] for one in (opened, hub))
    assert list(found) == list(expected)
    assert isinstance(found.logits, np.ndarray)
    assert np.array_equal(found.logits, expected.logits)
    published = find(f"{REPO}:queue", tiny_registry).spec
    assert published.parents == PARENTS
    assert published.examples[0].labels[0].label == expected[0]["label"]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("parents", "problem"),
    [
        ({**PARENTS, "card": "card.lost"}, r"cycle: card\.lost → card → card\.lost"),
        ({**PARENTS, "cart": "shop"}, "'cart' has a parent, but is no label"),
        ({}, "belong to label_tree tasks only"),
    ],
)
def test_the_tree_of_an_untrusted_file_is_checked(parents: dict[str, str], problem: str) -> None:
    file = good_file(task_spec("label_tree"))
    assert parse_head(file, source="f").spec.parents == PARENTS
    with pytest.raises(HeadFileError, match=problem):
        parse_head(with_spec(file, parents=parents), source="f")
