"""A verb looks up each repository once, and a Hub that hangs costs it seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from adapterhub.remote import operation
from tests.commands.conftest import Run
from tests.hubserver.faults import stall
from tests.hubserver.server import HubServer

REPOS = ("acme/one", "acme/two")
TASKS = [f"{repo}:{task}" for repo in REPOS for task in ("sentiment", "topics")]
WORDS = [word for task in TASKS for word in ("--task", task)]


@pytest.fixture
def published(run: Run, tiny_registry: Path, hub_server: HubServer) -> HubServer:
    for repo in REPOS:
        words = ("publish", "sentiment", "topics", "--to", repo, "--registry", tiny_registry)
        done = run(*words)
        assert done.code == 0, done.err
    hub_server.faults.log.clear()
    return hub_server


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("score", "a good day", *WORDS),
        ("explain", *TASKS),
        ("show", TASKS[0]),
    ],
    ids=lambda words: words[0],
)
def test_a_verb_looks_up_each_repository_once_and_waits_for_it_briefly(
    words: tuple[str, ...],
    run: Run,
    tiny_registry: Path,
    published: HubServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = (*words, "--registry", tiny_registry)
    first = run(*given)
    assert first.code == 0, first.err
    for repo in {name.partition(":")[0] for name in words if "acme/" in name}:
        assert published.faults.count("GET", f"{repo}/revision/main") == 1
    monkeypatch.setattr(operation, "BRIEF_SECONDS", 0.3)
    published.faults.add("*", "", stall(), times=None)
    start = time.monotonic()
    second = run(*given)
    assert second.code == 0, second.err
    assert time.monotonic() - start < 3
    assert "using the cached commit" in second.err
