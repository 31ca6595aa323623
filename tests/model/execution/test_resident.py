"""Resident tasks: all or nothing, held by those who use them, gone when nobody does."""

from __future__ import annotations

import hashlib
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from adapterhub.errors import ResidentError
from adapterhub.model.execution import resident as resident_module
from adapterhub.model.execution.resident import ResidentTask, ResidentTasks
from adapterhub.model.heads.slab import SLAB_ROWS, Slab
from adapterhub.results import Provenance
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import HeadFile
from tests.builders import head_tensors, task_spec

WIDTH = 16
CPU = torch.device("cpu")
TWO_LABELS = (2 * WIDTH + 2) * 4
"""Bytes of a linear head with two labels."""

Opened = tuple[HeadFile, Provenance]


def resident(max_bytes: int | None = None) -> ResidentTasks:
    return ResidentTasks(hidden_size=WIDTH, device=CPU, max_bytes=max_bytes)


def opened(
    task: str = "sentiment", version: int | None = 1, *, seed: int = 0, **changes: Any
) -> Opened:
    """Returns a head file as the hub reads it, with its origin."""
    spec: TaskSpec = task_spec(task=task, **changes)
    tensors = head_tensors(spec, seed)
    content = spec.model_dump_json() + str(seed)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    made_by = Provenance(task, version, sha256, spec.backbone.fingerprint)
    return HeadFile(spec, tensors, sha256, len(content), f"heads/{task}"), made_by


def one(tasks: ResidentTasks, reference: str) -> ResidentTask:
    found = tasks.get(reference)
    assert found is not None
    return found


def rows_of(task: ResidentTask) -> list[tuple[Slab, int]]:
    return [(slot.slab, row) for slot in task.slots for row in range(slot.start, slot.stop)]


def slabs(tasks: ResidentTasks) -> list[Slab]:
    return [slab for found in tasks._slabs.values() for slab in found]


def check_slots(task: ResidentTask) -> None:
    """Checks that the slabs hold the head: one product per depth, summed, is its output."""
    features = [torch.randn(3, WIDTH) for _ in task.slots]
    parts = [
        slot.slab.forward(feature)[:, slot.start : slot.stop]
        for slot, feature in zip(task.slots, features, strict=True)
    ]
    mixed = sum(feature * share for feature, share in zip(features, task.weights.mix, strict=True))
    torch.testing.assert_close(sum(parts), task.weights.forward(mixed))  # type: ignore[arg-type]


# Loading


def test_a_loaded_task_is_resident_under_its_reference() -> None:
    tasks = resident()
    head, made_by = opened()
    tasks.load({"sentiment@prod": (head, made_by)})
    task = one(tasks, "sentiment@prod")
    assert (task.spec, task.made_by, task.bytes) == (head.spec, made_by, TWO_LABELS)
    assert tasks.names() == ("sentiment@prod",)
    assert tasks.bytes == TWO_LABELS
    assert tasks.get("sentiment") is None
    check_slots(task)


@pytest.mark.parametrize("depths", [(4,), (0, 2, 4)])
@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression", "tagging"])
def test_linear_heads_have_rows_in_the_slab_of_every_depth(
    kind: Any, depths: tuple[int, ...]
) -> None:
    tasks = resident()
    tasks.load({"a": opened(kind=kind, depths=depths)})
    task = one(tasks, "a")
    assert len(task.slots) == len(depths) == len(slabs(tasks))
    check_slots(task)


@pytest.mark.parametrize("changes", [{"hidden_width": 4}, {"pooling": "attentive"}])
def test_other_heads_have_no_rows(changes: dict[str, Any]) -> None:
    tasks = resident()
    head, made_by = opened(**changes)
    tasks.load({"a": (head, made_by)})
    assert one(tasks, "a").slots == ()
    assert one(tasks, "a").bytes == 4 * sum(tensor.numel() for tensor in head.tensors.values())
    assert slabs(tasks) == []


def test_heads_on_one_tap_share_a_slab() -> None:
    tasks = resident()
    tasks.load({"a": opened("a"), "b": opened("b"), "c": opened("c", pooling="cls")})
    a, b, c = (one(tasks, name).slots[0].slab for name in "abc")
    assert a is b
    assert a is not c
    assert not set(rows_of(one(tasks, "a"))) & set(rows_of(one(tasks, "b")))


def test_a_full_slab_is_followed_by_another() -> None:
    tasks = resident()
    count = SLAB_ROWS // 2 + 1
    tasks.load({f"t{index}": opened(f"t{index}") for index in range(count)})
    assert len(slabs(tasks)) == 2
    rows = [row for index in range(count) for row in rows_of(one(tasks, f"t{index}"))]
    assert len(rows) == len(set(rows)) == 2 * count


def test_a_head_wider_than_a_slab_gets_one_of_its_own_width() -> None:
    tasks = resident()
    labels = tuple(map(str, range(SLAB_ROWS + 1)))
    tasks.load({"wide": opened("wide", labels=labels), "slim": opened("slim")})
    assert one(tasks, "wide").slots[0].slab.weight.shape == (SLAB_ROWS + 1, WIDTH)
    check_slots(one(tasks, "wide"))
    check_slots(one(tasks, "slim"))


def test_one_bad_file_of_a_set_leaves_everything_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = resident()
    tasks.load({"a": opened("a", seed=1), "b": opened("b")})
    before = {name: one(tasks, name) for name in tasks.names()}
    real = resident_module.read_weights

    def fail_for_c(spec: TaskSpec, *args: Any, **kwargs: Any) -> Any:
        if spec.task == "c":
            raise MemoryError
        return real(spec, *args, **kwargs)

    monkeypatch.setattr(resident_module, "read_weights", fail_for_c)
    with pytest.raises(MemoryError):
        tasks.load({"a": opened("a", 2, seed=2), "c": opened("c")})
    assert {name: one(tasks, name) for name in tasks.names()} == before
    for task in before.values():
        check_slots(task)


def test_what_is_loaded_replaces_what_had_the_reference() -> None:
    tasks = resident()
    tasks.load({"a": opened("a", 1, seed=1), "b": opened("b")})
    old, other = one(tasks, "a"), one(tasks, "b")
    tasks.load({"a": opened("a", 2, seed=2)})
    assert one(tasks, "a").made_by.version == 2
    assert one(tasks, "b") is other
    assert tasks.bytes == 2 * TWO_LABELS
    assert not set(rows_of(old)) & set(rows_of(one(tasks, "a"))), "the old one is still held here"


def test_loading_the_same_again_changes_nothing() -> None:
    tasks = resident()
    tasks.load({"a": opened("a")})
    before = one(tasks, "a")
    tasks.load({"a": opened("a")})
    assert one(tasks, "a") is before


def test_two_references_to_one_version_share_one_task() -> None:
    tasks = resident()
    tasks.load({"a": opened("a"), "a@prod": opened("a")})
    assert one(tasks, "a") is one(tasks, "a@prod")
    assert tasks.bytes == TWO_LABELS
    tasks.unload("a")
    assert tasks.get("a") is None
    check_slots(one(tasks, "a@prod"))
    assert tasks.bytes == TWO_LABELS


def test_two_versions_with_the_same_bytes_keep_their_names() -> None:
    tasks = resident()
    tasks.load({"a:1": opened("a", 1), "a:3": opened("a", 3), "./a.safetensors": opened("a", None)})
    versions = [one(tasks, name).made_by.version for name in ("a:1", "a:3", "./a.safetensors")]
    assert versions == [1, 3, None]


# Holding


def test_acquire_gives_all_or_none() -> None:
    tasks = resident()
    tasks.load({"a": opened("a"), "b": opened("b")})
    assert tasks.acquire(["a", "c"]) is None
    found = tasks.acquire(["b", "a"])
    assert found is not None
    assert list(found) == ["b", "a"]
    assert found["a"] is one(tasks, "a")


def test_what_is_held_stays_whole_while_it_is_replaced_and_unloaded() -> None:
    tasks = resident()
    tasks.load({"a": opened("a", 1, seed=1)})
    held = tasks.acquire(["a"])
    assert held is not None
    features = torch.randn(3, WIDTH)
    (slot,) = held["a"].slots
    before = slot.slab.forward(features)[:, slot.start : slot.stop].clone()
    tasks.load({"a": opened("a", 2, seed=2)})
    tasks.unload("a")
    tasks.load({f"t{index}": opened(f"t{index}", seed=index) for index in range(200)})
    assert torch.equal(slot.slab.forward(features)[:, slot.start : slot.stop], before)
    check_slots(held["a"])


def test_unload_says_whether_it_was_resident() -> None:
    tasks = resident()
    tasks.load({"a": opened("a")})
    assert tasks.unload("a")
    assert not tasks.unload("a")
    assert not tasks.unload("b")
    assert tasks.names() == ()
    assert tasks.bytes == 0


def test_rows_come_back_when_nobody_holds_the_task() -> None:
    tasks = resident()
    tasks.load({"a": opened("a"), "b": opened("b")})
    rows = rows_of(one(tasks, "a"))
    held = tasks.acquire(["a"])
    tasks.unload("a")
    tasks.load({"c": opened("c", seed=3)})
    assert not set(rows) & set(rows_of(one(tasks, "c")))
    del held
    tasks.load({"d": opened("d", seed=4)})
    assert rows_of(one(tasks, "d")) == rows


def test_a_task_is_freed_with_its_last_use() -> None:
    tasks = resident()
    tasks.load({"a": opened("a")})
    held = tasks.acquire(["a"])
    watch = weakref.ref(one(tasks, "a"))
    tasks.unload("a")
    assert watch() is not None
    del held
    assert watch() is None, "the garbage collector must not be needed"


def test_a_thousand_loads_and_unloads_leave_nothing_behind() -> None:
    tasks = resident()
    heads = [opened(f"t{index}", seed=index, depths=(1, 3)) for index in range(10)]
    watched: weakref.WeakSet[ResidentTask] = weakref.WeakSet()
    for cycle in range(1_000):
        tasks.load({f"t{cycle % 10}": heads[cycle % 10]})
        watched.add(one(tasks, f"t{cycle % 10}"))
        if cycle >= 5:
            assert tasks.unload(f"t{(cycle - 5) % 10}")
        assert len(watched) <= 6
        assert len(slabs(tasks)) == 2, "one per depth"
    assert len(tasks.names()) == len(watched) == len(tasks._last_used) == 5
    for name in tasks.names():
        tasks.unload(name)
    assert not watched
    assert not tasks._last_used
    assert slabs(tasks) == []


# The budget


def test_the_least_recently_used_goes_first() -> None:
    tasks = resident(3 * TWO_LABELS)
    for name in "abc":
        tasks.load({name: opened(name)})
    tasks.acquire(["a"])
    tasks.load({"d": opened("d")})
    assert tasks.names() == ("a", "c", "d")
    tasks.load({"e": opened("e")})
    assert tasks.names() == ("a", "d", "e")
    assert tasks.bytes == 3 * TWO_LABELS


def test_all_references_to_an_evicted_task_go() -> None:
    tasks = resident(2 * TWO_LABELS)
    tasks.load({"a": opened("a"), "a@prod": opened("a")})
    tasks.load({"b": opened("b")})
    tasks.load({"c": opened("c")})
    assert tasks.names() == ("b", "c")


def test_tasks_of_the_same_call_are_not_evicted_for_each_other() -> None:
    tasks = resident(2 * TWO_LABELS)
    tasks.load({"a": opened("a")})
    tasks.load({"b": opened("b")})
    tasks.load({"c": opened("c")}, keep=["a", "c"])
    assert tasks.names() == ("a", "c")
    with pytest.raises(ResidentError):
        tasks.load({"d": opened("d")}, keep=["a", "c", "d"])


def test_what_does_not_fit_is_refused_and_nothing_is_lost() -> None:
    tasks = resident(2 * TWO_LABELS)
    tasks.load({"a": opened("a"), "b": opened("b")})
    before = {name: one(tasks, name) for name in tasks.names()}
    wide = opened("wide", labels=("x", "y", "z", "w", "v"))
    with pytest.raises(
        ResidentError, match=f"{5 * (WIDTH + 1) * 4} bytes, max_bytes is"
    ) as refused:
        tasks.load({"wide": wide})
    assert len(str(refused.value).splitlines()) == 1
    del refused
    assert {name: one(tasks, name) for name in tasks.names()} == before
    tasks.load({"c": opened("c")})
    assert tasks.bytes == 2 * TWO_LABELS


def test_a_refused_head_gives_its_rows_back() -> None:
    tasks = resident(TWO_LABELS)
    tasks.load({"a": opened("a")})
    for seed in range(SLAB_ROWS):
        with pytest.raises(ResidentError):
            tasks.load({"b": opened("b", seed=seed), "c": opened("c", seed=seed)})
    tasks.load({"d": opened("d")})
    assert len(slabs(tasks)) == 1


# Threads


def test_threads_that_load_unload_and_acquire_never_see_half_a_task() -> None:
    tasks = resident(6 * TWO_LABELS)
    heads = {f"t{index}": opened(f"t{index}", seed=index) for index in range(12)}
    wrong: list[str] = []
    start = threading.Barrier(4)

    def work(thread: int) -> None:
        start.wait()
        for step in range(150):
            name = f"t{(thread * 5 + step) % 12}"
            tasks.load({name: heads[name]})
            found = tasks.acquire([name])
            if found is not None:
                (slot,) = found[name].slots
                expected = heads[name][0].tensors["head.weight"]
                if not torch.equal(slot.slab.weight[slot.start : slot.stop], expected):
                    wrong.append(name)
            tasks.unload(f"t{(thread * 7 + step) % 12}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert wrong == []
    assert tasks.bytes <= 6 * TWO_LABELS
