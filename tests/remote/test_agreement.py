"""An entry of a registry is refused where its head file is of another task."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapterhub.errors import RegistryError, RemoteContentError
from adapterhub.hub import Hub
from adapterhub.publishing.publish import publish
from adapterhub.remote.find import find
from adapterhub.remote.pin import pin
from adapterhub.store.agreement import contradiction
from adapterhub.store.header import read_header
from adapterhub.store.registry import read_registry, shipped_registry
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put

Change = Callable[[dict[str, Any]], object]

ROOT = Path(__file__).parents[1]


def edit(registry: Path, change: Change) -> None:
    values = yaml.safe_load(registry.read_text())
    change(values)
    registry.write_text(yaml.safe_dump(values))


def record(values: dict[str, Any], task: str = "sentiment") -> dict[str, Any]:
    found: dict[str, Any] = values["tasks"][task]["versions"][1]
    return found


def put_bytes_of(other: str) -> Change:
    def change(values: dict[str, Any]) -> None:
        own, theirs = record(values), record(values, other)
        own |= {"size": theirs["size"], "sha256": theirs["sha256"]}

    return change


def second_backbone(values: dict[str, Any]) -> None:
    values["backbones"]["other"] = {"source": "./other", "fingerprint": f"sha256:{'ab' * 32}"}
    values["tasks"]["sentiment"]["backbone"] = "other"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda v: record(v).update(depths=[2]), r"depths is \(2,\) in the registry and \(4,\)"),
        (lambda v: record(v).update(pooling="max"), "pooling is max in the registry and mean"),
        (lambda v: v["tasks"]["sentiment"].update(kind="multi_label"), "kind is multi_label"),
        (lambda v: record(v).update(metrics={"accuracy": 0.99}), "metric accuracy is 0.99"),
        (lambda v: record(v).update(seed=3), "seed is 3"),
        (lambda v: record(v).update(measured_on="test"), "split of its metrics is test"),
        (lambda v: record(v).update(task="ratings"), "task is ratings"),
        (lambda v: record(v).update(data_digest="ab" * 32), "digest of the data is ab"),
        (second_backbone, "the backbone is sha256:abab"),
        (
            lambda v: v["tasks"].update(mine=v["tasks"].pop("sentiment")),
            "under another name a version states `task: sentiment`",
        ),
    ],
)
@pytest.mark.slow
def test_an_entry_that_states_something_else_is_refused(
    hub: Hub, change: Change, problem: str
) -> None:
    edit(hub.registry_path, change)
    name = next(n for n in read_registry(hub.registry_path).tasks if n in ("mine", "sentiment"))
    for call in (
        lambda: hub.load(name),
        lambda: hub.score("a good day", tasks=name),
        lambda: hub.spec(f"{name}:1"),
        lambda: hub.explain(f"{name}@prod"),
        lambda: find(name, hub.registry_path),
    ):
        with pytest.raises(RegistryError, match=problem):
            call()
    assert hub._tasks.names() == ()


@pytest.mark.parametrize("other", ["topics", "rating", "entails", "entities", "language"])
def test_the_bytes_of_another_task_under_a_name_are_refused(hub: Hub, other: str) -> None:
    heads = hub.registry_path.parent / "heads"
    shutil.copy(heads / f"{other}.safetensors", heads / "sentiment.safetensors")
    edit(hub.registry_path, put_bytes_of(other))
    with pytest.raises(RegistryError, match=f"sentiment in the registry and {other} in the file"):
        hub.score("a good day", tasks="sentiment")
    hub.load(other)


def test_the_name_in_the_file_may_be_stated(hub: Hub) -> None:
    def rename(values: dict[str, Any]) -> None:
        record(values)["task"] = "sentiment"
        values["tasks"]["mine"] = values["tasks"].pop("sentiment")

    edit(hub.registry_path, rename)
    assert hub.score("a good day", tasks="mine")["mine"][0] is not None


def test_an_edited_description_is_no_reason_to_refuse(hub: Hub) -> None:
    own = {"description": "Whether it is good.", "languages": ["de"], "license": "mit"}
    edit(hub.registry_path, lambda values: values["tasks"]["sentiment"].update(own))
    hub.load("sentiment")


@pytest.mark.parametrize(
    "registry", [shipped_registry(), ROOT / "compatibility" / "registry" / "registry.yaml"]
)
def test_registries_that_were_written_before_agree(registry: Path) -> None:
    content = read_registry(registry)
    for name, entry in content.tasks.items():
        for version in entry.versions:
            found = content.resolve(f"{name}:{version}")
            data = found.path.read_bytes()
            assert hashlib.sha256(data).hexdigest() == found.record.sha256
            spec = read_header(data, str(found.path)).spec
            backbone = content.backbones[entry.backbone]
            assert not contradiction(spec, name, version=version, entry=entry, backbone=backbone)


def test_a_repository_whose_entry_is_of_another_file_is_refused(
    hub_server: HubServer, tmp_path: Path
) -> None:
    put("sentiment", "topics")
    files = hub_server.files(REPO)
    values = yaml.safe_load(files["registry.yaml"])
    put_bytes_of("topics")(values)
    hub_server.put(REPO, "registry.yaml", yaml.safe_dump(values).encode())
    other = files["heads/topics.safetensors"]
    hub_server.put(REPO, "heads/sentiment.safetensors", other, lfs=True)
    name = f"{REPO}:sentiment"
    for call in (
        lambda: find(name, tmp_path / "registry.yaml"),
        lambda: pin(tmp_path / "registry.yaml", name),
    ):
        with pytest.raises(RemoteContentError, match="task is sentiment in the registry and topic"):
            call()
    assert not (tmp_path / "registry.yaml").exists()


def test_a_task_under_another_name_is_published_and_pinned_again(
    hub_server: HubServer, tmp_path: Path
) -> None:
    put("sentiment")
    first, second = tmp_path / "first" / "registry.yaml", tmp_path / "second" / "registry.yaml"
    (added,) = pin(first, f"{REPO}:sentiment", name="mine")
    assert added.record.task is None
    publish("acme/more", [find("mine", first)], DEFAULTS)
    assert find("acme/more:mine", first).spec.task == "sentiment"
    (again,) = pin(second, "acme/more:mine", name="yours")
    assert again.record.task == "sentiment"
    assert find("yours", read_registry(second)).name == "yours"
