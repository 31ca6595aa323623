"""Many tasks in one transaction, what one addition costs, and that the file says what was added."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapterhub.errors import RegistryError, UsageError
from adapterhub.specs import TaskSpec
from adapterhub.store import editing, versions, yamlsafe
from adapterhub.store import registry as registry_module
from adapterhub.store.editing import prepare_registry, registry_bytes, set_alias, unlisted_files
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import Registry, Resolved, parse_registry, read_registry
from adapterhub.store.versions import Addition, add_version, add_versions
from adapterhub.store.yamlsafe import Document, read_yaml
from tests.builders import backbone_entry, backbone_spec, head_tensors, task_spec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry" / "registry.yaml"


def addition(spec: TaskSpec, seed: int = 0, **options: object) -> Addition:
    entry = backbone_entry(spec.backbone)
    return Addition(spec, head_tensors(spec, seed), entry, **options)  # type: ignore[arg-type]


def many(numbers: Iterable[int]) -> list[Addition]:
    return [addition(task_spec(task=f"task-{number:04}"), number) for number in numbers]


def check_file(path: Path) -> Registry:
    """Checks that a registry is what a strict parse of its file reads, and that text is canonical.

    Returns:
        The registry as readers of this process see it.
    """
    known = read_registry(path)
    data = path.read_bytes()
    fresh = parse_registry(data, path)
    assert known.backbones == fresh.backbones
    assert known.tasks == fresh.tasks
    assert list(known.tasks) == sorted(fresh.tasks)
    rendered = prepare_registry(Registry(path, {}, {}), fresh.backbones, fresh.tasks)
    assert registry_bytes(rendered) == data
    with pytest.raises(TypeError):
        known.tasks["x"] = None  # type: ignore[index]
    for entry in known.tasks.values():
        with pytest.raises(TypeError):
            entry.aliases["x"] = 1  # type: ignore[index]
    return known


@dataclass
class Work:
    """What the store did: bytes of every parsed text, rendered entries, written registries."""

    parsed: list[int] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    written: int = 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Counts what the store does, and lets it do it."""
    work = Work()
    render, write = editing._entry_text, versions.write_registry

    def read(data: bytes, source: Path) -> Document:
        work.parsed.append(len(data))
        return read_yaml(data, source)

    def entry_text(name: str, entry: object) -> bytes:
        work.rendered.append(name)
        return render(name, entry)  # type: ignore[arg-type]

    def write_registry(registry: Registry) -> None:
        work.written += 1
        write(registry)

    monkeypatch.setattr(registry_module, "read_yaml", read)
    monkeypatch.setattr(editing, "_entry_text", entry_text)
    monkeypatch.setattr(versions, "write_registry", write_registry)
    return work


class TestTransaction:
    @pytest.mark.slow
    def test_many_tasks_are_one_state(self, path: Path, work: Work) -> None:
        placed = add_versions(path, many(range(100)))
        assert work.written == 1
        assert len(work.parsed) == 1
        assert len(work.rendered) == 100
        assert [one.task for one in placed] == [f"task-{number:04}" for number in range(100)]
        for one in placed:
            record = one.record
            assert read_head(one.path, sha256=record.sha256, size=record.size).spec.task == one.task
        assert check_file(path).names() == tuple(one.task for one in placed)
        assert unlisted_files(path) == []

    def test_it_gives_the_bytes_of_single_additions(self, path: Path, tmp_path: Path) -> None:
        add_versions(path, many(range(20)))
        other = tmp_path / "other" / "registry.yaml"
        for one in reversed(many(range(20))):
            add_version(
                other, one.spec, one.tensors,
                backbone_key="small-test", backbone_entry=one.backbone_entry,
            )  # fmt: skip
        assert path.read_bytes() == other.read_bytes()

    def test_versions_of_one_task_are_numbered_in_order(self, path: Path) -> None:
        spec = task_spec(task="spam")
        seeds = (0, 1, 1, 0)
        placed = add_versions(
            path, [addition(spec, seed, aliases=(f"seed-{seed}",)) for seed in seeds]
        )
        assert [one.version for one in placed] == [1, 2, 2, 3]
        assert check_file(path).tasks["spam"].aliases == {"seed-0": 3, "seed-1": 2}

    def test_the_same_again_writes_nothing(self, path: Path, work: Work) -> None:
        first = add_versions(path, many(range(5)))
        first[2].path.unlink()
        assert add_versions(path, many(range(5))) == first
        assert work.written == 1
        read_head(first[2].path, sha256=first[2].record.sha256)

    def test_nothing_to_add_makes_nothing(self, path: Path) -> None:
        assert add_versions(path, []) == ()
        assert not path.parent.exists()

    def test_backbones_of_one_name_get_keys_of_their_own(self, path: Path) -> None:
        other = backbone_spec(fingerprint=f"sha256:{'cd' * 32}")
        specs = (task_spec(task="a"), task_spec(task="b", backbone=other), task_spec(task="c"))
        add_versions(path, [addition(spec) for spec in specs])
        tasks = check_file(path).tasks
        assert [tasks[name].backbone for name in "abc"] == [
            "small-test", "small-test-cdcdcdcd", "small-test",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("bad", "error", "message"),
        [
            (addition(task_spec("multi_label", task="task-0001")), RegistryError, "is single_l"),
            (addition(task_spec(task="x"), aliases=("No",)), UsageError, "alias 'No'"),
            (addition(task_spec(task="x"), backbone_key="No"), RegistryError, "was refused"),
        ],
    )
    def test_one_bad_addition_refuses_all(
        self, path: Path, bad: Addition, error: type[Exception], message: str
    ) -> None:
        add_versions(path, many(range(2)))
        before = path.read_bytes()
        with pytest.raises(error, match=message):
            add_versions(path, [*many(range(5, 8)), bad, *many(range(8, 10))])
        assert path.read_bytes() == before
        assert unlisted_files(path) == []


class TestForeignChanges:
    def test_a_change_by_hand_between_two_additions_is_kept(self, path: Path) -> None:
        add_versions(path, many(range(3)))
        text = path.read_text()
        path.write_text(
            text.replace("  task-0001:\n", "  # by hand\n  task-0001:\n    description: 'ours'\n")
        )
        add_versions(path, many([3]))
        tasks = check_file(path).tasks
        assert tasks["task-0001"].description == "ours"
        assert len(tasks) == 4

    def test_an_entry_that_was_removed_by_hand_stays_away(self, path: Path) -> None:
        add_versions(path, many(range(3)))
        start, _, rest = path.read_text().partition("  task-0001:\n")
        path.write_text(start + rest[rest.index("  task-0002:\n") :])
        add_versions(path, many([3]))
        assert check_file(path).names() == ("task-0000", "task-0002", "task-0003")

    def test_a_file_that_was_damaged_by_hand_is_refused(self, path: Path) -> None:
        add_versions(path, many(range(3)))
        damaged = path.read_text().replace("pooling: mean", "pooling: &a mean", 1)
        path.write_text(damaged)
        with pytest.raises(RegistryError, match="anchors"):
            add_versions(path, many([3]))
        assert path.read_text() == damaged

    def test_threads_add_beside_each_other(self, path: Path) -> None:
        threads = [
            threading.Thread(target=add_versions, args=(path, many(range(start, start + 5))))
            for start in range(0, 40, 5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(check_file(path).tasks) == 40


class TestBounds:
    def test_a_registry_of_too_many_bytes_is_not_written(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_versions(path, many(range(3)))
        monkeypatch.setattr(editing, "MAX_BYTES", path.stat().st_size + 200)
        with pytest.raises(RegistryError, match="bytes long; at most"):
            add_versions(path, many([3]))
        assert len(check_file(path).tasks) == 3

    def test_a_registry_of_too_many_values_is_not_written(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_versions(path, many(range(3)))
        for module in (editing, yamlsafe):
            monkeypatch.setattr(module, "MAX_NODES", 100)
        with pytest.raises(RegistryError, match="more than 100 values"):
            add_versions(path, many([3]))
        assert len(check_file(path).tasks) == 3


class TestCost:
    @pytest.mark.slow
    def test_an_addition_renders_and_parses_its_own_entry_only(
        self, path: Path, work: Work
    ) -> None:
        add_versions(path, many(range(300)))
        for number in (300, 301):
            work.parsed.clear()
            work.rendered.clear()
            add_versions(path, many([number]))
            set_alias(path, "task-0007", f"alias-{number}", 1)
            assert work.rendered == [f"task-{number:04}", "task-0007"]
            assert len(work.parsed) == 2
            assert max(work.parsed) < 1_000 < path.stat().st_size / 50
        check_file(path)

    @pytest.mark.slow
    def test_the_thousandth_task_costs_at_most_three_times_the_hundredth(self, path: Path) -> None:
        def seconds(first: int) -> float:
            """Returns the least CPU seconds of ten additions, while others use the processor."""
            taken = []
            for one in many(range(first, first + 10)):
                start = time.process_time()
                add_versions(path, [one])
                taken.append(time.process_time() - start)
            return min(taken)

        add_versions(path, many(range(95)))
        hundredth = seconds(95)
        add_versions(path, many(range(105, 995)))
        assert seconds(995) <= 3 * hundredth
        assert len(check_file(path).tasks) == 1_005


lines = st.text(st.sampled_from("ab:,#'\"-[]{}&*!|>%@ \n\r\t\\é\x85\u2028中"), max_size=30)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "alias", "foreign"]), st.integers(0, 4), lines), max_size=8
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=steps)
@pytest.mark.slow
def test_after_any_changes_the_file_is_what_a_fresh_parse_reads(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str]]
) -> None:
    path = tmp_path_factory.mktemp("registry") / "registry.yaml"
    placed: dict[str, Resolved] = {}
    descriptions: dict[str, str] = {}
    for step, (kind, number, text) in enumerate(steps):
        name = f"task-{number}"
        if kind == "add":
            spec = task_spec(task=name, description=text)
            placed[name] = add_versions(path, [addition(spec, step)])[0]
            descriptions[name] = text
        elif kind == "alias" and name in placed:
            set_alias(path, name, f"alias-{step}", placed[name].version)
        elif kind == "foreign" and placed:
            path.write_bytes(b"# by hand\n" + path.read_bytes() + b"\n# end\n")
    if placed:
        add_versions(path, [addition(task_spec(task="last"))])
        tasks = check_file(path).tasks
        assert {name: tasks[name].description for name in placed} == descriptions
