"""What goes wrong between here and the Hub: every fault is bounded, and says what it was."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.errors import (
    IntegrityError,
    RemoteContentError,
    RemoteError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    UsageError,
)
from adapterhub.remote.calls import TRIES
from adapterhub.remote.operation import TIMEOUT_VARIABLE
from adapterhub.remote.repository import RemoteTask, find_task, read_remote
from adapterhub.store.references import parse_reference
from tests.hubserver.faults import (
    CUT,
    FLIP,
    LOST,
    RESET,
    SWAP,
    Fault,
    drip,
    stall,
    status,
    without,
)
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.publishing.tasks import REPO, put, to_publish

Fresh = Callable[[], Path]

ROUTES = {
    "resolve the revision": ("GET", "/revision/main"),
    "find the registry": ("GET", "/resolve/.*registry.yaml"),
    "get the registry": ("GET", "resolve-cache/.*registry.yaml"),
    "find the head": ("GET", "/resolve/.*safetensors"),
    "get the head": ("GET", "/cdn/"),
}
PUBLISHED: dict[str, File] = {}


@pytest.fixture
def published(hub_server: HubServer, fresh_home: Fresh) -> HubServer:
    """Returns a Hub with a repository as `put("spam", "topic")` makes it, in less time."""
    if not PUBLISHED:
        put("spam", "topic")
        PUBLISHED.update(hub_server.repository(REPO).resolve("main").files)
        hub_server.state.delete(REPO)
        fresh_home()
    hub_server.fill(REPO, PUBLISHED)
    hub_server.faults.log.clear()
    return hub_server


def load(name: str = f"{REPO}:spam") -> tuple[RemoteTask, bytes]:
    task = find_task(parse_reference(name))
    return task, read_remote(task)


def cached_files(home: Path) -> list[str]:
    return sorted(
        path.name for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("codes", [(503,), (500, 502, 504)], ids=["once", "three-times"])
@pytest.mark.slow
def test_trouble_that_passes_is_waited_for(
    route: str, codes: tuple[int, ...], published: HubServer
) -> None:
    for code in codes:
        published.faults.add(*ROUTES[route], status(code))
    assert load()[1] == to_publish("spam").data
    assert published.faults.made == {"status": len(codes)}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.slow
def test_trouble_that_stays_names_the_call(route: str, published: HubServer) -> None:
    published.faults.add(*ROUTES[route], status(503), times=None)
    with pytest.raises(RemoteUnavailableError) as caught:
        load()
    assert "status 503, tried 5 times" in str(caught.value)
    named = {"head": "heads/spam.safetensors", "registry": "registry.yaml"}
    assert named.get(route.split()[-1], "") in str(caught.value)
    assert published.faults.made["status"] == TRIES


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("fault", [RESET, LOST], ids=lambda fault: fault.kind)
@pytest.mark.slow
def test_a_lost_connection_is_made_again(route: str, fault: Fault, published: HubServer) -> None:
    published.faults.add(*ROUTES[route], fault)
    assert load()[1] == to_publish("spam").data


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers", [{"Retry_After": "1"}, {"RateLimit": '"api";r=0;t=1'}], ids=["retry", "ratelimit"]
)
def test_a_rate_limit_is_waited_out_as_told(headers: dict[str, str], published: HubServer) -> None:
    published.faults.add("GET", "/revision/main", status(429, **headers))
    start = time.monotonic()
    load()
    assert time.monotonic() - start >= 1


def test_a_wait_that_is_too_long_is_not_begun(
    published: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "5")
    published.faults.add("GET", "/revision/main", status(429, Retry_After="600"))
    with pytest.raises(RemoteUnavailableError, match="The Hub asks to wait 600 s"):
        load()


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_a_silent_hub_is_not_waited_for_beyond_the_limit(
    route: str, published: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.5")
    published.faults.add(*ROUTES[route], stall(), times=None)
    start = time.monotonic()
    with pytest.raises(RemoteUnavailableError):
        load()
    # The client pauses for a second before it resumes a body.
    assert time.monotonic() - start <= 0.5 + 1.1


@pytest.mark.slow
def test_a_body_that_only_drips_is_given_up(
    published: HubServer, fresh_home: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fresh_home()
    published.put(REPO, "registry.yaml", published.files(REPO)["registry.yaml"] + b"#" * 9_000)
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.6")
    published.faults.add("GET", "resolve-cache", drip(1_000), times=None)
    start = time.monotonic()
    with pytest.raises(RemoteUnavailableError, match=r"bytes a second|took longer"):
        load()
    assert time.monotonic() - start < 3
    assert not [name for name in cached_files(home) if "incomplete" in name]


@pytest.mark.slow
@pytest.mark.parametrize("body", ["resolve-cache/.*registry", "/cdn/"])
def test_a_cut_body_is_resumed(body: str, published: HubServer) -> None:
    published.faults.add("GET", body, CUT)
    assert load()[1] == to_publish("spam").data


@pytest.mark.slow
def test_a_body_that_is_always_cut_leaves_nothing_behind(
    published: HubServer, fresh_home: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fresh_home()
    monkeypatch.setenv(TIMEOUT_VARIABLE, "1")
    published.faults.add("GET", "/cdn/", CUT, times=None)
    with pytest.raises(RemoteUnavailableError, match=r"heads/spam.safetensors"):
        load()
    data = to_publish("spam").data
    left = [
        path for path in home.rglob("*") if path.is_file() and path.read_bytes()[:64] == data[:64]
    ]
    assert left == []


@pytest.mark.parametrize("fault", [FLIP, SWAP], ids=lambda fault: fault.kind)
def test_wrong_bytes_are_fetched_once_more(fault: Fault, published: HubServer) -> None:
    published.faults.add("GET", "/cdn/", fault)
    assert load()[1] == to_publish("spam").data
    assert published.faults.count("GET", "/cdn/") == 2


@pytest.mark.parametrize("fault", [FLIP, SWAP], ids=lambda fault: fault.kind)
def test_bytes_that_stay_wrong_are_refused_and_not_kept(
    fault: Fault, published: HubServer, fresh_home: Fresh
) -> None:
    home = fresh_home()
    published.faults.add("GET", "/cdn/", fault, times=None)
    with pytest.raises(IntegrityError) as caught:
        load()
    assert to_publish("spam").sha256 in str(caught.value)
    assert published.faults.count("GET", "/cdn/") == 2
    assert to_publish("spam").sha256 not in cached_files(home)


def test_a_registry_with_a_flipped_bit_is_refused(published: HubServer) -> None:
    published.faults.add("GET", "resolve-cache/.*registry", FLIP, times=None)
    with pytest.raises(RemoteContentError, match=r"registry.yaml: its bytes have the id"):
        load()


def test_a_cache_that_rots_is_repaired(published: HubServer, fresh_home: Fresh) -> None:
    home = fresh_home()
    data = load()[1]
    blob = next(home.rglob(f"blobs/{hashlib.sha256(data).hexdigest()}"))
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert load()[1] == data


@pytest.mark.parametrize("header", ["X-Repo-Commit", "ETag"])
@pytest.mark.slow
def test_answers_without_what_identifies_them_are_asked_again(
    header: str, published: HubServer
) -> None:
    published.faults.add("GET", "registry.yaml", without(header))
    assert load()[1] == to_publish("spam").data
    published.faults.add("GET", "topic.safetensors", without("X-Repo-Commit"), times=None)
    with pytest.raises(RemoteUnavailableError, match="X-Repo-Commit"):
        load(f"{REPO}:topic")


@pytest.mark.parametrize("name", [REPO, f"{REPO}@main"])
@pytest.mark.slow
def test_with_the_hub_away_the_cache_answers_and_says_so(
    name: str, published: HubServer, caplog: pytest.LogCaptureFixture
) -> None:
    before = load(f"{name}:spam")
    published.faults.add("*", "", RESET, times=None)
    with caplog.at_level(logging.WARNING, "adapterhub"):
        task, data = load(f"{name}:spam")
    assert (task.commit.oid, data) == (before[0].commit.oid, before[1])
    assert task.commit.from_cache
    assert f"Hub {REPO}: using the cached commit {task.commit.oid[:12]}" in caplog.text


def test_a_commit_that_is_cached_asks_nobody(published: HubServer) -> None:
    commit = load()[0].commit.oid
    load(f"{REPO}:spam@{commit}")
    published.faults.log.clear()
    load(f"{REPO}:spam@{commit}")
    load(f"{REPO}@{commit}:spam")
    assert published.faults.log == []


def test_offline_uses_the_cache_alone(
    published: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load()
    published.faults.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with caplog.at_level(logging.WARNING, "adapterhub"):
        assert load()[1] == to_publish("spam").data
    assert "HF_HUB_OFFLINE is set" in caplog.text
    with pytest.raises(
        RemoteUnavailableError, match=r"heads/topic.safetensors is not in the cache"
    ):
        load(f"{REPO}:topic")
    with pytest.raises(RemoteUnavailableError, match="it is not in the cache"):
        load("acme/others:spam")
    assert published.faults.log == []


def test_a_damaged_cache_is_dropped_offline_too(
    published: HubServer, fresh_home: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fresh_home()
    data = load()[1]
    blob = next(home.rglob(f"blobs/{hashlib.sha256(data).hexdigest()}"))
    blob.write_bytes(b"rotten")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RemoteUnavailableError, match="was damaged, so it was removed"):
        load()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert load()[1] == data


def test_nothing_cached_and_nobody_there(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteUnavailableError, match=r"out of reach: .*the connection failed"):
        load()


def test_a_repository_that_moved_is_followed(published: HubServer) -> None:
    published.state.move(REPO, "acme/renamed")
    assert load()[1] == to_publish("spam").data


def test_a_repository_that_was_made_anew_does_not_have_the_old_commit(
    published: HubServer, fresh_home: Fresh
) -> None:
    commit = load()[0].commit.oid
    published.state.delete(REPO)
    put("spam", seed=1)
    fresh_home()
    with pytest.raises(RemoteNotFoundError, match="there is no such commit"):
        load(f"{REPO}:spam@{commit}")


def test_the_limit_must_be_a_number(published: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "soon")
    with pytest.raises(UsageError, match=f"{TIMEOUT_VARIABLE} is 'soon'"):
        load()


def test_other_users_of_the_client_keep_its_ways(published: HubServer) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    load()
    published.faults.add("GET", "/api/models", status(503))
    with pytest.raises(HfHubHTTPError):
        HfApi(published.url).model_info(REPO)


def test_every_error_has_the_exit_code_of_the_hub(published: HubServer) -> None:
    with pytest.raises(RemoteError) as caught:
        load("acme/absent:spam")
    assert caught.value.exit_code == 4
