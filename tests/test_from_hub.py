"""Tasks and their backbone in one line: from the Hub, from a folder, and back."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from peft import AutoPeftModel
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, pipeline

from adapterhub import Hub, deprecate_task, publish_backbone, rename_task
from adapterhub.errors import (
    BackboneError,
    BackboneMismatchError,
    RegistryError,
    RemoteAccessError,
    RemoteNotFoundError,
    RemoteUnavailableError,
    ResidentError,
    UnknownTaskError,
    UsageError,
)
from adapterhub.remote import operation
from adapterhub.remote.calls import current_place
from adapterhub.remote.pin import pin
from adapterhub.remote.search import list_repositories
from adapterhub.results import Scores
from adapterhub.store import new_folder
from adapterhub.store.editing import set_alias
from tests.hubserver.faults import RESET, Fault, stall, status
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.publishing.test_elsewhere import put_backbone
from tests.tiny import save_backbone

pytestmark = pytest.mark.slow

TASKS = ("sentiment", "topics", "rating")
TEXTS = ("a good day", "it is late and the film was bad", "not a day")
NAME = f"{REPO}:sentiment"

ONE_LINE = """
import json, os, sys
from adapterhub import Hub

before = sorted(os.listdir())
hub = Hub.from_hub(sys.argv[1], device="cpu")
print(json.dumps(hub.score(["a good day", "not a day"]).to_columns()))
print(hub.backbone.name, hub.backbone.revision)
os.environ.update(HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
again = Hub.from_hub(sys.argv[1], device="cpu")
assert again.score(["a good day"]).to_columns() == hub.score(["a good day"]).to_columns()
assert sorted(os.listdir()) == before
"""


@pytest.fixture
def backbone(hub_server: HubServer, tiny_backbone_folder: Path) -> str:
    """Returns the name of a backbone on the Hub, with its commit."""
    return put_backbone(hub_server, tiny_backbone_folder)


@pytest.fixture
def published(hub: Hub, backbone: str, fresh_home: Callable[[], Path]) -> Hub:
    """Returns a hub whose tasks are published on a backbone of the Hub; nothing is cached."""
    hub.publish(TASKS, REPO, base_model=backbone)
    fresh_home()
    return hub


def same(scores: Scores, others: Scores) -> bool:
    pairs = zip(scores, others, strict=True)
    return all(np.array_equal(scores[a].logits, others[b].logits) for a, b in pairs)  # type: ignore[arg-type]


def test_one_line_opens_a_task_and_its_backbone(
    published: Hub, hub_server: HubServer, backbone: str
) -> None:
    hub = Hub.from_hub(NAME, device="cpu")
    assert f"{hub.backbone.name}@{hub.backbone.revision}" == backbone
    assert [info.name for info in hub.tasks() if info.resident] == ["sentiment"]
    asked = len(hub_server.faults.log)
    here = published.score(list(TEXTS), "sentiment", logits=True)
    for names in (None, "sentiment", NAME, ["sentiment"]):
        assert same(hub.score(list(TEXTS), names, logits=True), here), names
    assert list(hub.score(TEXTS[0])) == ["sentiment"]
    assert hub.score(TEXTS[0])["sentiment"].made_by.origin is not None
    assert str(hub.explain()) == str(published.explain("sentiment"))
    assert hub.spec("sentiment") == hub.spec(NAME)
    assert len(hub_server.faults.log) == asked
    hub.unload("sentiment")
    assert hub.resident_bytes == 0
    with pytest.raises(UsageError, match="is not resident"):
        hub.unload(NAME)


def test_a_fresh_process_with_an_empty_home(
    published: Hub, hub_server: HubServer, backbone: str, tmp_path: Path
) -> None:
    """Beside a registry that is not valid, which must not matter."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "registry.yaml").write_text("no registry of anybody\n", encoding="utf-8")
    surroundings = {
        **os.environ,
        "HOME": str(folder / "home"),
        "HF_HOME": str(folder / "home" / "hf"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    (folder / "home").mkdir()
    words = [sys.executable, "-c", ONE_LINE, NAME]
    first = subprocess.run(words, env=surroundings, cwd=folder, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    columns, opened = first.stdout.splitlines()
    expected = published.score(["a good day", "not a day"], "sentiment").to_columns()
    assert json.loads(columns) == expected
    assert opened == backbone.replace("@", " ")


def test_a_repository_opens_with_all_its_tasks(published: Hub) -> None:
    here = published.score(list(TEXTS), sorted(TASKS), logits=True)
    for hub in (Hub.from_hub(REPO, device="cpu"), Hub.from_pretrained(REPO, device="cpu")):
        assert same(hub.score(list(TEXTS), logits=True), here)
        assert [info.name for info in hub.tasks()] == sorted(TASKS)
        assert all(info.resident for info in hub.tasks())


def test_more_tasks_of_the_repository_load_by_their_plain_names(published: Hub) -> None:
    hub = Hub.from_hub(NAME, device="cpu")
    hub.load("rating", "topics:1")
    assert sorted(info.name for info in hub.tasks() if info.resident) == sorted(TASKS)
    # A call without names still means what the hub was opened with.
    assert list(hub.score("a good day")) == ["sentiment"]
    with pytest.raises(UnknownTaskError, match=f"Unknown task of {REPO} 'ratings'"):
        hub.score("a good day", "ratings")
    with pytest.raises(UnknownTaskError):
        hub.load("entities")


def test_revisions_have_the_forms_of_the_docs(published: Hub, hub_server: HubServer) -> None:
    commit = hub_server.repository(REPO).resolve("main").oid
    published.publish("topics@prod", REPO, tag="v1")
    for name, revision in (
        (f"{NAME}@{commit}", None),
        (f"{NAME}:1", None),
        (f"{REPO}@v1:sentiment", None),
        (f"{NAME}@v1", None),
        (f"hub:{NAME}", None),
        (NAME, commit),
        (f"{REPO}@{commit}:sentiment", commit),
    ):
        hub = Hub.from_hub(name, revision=revision, device="cpu")
        assert list(hub.score("a good day")) == ["sentiment"], name
        assert hub.score("a good day", "sentiment").rows(), name
    assert list(Hub.from_hub(f"{REPO}:topics@prod", device="cpu").score("a day")) == ["topics"]
    at = Hub.from_hub(f"{REPO}@{commit}", device="cpu")
    assert at.score("a good day", "topics")["topics"].made_by.origin == f"{REPO}@{commit}"
    with pytest.raises(UsageError, match="names the revision v1"):
        Hub.from_hub(f"{REPO}@v1:sentiment", revision="main")


def test_renamed_and_deprecated_tasks_and_addresses(
    published: Hub, hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deprecate_task(f"{REPO}:rating", "old")
    rename_task(f"{REPO}:topics", "themes")
    hub = Hub.from_hub(REPO, device="cpu")
    assert list(hub.score("a good day")) == ["sentiment", "themes"]
    # Under its plain name each is still there.
    assert hub.score("a good day", ["rating", "topics"]).rows()
    old = Hub.from_hub(f"{REPO}:topics", device="cpu")
    assert list(old.score("a good day", ["themes", "topics"])) == ["themes", "topics"]
    monkeypatch.chdir(tmp_path)
    Path(REPO).mkdir(parents=True)  # a folder without a registry is not what was meant
    page = f"{hub_server.url}/{REPO}/blob/main/tasks/sentiment.md"
    head = f"{hub_server.url}/{REPO}/blob/main/heads/sentiment.safetensors"
    for name in (page, head, f"hf://{REPO}:sentiment", NAME):
        assert list(Hub.from_pretrained(name, device="cpu").score("a day")) == ["sentiment"], name


def test_two_repositories_share_the_backbone(published: Hub, backbone: str) -> None:
    published.publish(["sentiment", "language"], "acme/more", base_model=backbone)
    hub = Hub.from_hub(NAME, "acme/more", device="cpu")
    found = hub.score("a good day", logits=True)
    assert list(found) == [NAME, "language", "acme/more:sentiment"]
    listed = Hub.from_hub([NAME, "acme/more"], device="cpu")
    assert list(listed.score("a good day")) == list(found)
    assert [info.name for info in hub.tasks()] == [
        "rating",
        f"{REPO}:sentiment",
        "topics",
        "language",
        "acme/more:sentiment",
    ]
    with pytest.raises(UsageError, match=f"{NAME} or acme/more:sentiment; write the whole name"):
        hub.score("a good day", "sentiment")
    assert hub.score("a good day", "topics").rows()


def test_tasks_of_two_backbones_are_refused_unless_one_is_given(
    published: Hub, hub_server: HubServer, tiny_registry: Path
) -> None:
    registry = hub_server.files(REPO)["registry.yaml"].decode()
    other = registry.replace(
        "tasks:\n",
        "  other:\n    source: package:x\n    revision: null\n    "
        f"fingerprint: sha256:{'1' * 64}\ntasks:\n",
    ).replace(
        "topics:\n    kind: multi_label\n    backbone: tiny",
        "topics:\n    kind: multi_label\n    backbone: other",
    )
    assert other != registry
    hub_server.put(REPO, "registry.yaml", other.encode())
    with pytest.raises(UsageError, match="belong to different backbones, and a Hub has one"):
        Hub.from_hub(REPO, device="cpu")
    hub = Hub.from_hub(REPO, backbone=tiny_registry.parent / "backbone", device="cpu")
    assert list(hub.score("a good day")) == ["rating", "sentiment"]


def test_a_backbone_that_is_a_folder_of_the_publisher_is_to_be_passed(
    hub: Hub, hub_server: HubServer, fresh_home: Callable[[], Path], tmp_path: Path
) -> None:
    hub.publish("sentiment", REPO)
    fresh_home()
    with pytest.raises(BackboneError, match="Pass your copy with backbone=…"):
        Hub.from_hub(NAME, device="cpu")
    folder = hub.registry_path.parent / "backbone"
    opened = Hub.from_hub(NAME, backbone=folder, device="cpu")
    assert same(
        opened.score(list(TEXTS), logits=True), hub.score(list(TEXTS), "sentiment", logits=True)
    )
    with pytest.raises(BackboneMismatchError):
        Hub.from_hub(NAME, backbone=save_backbone(tmp_path / "other", seed=1), device="cpu")


@pytest.mark.parametrize("name", ["sentiment", "./heads", "/tmp/x:sentiment", "a/b/c:d", "x:y", ""])
def test_what_is_no_name_on_the_hub_is_refused(name: str, hub_server: HubServer) -> None:
    with pytest.raises(UsageError, match=r"owner/repo|owner/name"):
        Hub.from_hub(name)
    assert hub_server.faults.log == []


def test_nothing_of_adapterhub_is_said_to_be_there(published: Hub, backbone: str) -> None:
    with pytest.raises(RemoteNotFoundError, match=r"it has no registry.yaml"):
        Hub.from_hub(backbone.partition("@")[0])
    with pytest.raises(RemoteNotFoundError):
        Hub.from_hub("acme/nothing")
    with pytest.raises(UnknownTaskError):
        Hub.from_hub(f"{REPO}:nothing")
    with pytest.raises(UsageError, match="Nothing was named"):
        Hub.from_hub()
    with pytest.raises(TypeError):
        Hub.from_hub(NAME, devise="cpu")


def test_options_are_those_of_a_hub(published: Hub) -> None:
    hub = Hub.from_hub(NAME, device="cpu", dtype="bfloat16", max_bytes="1MB", max_windows=2)
    assert hub.score("a good day").rows()
    with pytest.raises(ResidentError):
        Hub.from_hub(REPO, device="cpu", max_bytes=100)


def test_it_works_while_the_hub_is_away(published: Hub, hub_server: HubServer) -> None:
    here = Hub.from_hub(REPO, device="cpu").score(list(TEXTS), logits=True)
    hub_server.faults.add("*", "", RESET, times=None)
    assert same(Hub.from_hub(REPO, device="cpu").score(list(TEXTS), logits=True), here)


def test_a_pickled_hub_keeps_its_versions_and_names(published: Hub, hub_server: HubServer) -> None:
    hub = Hub.from_hub(NAME, device="cpu")
    before = hub.score(list(TEXTS), logits=True)
    published.publish("topics", "acme/other")
    data = pickle.dumps(hub)
    hub_server.put(REPO, "registry.yaml", b"schema: 1\nbackbones: {}\ntasks: {}\n")
    again = pickle.loads(data)
    assert same(again.score(list(TEXTS), logits=True), before)
    assert again.score(list(TEXTS), "sentiment")["sentiment"].made_by == before["sentiment"].made_by
    assert [info.name for info in again.tasks()] == sorted(TASKS)
    assert again.registry_path == hub.registry_path


def test_a_file_is_scored_with_what_was_opened(published: Hub, tmp_path: Path) -> None:
    hub = Hub.from_hub(NAME, device="cpu")
    hub.score_file(["a good day"], tmp_path / "a.jsonl")
    hub.score_file(["a good day"], tmp_path / "b.jsonl", tasks="sentiment")
    row = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    assert {"sentiment.label", "sentiment.score"} <= set(row)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = hub.score_rows([("a good day", "sentiment"), ("not a day", NAME)])
    assert list(rows) == ["sentiment", NAME]


def test_what_was_opened_is_pushed_elsewhere(published: Hub, hub_server: HubServer) -> None:
    hub = Hub.from_hub(f"{REPO}:sentiment", f"{REPO}:topics", device="cpu")
    done = hub.push_to_hub(
        "acme/copy", private=True, commit_message="Copied", revision="main", create_pr=False
    )
    assert [task.name for task in done.tasks] == ["acme/copy:sentiment", "acme/copy:topics"]
    assert hub_server.repository("acme/copy").private
    assert hub_server.repository("acme/copy").history()[0].title == "Copied"
    assert hub.push_to_hub("acme/copy").files == ()
    # The copy names the backbone as the repository did that it came from.
    again = Hub.from_hub("acme/copy", device="cpu")
    assert (again.backbone.name, again.backbone.revision) == (
        hub.backbone.name,
        hub.backbone.revision,
    )
    assert [task.name for task in hub.push_to_hub("acme/one", "topics").tasks] == [
        "acme/one:topics"
    ]


def test_a_registry_is_pushed_as_a_whole(hub: Hub, hub_server: HubServer) -> None:
    done = hub.push_to_hub("acme/all", dry_run=True)
    assert [task.name.partition(":")[2] for task in done.tasks] == [t.name for t in hub.tasks()]
    assert hub_server.state.repositories == {}


def test_a_saved_folder_opens_alone(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.save_pretrained("out/saved", ["sentiment@prod", "topics"])
    folder = tmp_path / "out" / "saved"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"README.md", "registry.yaml", "heads/sentiment.safetensors"} <= files
    assert {"backbone/model.safetensors", "backbone/vocab.txt"} <= files
    here = hub.score(list(TEXTS), ["sentiment", "topics"], logits=True)
    moved = folder.rename(tmp_path / "moved")
    for name in (moved, "moved", str(moved), moved / "registry.yaml"):
        opened = Hub.from_pretrained(name, device="cpu")
        assert same(opened.score(list(TEXTS), logits=True), here), name
        assert opened.backbone.fingerprint == hub.backbone.fingerprint
    assert opened.tasks()[0].aliases == {"prod": 1}
    again = pickle.loads(pickle.dumps(opened))
    assert same(again.score(list(TEXTS), logits=True), here)
    assert Hub(moved, device="cpu").score("a good day", "topics").rows()
    with pytest.raises(UsageError, match="has no revision"):
        Hub.from_pretrained(moved, revision="v1")


def test_what_came_from_the_hub_is_saved_and_opens(published: Hub, tmp_path: Path) -> None:
    hub = Hub.from_hub(REPO, device="cpu")
    hub.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "tiny").exists()
    opened = Hub.from_pretrained(tmp_path / "saved", device="cpu")
    assert same(opened.score(list(TEXTS), logits=True), hub.score(list(TEXTS), logits=True))


def test_a_folder_is_whole_or_not_there(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new" / "saved"
    with monkeypatch.context() as patch:
        patch.setattr(new_folder, "sync_folder", _full_disk)
        with pytest.raises(RegistryError, match="it cannot be written: No space left"):
            hub.save_pretrained(folder, "sentiment")
    assert not (tmp_path / "new").exists()
    hub.save_pretrained(folder, "sentiment")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="is not empty"):
        hub.save_pretrained(folder, "topics")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with pytest.raises(UsageError, match="Two tasks would both be"):
        hub.save_pretrained(tmp_path / "twice", ["sentiment", "sentiment:1"])
    assert not (tmp_path / "twice").exists()


def _full_disk(folder: Path) -> None:
    raise OSError(28, "No space left on device", str(folder))


def test_a_base_model_must_be_the_backbone_of_the_tasks(
    hub: Hub, hub_server: HubServer, tmp_path: Path
) -> None:
    other = put_backbone(hub_server, save_backbone(tmp_path / "other", seed=1), "acme/other")
    with pytest.raises(BackboneMismatchError, match="and the base model is acme/other"):
        hub.publish("sentiment", REPO, base_model=other)
    with pytest.raises(UsageError, match="is not a repository on the Hub"):
        hub.publish("sentiment", REPO, base_model="./backbone")
    with pytest.raises(BackboneError, match="no such repository"):
        hub.publish("sentiment", REPO, base_model="acme/nothing")
    assert set(hub_server.state.repositories) == {"acme/other"}


def test_published_tasks_get_their_base_model_later(
    hub: Hub, hub_server: HubServer, backbone: str
) -> None:
    first = hub.publish(TASKS, REPO)
    done = hub.publish("sentiment", REPO, base_model=backbone)
    assert done.commit != first.commit
    assert not any(task.is_new for task in done.tasks)
    name, _, commit = backbone.partition("@")
    files = hub_server.files(REPO)
    assert f"source: {name}\n    revision: {commit}".encode() in files["registry.yaml"]
    assert f"base_model:\n- {name}\nbase_model_relation: adapter".encode() in files["README.md"]
    assert hub.publish("sentiment", REPO, base_model=backbone).files == ()
    # Without the option it stays.
    hub.publish("entities", REPO)
    assert f"source: {name}\n".encode() in hub_server.files(REPO)["registry.yaml"]
    assert Hub.from_hub(f"{REPO}:entities", device="cpu").score("a good day").rows()


def test_a_task_is_added_with_the_backbone_that_its_repository_names(
    published: Hub, hub_server: HubServer, backbone: str, tmp_path: Path
) -> None:
    registry = tmp_path / "mine" / "registry.yaml"
    pin(registry, NAME, name="mood")
    hub = Hub(registry, device="cpu")
    assert f"{hub.backbone.name}@{hub.backbone.revision}" == backbone
    assert same(
        hub.score(list(TEXTS), "mood", logits=True),
        published.score(list(TEXTS), "sentiment", logits=True),
    )
    done = hub.push_to_hub("acme/again")
    assert [task.name for task in done.tasks] == ["acme/again:mood"]
    assert (
        f"source: {hub.backbone.name}\n".encode() in hub_server.files("acme/again")["registry.yaml"]
    )


def test_it_answers_at_once_while_the_hub_hangs(
    published: Hub, hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Hub.from_hub(REPO, device="cpu").score(list(TEXTS), logits=True)
    monkeypatch.setattr(operation, "BRIEF_SECONDS", 0.5)
    hub_server.faults.add("*", "", stall(30), times=None)
    started = time.monotonic()
    assert same(Hub.from_hub(REPO, device="cpu").score(list(TEXTS), logits=True), here)
    assert time.monotonic() - started < 5


def counted(server: HubServer) -> int:
    """Returns how many requests for the tasks' repository the Hub has counted as downloads."""
    place = rf"^/{REPO}/resolve/.*/config\.json$"
    return sum(server.faults.count(method, place) for method in ("GET", "HEAD"))


def test_a_load_is_counted_once(
    published: Hub, hub_server: HubServer, fresh_home: Callable[[], Path]
) -> None:
    names = [f"{REPO}:{task}" for task in TASKS]
    for expected in (1, 1):
        published.load(*names)
        assert counted(hub_server) == expected
    Hub.from_hub(REPO, device="cpu")
    assert counted(hub_server) == 1
    fresh_home()
    Hub.from_hub(f"{REPO}:topics", device="cpu")
    assert counted(hub_server) == 2


@pytest.mark.parametrize("fault", [RESET, status(503), status(404), status(403), stall(20)])
def test_a_count_that_fails_costs_nothing(
    published: Hub, hub_server: HubServer, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "BRIEF_SECONDS", 0.5)
    hub_server.faults.add("*", rf"{REPO}/resolve/.*/config\.json$", fault, times=None)
    started = time.monotonic()
    published.load(NAME)
    assert time.monotonic() - started < 5
    assert hub_server.faults.made[fault.kind] <= 1


def test_searching_is_no_download(
    published: Hub, hub_server: HubServer, fresh_home: Callable[[], Path]
) -> None:
    publish_backbone("acme/base", published.registry_path.parent / "backbone")
    start = counted(hub_server)
    assert [one.commit.repo for one in list_repositories(current_place())] == [REPO]
    assert counted(hub_server) == start
    published.load(NAME)
    assert counted(hub_server) == start + 1


def test_others_say_that_the_repository_is_no_model_of_theirs(
    hub: Hub, hub_server: HubServer, tmp_path: Path
) -> None:
    hub.publish("sentiment", "acme/albert-heads")
    folder = tmp_path / "albert-heads"
    for path, data in hub_server.files("acme/albert-heads").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config == {"library": "adapterhub", "load": "adapterhub.Hub.from_hub"}
    for open_it in (AutoConfig, AutoModel, AutoModelForSequenceClassification):
        with pytest.raises(ValueError, match="Unrecognized model in"):
            open_it.from_pretrained(folder)
    with pytest.raises(ValueError, match="Unrecognized model in"):
        pipeline("text-classification", str(folder))
    with pytest.raises(ValueError, match=r"Can't find 'adapter_config.json' at"):
        AutoPeftModel.from_pretrained(str(folder))


def test_a_config_of_others_is_left_alone(hub: Hub, hub_server: HubServer) -> None:
    hub.publish("sentiment", REPO)
    hub_server.put(REPO, "config.json", b'{"mine": 1}\n')
    hub.publish("topics", REPO)
    assert hub_server.files(REPO)["config.json"] == b'{"mine": 1}\n'


@pytest.mark.parametrize("how", ["cache_dir", "local_dir"])
def test_a_snapshot_of_the_client_opens(published: Hub, tmp_path: Path, how: str) -> None:
    folder = Path(current_place().api.snapshot_download(REPO, **{how: tmp_path / "there"}))
    hub = Hub.from_pretrained(folder, device="cpu")
    here = published.score(list(TEXTS), sorted(TASKS), logits=True)
    assert same(hub.score(list(TEXTS), logits=True), here)
    assert hub.registry_path == folder / "registry.yaml"
    before = (folder / "registry.yaml").read_bytes()
    if how == "cache_dir":
        with pytest.raises(RegistryError, match="it is in the cache of the Hub's client"):
            set_alias(folder / "registry.yaml", "sentiment", "prod", 1)
        assert (folder / "registry.yaml").read_bytes() == before


def test_a_token_and_the_cache_alone_as_in_transformers(
    hub: Hub,
    hub_server: HubServer,
    tiny_backbone_folder: Path,
    fresh_home: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = publish_backbone("acme/own", tiny_backbone_folder, private=True).base_model
    hub.publish("sentiment", REPO, private=True, base_model=base)
    fresh_home()
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RemoteAccessError):
        Hub.from_pretrained(REPO, device="cpu")
    with pytest.raises(RemoteUnavailableError, match="not in the cache"):
        Hub.from_pretrained(REPO, device="cpu", local_files_only=True)
    opened = Hub.from_pretrained(REPO, device="cpu", token=TOKEN, local_files_only=False)
    assert opened.score("a good day").rows()
    assert TOKEN.encode() not in pickle.dumps(opened)
    asked = len(hub_server.faults.log)
    again = Hub.from_pretrained(REPO, device="cpu", local_files_only=True)
    assert again.score("a good day").to_columns() == opened.score("a good day").to_columns()
    assert len(hub_server.faults.log) == asked
    with pytest.raises(UsageError, match="The token is a int"):
        Hub.from_hub(REPO, token=3)
