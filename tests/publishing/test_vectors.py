"""Tasks whose predictions are vectors on the Hub: what their card has."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.publishing.task_section import task_section
from tests.builders import task_spec
from tests.publishing.tasks import REPO
from tests.tiny import add_task


def test_a_card_has_no_examples_of_vectors(hub: Hub, tiny_registry: Path) -> None:
    spec = task_spec("embedding", task="same", backbone=hub.backbone)
    add_task(tiny_registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer)
    hub = Hub(tiny_registry, device="cpu")
    with pytest.raises(UsageError, match="those of the tasks here are vectors"):
        hub.publish("same", REPO, examples=["a day"])


def test_the_card_says_how_vectors_are_made() -> None:
    section = task_section(REPO, "same", task_spec("embedding", task="same"), ())
    assert 'print(hub.encode(["This is a text."], task="same"))' in section
    assert "how alike two texts are; it has 6 numbers." in section
    assert "comparable with those of the same version" in section
