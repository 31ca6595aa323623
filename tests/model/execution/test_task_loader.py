"""A name is resident in the newest version that any call has loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.store.headfile import write_head
from tests.builders import head_tensors
from tests.tiny import add_task, tiny_task


@pytest.fixture
def backbone(tiny_registry: Path) -> Backbone:
    return open_backbone(tiny_registry.parent / "backbone")


def newer_in_registry(hub: Hub, backbone: Backbone, name: str) -> None:
    task = name.partition("@")[0]
    spec = tiny_task(backbone, "single_label", task=task, labels=("ham", "spam"))
    add_task(hub.registry_path, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=9)


def newer_file(hub: Hub, backbone: Backbone, name: str) -> None:
    spec = tiny_task(backbone, "single_label", task="own", labels=("ham", "spam"))
    Path(name).unlink()
    write_head(Path(name), spec, head_tensors(spec, 1))


@pytest.mark.parametrize(
    ("name", "renew"),
    [
        ("sentiment", newer_in_registry),
        ("sentiment@prod", newer_in_registry),
        ("own.safetensors", newer_file),
    ],
)
@pytest.mark.parametrize("evict", [True, False])
def test_what_was_found_before_another_load_is_looked_up_again(
    hub: Hub,
    backbone: Backbone,
    tmp_path: Path,
    name: str,
    renew: Callable[[Hub, Backbone, str], None],
    evict: bool,
) -> None:
    if renew is newer_file:
        name = str(tmp_path / name)
        spec = tiny_task(backbone, "single_label", task="own", labels=("no", "yes"))
        write_head(Path(name), spec, head_tensors(spec, 0))
    found = hub._tasks.look_up([name])
    old = found.tasks[name].spec.labels
    renew(hub, backbone, name)
    hub.load(name)
    if evict:
        hub.unload(name)
    (task,) = hub._tasks.acquire([name], found).values()
    assert task.spec.labels == ("ham", "spam") != old


def test_what_was_found_is_read_once_where_nothing_else_was_loaded(hub: Hub) -> None:
    found = hub._tasks.look_up(["sentiment", "topics"])
    for task in found.tasks.values():
        Path(task.source).unlink()
    assert set(hub._tasks.acquire(["sentiment", "topics"], found)) == {"sentiment", "topics"}
