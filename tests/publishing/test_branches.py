"""Publishing to a branch, with a message and a token of one's own."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from huggingface_hub import HfApi

from adapterhub.errors import RemoteAccessError, RemoteError, RemoteNotFoundError, UsageError
from adapterhub.option_models import parse_options
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.remote.repository import find_task, read_remote
from adapterhub.store.references import parse_reference
from tests.hubserver.faults import LOST
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

pytestmark = pytest.mark.slow

OTHER = "hf_bobsSecretToken9876543210"


def fetched(name: str) -> bytes:
    return read_remote(find_task(parse_reference(name)))


def test_a_branch_is_made_from_main_and_main_stays(hub_server: HubServer) -> None:
    put("spam")
    main = hub_server.repository(REPO).resolve("main").oid
    on_branch = PublishOptions(revision="feature/next", tag="rc1")
    done = publish(REPO, [to_publish("topic")], on_branch)
    again = publish(REPO, [to_publish("spam", seed=1)], PublishOptions(revision="feature/next"))
    branch = hub_server.repository(REPO).history("feature/next")
    assert [commit.title for commit in branch[:3]] == [
        "Publish spam",
        "Publish topic",
        "Publish spam",
    ]
    assert branch[2].oid == main == hub_server.repository(REPO).resolve("main").oid
    assert (done.branch, done.tasks[0].name) == (
        "feature/next",
        f"{REPO}@feature/next:topic",
    )
    assert hub_server.repository(REPO).tags["rc1"] == done.commit
    assert again.tasks[0].version == 2
    assert fetched(done.tasks[0].name) == to_publish("topic").data
    assert fetched(f"{REPO}:spam") == to_publish("spam").data


def test_a_branch_of_a_repository_that_is_not_there(hub_server: HubServer) -> None:
    dry = publish(REPO, [to_publish("spam")], PublishOptions(revision="dev", dry_run=True))
    assert (dry.commit, hub_server.state.repositories) == (None, {})
    hub_server.faults.add("POST", "/branch/dev", LOST)
    publish(REPO, [to_publish("spam")], PublishOptions(revision="dev"))
    assert set(hub_server.files(REPO)) == {".gitattributes"}
    assert "heads/spam.safetensors" in hub_server.files(REPO, "dev")
    publish(REPO, [to_publish("spam")], PublishOptions(revision="main"))
    assert "heads/spam.safetensors" in hub_server.files(REPO)


def test_several_publishers_make_one_branch(hub_server: HubServer) -> None:
    def work(number: int) -> None:
        publish(REPO, [to_publish(f"task-{number}")], PublishOptions(revision="next"))

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(work, range(5)))
    heads = {path for path in hub_server.files(REPO, "next") if path.startswith("heads/")}
    assert heads == {f"heads/task-{number}.safetensors" for number in range(5)}
    assert set(hub_server.files(REPO)) == {".gitattributes"}


def test_a_dry_run_makes_no_branch(hub_server: HubServer) -> None:
    put("spam")
    done = publish(REPO, [to_publish("topic")], PublishOptions(revision="dev", dry_run=True))
    assert "heads/topic.safetensors" in done.files
    assert list(hub_server.repository(REPO).branches) == ["main"]


def test_a_commit_is_added_to_a_pull_request_that_is_there(hub_server: HubServer) -> None:
    put("spam")
    publish(REPO, [to_publish("topic")], PublishOptions(create_pr=True))
    done = publish(REPO, [to_publish("ham")], PublishOptions(revision="refs/pr/1"))
    assert fetched(f"{REPO}@refs/pr/1:ham") == to_publish("ham").data
    assert fetched(f"{REPO}@refs/pr/1:topic") == to_publish("topic").data
    assert done.branch == "refs/pr/1"
    assert "heads/ham.safetensors" not in hub_server.files(REPO)
    with pytest.raises(RemoteNotFoundError, match="there is no such pull request"):
        publish(REPO, [to_publish("ham")], PublishOptions(revision="refs/pr/2"))


@pytest.mark.parametrize("status", ["closed", "merged", "draft"])
@pytest.mark.parametrize("name", ["topic", "ham"])
def test_a_commit_is_added_to_open_pull_requests_only(
    status: str, name: str, hub_server: HubServer
) -> None:
    put("spam")
    publish(REPO, [to_publish("topic")], PublishOptions(create_pr=True))
    hub_server.repository(REPO).ended["1"] = status
    commits = len(hub_server.repository(REPO).commits)
    options = PublishOptions(revision="refs/pr/1")
    if status == "draft":
        publish(REPO, [to_publish(name)], options)
        return
    with pytest.raises(RemoteError, match=f"that pull request is {status}.* --create-pr"):
        publish(REPO, [to_publish(name)], options)
    assert len(hub_server.repository(REPO).commits) == commits


def test_a_branch_is_no_tag_alias_or_commit(hub_server: HubServer) -> None:
    publish(REPO, [to_publish("spam", alias="prod")], PublishOptions(tag="v1"))
    for given, problem in {
        "v1": "'v1' is a tag of acme/heads; a commit goes to a branch",
        "prod": "'prod' is an alias in acme/heads, so it cannot be a branch",
        "0" * 40: "is not allowed",
        "a..b": "is not allowed",
        "a/": "is not allowed",
        "refs/heads/dev": "is not allowed",
        "dev.lock": "is not allowed",
        "HEAD": "is not allowed",
        "": "is not allowed",
    }.items():
        with pytest.raises(UsageError, match=problem):
            publish(REPO, [to_publish("topic")], PublishOptions(revision=given))
    with pytest.raises(UsageError, match="opened against main"):
        publish(REPO, [to_publish("topic")], PublishOptions(revision="dev", create_pr=True))
    with pytest.raises(UsageError, match="cannot be a tag and a branch"):
        publish(REPO, [to_publish("topic")], PublishOptions(revision="dev", tag="dev"))


def test_the_message_is_the_one_that_is_given(hub_server: HubServer) -> None:
    given = {"commit_message": "Faster spam\n\nTrained anew.", "commit_description": "By Ann."}
    publish(REPO, [to_publish("spam")], PublishOptions.model_validate(given))
    newest = hub_server.repository(REPO).resolve("main")
    assert (newest.title, newest.description) == ("Faster spam", "Trained anew.\n\nBy Ann.")
    with pytest.raises(UsageError, match="commit message is empty"):
        publish(REPO, [to_publish("spam")], PublishOptions(commit_message=" \n"))


def test_a_token_of_ones_own_is_used_and_not_shown(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_server.accounts.add(OTHER, "bob")
    options = PublishOptions(token=OTHER)
    publish("bob/heads", [to_publish("spam")], options)
    assert hub_server.repository("bob/heads").resolve("main").author == "bob"
    monkeypatch.delenv("HF_TOKEN")
    publish(REPO, [to_publish("spam")], PublishOptions(token=TOKEN))
    with pytest.raises(RemoteAccessError, match="'bob' may not write") as refused:
        publish(REPO, [to_publish("topic")], options)
    hub_server.accounts.expire(OTHER)
    with pytest.raises(RemoteAccessError, match="expired") as expired:
        publish(REPO, [to_publish("topic")], options)
    for value in ("hf_with a blank", "hf_line\nbreak", "", b"hf_bytes", 12345678):
        with pytest.raises(UsageError) as wrong:
            parse_options(PublishOptions, {"token": value})
        told = "".join(traceback.format_exception(wrong.value))
        assert str(value) not in told.replace("''", "") or not value, told
        assert "hf_" not in told
    for error in (refused, expired):
        assert OTHER not in "".join(traceback.format_exception(error.value))
    assert OTHER not in f"{options!r} {options}"


def test_the_client_refuses_what_the_hub_refuses(hub_server: HubServer) -> None:
    put("spam")
    api = HfApi(hub_server.url, token=TOKEN)
    api.create_branch(REPO, branch="dev")
    with pytest.raises(Exception, match="already exists"):
        api.create_branch(REPO, branch="dev")
    api.create_branch(REPO, branch="dev", exist_ok=True)
    publish(REPO, [to_publish("ham")], DEFAULTS)
    assert "heads/ham.safetensors" not in hub_server.files(REPO, "dev")
