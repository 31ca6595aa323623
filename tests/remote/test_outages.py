"""A Hub that hangs or is gone: what is cached is there within seconds, for any number of tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.errors import BackboneError, RemoteUnavailableError
from adapterhub.model.backbone.sources import fetch
from adapterhub.remote import operation, outages, session
from adapterhub.remote.find import FoundTask, find_all
from adapterhub.remote.pin import pin, update
from adapterhub.store.registry import read_registry
from tests.hubserver.faults import RESET, Fault, drip, hang, stall, status
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.publishing.tasks import put
from tests.remote.filled import fill

Fresh = Callable[[], Path]
REPOS = [f"acme/heads-{number}" for number in range(12)]
NAMES = [f"{repo}:{task}" for repo in REPOS for task in ("spam", "topic")]
BRIEF = 0.3


def find(*names: str) -> list[FoundTask]:
    return find_all(names, Path("none"))


@pytest.fixture
def filled(hub_server: HubServer) -> HubServer:
    for number, repo in enumerate(REPOS):
        fill(hub_server, repo, "spam", "topic", seed=number)
    return hub_server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes all waits a tenth as long."""
    monkeypatch.setattr(operation, "BRIEF_SECONDS", BRIEF)
    monkeypatch.setattr(session, "SILENT_SECONDS", 1.0)


def hanging(server: HubServer) -> None:
    server.faults.add("*", "", stall(), times=None)
    server.faults.log.clear()


@pytest.mark.slow
def test_cached_tasks_of_many_repositories_are_there_within_seconds(
    filled: HubServer, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    before = find(*NAMES)
    hanging(filled)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "adapterhub"):
        after = find(*NAMES)
    assert time.monotonic() - start < BRIEF + 2
    assert [task.data for task in after] == [task.data for task in before]
    for repo in REPOS:
        assert f"Hub {repo}: using the cached commit" in caplog.text
    # The next call does not wait again.
    asked, start = len(filled.faults.log), time.monotonic()
    find(*NAMES)
    assert time.monotonic() - start < 1
    assert len(filled.faults.log) == asked


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [stall(), hang(), RESET, status(503)], ids=lambda fault: fault.kind
)
def test_whatever_the_hub_does_not_do_the_wait_for_the_cache_is_brief(
    fault: object, filled: HubServer, quick: None
) -> None:
    find(*NAMES)
    filled.faults.add("*", "", fault, times=None)  # type: ignore[arg-type]
    start = time.monotonic()
    find(*NAMES)
    assert time.monotonic() - start < BRIEF + 1


def test_a_hub_that_refuses_connections_is_not_waited_for(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find(NAMES[0])
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    find(NAMES[0])
    assert time.monotonic() - start < 1
    assert "the connection failed" in caplog.text


@pytest.mark.slow
def test_an_outage_is_remembered_for_a_while_and_then_looked_into(
    filled: HubServer, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "REMEMBERED_SECONDS", 0.5)
    find(NAMES[0])
    hanging(filled)
    find(NAMES[0])
    find(NAMES[0])
    assert len(filled.faults.log) == 1
    time.sleep(0.5)
    find(NAMES[0])
    assert len(filled.faults.log) == 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", [hang(), drip(1)], ids=lambda fault: fault.kind)
def test_a_hub_that_falls_silent_midway_is_remembered_too(
    fault: Fault, filled: HubServer, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    find(NAMES[0])
    filled.faults.log.clear()
    filled.faults.add("*", "", fault, times=None)
    find(NAMES[0])
    find(NAMES[0])
    assert len(filled.faults.log) == 1
    assert "no response" not in caplog.text


@pytest.mark.slow
def test_a_hub_that_responds_again_is_used_again(filled: HubServer, quick: None) -> None:
    find(NAMES[0])
    hanging(filled)
    find(NAMES[0])
    filled.faults.clear()
    # What is not cached is asked for, outage or not, and the response ends it.
    find(NAMES[2])
    filled.faults.log.clear()
    find(NAMES[0])
    assert filled.faults.count("GET", "/revision/main") == 1


@pytest.mark.slow
def test_a_task_that_is_not_cached_is_waited_for_and_named(filled: HubServer, quick: None) -> None:
    cached = NAMES[:-2]
    find(*cached)
    hanging(filled)
    start = time.monotonic()
    with pytest.raises(RemoteUnavailableError, match="acme/heads-11: it is not in the cache"):
        find(*NAMES)
    # Three silences, with pauses between them.
    assert time.monotonic() - start < 3 * 1.0 + 1
    assert filled.faults.count("GET", "heads-11") <= 3
    # While the outage is remembered it is tried once.
    filled.faults.log.clear()
    with pytest.raises(RemoteUnavailableError, match="tried once"):
        find(*NAMES)
    assert len(filled.faults.log) == 1
    find(*cached)


@pytest.mark.slow
def test_a_call_that_has_given_up_asks_for_nothing_more(
    filled: HubServer, quick: None, tmp_path: Path
) -> None:
    registry = tmp_path / "registry.yaml"
    for number, name in enumerate(NAMES[:16:2]):
        pin(registry, name, name=f"task-{number}")
    for repo in REPOS[:8]:
        put("spam", repo=repo, seed=100)
    filled.faults.add("GET", "/(resolve|cdn)/", stall(), times=None)
    filled.faults.log.clear()
    start = time.monotonic()
    done = update(read_registry(registry), (), allow_older=False)
    assert time.monotonic() - start < 3 * 1.0 + 2
    assert {one.state for one in done} <= {"refused", "current"}
    assert filled.faults.count("GET", "/resolve/") <= 3 * 8


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("/resolve/.*registry", stall()),
        ("resolve-cache", stall()),
        ("resolve-cache", hang()),
        ("resolve/.*safetensors", stall()),
        ("/cdn/", stall()),
        ("/cdn/", hang()),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
@pytest.mark.slow
def test_a_newer_commit_that_cannot_be_fetched_leaves_the_older_one_in_use(
    route: str, fault: object, filled: HubServer, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    names = NAMES[:6:2]
    before = find(*names)
    for repo in REPOS[:3]:
        put("spam", repo=repo, seed=100)
    outages.forget(filled.url)
    filled.faults.add("GET", route, fault, times=None)  # type: ignore[arg-type]
    start = time.monotonic()
    after = find(*names)
    assert time.monotonic() - start < BRIEF + 1
    assert [(task.origin, task.sha256) for task in after] == [
        (task.origin, task.sha256) for task in before
    ]
    assert "using the cached commit" in caplog.text
    filled.faults.clear()
    outages.forget(filled.url)
    assert [task.version for task in find(*names)] == [2, 2, 2]


def test_a_head_that_another_commit_has_cached_is_not_fetched_again(filled: HubServer) -> None:
    find(*NAMES[:2])
    put("topic", repo=REPOS[0], seed=100)
    filled.faults.log.clear()
    find(NAMES[0])
    assert filled.faults.count("GET", "spam.safetensors") == 0
    assert filled.faults.count("GET", "registry.yaml") == 2


def test_a_cache_that_cannot_be_written_is_done_without(
    filled: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    home = tmp_path / "file"
    home.write_text("no folder")
    monkeypatch.setenv("HF_HUB_CACHE", str(home))
    assert find(NAMES[0])[0].name == "spam"
    assert "used but not kept" in caplog.text


@pytest.mark.slow
def test_a_cached_backbone_is_there_within_seconds(
    hub_server: HubServer, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = {"config.json": File(b"{}", lfs=False), "model.safetensors": File(b"x", lfs=True)}
    hub_server.fill("acme/tiny", wanted)
    folder, commit = fetch("acme/tiny", None, only=list(wanted))
    hanging(hub_server)
    for revision in (None, commit):
        start = time.monotonic()
        assert fetch("acme/tiny", revision, only=list(wanted)) == (folder, commit)
        assert time.monotonic() - start < BRIEF + 0.5
    assert len(hub_server.faults.log) == 1
    assert caplog.text.count("Hub acme/tiny: using the cached commit") == 1
    start = time.monotonic()
    with pytest.raises(BackboneError, match="no response within 1 s"):
        fetch("acme/absent", None, only=list(wanted))
    assert time.monotonic() - start < 1.5
