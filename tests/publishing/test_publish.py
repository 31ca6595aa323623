"""Publications: whole or absent, none lost, none twice, whatever the Hub and others do."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from adapterhub.errors import (
    RegistryError,
    RemoteContentError,
    RemoteError,
    RemoteUnavailableError,
    UsageError,
)
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.remote.operation import TIMEOUT_VARIABLE
from adapterhub.remote.repository import find_task, read_remote
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import parse_registry
from tests.builders import backbone_spec
from tests.hubserver.faults import LOST, RESET, Fault, stall, status
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

ROUTES = {
    "look for the repository": ("GET", r"/api/models/acme/heads(\?blobs=true)?$"),
    "make the repository": ("POST", "/api/repos/create"),
    "check the card": ("POST", "/api/validate-yaml"),
    "ask how to upload": ("POST", "/preupload/"),
    "ask where to upload": ("POST", "/lfs/objects/batch"),
    "upload": ("PUT", "/lfs-store/"),
    "verify": ("POST", "/lfs-store/verify"),
    "commit": ("POST", "/commit/main"),
}


def registry_of(server: HubServer, revision: str = "main") -> dict[str, tuple[int, ...]]:
    """Returns the versions of every task in the repository."""
    content = parse_registry(server.files(REPO, revision)["registry.yaml"], Path("registry.yaml"))
    return {name: tuple(sorted(entry.versions)) for name, entry in content.tasks.items()}


def fetched(name: str) -> bytes:
    return read_remote(find_task(parse_reference(name)))


def test_one_commit_holds_everything(hub_server: HubServer) -> None:
    tasks = [to_publish("spam"), to_publish("topic", "multi_label", seed=1)]
    done = publish(REPO, tasks, PublishOptions(private=True, tag="v1"))
    assert [commit.title for commit in hub_server.repository(REPO).history()] == [
        "Publish spam, topic",
        "initial commit",
    ]
    assert done.commit == hub_server.repository(REPO).tags["v1"]
    assert [(task.name, task.version, task.is_new) for task in done.tasks] == [
        (f"{REPO}:spam", 1, True),
        (f"{REPO}:topic", 1, True),
    ]
    assert set(hub_server.files(REPO)) == {*done.files, ".gitattributes"}
    assert hub_server.files(REPO)["heads/spam.safetensors"] == tasks[0].data
    assert hub_server.repository(REPO).private
    assert [fetched(task.name) for task in done.tasks] == [task.data for task in tasks]


def test_what_is_there_already_makes_no_commit(hub_server: HubServer) -> None:
    put("spam")
    before = hub_server.repository(REPO).resolve("main").oid
    done = publish(REPO, [to_publish("spam")], DEFAULTS)
    assert (done.commit, done.files, done.tasks[0].is_new) == (before, (), False)
    put("spam", seed=1)
    put("spam", seed=0)
    assert registry_of(hub_server) == {"spam": (1, 2)}
    assert len(hub_server.repository(REPO).history()) == 3


def test_versions_stay_and_aliases_move(hub_server: HubServer) -> None:
    for seed in (0, 1, 0):
        publish(REPO, [to_publish("spam", seed=seed, alias="prod")], DEFAULTS)
    assert registry_of(hub_server) == {"spam": (1, 2)}
    assert fetched(f"{REPO}:spam@prod") == to_publish("spam", seed=0).data
    assert fetched(f"{REPO}:spam") == to_publish("spam", seed=1).data
    assert fetched(f"{REPO}:spam:1") == to_publish("spam", seed=0).data


def test_a_tag_names_a_commit(hub_server: HubServer) -> None:
    publish(REPO, [to_publish("spam")], PublishOptions(tag="v1"))
    put("spam", seed=1)
    assert fetched(f"{REPO}:spam@v1") == fetched(f"{REPO}@v1:spam") == to_publish("spam").data
    again = publish(REPO, [to_publish("spam", seed=1)], PublishOptions(tag="v2"))
    assert (again.files, again.tag) == ((), "v2")
    with pytest.raises(RemoteError, match=r"'v1' is at commit .* already, and tags do not move"):
        publish(REPO, [to_publish("spam", seed=2)], PublishOptions(tag="v1"))


def test_a_name_after_at_means_one_thing(hub_server: HubServer) -> None:
    publish(REPO, [to_publish("spam", alias="prod")], PublishOptions(tag="v1"))
    with pytest.raises(UsageError, match="'prod' is an alias in acme/heads"):
        publish(REPO, [to_publish("topic")], PublishOptions(tag="prod"))
    with pytest.raises(UsageError, match="'v1' is a tag of acme/heads"):
        publish(REPO, [to_publish("topic", alias="v1")], DEFAULTS)


def test_a_pull_request_changes_nothing_else_and_is_opened_once(hub_server: HubServer) -> None:
    put("spam")
    before = hub_server.files(REPO)
    hub_server.faults.add("POST", "/commit/main", LOST)
    done = publish(REPO, [to_publish("topic")], PublishOptions(create_pr=True))
    again = publish(REPO, [to_publish("topic")], PublishOptions(create_pr=True))
    assert done.pull_request == again.pull_request == f"{hub_server.url}/{REPO}/discussions/1"
    assert hub_server.files(REPO) == before
    assert registry_of(hub_server, "refs/pr/1") == {"spam": (1,), "topic": (1,)}
    assert list(hub_server.repository(REPO).pulls) == ["refs/pr/1"]
    assert fetched(f"{REPO}@refs/pr/1:topic") == to_publish("topic").data


def test_a_dry_run_sends_nothing(hub_server: HubServer) -> None:
    done = publish(REPO, [to_publish("spam")], PublishOptions(dry_run=True, tag="v1"))
    assert done.dry_run
    assert done.commit is None
    assert "heads/spam.safetensors" in done.files
    assert hub_server.state.repositories == {}
    put("spam")
    hub_server.faults.log.clear()
    publish(REPO, [to_publish("topic")], PublishOptions(dry_run=True))
    assert {method for method, _ in hub_server.faults.log} <= {"GET", "HEAD"}


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "faults",
    [(status(500), status(503), status(504)), (RESET,), (LOST,)],
    ids=["three-times", "reset", "lost"],
)
def test_trouble_that_passes_is_waited_for(
    route: str, faults: tuple[Fault, ...], hub_server: HubServer
) -> None:
    for fault in faults:
        hub_server.faults.add(*ROUTES[route], fault)
    put("spam")
    assert sum(hub_server.faults.made.values()) == len(faults)
    assert registry_of(hub_server) == {"spam": (1,)}
    assert len(hub_server.repository(REPO).history()) == 2
    assert fetched(f"{REPO}:spam") == to_publish("spam").data


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_trouble_that_stays_names_the_call_and_publishes_nothing(
    route: str, hub_server: HubServer
) -> None:
    hub_server.faults.add(*ROUTES[route], status(503), times=None)
    with pytest.raises(RemoteUnavailableError, match="status 503, tried 5 times") as caught:
        put("spam")
    assert any(
        doing in str(caught.value)
        for doing in (
            "committing",
            "creating the repository",
            "reading the newest commit",
            "preparing the upload",
            "uploading heads/spam.safetensors",
        )
    )
    repository = hub_server.state.repositories.get(REPO)
    assert repository is None or len(repository.history()) == 1


def test_a_commit_whose_answer_is_lost_is_found(hub_server: HubServer) -> None:
    put("spam")
    hub_server.faults.add("POST", "/commit/main", LOST)
    done = publish(REPO, [to_publish("topic")], DEFAULTS)
    assert done.commit == hub_server.repository(REPO).resolve("main").oid
    assert done.tasks[0].is_new
    assert "heads/topic.safetensors" in done.files
    assert len(hub_server.repository(REPO).history()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("route", ["look for the repository", "upload", "commit"])
def test_a_silent_hub_is_not_waited_for_beyond_the_limit(
    route: str, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.6")
    hub_server.faults.add(*ROUTES[route], stall(), times=None)
    start = time.monotonic()
    with pytest.raises(RemoteUnavailableError):
        put("spam")
    assert time.monotonic() - start <= 0.6 + 1


def test_a_repository_that_is_being_made_is_waited_for(hub_server: HubServer) -> None:
    busy = "Cannot create repo: another conflicting operation is in progress"
    hub_server.faults.add("POST", "/api/repos/create", status(409, busy), times=3)
    put("spam")
    assert hub_server.faults.count("POST", "/api/repos/create") == 4
    hub_server.faults.add("POST", "/api/repos/create", status(409, busy), times=None)
    with pytest.raises(RemoteUnavailableError, match=r"creating the repository failed: .* 409"):
        put("spam", repo="acme/others")


@pytest.mark.slow
def test_many_publishers_of_one_task_make_one_version_each(hub_server: HubServer) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: put("spam", seed=seed), range(6)))
    assert registry_of(hub_server) == {"spam": (1, 2, 3, 4, 5, 6)}
    assert {fetched(f"{REPO}:spam:{version}") for version in range(1, 7)} == {
        to_publish("spam", seed=seed).data for seed in range(6)
    }


def test_what_does_not_fit_is_refused_and_nothing_sent(hub_server: HubServer) -> None:
    put("spam")
    other = backbone_spec(fingerprint=f"sha256:{'cd' * 32}", name="acme/other", revision="a" * 40)
    before = hub_server.files(REPO)
    with pytest.raises(RegistryError, match="task 'spam' is single_label on the backbone"):
        publish(REPO, [to_publish("spam", backbone=other)], DEFAULTS)
    with pytest.raises(RegistryError, match="a version that is multi_label"):
        publish(REPO, [to_publish("spam", "multi_label")], DEFAULTS)
    assert hub_server.files(REPO) == before


def test_a_repository_with_pickles_is_refused(
    hub_server: HubServer, fresh_home: Callable[[], Path]
) -> None:
    put("spam")
    hub_server.put(REPO, "old/pytorch_model.BIN", b"\x80\x04")
    fresh_home()
    with pytest.raises(RemoteContentError, match=r"it holds old/pytorch_model.BIN"):
        put("topic")
    with pytest.raises(RemoteContentError, match=r"it holds old/pytorch_model.BIN"):
        fetched(f"{REPO}:spam")


def test_a_registry_with_a_path_out_of_it_is_refused(hub_server: HubServer) -> None:
    put("spam")
    data = hub_server.files(REPO)["registry.yaml"]
    hub_server.put(REPO, "registry.yaml", data.replace(b"heads/spam", b"../../spam"))
    for publishing in (lambda: put("topic"), lambda: fetched(f"{REPO}:spam")):
        with pytest.raises(RegistryError, match=r"acme/heads@.*plain path below"):
            publishing()


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        (b"# Caf\xe9\n", r"README.md is not UTF-8 \(line 1\)"),
        (b"---\na: &x 1\n---\n", "front matter of its README.md cannot be kept: anchors"),
        (b"---\n- a\n---\n", "is not a mapping"),
    ],
    ids=["latin-1", "anchor", "list"],
)
def test_a_card_that_cannot_be_kept_is_refused(
    card: bytes, problem: str, hub_server: HubServer
) -> None:
    put("spam")
    hub_server.put(REPO, "README.md", card)
    with pytest.raises(RemoteContentError, match=problem):
        put("topic")
    assert hub_server.files(REPO)["README.md"] == card


@pytest.mark.parametrize(
    ("repo", "changes", "problem"),
    [
        ("heads", {}, "write owner/name"),
        ("../heads/x", {}, "write owner/name"),
        (REPO, {"tag": "a b"}, "The tag 'a b' is not allowed"),
        (REPO, {"tag": "f" * 40}, "is not allowed"),
        (REPO, {"tag": "v1", "create_pr": True}, "a pull request is not yet"),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(
    repo: str, changes: dict[str, object], problem: str, hub_server: HubServer
) -> None:
    with pytest.raises(UsageError, match=problem):
        publish(repo, [to_publish("spam")], DEFAULTS.model_copy(update=changes))
    with pytest.raises(UsageError, match="Two tasks would both be 'spam'"):
        publish(REPO, [to_publish("spam"), to_publish("spam", seed=1)], DEFAULTS)
    assert hub_server.faults.log == []


def test_nothing_is_published_offline(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RemoteUnavailableError, match="publishing needs the network"):
        put("spam")


def test_what_stood_beside_an_older_version_goes(hub_server: HubServer) -> None:
    put("spam", "spam-en")
    repository = hub_server.repository(REPO)
    beside = [
        path.format(name)
        for name in ("spam", "spam-en")
        for path in (
            "figures/{}-calibration.png",
            "figures/{}-confusion.png",
            "peft/{}/adapter_config.json",
        )
    ]
    others = ["figures/spam-notes.png", "figures/spam.png", "peft/README.md", "notes/spam.md"]
    others += [".eval_results/spam.yaml", "peft/spam/notes.txt", "peft/spam/old/README.md"]
    HfApi(hub_server.url, token=TOKEN).create_commit(
        REPO,
        [CommitOperationAdd(path, path.encode()) for path in (*beside, *others)],
        commit_message="by hand",
    )
    put("spam", seed=0)  # is there already
    assert set(hub_server.files(REPO)) >= {*beside, *others}
    done = publish(REPO, [to_publish("spam", seed=1)], DEFAULTS)
    left = set(hub_server.files(REPO))
    assert left & {*beside, *others} == {*beside[3:], *others}
    assert not set(done.files) & set(beside)
    assert len(repository.history()) == 4
