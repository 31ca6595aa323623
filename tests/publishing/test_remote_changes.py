"""What an owner does with a task on the Hub: alias, deprecate, remove, rename, and who notices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapterhub.errors import (
    RegistryError,
    RemoteAccessError,
    RemoteNotFoundError,
    RemovedTaskError,
    UnknownTaskError,
    UsageError,
)
from adapterhub.publishing.publication import CommitOptions, PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.publishing.remote_changes import RemoteChange, change_repository
from adapterhub.remote.pin import Updated, pin, update
from adapterhub.remote.repository import find_task, read_remote
from adapterhub.store import changes
from adapterhub.store.changes import Change
from adapterhub.store.editing import change_registry
from adapterhub.store.entries import RegistryContent
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import parse_registry, read_registry, task_info
from tests.hubserver.faults import LOST, RESET, Fault, status
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO, put, to_publish

pytestmark = pytest.mark.slow


def fetched(name: str) -> bytes:
    return read_remote(find_task(parse_reference(name)))


def apply(change: Change, *, alias: str | None = None, **options: object) -> RemoteChange:
    return change_repository(
        REPO, change, "Change", CommitOptions.model_validate(options), alias=alias
    )


def content(server: HubServer, revision: str = "main") -> RegistryContent:
    return parse_registry(server.files(REPO, revision)["registry.yaml"], Path("registry.yaml"))


def updated(registry: Path) -> Updated:
    """Returns what an update does with the only pinned task."""
    (done,) = update(read_registry(registry), (), allow_older=False)
    return done


@pytest.fixture
def pinned(hub_server: HubServer, tmp_path: Path) -> Path:
    """Returns a registry that has version 2 of `spam` from the Hub; `ham` is beside it there."""
    put("spam", "ham")
    put("spam", seed=1)
    registry = tmp_path / "mine" / "registry.yaml"
    pin(registry, f"{REPO}:spam")
    return registry


def test_an_alias_moves_in_one_commit(hub_server: HubServer) -> None:
    publish(REPO, [to_publish("spam", alias="prod")], PublishOptions(tag="v1"))
    put("spam", seed=1)
    parent = hub_server.repository(REPO).resolve("main").oid
    done = apply(changes.set_alias("spam", "prod", "2"), alias="prod")
    newest = hub_server.repository(REPO).resolve("main")
    assert (newest.oid, newest.parent, newest.title) == (done.commit, parent, "Change")
    assert set(done.written) == {"registry.yaml", "README.md"}
    assert fetched(f"{REPO}:spam@prod") == to_publish("spam", seed=1).data
    assert b"`@prod` is 2" in hub_server.files(REPO)["README.md"]
    again = apply(changes.set_alias("spam", "prod", "2"), alias="prod")
    assert (again.written, again.commit) == ((), done.commit)
    for change, alias, problem in (
        (changes.set_alias("spam", "v1", "1"), "v1", "'v1' is a tag of acme/heads"),
        (changes.set_alias("spam", "prod", "3"), "prod", "Unknown version of 'spam' in .* '3'"),
        (changes.set_alias("spa", "prod", "1"), "prod", "Unknown task of .* 'spa'"),
    ):
        with pytest.raises(UsageError, match=problem):
            apply(change, alias=alias)
    apply(changes.remove_alias("spam", "prod"))
    assert content(hub_server).tasks["spam"].aliases == {}
    with pytest.raises(UnknownTaskError, match="alias of 'spam'"):
        apply(changes.remove_alias("spam", "prod"))


@pytest.mark.parametrize("fault", [LOST, RESET, status(503)], ids=lambda fault: fault.kind)
def test_a_change_survives_what_the_hub_does(hub_server: HubServer, fault: Fault) -> None:
    put("spam", "ham")
    hub_server.faults.add("POST", "/commit/main", fault)
    done = apply(changes.remove("spam", None, "Wrong."))
    assert done.commit == hub_server.repository(REPO).resolve("main").oid
    assert "heads/spam.safetensors" in done.deleted
    assert list(content(hub_server).tasks) == ["ham"]
    assert len(hub_server.repository(REPO).history()) == 3


def test_publishers_and_owners_race(hub_server: HubServer) -> None:
    put("spam", "ham")

    def work(number: int) -> None:
        if number % 2:
            put(f"task-{number}")
        else:
            apply(changes.set_alias("spam", f"alias-{number}", "1"), alias=f"alias-{number}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    found = content(hub_server).tasks
    assert set(found["spam"].aliases) == {"alias-0", "alias-2", "alias-4"}
    assert set(found) == {"ham", "spam", "task-1", "task-3", "task-5"}


def test_a_removed_task_is_gone_with_its_files(hub_server: HubServer, pinned: Path) -> None:
    before = pinned.read_bytes()
    done = apply(changes.remove("spam", None, "Trained on test rows.", "ham"))
    files = hub_server.files(REPO)
    assert {"heads/spam.safetensors", "heads/spam.2.safetensors"} <= set(done.deleted)
    assert [path for path in files if "spam" in path] == []
    assert b"spam" not in files["README.md"]
    with pytest.raises(RemovedTaskError, match="was removed by its owner: Trained on test rows"):
        fetched(f"{REPO}:spam")
    found = updated(pinned)
    assert found.state == "removed"
    assert "was removed by its owner: Trained on test rows. Use 'acme/heads:ham' instead." in (
        found.problem or ""
    )
    assert "'spam' stays here as it is" in (found.problem or "")
    assert pinned.read_bytes() == before
    with pytest.raises(RemovedTaskError):
        pin(pinned, f"{REPO}:spam", name="other")
    put("spam", seed=7)
    assert list(content(hub_server).tasks["spam"].versions) == [3]
    assert updated(pinned).state == "updated"
    assert sorted(read_registry(pinned).tasks["spam"].versions) == [1, 2]


def test_the_number_of_a_removed_version_is_not_used_again(
    hub_server: HubServer, pinned: Path
) -> None:
    apply(changes.remove("spam", 2, "Wrong labels"))
    files = hub_server.files(REPO)
    assert "heads/spam.2.safetensors" not in files
    assert fetched(f"{REPO}:spam") == to_publish("spam").data
    with pytest.raises(RemovedTaskError, match=r"Version 2 of 'spam' in .*: Wrong labels"):
        fetched(f"{REPO}:spam:2")
    found = updated(pinned)
    assert (found.state, found.origin.version) == ("removed", 2)
    assert "Wrong labels" in (found.problem or "")
    assert "--allow-older" in (found.problem or "")
    put("spam", seed=4)
    assert sorted(content(hub_server).tasks["spam"].versions) == [1, 3]
    assert updated(pinned).state == "updated"


def test_versions_of_a_removed_task_stay_removed_when_its_name_is_published_again(
    hub_server: HubServer, pinned: Path, tmp_path: Path
) -> None:
    fixed = tmp_path / "fixed" / "registry.yaml"
    pin(fixed, f"{REPO}:spam:1")
    apply(changes.remove("spam", None, "Wrong labels"))
    put("spam", seed=4)
    assert updated(pinned).origin.version == 3
    found = updated(fixed)
    assert found.state == "removed"
    assert "Version 1 of 'spam'" in (found.problem or "")
    assert "Wrong labels" in (found.problem or "")
    with pytest.raises(RemovedTaskError, match="Wrong labels"):
        fetched(f"{REPO}:spam:2")


def test_a_copy_says_what_its_owner_says(
    hub_server: HubServer, pinned: Path, tmp_path: Path
) -> None:
    def said(registry: Path, name: str = "spam") -> str | None:
        return task_info(read_registry(registry), name).deprecated

    fixed, late = (tmp_path / name / "registry.yaml" for name in ("fixed", "late"))
    pin(fixed, f"{REPO}:spam:1")
    before = pinned.read_bytes()
    apply(changes.deprecate("spam", "Old labels", "ham"))
    pin(late, f"{REPO}:spam", name="mine")
    assert updated(pinned).state == "current"
    assert updated(fixed).state == "fixed"
    for registry, name in ((pinned, "spam"), (fixed, "spam"), (late, "mine")):
        assert said(registry, name) == f"Old labels. Use '{REPO}:ham' instead."
    change_registry(fixed, changes.deprecate("spam", "We do not use it"))
    apply(changes.deprecate("spam", None))
    updated(pinned), updated(fixed)
    assert pinned.read_bytes() == before
    assert said(fixed) == "We do not use it."


def test_an_alias_does_not_take_the_name_of_a_branch(hub_server: HubServer) -> None:
    put("spam")
    publish(REPO, [to_publish("ham")], PublishOptions(revision="next"))
    for name in ("main", "next"):
        with pytest.raises(UsageError, match=f"'{name}' is a branch of {REPO}"):
            apply(changes.set_alias("spam", name, "1"), alias=name)
        with pytest.raises(UsageError, match=f"'{name}' is a branch of {REPO}"):
            publish(REPO, [to_publish("spam", alias=name)], PublishOptions())
    assert content(hub_server).tasks["spam"].aliases == {}


def test_the_last_task_can_go(hub_server: HubServer) -> None:
    put("spam")
    apply(changes.remove("spam", None))
    assert content(hub_server).tasks == {}
    put("ham")
    assert list(content(hub_server).tasks) == ["ham"]


def test_a_deprecated_task_loads_with_its_reason(
    hub_server: HubServer, pinned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    apply(changes.deprecate("spam", "Too old", "ham"))
    assert fetched(f"{REPO}:spam") == to_publish("spam", seed=1).data
    told = "Task 'acme/heads:spam' is deprecated: Too old. Use 'acme/heads:ham' instead."
    assert told in caplog.messages
    assert b"**Deprecated:** Too old. Use 'ham' instead." in hub_server.files(REPO)["README.md"]
    found = updated(pinned)
    assert (found.state, found.deprecated) == ("current", "Too old. Use 'acme/heads:ham' instead.")
    put("spam", seed=3)
    assert updated(pinned).state == "updated"
    apply(changes.deprecate("spam", None))
    assert b"schema: 1\n" in hub_server.files(REPO)["registry.yaml"]
    assert b"Deprecated" not in hub_server.files(REPO)["README.md"]
    assert updated(pinned).deprecated is None


def test_owners_tell_those_too_who_never_update(
    hub_server: HubServer, pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin(pinned, f"{REPO}:spam:2")
    assert updated(pinned).state == "fixed"
    apply(changes.deprecate("spam", "Too old"))
    assert (updated(pinned).state, updated(pinned).deprecated) == ("fixed", "Too old.")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert (updated(pinned).state, updated(pinned).deprecated) == ("fixed", None)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    apply(changes.remove("spam", 2, "Wrong labels"))
    found = updated(pinned)
    assert (found.state, found.origin.version) == ("removed", 2)
    assert "Wrong labels. 'spam' stays here as it is." in (found.problem or "")
    hub_server.state.delete(REPO)
    assert updated(pinned).state == "fixed"


def test_a_renamed_task_is_found_by_both_names(
    hub_server: HubServer, pinned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    apply(changes.set_alias("spam", "prod", "1"))
    hub_server.put(REPO, "peft/spam/notes.txt", b"theirs")
    apply(changes.rename("spam", "junk"))
    assert hub_server.files(REPO)["peft/spam/notes.txt"] == b"theirs"
    for name in ("spam", "junk"):
        assert fetched(f"{REPO}:{name}") == to_publish("spam", seed=1).data
        assert fetched(f"{REPO}:{name}@prod") == fetched(f"{REPO}:{name}:1")
    assert "Task 'acme/heads:spam' was renamed to 'acme/heads:junk'; use that name." in (
        caplog.messages
    )
    card = hub_server.files(REPO)["README.md"]
    assert b"adapterhub:task:junk " in card
    assert b"adapterhub:task:spam " not in card
    found = updated(pinned)
    assert (found.state, found.origin.task) == ("updated", "junk")
    assert updated(pinned).state == "current"
    assert read_registry(pinned).names() == ("spam",)
    put("junk", seed=5)
    assert updated(pinned).state == "updated"
    with pytest.raises(RegistryError, match="'spam' was renamed to 'junk' there"):
        put("spam", seed=6)
    pin(pinned.parent / "other.yaml", f"{REPO}:junk:1")
    apply(changes.remove("junk", None, "Old"))
    assert updated(pinned).state == "removed"


def test_a_change_has_the_options_of_a_commit(hub_server: HubServer) -> None:
    put("spam")
    alias = changes.set_alias("spam", "prod", "1")
    before = hub_server.files(REPO)
    dry = apply(alias, dry_run=True)
    assert (dry.commit, dry.dry_run, "registry.yaml" in dry.written) == (None, True, True)
    pull = apply(alias, create_pr=True, commit_message="Please")
    again = apply(alias, create_pr=True)
    assert pull.pull_request == again.pull_request
    assert hub_server.files(REPO) == before
    on_branch = apply(alias, revision="next", commit_message="Try it")
    assert on_branch.branch == "next"
    assert hub_server.repository(REPO).resolve("next").title == "Try it"
    assert hub_server.files(REPO) == before
    assert content(hub_server, "next").tasks["spam"].aliases == {"prod": 1}


def test_what_cannot_be_changed(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change = changes.deprecate("spam", "bad")
    with pytest.raises(RemoteNotFoundError, match="there is no such repository"):
        apply(change)
    assert hub_server.state.repositories == {}
    hub_server.state.create(REPO)
    with pytest.raises(RemoteNotFoundError, match=r"no registry\.yaml"):
        apply(change)
    put("spam", repo="acme/other")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RemoteAccessError, match="token"):
        change_repository("acme/other", change, "Change", CommitOptions())
    hub_server.accounts.add("hf_reader", "eve", role="read")
    with pytest.raises(RemoteAccessError):
        change_repository("acme/other", change, "Change", CommitOptions(token="hf_reader"))
    find_task(parse_reference("acme/other:spam"))
    assert [record for record in caplog.records if record.name == "adapterhub"] == []


def test_the_page_of_a_task_follows_it(hub_server: HubServer) -> None:
    names = [f"task-{number}" for number in range(40)]
    put(*names)
    assert "tasks/task-7.md" in hub_server.files(REPO)
    apply(changes.rename("task-7", "junk"))
    apply(changes.remove("task-8", None))
    apply(changes.deprecate("task-9", "Too old"))
    files = hub_server.files(REPO)
    assert {"tasks/junk.md", "tasks/task-9.md"} <= set(files)
    assert not {"tasks/task-7.md", "tasks/task-8.md", "heads/task-8.safetensors"} & set(files)
    card = files["README.md"].decode()
    assert "tasks/junk.md" in card
    assert "task-7" not in card
    assert "task-8" not in card
    assert "**Deprecated:** Too old." in card
