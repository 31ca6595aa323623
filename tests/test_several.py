"""One call with tasks of several registries, of the Hub, of files and of those that ship."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from adapterhub import Hub, Scores
from adapterhub.errors import BackboneError, BackboneMismatchError, UnknownTaskError, UsageError
from adapterhub.model.execution.known_answers import make_known_answers
from adapterhub.remote.find import choose_tasks, find_all
from adapterhub.remote.pin import pin
from adapterhub.store.headfile import write_head
from adapterhub.store.registries import Registries
from tests.builders import head_tensors, task_spec
from tests.hubserver.server import HubServer
from tests.tiny import PROBES, save_backbone, save_tasks

pytestmark = pytest.mark.slow
REPO = "acme/heads"
TEXTS = ["the film was good", "a bad day, it is late", "中国的天气很好"]


@pytest.fixture
def other_registry(tiny_registry: Path, tmp_path: Path) -> Path:
    """Returns a registry with `sentiment`, and with `themes`, which is `topics` of the tiny one."""
    path = tmp_path / "other" / "registry.yaml"
    pin(path, f"{tiny_registry}:sentiment")
    pin(path, f"{tiny_registry}:topics", name="themes")
    return path


def assert_same(scores: Scores, name: str, separate: Scores, other: str) -> None:
    one, two = scores[name], separate[other]
    assert isinstance(one.logits, np.ndarray)
    assert isinstance(two.logits, np.ndarray)
    assert one.logits.tobytes() == two.logits.tobytes()
    assert list(one) == list(two)


def test_names_are_looked_up_in_all_registries(tiny_registry: Path, other_registry: Path) -> None:
    hub = Hub([tiny_registry, other_registry], device="cpu")
    assert hub.registry_path == tiny_registry
    assert hub.registry_paths == (tiny_registry, other_registry)
    names = ["topics", "themes", f"{tiny_registry}:sentiment", f"{other_registry}:sentiment@prod"]
    with pytest.raises(UnknownTaskError, match="alias"):
        hub.load(*names)
    assert hub.resident_bytes == 0
    names[-1] = f"{other_registry}:sentiment:1"
    assert hub.explain(names).passes == 4
    scores = hub.score(TEXTS, names, logits=True)
    alone = Hub(tiny_registry, device="cpu")
    for name, own in zip(names, ("topics", "topics", "sentiment", "sentiment"), strict=True):
        assert_same(scores, name, alone.score(TEXTS, own, logits=True), own)
    live = {task.name for task in hub.tasks() if task.resident}
    assert live == {"topics", "themes", f"{tiny_registry}:sentiment", f"{other_registry}:sentiment"}
    assert len(hub.tasks()) == 9
    hub.load(*(task.name for task in hub.tasks()))
    hub.unload("themes", f"{tiny_registry}:sentiment")
    with pytest.raises(UsageError, match="is not resident"):
        hub.unload("themes")


def test_a_name_in_two_registries_is_refused(tiny_registry: Path, other_registry: Path) -> None:
    hub = Hub([tiny_registry, other_registry], device="cpu")
    for call in (hub.load, hub.spec, hub.explain, lambda name: hub.score("a day", name)):
        with pytest.raises(UsageError, match=f"Write '{tiny_registry}:sentiment'"):
            call("sentiment")
    with pytest.raises(UnknownTaskError, match="Did you mean 'themes'"):
        hub.load("theme")


def test_a_relative_registry_is_that_of_the_folder_at_the_call(
    tiny_registry: Path, other_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(tiny_registry, device="cpu")
    monkeypatch.chdir(other_registry.parent)
    hub.load("./registry.yaml:themes")
    monkeypatch.chdir("/")
    hub.unload(f"{other_registry}:themes")
    monkeypatch.chdir(tiny_registry.parent)
    with pytest.raises(UnknownTaskError, match="Unknown task 'themes'"):
        hub.score("a day", "./registry.yaml:themes")


@pytest.fixture
def foreign_registry(tmp_path: Path) -> Path:
    """Returns a registry with the tasks and keys of the tiny one, on another backbone."""
    save_backbone(tmp_path / "foreign" / "backbone", seed=1)
    return save_tasks(tmp_path / "foreign")


def test_all_tasks_of_a_call_are_of_one_backbone(
    tiny_registry: Path, other_registry: Path, foreign_registry: Path
) -> None:
    both = [other_registry, foreign_registry]
    with pytest.raises(UsageError, match="name 2 backbones") as caught:
        Hub(both, device="cpu")
    assert all(f"of {path}" in str(caught.value) for path in both)
    hub = Hub(both, backbone=foreign_registry.parent / "backbone", device="cpu")
    hub.load("rating")
    with pytest.raises(BackboneMismatchError, match="task 'topics' was made for the backbone"):
        hub.score(TEXTS, ["rating", "themes"])
    with pytest.raises(UsageError, match="name 2 backbones"):
        Hub([tiny_registry, foreign_registry], backbone="tiny", device="cpu")
    with pytest.raises(BackboneError, match=f"have tiny of {tiny_registry}, tiny of"):
        Hub([tiny_registry, foreign_registry], backbone="large", device="cpu")
    found = find_all(["rating", "themes"], both)
    with pytest.raises(UsageError, match="one call runs one backbone") as caught:
        choose_tasks(Registries(both), ["rating", "themes"])
    for task in found:
        assert task.spec.backbone.fingerprint[:19] in str(caught.value)


def test_a_backbone_that_one_of_them_lists_is_enough(tiny_registry: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("schema: 1\nbackbones: {}\ntasks: {}\n")
    file = tiny_registry.parent / "heads" / "rating.safetensors"
    hub = Hub([empty, tiny_registry], device="cpu")
    assert hub.registry_path == empty
    hub.load(str(file), "topics")
    with pytest.raises(BackboneMismatchError, match="package:small-bilingual"):
        hub.load("shipped:sentiment-en")
    with pytest.raises(UsageError, match="names 0 backbones"):
        Hub(empty, device="cpu")


def test_threads_load_tasks_of_several_places_at_once(
    tiny_registry: Path, other_registry: Path
) -> None:
    file = str(tiny_registry.parent / "heads" / "language.safetensors")
    names = ["topics", "themes", f"{other_registry}:sentiment", file]
    both = [tiny_registry, other_registry]
    expected = Hub(both, device="cpu").score(TEXTS, names, logits=True)
    hub = Hub(both, device="cpu")
    with ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(hub.score, TEXTS, names[turn % 4 :], logits=True) for turn in range(24)
        ]
        for call in calls:
            for name in call.result():
                assert_same(call.result(), name, expected, name)


def test_a_pickled_hub_opens_with_all_its_registries(
    tiny_registry: Path, other_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_registry.parent)
    hub = Hub([".", "../other"], device="cpu")
    names = ["topics", "themes", "../other/registry.yaml:sentiment"]
    hub.load(*names)
    before = hub.score(TEXTS, names, logits=True)
    data = pickle.dumps(hub)
    place = f"{tiny_registry.parent}/../other/registry.yaml:sentiment"
    monkeypatch.chdir("/")
    again = pickle.loads(data)
    assert again.registry_paths == hub.registry_paths
    assert set(again._tasks.names()) == {"topics", "themes", place}
    after = again.score(TEXTS, ["topics", "themes", place], logits=True)
    for name, same in zip(names, ("topics", "themes", place), strict=True):
        assert_same(after, same, before, name)


def test_a_call_sees_one_state_of_each_registry(tiny_registry: Path, other_registry: Path) -> None:
    registries = Registries([tiny_registry, other_registry])
    held = {task.name for task in registries.tasks()}
    pin(other_registry, f"{tiny_registry}:rating")
    assert {task.name for task in registries.tasks()} == held
    hub = Hub([tiny_registry, other_registry], device="cpu")
    hub.load("entails")
    pin(other_registry, f"{tiny_registry}:entails")
    # What is resident keeps its name; to load it anew it must be clear which is meant.
    hub.score([{"text": "a", "text_pair": "b"}], "entails")
    with pytest.raises(UsageError, match="is in 2 registries"):
        hub.load("entails")


def test_own_shipped_and_hub_tasks_and_a_file_share_one_trunk(
    hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Hub("shipped:", device="cpu")
    spec = task_spec(backbone=shipped.backbone, task="mine", depths=(3,), max_length=512)
    tensors = head_tensors(spec)
    place = {"encoder": shipped.encoder, "tokenizer": shipped.tokenizer}
    known = make_known_answers(spec, tensors, PROBES, **place)
    spec = spec.model_copy(update={"known_answers": known})
    write_head(tmp_path / "mine.safetensors", spec, tensors)
    pin(tmp_path / "registry.yaml", "./mine.safetensors", name="own")
    hub = Hub(device="cpu")
    assert hub.registry_path == tmp_path / "registry.yaml"
    hub.publish(["shipped:topic-zh", "own"], REPO)
    names = ["own", "shipped:sentiment-en", f"{REPO}:topic-zh", "./mine.safetensors"]
    plan = hub.explain(names)
    assert (len(plan.trunks), plan.passes) == (1, 3)
    mixed = hub.score(TEXTS, names, logits=True)
    columns = [f"{name}.{what}" for name in names for what in ("label", "score")]
    assert list(mixed.to_columns()) == columns
    for name in names:
        assert_same(mixed, name, Hub(device="cpu").score(TEXTS, name, logits=True), name)
    assert_same(mixed, names[1], shipped.score(TEXTS, "sentiment-en", logits=True), "sentiment-en")
    assert_same(mixed, names[2], shipped.score(TEXTS, "topic-zh", logits=True), "topic-zh")
    assert {task.name: task.resident for task in hub.tasks()} == {"own": True}
    again = pickle.loads(pickle.dumps(hub))
    assert set(again._tasks.names()) == {*names[:3], str(tmp_path / "mine.safetensors")}
    assert_same(again.score(TEXTS, names, logits=True), names[1], mixed, names[1])
    with pytest.raises(UnknownTaskError, match="Did you mean 'shipped:sentiment-en'"):
        hub.score(TEXTS, "sentiment-en")
    # A hub that was opened by a name on the Hub takes tasks of the other places too.
    named = Hub.from_hub(f"{REPO}:topic-zh", device="cpu")
    others = ["topic-zh", "./registry.yaml:own", "shipped:sentiment-en", "./mine.safetensors"]
    found = named.score(TEXTS, others, logits=True)
    for name, same in zip(others, (names[2], *names[:2], names[3]), strict=True):
        assert_same(found, name, mixed, same)
