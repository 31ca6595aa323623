"""What a first call costs: a head file is read once and a revision resolved once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterhub import Hub
from adapterhub.remote import find
from adapterhub.store import header, registries
from tests.hubserver.server import HubServer

TASKS = ("sentiment", "topics", "rating", "entities")
REPO = "acme/heads"


class Counted:
    """Counts what goes through the functions that open, hash and parse head files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: Counter[str] = Counter()
        self.parsed: Counter[str] = Counter()
        self.hashed: Counter[int] = Counter()
        open_regular, read_spec, sha256 = header.open_regular, header._read_spec, hashlib.sha256

        def counting_open(path: Path) -> Any:
            self.opened[Path(path).stem] += 1
            return open_regular(path)

        def counting_spec(text: str, source: str) -> Any:
            spec = read_spec(text, source)
            self.parsed[spec.task] += 1
            return spec

        def counting_sha256(data: bytes = b"", **options: Any) -> Any:
            self.hashed[len(data)] += 1
            return sha256(data, **options)

        monkeypatch.setattr(header, "open_regular", counting_open)
        monkeypatch.setattr(header, "_read_spec", counting_spec)
        monkeypatch.setattr(hashlib, "sha256", counting_sha256)


def sizes(registry: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in (registry.parent / "heads").iterdir()}


def test_a_cold_call_reads_each_head_file_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    first = hub.score("a good day", TASKS, logits=True)
    assert counted.opened == dict.fromkeys(TASKS, 1)
    assert counted.parsed == dict.fromkeys(TASKS, 1)
    of = sizes(hub.registry_path)
    assert [counted.hashed[of[task]] for task in TASKS] == [1] * len(TASKS)

    again = hub.score("a good day", TASKS, logits=True)
    assert counted.opened == dict.fromkeys(TASKS, 1)
    assert again.to_columns() == first.to_columns()


@pytest.mark.parametrize("ask", [Hub.load, lambda hub, *names: hub.explain(names)])
def test_loading_and_planning_read_each_head_file_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., object]
) -> None:
    counted = Counted(monkeypatch)
    ask(hub, *TASKS)
    assert counted.opened == counted.parsed == dict.fromkeys(TASKS, 1)


def test_a_file_by_its_path_is_read_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hub.registry_path.parent / "heads" / "sentiment.safetensors"
    counted = Counted(monkeypatch)
    hub.score("a good day", str(path))
    assert (counted.opened, counted.parsed) == ({"sentiment": 1}, {"sentiment": 1})
    assert counted.hashed[path.stat().st_size] == 1


def test_a_cold_call_resolves_a_revision_once(
    hub: Hub, hub_server: HubServer, fresh_home: Callable[[], Path]
) -> None:
    hub.publish(["sentiment", "topics"], REPO)
    fresh_home()
    cold = Hub(hub.registry_path, device="cpu")
    before = len(hub_server.seen)
    names = [f"{REPO}:sentiment", f"{REPO}:topics"]
    cold.score("a good day", names)
    asked = Counter(hub_server.seen[before:])
    revisions = {line: count for line, count in asked.items() if line.endswith("/revision/main")}
    heads = [count for line, count in asked.items() if line.endswith(".safetensors")]
    assert list(revisions.values()) == [1]
    assert heads == [1, 1]


def test_the_tasks_of_one_look_up_are_of_one_state_of_the_registry(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read = registries.read_registry

    def counting(path: Path) -> Any:
        reads.append(path)
        return read(path)

    monkeypatch.setattr(registries, "read_registry", counting)
    find.find_all(TASKS, hub.registry_path)
    assert reads == [hub.registry_path]
