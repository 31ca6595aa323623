"""What is published here works elsewhere: another process, an empty home, the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from transformers import AlbertModel

from adapterhub import Hub
from adapterhub.errors import BackboneMismatchError, RemoteUnavailableError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.execution.known_answers import make_known_answers
from adapterhub.peft.format import adapter_from_peft
from adapterhub.publishing.files import task_of
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.remote.find import task_in
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import encode_head
from adapterhub.store.versions import add_version
from tests.adapters import adapter_task, block_adapter, config_of, random_peft
from tests.hubserver.faults import RESET
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.publishing.tasks import REPO
from tests.tiny import PROBES, save_backbone

pytestmark = pytest.mark.slow

TASKS = ("sentiment", "topics", "rating")
ADAPTED = "tied"
IDS = (2, 40, 41, 42, 43, 3)
TEXTS = ("a good day", "it is late and the film was bad", "not a day")

PEFT_ALONE = """
import sys
import numpy as np
import torch
from peft import PeftModel
from transformers import AlbertModel

source, repo, adapted, ids, *tasks = sys.argv[1:]
name, revision = source.split("@")
model = AlbertModel.from_pretrained(name, revision=revision)
with_adapter = PeftModel.from_pretrained(model, repo, subfolder=f"peft/{adapted}").eval()
with torch.inference_mode():
    found = with_adapter(input_ids=torch.tensor([[int(i) for i in ids.split()]]))
np.save("hidden.npy", found.last_hidden_state.numpy())
assert "adapterhub" not in sys.modules
"""

BY_NAME = """
from adapterhub import Hub

hub = Hub(backbone=source, device="cpu")
names = [f"{repo}:{task}" for task in tasks]
texts = ["a good day", "it is late and the film was bad", "not a day"]
scores = hub.score(texts, names, logits=True)
for task, name in zip(tasks, names):
    np.save(f"{task}.npy", scores[name].logits)
    print(scores[name].made_by.origin, scores[name].made_by.version)
print(hub.backbone.name, hub.backbone.revision, hub.backbone.fingerprint)
"""


def elsewhere(code: str, *words: str, folder: Path) -> str:
    """Returns what a program prints that runs in `folder`, with a home that is empty at first."""
    ran = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={
            **os.environ,
            "HF_HOME": str(folder / "home"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_XET": "1",
        },
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def add_adapted(hub: Hub) -> PeftModel:
    """Adds a task with an adapter that all depths share; returns the model that PEFT made."""
    folder = hub.registry_path.parent / "backbone"
    backbone = open_backbone(folder)
    model = AlbertModel.from_pretrained(str(folder), dtype=torch.float32)
    wrapped = random_peft(model, config_of("Lora", (0,), r=2))
    adapter = adapter_from_peft(
        get_peft_model_state_dict(wrapped),
        wrapped.peft_config["default"],
        num_hidden_layers=backbone.spec.num_hidden_layers,
        tied=True,
    )
    spec, tensors = adapter_task(backbone, adapter, task=ADAPTED)
    known = make_known_answers(spec, tensors, PROBES, encoder=hub.encoder, tokenizer=hub.tokenizer)
    add_version(
        hub.registry_path,
        spec.model_copy(update={"known_answers": known}),
        tensors,
        backbone_key="tiny",
        backbone_entry=BackboneEntry(source="./backbone", fingerprint=spec.backbone.fingerprint),
    )
    return wrapped


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
    wrapped = add_adapted(hub)
    tasks = (*TASKS, ADAPTED)
    done = hub.publish(tasks, REPO)
    here = hub.score(list(TEXTS), tasks, logits=True)
    out = tmp_path / "elsewhere"
    out.mkdir()
    ids = " ".join(map(str, IDS))
    *made_by, opened = elsewhere(
        PEFT_ALONE + BY_NAME, backbone, REPO, ADAPTED, ids, *tasks, folder=out
    ).splitlines()
    assert made_by == [f"{REPO}@{done.commit} 1"] * len(tasks)
    assert opened == f"{backbone.replace('@', ' ')} {hub.backbone.fingerprint}"
    for task in tasks:
        assert np.array_equal(np.load(out / f"{task}.npy"), np.asarray(here[task].logits)), task
    with torch.inference_mode():
        expected = wrapped(input_ids=torch.tensor([IDS])).last_hidden_state.numpy()
        with wrapped.disable_adapter():
            bare = wrapped(input_ids=torch.tensor([IDS])).last_hidden_state.numpy()
    found = np.load(out / "hidden.npy")
    assert np.abs(found - expected).max() <= 1e-5
    assert np.abs(found - bare).max() > 1e-2
    files = hub_server.files(REPO)
    assert f'"{REPO}", subfolder="peft/{ADAPTED}")' in files["README.md"].decode()
    assert {task_of(path) for path in files if path.startswith("peft/")} == {ADAPTED}


def test_an_adapter_that_peft_has_no_form_for_is_published_without_it(
    hub: Hub, hub_server: HubServer
) -> None:
    backbone = open_backbone(hub.registry_path.parent / "backbone")
    spec, tensors = adapter_task(backbone, block_adapter(backbone, (3,)), task="own")
    data = encode_head(spec, tensors)
    publish(REPO, [task_in(data, "own")], PublishOptions())
    files = hub_server.files(REPO)
    assert files["heads/own.safetensors"] == data
    assert not any(path.startswith("peft/") for path in files)
    assert "PeftModel" not in files["README.md"].decode()


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


def test_a_backbone_comes_from_the_hub_that_the_environment_names_now(
    hub: Hub, hub_server: HubServer, tiny_backbone_folder: Path, fresh_home: Callable[[], Path]
) -> None:
    home = fresh_home()
    name = put_backbone(hub_server, tiny_backbone_folder)
    hub.publish("sentiment", REPO)
    opened = Hub(hub.registry_path, backbone=name, device="cpu")
    assert opened.backbone.fingerprint == hub.backbone.fingerprint
    assert f"{opened.backbone.name}@{opened.backbone.revision}" == name
    assert list(home.rglob("model.safetensors"))
    opened.load(f"{REPO}:sentiment")
