"""Who may not do what: five situations, five messages, and the token in none of them."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from adapterhub.errors import RemoteAccessError, RemoteError, RemoteNotFoundError
from adapterhub.remote.calls import current_place
from adapterhub.remote.repository import find_task, read_remote
from adapterhub.store.references import parse_reference
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO, put, to_publish

READER = "hf_readerSecretToken0123456789"


def load(name: str = f"{REPO}:spam") -> bytes:
    return read_remote(find_task(parse_reference(name)))


def no_token(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    put("spam")


def read_only(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.accounts.add(READER, "alice", orgs=("acme",), role="read")
    monkeypatch.setenv("HF_TOKEN", READER)
    put("spam")


def expired(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.accounts.expire(TOKEN)
    put("spam")


def namespace(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    put("spam", repo="google/heads")


def gated(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.state.create("google/gated", gated=True)
    server.put("google/gated", "registry.yaml", b"schema: 1\n")
    load("google/gated:spam")


SITUATIONS = {
    "no-token": (no_token, "there is none. Run `hf auth login`, or set HF_TOKEN"),
    "read-only": (read_only, "the token of 'alice' may only read"),
    "expired": (expired, "the token has expired or was revoked"),
    "namespace": (namespace, "'alice' may not write for 'google', only for acme, alice"),
    "gated": (gated, "it is gated: its owner requires you to accept terms first"),
}


@pytest.mark.parametrize("reason", SITUATIONS)
def test_each_situation_has_its_message_and_no_token_in_it(
    reason: str,
    hub_server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    situation, told = SITUATIONS[reason]
    with caplog.at_level(logging.DEBUG), pytest.raises(RemoteAccessError) as caught:
        situation(hub_server, monkeypatch)
    assert caught.value.reason == reason
    assert told in str(caught.value)
    output = capfd.readouterr()
    shown = "".join(traceback.format_exception(caught.value))
    for text in (shown, repr(vars(caught.value)), caplog.text, output.out, output.err):
        assert TOKEN not in text
        assert READER not in text


def test_the_messages_differ() -> None:
    assert len({told for _, told in SITUATIONS.values()}) == len(SITUATIONS) == 5


def test_the_token_is_in_no_file(hub_server: HubServer, tmp_path: Path) -> None:
    put("spam")
    load()
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()
    for data in hub_server.files(REPO).values():
        assert TOKEN.encode() not in data


def test_a_token_never_reaches_another_origin(
    hub_server: HubServer, fresh_home: Callable[[], Path]
) -> None:
    put("spam")
    hub_server.repository(REPO).private = True
    fresh_home()
    # The server that holds large files refuses every request with a token.
    assert load() == to_publish("spam").data


def test_a_private_repository_is_read_by_its_members_alone(
    hub_server: HubServer, fresh_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("spam")
    hub_server.repository(REPO).private = True
    assert load() == to_publish("spam").data
    fresh_home()
    monkeypatch.setenv("HF_TOKEN", hub_server.accounts.add("hf_bob", "bob"))
    with pytest.raises(RemoteNotFoundError, match="no such repository that 'bob' may see"):
        load()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RemoteAccessError, match="no token to look for a private one") as caught:
        load()
    assert caught.value.reason == "hidden"


def test_access_that_was_lost_is_not_hidden_by_the_cache(hub_server: HubServer) -> None:
    put("spam")
    load()
    hub_server.state.delete(REPO)
    with pytest.raises(RemoteNotFoundError):
        load()


def test_a_granted_gated_repository_opens(hub_server: HubServer) -> None:
    put("spam")
    repository = hub_server.repository(REPO)
    repository.gated = True
    repository.granted.add("alice")
    assert load() == to_publish("spam").data


def test_the_token_of_the_home_is_used(
    hub_server: HubServer, fresh_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    home = fresh_home()
    home.mkdir()
    (home / "token").write_text(TOKEN + "\n", encoding="utf-8")
    put("spam")
    assert load() == to_publish("spam").data


def test_a_refusal_with_no_known_reason_repeats_what_was_said(hub_server: HubServer) -> None:
    put("spam")
    from tests.hubserver.faults import status

    hub_server.faults.add("POST", "/commit/main", status(403), times=None)
    with pytest.raises(RemoteError, match=r"was refused for 'alice': .*switched on"):
        put("topic")


@pytest.mark.parametrize("own", [True, False], ids=["HF_HOME", "default home"])
@pytest.mark.parametrize("kind", ["folder", "bytes"])
def test_a_token_file_that_cannot_be_read_is_named(
    kind: str, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.mkdir() if kind == "folder" else path.write_bytes(b"\xff\xfe")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    if own:
        monkeypatch.setenv("HF_HOME", str(tmp_path))
    else:
        monkeypatch.delenv("HF_HOME", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    with pytest.raises(RemoteAccessError, match=r"token cannot be read: .*Make it readable"):
        current_place()


@pytest.mark.parametrize("own", [True, False], ids=["HF_HOME", "default home"])
def test_a_home_that_is_no_folder_has_no_token(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    (tmp_path / "home").write_bytes(b"")
    if own:
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    else:
        monkeypatch.delenv("HF_HOME", raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    assert current_place().token is None
