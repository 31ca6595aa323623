"""Transfers that break off or are damaged: fetched again or continued, by one rule."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.errors import RemoteContentError, RemoteUnavailableError
from adapterhub.remote import calls, session
from adapterhub.remote.calls import SILENT_TRIES, TRIES
from adapterhub.remote.find import find_all
from tests.hubserver.faults import (
    AGAIN,
    CUT,
    FLIP,
    FLIPPED_GZIP,
    MISCODED,
    SHORT,
    WHOLE,
    Fault,
    hang,
    status,
)
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO, put, to_publish
from tests.remote.filled import fill

pytestmark = pytest.mark.slow

Fresh = Callable[[], Path]

ROUTES = {
    "listing": "/revision/main",
    "registry": "resolve-cache/.*registry.yaml",
    "head": "/cdn/",
}
DAMAGES = {
    "flip": FLIP,
    "flipped-gzip": FLIPPED_GZIP,
    "miscoded": MISCODED,
    "short": SHORT,
    "cut": CUT,
}
XML = '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'


def load() -> bytes:
    return find_all([f"{REPO}:spam"], Path("none"))[0].data


@pytest.fixture
def filled(hub_server: HubServer) -> HubServer:
    fill(hub_server, REPO, "spam")
    return hub_server


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_damaged_in_transit_is_fetched_again(
    route: str, damage: str, filled: HubServer
) -> None:
    filled.faults.add("GET", ROUTES[route], DAMAGES[damage])
    assert load() == to_publish("spam").data
    assert filled.faults.count("GET", ROUTES[route]) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_card_that_was_damaged_in_transit_is_fetched_again(
    damage: str, hub_server: HubServer, fresh_home: Fresh
) -> None:
    put("spam")
    fresh_home()
    hub_server.faults.add("GET", "resolve-cache/.*README.md", DAMAGES[damage])
    hub_server.faults.add("GET", r"/api/models/acme/heads(\?|$)", DAMAGES[damage])
    put("topic")
    assert hub_server.faults.made[DAMAGES[damage].kind] == 2
    assert b"topic" in hub_server.files(REPO)["README.md"]


@pytest.mark.parametrize("code", [400, 403, 404])
def test_a_storage_that_refuses_a_link_is_asked_with_a_new_one(
    code: int, filled: HubServer
) -> None:
    filled.faults.add("GET", "/cdn/", status(code, XML), times=2)
    assert load() == to_publish("spam").data
    assert filled.faults.count("GET", "resolve/.*safetensors") == 3


def test_a_link_into_the_storage_that_has_expired_is_renewed(filled: HubServer) -> None:
    filled.state.expiring = 1
    assert load() == to_publish("spam").data
    assert filled.state.signed == 2


def test_a_link_that_always_has_expired_is_an_error_without_it(filled: HubServer) -> None:
    filled.state.expiring = 100
    with pytest.raises(RemoteUnavailableError, match="status 403, tried 5 times") as caught:
        load()
    assert "Request has expired" in str(caught.value)
    assert "signature" not in str(caught.value)
    assert filled.state.signed == TRIES


def test_an_upload_link_that_has_expired_is_renewed(hub_server: HubServer) -> None:
    hub_server.faults.add("PUT", "/lfs-store/", status(403, XML))
    put("spam")
    assert hub_server.faults.count("PUT", "/lfs-store/") == 2


def test_a_transfer_continues_where_it_broke_off(filled: HubServer) -> None:
    size = len(to_publish("spam").data)
    filled.faults.add("GET", "/cdn/", CUT, times=2)
    assert load() == to_publish("spam").data
    # Half of it came first, then half of the rest.
    first = size // 2
    wanted = [f"bytes={first}-", f"bytes={first + (size - first) // 2}-"]
    assert list(dict.fromkeys(filled.ranges)) == wanted


def test_a_storage_that_sends_all_of_it_again_is_understood(filled: HubServer) -> None:
    filled.faults.add("GET", "/cdn/", CUT)
    filled.faults.add("GET", "/cdn/", WHOLE)
    assert load() == to_publish("spam").data
    assert filled.faults.made["whole"] == 1


def test_a_body_that_is_always_cut_takes_as_many_requests_as_any_failure(
    filled: HubServer,
) -> None:
    filled.faults.add("GET", "/cdn/", CUT, times=None)
    with pytest.raises(RemoteUnavailableError, match=f"tried {TRIES} times"):
        load()
    assert filled.faults.count("GET", "/cdn/") == TRIES
    assert filled.faults.count("GET", "resolve/.*safetensors") == TRIES


def test_a_body_that_falls_silent_midway_is_waited_for_as_any_silence(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENT_SECONDS", 0.3)
    filled.faults.add("GET", "/cdn/", hang(), times=None)
    start = time.monotonic()
    with pytest.raises(RemoteUnavailableError, match=r"no data for 0.3 s, tried 3 times"):
        load()
    assert time.monotonic() - start < 0.3 * SILENT_TRIES + 1
    assert filled.faults.count("GET", "/cdn/") == SILENT_TRIES


def test_attempts_that_bring_much_of_a_file_are_not_counted(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ENOUGH_BYTES", 10)
    filled.faults.add("GET", "/cdn/", CUT, times=2 * TRIES)
    assert load() == to_publish("spam").data


def test_bytes_that_come_again_are_no_progress(
    filled: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ENOUGH_BYTES", 10)
    filled.faults.add("GET", "/cdn/", AGAIN, times=None)
    with pytest.raises(RemoteUnavailableError):
        load()
    assert filled.faults.count("GET", "/cdn/") == TRIES + 1


@pytest.mark.parametrize("fault", [FLIP, SHORT], ids=lambda fault: fault.kind)
def test_a_file_that_stays_damaged_is_not_kept(
    fault: Fault, filled: HubServer, fresh_home: Fresh
) -> None:
    home = fresh_home()
    filled.faults.add("GET", "resolve-cache", fault, times=None)
    with pytest.raises(RemoteContentError, match=r"registry\.yaml"):
        load()
    assert [path for path in home.rglob("*") if path.is_file()] == []
