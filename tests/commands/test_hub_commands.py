"""publish, add, update and search, from the command line to the Hub and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterhub.errors import UsageError
from adapterhub.publishing.publish import publish
from adapterhub.remote import pin as pinning
from adapterhub.remote.repository import RemoteTask
from adapterhub.store import versions
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from tests.builders import backbone_entry, backbone_spec, head_tensors, task_spec
from tests.commands.conftest import Run
from tests.hubserver.faults import status
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

pytestmark = pytest.mark.slow

NAME = f"{REPO}:spam"


def origins(registry: Path, name: str = "spam") -> dict[int, int]:
    """Returns the version there by the version here."""
    versions = read_registry(registry).tasks[name].versions
    return {here: record.origin.version for here, record in versions.items() if record.origin}


def test_publish_says_what_it_did(run: Run, tiny_registry: Path, hub_server: HubServer) -> None:
    words = ("publish", "sentiment@prod", "topics", "--to", REPO, "--registry", tiny_registry)
    first = run(*words, "--tag", "v1", "--private")
    assert first.code == 0, first.err
    commit = hub_server.repository(REPO).resolve("v1").oid
    assert first.out.splitlines()[:2] == [
        f"{REPO}:sentiment  version 1 (new)",
        f"{REPO}:topics  version 1 (new)",
    ]
    assert f"in commit {commit}, tag v1" in first.out
    again = run(*words, "--json")
    assert again.value["files"] == []
    assert again.value["commit"] == commit
    assert [task["is_new"] for task in again.value["tasks"]] == [False, False]
    score = run(
        "score", "a good day", "--task", f"{REPO}:sentiment@prod", "--registry", tiny_registry
    )
    assert score.code == 0, score.err
    assert "sentiment" in score.out


def test_an_answer_from_the_cache_is_told_once(
    run: Run, tiny_registry: Path, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = run("publish", "sentiment", "--to", REPO, "--registry", tiny_registry)
    assert published.code == 0, published.err
    words = ("score", "a good day", "--task", f"{REPO}:sentiment", "--registry", tiny_registry)
    first = run(*words, "--json")
    assert "the cache" not in first.err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    second = run(*words, "--json")
    assert second.out == first.out
    told = [line for line in second.err.splitlines() if "using the cached commit" in line]
    assert len(told) == 1, second.err
    assert told[0].startswith(f"adapterhub: Hub {REPO}: ")


def test_publish_dry_run_and_pull_request(
    run: Run, tiny_registry: Path, hub_server: HubServer
) -> None:
    words = ("publish", "sentiment", "--to", REPO, "--registry", tiny_registry)
    dry = run(*words, "--dry-run")
    assert "  heads/sentiment.safetensors" in dry.out.splitlines()
    assert "Nothing was sent" in dry.out
    assert hub_server.state.repositories == {}
    pull = run(*words, "--create-pr")
    assert f"in the pull request {hub_server.url}/{REPO}/discussions/1" in pull.out


def test_publish_without_a_token_ends_with_code_4(
    run: Run, tiny_registry: Path, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    before = tiny_registry.read_bytes()
    ran = run("publish", "sentiment", "--to", REPO, "--registry", tiny_registry, "--json")
    assert ran.code == 4
    assert json.loads(ran.err)["error"] == "RemoteAccessError"
    assert tiny_registry.read_bytes() == before


def test_trouble_at_the_hub_leaves_the_registry_here_alone(
    run: Run, tiny_registry: Path, hub_server: HubServer
) -> None:
    before = tiny_registry.read_bytes()
    hub_server.faults.add("*", "", status(503), times=None)
    ran = run("publish", "sentiment", "--to", REPO, "--registry", tiny_registry)
    assert (ran.code, len(ran.err.splitlines())) == (4, 1)
    assert tiny_registry.read_bytes() == before


def test_add_pins_and_works_without_the_hub(
    run: Run, tmp_path: Path, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("spam")
    registry = tmp_path / "new" / "registry.yaml"
    added = run("add", NAME, "--as", "junk", "--registry", registry, "--json")
    assert added.code == 0, added.err
    task = to_publish("spam")
    assert (added.value["size"], added.value["sha256"]) == (len(task.data), task.sha256)
    assert added.value["origin"] == {
        "repo": REPO,
        "commit": hub_server.repository(REPO).resolve("main").oid,
        "task": "spam",
        "version": 1,
        "alias": None,
        "fixed": False,
    }
    assert Path(added.value["file"]).read_bytes() == task.data
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    shown = run("show", "junk", "--registry", registry, "--json")
    assert shown.value["sha256"] == task.sha256


def test_an_added_task_answers_under_its_name_here(
    run: Run, tiny_registry: Path, hub_server: HubServer
) -> None:
    run("publish", "sentiment", "--to", REPO, "--registry", tiny_registry)
    added = run("add", f"{REPO}:sentiment", "--as", "mood", "--registry", tiny_registry)
    assert added.code == 0, added.err
    scored = run("score", "a good day", "--task", "mood,sentiment", "--registry", tiny_registry)
    row = scored.rows[0]
    for what in ("label", "score"):
        assert row[f"mood.{what}"] == row[f"sentiment.{what}"]
    assert run("doctor", "--registry", tiny_registry).code == 0


def test_add_makes_a_registry_here_and_not_in_the_package(run: Run, hub_server: HubServer) -> None:
    put("spam")
    assert run("add", NAME).code == 0
    assert read_registry(Path("registry.yaml")).names() == ("spam",)


def test_add_takes_several_tasks_or_none(
    run: Run, tiny_registry: Path, hub_server: HubServer
) -> None:
    put("spam", "ham", "sentiment")
    words = ("--registry", tiny_registry)
    before = tiny_registry.read_bytes()
    refused = run("add", NAME, f"{REPO}:ham", f"{REPO}:sentiment", *words)
    assert refused.code == 2
    assert "The registry has a task 'sentiment'" in refused.err
    assert run("add", NAME, f"{REPO}:away", *words).code == 2
    assert run("add", NAME, f"{REPO}:ham", "--as", "junk", *words).code == 2
    assert tiny_registry.read_bytes() == before
    added = run("add", NAME, f"{REPO}:ham@{'0' * 40}", *words)
    assert (added.code, tiny_registry.read_bytes()) == (4, before)
    added = run("add", NAME, f"{REPO}:ham", *words, "--json")
    assert added.code == 0, added.err
    assert [task["task"] for task in added.value["tasks"]] == ["spam", "ham"]
    assert origins(tiny_registry, "ham") == origins(tiny_registry, "spam") == {1: 1}


def test_update_is_one_transaction_and_refuses_one_task_alone(
    run: Run, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, registry = ("eggs", "ham", "spam"), Path("registry.yaml")
    put(*names)
    run("add", *(f"{REPO}:{name}" for name in names))
    put(*names, seed=1)
    read, write = pinning.read_remote, versions.write_registry
    written = []

    def taken_over(remote: RemoteTask) -> bytes:
        monkeypatch.setattr(pinning, "read_remote", read)
        spec = task_spec(task="ham")
        key = read_registry(registry).tasks["ham"].backbone
        add_version(
            registry, spec, head_tensors(spec, 9), backbone_key=key, backbone_entry=backbone_entry()
        )
        return read(remote)

    monkeypatch.setattr(pinning, "read_remote", taken_over)
    done = run("update", "--json")
    assert done.code == 4
    found = {task["task"]: task["state"] for task in done.value["tasks"]}
    assert found == {"eggs": "updated", "ham": "refused", "spam": "updated"}
    assert "was not added from acme/heads:ham" in done.value["tasks"][1]["problem"]
    assert origins(registry, "eggs") == origins(registry, "spam") == {1: 1, 2: 2}
    put("eggs", "spam", seed=2)
    monkeypatch.setattr(versions, "write_registry", lambda new: (written.append(new), write(new)))
    assert run("update", "eggs", "spam").code == 0
    assert len(written) == 1
    assert origins(registry, "eggs") == origins(registry, "spam") == {1: 1, 2: 2, 3: 3}


def test_update_takes_newer_versions(run: Run, hub_server: HubServer) -> None:
    put("spam")
    run("add", NAME)
    run("add", f"{NAME}:1", "--as", "fixed")
    put("spam", seed=1)
    done = run("update", "--json")
    states = {task["task"]: task["state"] for task in done.value["tasks"]}
    assert states == {"fixed": "fixed", "spam": "updated"}
    assert origins(Path("registry.yaml")) == {1: 1, 2: 2}
    again = run("update", "spam")
    assert "current" in again.out
    assert run("update", "absent").code == 2


def test_an_alias_is_followed_and_going_back_asks_first(run: Run, hub_server: HubServer) -> None:
    def release(seed: int) -> None:
        publish(REPO, [to_publish("spam", seed=seed, alias="prod")], DEFAULTS)

    release(0)
    release(1)
    run("add", f"{NAME}@prod")
    release(0)
    refused = run("update")
    assert refused.code == 4
    assert "version 1 there, older than version 2 that 'spam' has here" in refused.err
    assert "--allow-older" in refused.err
    assert origins(Path("registry.yaml")) == {1: 2}
    assert run("add", f"{NAME}:1", "--as", "spam").code == 4
    assert run("update", "--allow-older").code == 0
    assert origins(Path("registry.yaml")) == {1: 2, 2: 1}


def test_a_repository_that_was_made_anew_is_refused(run: Run, hub_server: HubServer) -> None:
    put("spam")
    run("add", NAME)
    hub_server.state.delete(REPO)
    put("spam", seed=7)
    refused = run("update")
    assert refused.code == 4
    assert "Versions never change, so the repository was recreated" in refused.err
    added = run("add", NAME)
    assert (added.code, origins(Path("registry.yaml"))) == (5, {1: 1})


def test_a_name_of_another_task_is_not_taken(
    run: Run, tiny_registry: Path, hub_server: HubServer
) -> None:
    put("spam")
    ran = run("add", NAME, "--as", "sentiment", "--registry", tiny_registry)
    assert ran.code == 2
    assert "Give another name with --as" in ran.err
    assert run("add", "sentiment").code == 2
    nothing = run("update", "--registry", tiny_registry)
    assert nothing.code == 0
    assert "came from the Hub" in nothing.err
    assert run("update", "sentiment", "--registry", tiny_registry).code == 2


def test_search_here_is_list(run: Run, tiny_registry: Path) -> None:
    found = run("search", "--kind", "tagging", "--registry", tiny_registry, "--json")
    assert [task["name"] for task in found.value["tasks"]] == ["entities"]
    assert run("search", "--author", "acme").code == 2


def test_search_on_the_hub(run: Run, hub_server: HubServer) -> None:
    on_base = backbone_spec(name="albert/albert-base-v2", revision="b" * 40)
    tasks = [
        to_publish("names-zh", "tagging", languages=("zh",), backbone=on_base),
        to_publish("names-en", "tagging", languages=("en-US",), backbone=on_base),
    ]
    publish("acme/names", tasks, DEFAULTS)
    put("spam")
    hub_server.state.create("acme/unrelated")
    hub_server.put(REPO, "evil.pkl", b"")

    def names(*words: str) -> list[str]:
        ran = run("search", "--remote", *words, "--json")
        assert ran.code == 0, ran.err
        return [task["name"] for task in ran.value["tasks"]]

    assert names() == ["acme/names:names-en", "acme/names:names-zh"]
    assert names("--language", "zh", "--kind", "tagging") == ["acme/names:names-zh"]
    assert names("--base-model", "albert/albert-base-v2", "-l", "en") == ["acme/names:names-en"]
    assert names("--kind", "regression") == []
    assert names("--author", "google") == []
    shown = run("search", "--remote")
    assert "acme/names:names-zh" in shown.out
    assert f"left out {REPO}: Hub {REPO}@" in shown.err
    assert "it holds evil.pkl" in shown.err


def test_the_same_version_asked_for_in_another_way_is_followed_in_that_way(
    run: Run, hub_server: HubServer
) -> None:
    put("spam")
    registry = Path("registry.yaml")
    words = ("--registry", registry)

    def add(reference: str) -> tuple[bool, str | None]:
        done = run("add", reference, *words)
        assert done.code == 0, done.err
        versions = read_registry(registry).tasks["spam"].versions
        assert len(versions) == 1
        assert versions[1].origin is not None
        return versions[1].origin.fixed, versions[1].origin.alias

    publish(REPO, [to_publish("spam", alias="prod")], DEFAULTS)
    assert add(NAME) == (False, None)
    assert add(f"{NAME}:1") == (True, None)
    assert add(f"{NAME}@prod") == (False, "prod")
    assert add(f"{NAME}:1") == (True, None)
    put("spam", seed=1)
    run("update", *words)
    assert origins(registry) == {1: 1}
    assert add(f"{NAME}@prod") == (False, "prod")
    run("update", *words)
    assert origins(registry) == {1: 1}


def test_a_name_that_is_taken_while_a_task_is_fetched_is_not_taken_over(
    run: Run, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("spam")
    put("spam", repo="acme/other", seed=1)
    registry = Path("registry.yaml").resolve()
    fetch = pinning.read_remote

    def fetch_late(remote: RemoteTask) -> bytes:
        monkeypatch.setattr(pinning, "read_remote", fetch)
        pinning.pin(registry, "acme/other:spam", name=None)
        return fetch(remote)

    monkeypatch.setattr(pinning, "read_remote", fetch_late)
    with pytest.raises(UsageError, match="was not added from acme/heads:spam"):
        pinning.pin(registry, NAME, name=None)
    (record,) = read_registry(registry).tasks["spam"].versions.values()
    assert record.origin is not None
    assert record.origin.repo == "acme/other"
