"""What a refusal of the Hub says: its own reason, no secret, and nothing beside the point."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from adapterhub.errors import AdapterHubError, RemoteAccessError, RemoteError
from adapterhub.model.backbone.sources import fetch as fetch_backbone
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.remote import calls
from adapterhub.remote.calls import current_place
from adapterhub.remote.fetch import find_commit
from adapterhub.remote.large_files import Uploads
from adapterhub.remote.refs import make_branch, make_tag, read_refs
from adapterhub.remote.repository import find_task, list_files, read_remote
from adapterhub.remote.search import list_repositories
from adapterhub.remote.upload import Message, make_repository, send_commit
from adapterhub.store.references import parse_reference
from tests.hubserver.faults import Fault, status
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

REASON = "Storage quota of 100 GB reached, see the plans"
SIGNED = "https://storage.example/a/b?X-Amz-Signature=abcdef0123&X-Amz-Credential=key"
Do = Callable[[], object]


def read() -> object:
    return read_remote(find_task(parse_reference(f"{REPO}:spam")))


def listed() -> object:
    return list_files(find_commit(current_place(), REPO))


def create() -> object:
    return make_repository(current_place(), "acme/new", private=False)


def upload() -> object:
    commit = find_commit(current_place(), REPO)
    return Uploads().send(commit, {"heads/x.safetensors": b"x" * 99}, revision="main")


def commit() -> object:
    parent = find_commit(current_place(), REPO)
    return send_commit(parent, {"a.txt": b"a"}, Message("title"), uploads=Uploads())


def tag() -> object:
    return make_tag(find_commit(current_place(), REPO), "v1")


def branch() -> object:
    return make_branch(find_commit(current_place(), REPO), "dev")


def refs() -> object:
    return read_refs(find_commit(current_place(), REPO))


def search() -> object:
    return list_repositories(current_place())


READS: dict[str, tuple[Do, str, str]] = {
    "read": (read, "GET", "/resolve/.*registry"),
    "list": (listed, "GET", "/revision/[0-9a-f]{40}"),
    "refs": (refs, "GET", "/refs"),
    "search": (search, "GET", r"/api/models\?"),
}
WRITES: dict[str, tuple[Do, str, str]] = {
    "create": (create, "POST", "/repos/create"),
    "prepare": (upload, "POST", "/lfs/objects/batch"),
    "upload": (upload, "PUT", "/lfs-store"),
    "verify": (upload, "POST", "/lfs-store/verify"),
    "card": (lambda: put("ham"), "POST", "/validate-yaml"),
    "modes": (commit, "POST", "/preupload/"),
    "commit": (commit, "POST", "/commit/"),
    "tag": (tag, "POST", "/tag/"),
    "branch": (branch, "POST", "/branch/"),
}
STATUSES = (400, 401, 402, 403, 404, 413, 422, 429, 451, 500, 503)


@pytest.fixture
def hub(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    put("spam")
    monkeypatch.setattr(calls, "TRIES", 2)
    hub_server.faults.log.clear()
    return hub_server


def said(do: Do) -> str:
    with pytest.raises(AdapterHubError) as caught:
        do()
    return str(caught.value)


def check(text: str, code: int) -> None:
    """Checks what holds for each message."""
    assert "quota of 100 GB reached" in text, text
    for secret in (TOKEN, "Signature", "abcdef0123", "X-Amz", "signature=x"):
        assert secret not in text, text
    assert len(text.splitlines()) == 1, text
    if code in (403, 404):
        assert not re.search("connection|reach(ed|able) the|out of reach", text), text


@pytest.mark.slow
@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_each_refusal_says_the_reason_of_the_hub(name: str, hub: HubServer) -> None:
    do, method, path = {**READS, **WRITES}[name]
    for code in STATUSES:
        hub.faults.clear()
        hub.faults.add(method, path, status(code, f"{REASON} {SIGNED} {TOKEN}"), times=None)
        text = said(do)
        check(text, code)
        assert name in WRITES or "write" not in text
        assert "may not write for 'http" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", READS)
def test_reading_without_a_token_asks_for_none_that_may_write(
    name: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    do, method, path = READS[name]
    for code in STATUSES:
        hub.faults.clear()
        hub.faults.add(method, path, status(code, REASON), times=None)
        text = said(do)
        check(text, code)
        assert "write" not in text
        assert code not in (401, 403) or "hf auth login" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["create", "commit", "tag"])
def test_writing_without_a_token_asks_for_one(
    name: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RemoteAccessError, match="needs a token that may write") as caught:
        WRITES[name][0]()
    assert caught.value.reason == "no-token"


def test_what_the_check_of_the_card_found_is_said_line_by_line(hub: HubServer) -> None:
    hub.faults.add(
        "POST",
        "/validate-yaml",
        Fault(
            "body",
            (
                400,
                {
                    "errors": [
                        {"message": '"license" must be one of [apache-2.0, mit]'},
                        {"message": '"language[0]" must only contain lowercase characters'},
                    ],
                    "warnings": [],
                },
            ),
        ),
    )
    text = said(lambda: put("ham"))
    assert "the Hub refuses the front matter of README.md" in text
    assert '"license" must be one of [apache-2.0, mit]' in text
    assert '"language[0]" must only contain lowercase characters' in text
    assert hub.faults.count("PUT", "") == 1


def test_what_a_storage_refuses_in_a_batch_is_said(hub: HubServer) -> None:
    oid = to_publish("ham", seed=3).sha256
    refusal = {"oid": oid, "size": 1, "error": {"code": 422, "message": REASON}}
    hub.faults.add("POST", "/lfs/objects/batch", Fault("body", (200, {"objects": [refusal]})))
    text = said(lambda: publish(REPO, [to_publish("ham", seed=3)], DEFAULTS))
    check(text, 422)
    assert "heads/ham.safetensors" in text


@pytest.mark.parametrize(("do", "path"), [(tag, "/tag/"), (branch, "/branch/")])
def test_a_conflict_with_something_else_is_no_ref_that_exists(
    do: Do, path: str, hub: HubServer
) -> None:
    hub.faults.add("POST", path, status(409, REASON))
    check(said(do), 409)


@pytest.mark.slow
@pytest.mark.parametrize("code", [400, 403, 429, 500, 503])
@pytest.mark.parametrize("path", ["/cdn/", "/resolve/.*safetensors"])
def test_a_reason_that_is_in_the_body_only_is_said(code: int, path: str, hub: HubServer) -> None:
    xml = f"<?xml version='1.0'?><Error><Code>X</Code><Message>{REASON}</Message></Error>"
    body = xml if path == "/cdn/" else {"error": REASON}
    hub.faults.add("*", path, Fault("body", (code, body)), times=None)
    check(said(read), code)


def test_a_page_of_a_proxy_is_not_repeated(hub: HubServer) -> None:
    page = Fault("body", (403, "<html><body>Blocked by policy</body></html>"))
    hub.faults.add("GET", "/refs", page, times=None)
    text = said(refs)
    assert "<" not in text
    assert "403" in text


@pytest.mark.slow
@pytest.mark.parametrize("code", [401, 403, 404])
@pytest.mark.parametrize("has_token", [True, False])
def test_a_backbone_that_is_refused_says_why(
    code: int, has_token: bool, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_token:
        monkeypatch.delenv("HF_TOKEN")
    hub.faults.add("GET", "/api/models/acme/tiny", status(code, f"{REASON} {SIGNED}"), times=None)
    text = said(lambda: fetch_backbone("acme/tiny", None, only=["config.json"]))
    assert not re.search("connection|cannot be reached|abcdef0123", text), text
    if code == 403:
        check(text, code)


def test_nobody_may_write_for_an_endpoint(hub: HubServer) -> None:
    hub.faults.add("GET", r"/api/models\?", status(403, REASON), times=None)
    with pytest.raises(RemoteError, match="listing repositories was refused for 'alice'"):
        search()


def test_a_pull_request_that_is_refused_repeats_the_reason(hub: HubServer) -> None:
    hub.faults.add("POST", "/commit/", status(403, "Discussions are disabled"), times=None)
    with pytest.raises(RemoteError, match="Discussions are disabled"):
        publish(REPO, [to_publish("topic")], PublishOptions(create_pr=True))
