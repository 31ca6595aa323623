"""alias, deprecate, remove, rename and list OWNER/REPO, from the command line and in Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import adapterhub
from adapterhub.errors import UsageError
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.remote.find import column_names, find_all
from adapterhub.remote.pin import pin
from adapterhub.store.registry import read_registry
from tests.commands.conftest import Run
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO, put, to_publish

NAME = f"{REPO}:spam"
HERE = Path("registry.yaml")


@pytest.fixture
def pinned(run: Run, hub_server: HubServer) -> Path:
    """Returns a registry in the working folder with two tasks that were added from the Hub."""
    put("spam", "ham")
    put("spam", seed=1)
    assert run("add", NAME, f"{REPO}:ham").code == 0
    return HERE


@pytest.mark.slow
def test_an_alias_here(run: Run, pinned: Path) -> None:
    assert run("alias", "spam").out == ""
    assert "has no alias" in run("alias", "spam").err
    moved = run("alias", "spam", "prod", "1")
    assert moved.code == 0, moved.err
    assert moved.out.startswith("@prod of spam is version 1, in ")
    assert run("alias", "spam", "--json").value == {
        "task": "spam",
        "aliases": {"prod": 1},
        "versions": [1],
    }
    assert "Nothing changed" in run("alias", "spam:1", "prod").out
    assert run("alias", "spam", "next", "@prod").code == 0
    assert run("alias", "spam", "prod", "--remove").code == 0
    assert dict(read_registry(pinned).tasks["spam"].aliases) == {"next": 1}
    for words, problem in (
        (("alias", "spam", "prod", "7"), "Unknown version of 'spam' '7'"),
        (("alias", "spam", "prod"), "Unknown alias of 'spam' 'prod'"),
        (("alias", "spam", "prod", "1", "--token", "hf_x"), "is for tasks on the Hub"),
        (("alias", "spam", "prod", "1", "--remove"), "--remove takes no version"),
        (("alias", "shipped:sentiment-en", "prod", "1"), "are not changed"),
        (("alias", "sentiment", "prod", "1", "-r", "shipped:"), "are not changed"),
        (("alias", "./spam.safetensors", "prod", "1"), "is a file"),
    ):
        refused = run(*words)
        assert (refused.code, problem in refused.err) == (2, True), (words, refused.err)
    assert run("alias", "./registry.yaml:spam", "prod", "1").code == 0


def test_tasks_that_ship_are_not_changed(run: Run) -> None:
    for words in (
        ("alias", "sentiment-en", "prod", "1"),
        ("deprecate", "sentiment-en", "old"),
        ("remove", "sentiment-en"),
        ("rename", "sentiment-en", "mood"),
    ):
        refused = run(*words)
        assert (refused.code, "There is no registry.yaml here" in refused.err) == (2, True)


@pytest.mark.slow
def test_an_alias_on_the_hub(run: Run, hub_server: HubServer) -> None:
    put("spam")
    put("spam", seed=1)
    moved = run("alias", NAME, "prod", "2", "--message", "Ship it", "--json")
    newest = hub_server.repository(REPO).resolve("main")
    assert moved.value["commit"] == newest.oid
    assert (newest.title, moved.value["changed"]) == ("Ship it", True)
    assert run("alias", NAME, "prod", "--json").value["aliases"] == {"prod": 2}
    address = f"{hub_server.url}/{REPO}/blob/main/heads/spam.safetensors"
    assert run("alias", address, "old").code == 0
    assert run("alias", NAME, "--json").value["aliases"] == {"old": 1, "prod": 2}
    on_branch = run("alias", f"{REPO}@next:spam", "prod", "1", "--json")
    assert (on_branch.code, on_branch.value["branch"]) == (0, "next"), on_branch.err
    assert run("alias", NAME, "prod", "--json").value["aliases"] == {"prod": 2}
    with_token = run("alias", NAME, "prod", "1", "--token", TOKEN)
    assert with_token.code == 0
    assert "--token leaves the token in the history" in with_token.err
    assert TOKEN not in with_token.out + with_token.err
    assert run("alias", NAME, "prod", "--remove").code == 0
    assert run("alias", NAME, "prod").code == 2


@pytest.mark.slow
def test_a_task_is_taken_down_and_its_users_are_told(
    run: Run, pinned: Path, hub_server: HubServer
) -> None:
    done = run("deprecate", NAME, "Trained on test rows", "--use", "ham")
    assert done.code == 0, done.err
    told = f"Trained on test rows. Use '{REPO}:ham' instead."
    for verb in ("show spam", "update"):
        ran = run(*verb.replace("spam", NAME).split())
        assert (ran.code, f"Task '{NAME}' is deprecated: {told}" in ran.err) == (0, True)
    listed = run("list", REPO, "--json").value["tasks"]
    assert [task["deprecated"] for task in listed] == [None, told]
    assert f"deprecated: {told}" in run("list", REPO).out
    assert f"deprecated: {told}" in run("search", "--remote").out
    assert run("update", "spam", "--json").value["tasks"][0]["deprecated"] == told
    assert run("deprecate", NAME, "--undo").code == 0
    assert "deprecated" not in run("list", REPO).out
    before = pinned.read_bytes()
    gone = run("remove", NAME, "--reason", "No licence", "--json")
    assert "heads/spam.2.safetensors" in gone.value["deleted"]
    updated = run("update")
    assert updated.code == 4
    assert "was removed by its owner: No licence. 'spam' stays here as it is." in updated.err
    assert pinned.read_bytes() == before
    assert run("show", "spam").code == 0
    assert f"{NAME} was removed: No licence" in run("list", REPO).err
    assert run("list", REPO, "--json").value["retired"] == {
        "spam": {"last": 2, "reason": "No licence"}
    }
    for words, problem in (
        (("deprecate", NAME), "Give the reason"),
        (("deprecate", NAME, "bad", "--undo"), "Give the reason"),
        (("remove", NAME), "was removed by its owner"),
        (("remove", f"{REPO}:ham@prod"), "names an alias"),
        (("remove", f"{REPO}:ham:1"), "is the only one"),
    ):
        refused = run(*words)
        assert (refused.code, problem in refused.err) == (2, True), (words, refused.err)


@pytest.mark.slow
def test_a_task_is_taken_down_here(run: Run, pinned: Path) -> None:
    assert run("deprecate", "spam", "Too old").code == 0
    assert "deprecated: Too old." in run("list").out
    assert run("show", "spam", "--json").value["deprecated"] == "Too old."
    shown = run("show", "spam")
    assert "deprecated" in shown.out
    assert "Task 'spam' is deprecated: Too old." in shown.err
    dry = run("remove", "spam", "--dry-run")
    assert "heads/spam.safetensors" in dry.out
    assert "spam" in read_registry(pinned).tasks
    gone = run("remove", "spam", "--reason", "Wrong")
    assert "spam is removed; 1 file deleted, in " in gone.out
    assert [path.name for path in Path("heads").iterdir()] == ["ham.safetensors"]
    refused = run("show", "spam")
    assert (refused.code, "was removed by its owner: Wrong." in refused.err) == (2, True)
    assert run("doctor").code in (0, 1, 5)
    assert run("add", NAME).code == 0
    assert list(read_registry(pinned).tasks["spam"].versions) == [2]


@pytest.mark.slow
def test_a_renamed_task_is_followed(run: Run, pinned: Path, hub_server: HubServer) -> None:
    assert run("rename", NAME, f"{REPO}:junk").code == 0
    renamed = f"Task '{NAME}' was renamed to '{REPO}:junk'; use that name."
    shown = run("show", f"{REPO}:junk").out
    assert "task           junk\n" in shown
    assert f"from           {REPO}@" in shown
    assert f"from           {NAME} version 2, commit " in run("show", "spam").out
    (task,) = find_all([f"{REPO}:junk"], pinned)
    assert column_names([task]) == {f"{REPO}:junk": "junk"}
    updated = run("update", "--json")
    assert (updated.code, renamed in updated.err) == (0, True)
    assert run("update").err == ""
    assert renamed in run("show", NAME).err
    assert f"{NAME} is junk now" in run("list", REPO).err
    assert run("rename", "spam", "waste").code == 0
    assert "Task 'spam' was renamed to 'waste'" in run("show", "spam").err
    put("junk", seed=4)
    assert run("update", "spam").code == 0
    assert list(read_registry(pinned).tasks["waste"].versions) == [1, 2]
    for words in (("rename", "waste", "ham"), ("rename", f"{REPO}:junk", "other/repo:x")):
        assert run(*words).code == 2


@pytest.mark.slow
def test_one_repository_is_listed_by_any_of_its_names(run: Run, hub_server: HubServer) -> None:
    publish(
        REPO,
        [to_publish("spam", alias="prod"), to_publish("names", "tagging")],
        PublishOptions(tag="v1"),
    )
    put("ham")
    put("eggs", repo="acme/other")

    def names(*words: str) -> list[str]:
        ran = run("list", *words, "--json")
        assert ran.code == 0, ran.err
        return [task["name"] for task in ran.value["tasks"]]

    everything = [f"{REPO}:ham", f"{REPO}:names", f"{REPO}:spam"]
    for text in (
        REPO,
        f"https://huggingface.co/{REPO}",
        f"https://huggingface.co/{REPO}/tree/main",
        f"{hub_server.url}/{REPO}/blob/main/heads/spam.safetensors",
        f"hf.co/{REPO}",
    ):
        assert names(text) == everything
    assert names(f"{REPO}@v1") == [f"{REPO}@v1:names", f"{REPO}@v1:spam"]
    assert names(f"{hub_server.url}/{REPO}/tree/v1") == names(f"{REPO}@v1")
    assert names(REPO, "--kind", "tagging") == [f"{REPO}:names"]
    assert "1 @prod" in run("list", REPO).out
    for text, code in (("acme/absent", 4), ("https://example.com/a/b", 2), ("acme", 2)):
        assert run("list", text).code == code
    assert run("list", REPO, "-r", "registry.yaml").code == 2
    assert run("add", f"https://huggingface.co/{REPO}:spam").code == 0
    added = run("add", f"{hub_server.url}/{REPO}/blob/main/heads/ham.safetensors", "--json")
    assert added.value["origin"]["fixed"]
    shown = run("show", f"https://huggingface.co/{REPO}/blob/main/heads/names.safetensors")
    assert (shown.code, "tagging" in shown.out) == (0, True), shown.err
    to = run("publish", "spam", "--to", f"https://example.com/{REPO}")
    assert to.code == 2


@pytest.mark.slow
def test_in_python(hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("spam")
    put("spam", seed=1)
    monkeypatch.delenv("HF_TOKEN")
    done = adapterhub.set_alias(NAME, "prod", 2, token=TOKEN, commit_message="Move")
    assert done.commit == hub_server.repository(REPO).resolve("main").oid
    assert adapterhub.set_alias(NAME, "prod", 2, token=TOKEN).changed is False
    adapterhub.rename_task(NAME, "junk", token=TOKEN)
    adapterhub.remove_alias(f"{REPO}:junk", "prod", token=TOKEN)
    adapterhub.deprecate_task(f"{REPO}:junk", "Old", token=TOKEN)
    adapterhub.deprecate_task(f"{REPO}:junk", None, token=TOKEN)
    gone = adapterhub.remove_task(f"{REPO}:junk:2", "Wrong", token=TOKEN)
    assert gone.deleted == ("heads/spam.2.safetensors",)
    with pytest.raises(UsageError, match="there is no such option"):
        adapterhub.remove_task(f"{REPO}:junk", "Wrong", tokn=TOKEN)
    with pytest.raises(UsageError, match="give one of them"):
        adapterhub.remove_task(f"{REPO}@next:junk", revision="main", token=TOKEN)


@pytest.mark.slow
def test_in_fresh_processes_with_an_empty_home(hub_server: HubServer, tmp_path: Path) -> None:
    put("spam")
    put("spam", seed=1)
    homes = iter(range(20))

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        home = tmp_path / f"home-{next(homes)}"
        home.mkdir()
        kept = {name: os.environ[name] for name in ("PATH", "HF_ENDPOINT", "HF_TOKEN")}
        return subprocess.run(
            [sys.executable, "-m", "adapterhub", *words],
            cwd=tmp_path,
            env={**kept, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    pin(tmp_path / HERE, NAME)
    renamed = call("rename", NAME, "junk", "--json")
    assert renamed.returncode == 0, renamed.stderr
    assert json.loads(renamed.stdout)["commit"] == hub_server.repository(REPO).resolve("main").oid
    adapterhub.remove_task(f"{REPO}:junk", "Wrong")
    told = call("update")
    assert told.returncode == 4
    assert "was removed by its owner: Wrong" in told.stderr
    assert "Traceback" not in told.stderr
