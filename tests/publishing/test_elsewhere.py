"""What is published here works elsewhere: another process, an empty home, the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapterhub import Hub
from adapterhub.errors import BackboneMismatchError, RemoteUnavailableError
from tests.hubserver.faults import RESET
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.publishing.tasks import REPO
from tests.tiny import save_backbone

TASKS = ("sentiment", "topics", "rating")
TEXTS = ("a good day", "it is late and the film was bad", "not a day")

ELSEWHERE = """
import sys
import numpy as np
from adapterhub import Hub

source, folder, repo, *tasks = sys.argv[1:]
hub = Hub(backbone=source, device="cpu")
names = [f"{repo}:{task}" for task in tasks]
texts = ["a good day", "it is late and the film was bad", "not a day"]
scores = hub.score(texts, names, logits=True)
for task, name in zip(tasks, names):
    np.save(f"{folder}/{task}.npy", scores[name].logits)
    print(scores[name].made_by.origin, scores[name].made_by.version)
print(hub.backbone.name, hub.backbone.revision, hub.backbone.fingerprint)
"""


def put_backbone(server: HubServer, folder: Path, name: str = "acme/tiny") -> str:
    """Puts a backbone on the Hub; returns its name with the commit."""
    files = {
        path.name: File(path.read_bytes(), path.suffix == ".safetensors")
        for path in folder.iterdir()
    }
    server.fill(name, files)
    return f"{name}@{server.repository(name).resolve('main').oid}"


def test_another_process_with_an_empty_home_gets_the_same_bits(
    hub: Hub, hub_server: HubServer, tiny_backbone_folder: Path, tmp_path: Path
) -> None:
    backbone = put_backbone(hub_server, tiny_backbone_folder)
    done = hub.publish(TASKS, REPO)
    here = hub.score(list(TEXTS), TASKS, logits=True)
    out, home = tmp_path / "elsewhere", tmp_path / "other-home"
    out.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, backbone, str(out), REPO, *TASKS],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        cwd=out,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    *made_by, opened = ran.stdout.splitlines()
    assert made_by == [f"{REPO}@{done.commit} 1"] * len(TASKS)
    assert opened == f"{backbone.replace('@', ' ')} {hub.backbone.fingerprint}"
    for task in TASKS:
        assert np.array_equal(np.load(out / f"{task}.npy"), np.asarray(here[task].logits)), task


def test_a_published_task_is_resident_beside_the_local_one(hub: Hub, hub_server: HubServer) -> None:
    hub.publish("sentiment", REPO)
    name = f"{REPO}:sentiment"
    hub.load(name)
    assert not any(info.resident for info in hub.tasks())
    scores = hub.score(list(TEXTS), [name, "sentiment"], logits=True)
    assert np.array_equal(scores[name].logits, scores["sentiment"].logits)  # type: ignore[arg-type]
    asked = len(hub_server.faults.log)
    hub.score(list(TEXTS), [name])
    assert len(hub_server.faults.log) == asked


def test_a_reload_that_fails_leaves_the_old_one_serving(hub: Hub, hub_server: HubServer) -> None:
    hub.publish("sentiment", REPO)
    name = f"{REPO}:sentiment"
    before = hub.score("a good day", name).to_columns()
    data = hub_server.files(REPO)["registry.yaml"]
    hub_server.put(REPO, "registry.yaml", data.replace(b"size: ", b"size: 1"))
    with pytest.raises(Exception, match="the registry promises"):
        hub.load(name)
    hub_server.faults.add("*", "", RESET, times=None)
    assert hub.score("a good day", name).to_columns() == before


def test_a_task_of_another_backbone_is_refused(
    hub: Hub, hub_server: HubServer, tmp_path: Path
) -> None:
    hub.publish("sentiment", REPO)
    other = Hub(hub.registry_path, backbone=save_backbone(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(BackboneMismatchError, match="task 'sentiment' was made for the backbone"):
        other.load(f"{REPO}:sentiment")
    with pytest.raises(BackboneMismatchError):
        other.publish("sentiment", "acme/others")
    assert set(hub_server.state.repositories) == {REPO}


def test_a_folder_of_the_publisher_is_not_told(hub: Hub, hub_server: HubServer) -> None:
    hub.publish(TASKS, REPO)
    for path, data in hub_server.files(REPO).items():
        assert str(hub.registry_path.parent).encode() not in data, path


def test_a_name_that_is_a_folder_here_is_still_the_hub(
    hub: Hub, hub_server: HubServer, fresh_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish("sentiment", REPO)
    fresh_home()
    folder = hub.registry_path.parent / "work"
    (folder / f"{REPO}:sentiment").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RemoteUnavailableError):
        hub.load(f"{REPO}:sentiment")
