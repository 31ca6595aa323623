"""publish-backbone, and the tasks that name what it published."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub import Hub
from tests.commands.conftest import Run
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO

NAME = "acme/tiny"


@pytest.mark.slow
def test_the_verb(run: Run, hub_server: HubServer, tiny_registry: Path) -> None:
    words = ("publish-backbone", NAME, "--backbone", tiny_registry.parent / "backbone")
    dry = run(*words, "--dry-run")
    assert dry.code == 0, dry.err
    assert "  model.safetensors" in dry.out.splitlines()
    assert f"Nothing was sent; 4 files would be written to {NAME}." in dry.out
    made = run(*words, "--json")
    assert made.value["commit"] == hub_server.repository(NAME).resolve("main").oid
    again = run(*words)
    assert "Nothing changed" in again.out
    base = made.value["base_model"]
    assert f"--base-model {base}" in again.out
    published = run(
        "publish", "sentiment", "--to", REPO, "--registry", tiny_registry, "--base-model", base
    )
    assert published.code == 0, published.err
    hub = Hub.from_hub(REPO, device="cpu")
    # The command line needs no registry that lists the backbone either.
    scored = run("score", "a good day", "--task", f"{REPO}:sentiment", "--json")
    assert scored.code == 0, scored.err
    (expected,) = hub.score("a good day").rows()
    assert scored.rows[0]["sentiment.label"] == expected["sentiment.label"]
