"""What the store keeps when processes die, race, or run out of disk: real processes and files."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from adapterhub.errors import HeadFileError, IntegrityError, RegistryError
from adapterhub.store import atomic, versions
from adapterhub.store.atomic import stray_files
from adapterhub.store.editing import registry_lock, set_alias, unlisted_files
from adapterhub.store.headfile import parse_head, read_head
from adapterhub.store.registry import Resolved, parse_registry, read_registry
from adapterhub.store.versions import Addition, add_version, add_versions
from tests.builders import backbone_entry, backbone_spec, head_tensors, task_spec
from tests.store.raw import good_file

NOBODY = 65_534


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    """Returns a server whose processes start at once, because it has imported torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "adapterhub.store.versions", __name__])
    assert run(context, time.sleep, 0) == 0
    return context


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.yaml"


def add(path: Path, task: str = "spam", seed: int = 0) -> Resolved:
    spec = task_spec(task=task)
    return add_version(
        path, spec, head_tensors(spec, seed), backbone_key="small", backbone_entry=backbone_entry()
    )


def add_forever(path: Path, first: int, started: Event | None = None) -> None:
    if started is not None:
        started.set()
    for seed in range(first, first + 1_000_000):
        add(path, seed=seed)


def add_many(path: Path, seed: int, prefix: str = "many") -> None:
    """Adds five tasks in one transaction."""
    specs = [task_spec(task=f"{prefix}-{number}") for number in range(5)]
    add_versions(
        path, [Addition(spec, head_tensors(spec, seed), backbone_entry()) for spec in specs]
    )


def add_many_times(path: Path, prefix: str) -> None:
    for seed in range(6):
        add_many(path, seed, prefix)


def run(server: ForkServerContext, target: Callable[..., None], *args: object) -> int | None:
    process = server.Process(target=target, args=args)
    process.start()
    process.join(60)
    return process.exitcode


def run_all(processes: list[ForkServerProcess]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def check_every_head(path: Path) -> int:
    """Reads every version that the registry lists; returns how many."""
    count = 0
    registry = read_registry(path)
    for task, entry in registry.tasks.items():
        for version, record in entry.versions.items():
            resolved = registry.resolve(f"{task}:{version}")
            read_head(resolved.path, sha256=record.sha256, size=record.size)
            count += 1
    return count


class TestRaces:
    @pytest.mark.slow
    def test_fifty_processes_add_fifty_tasks(self, path: Path, server: ForkServerContext) -> None:
        run_all([server.Process(target=add, args=(path, f"task-{i}", i)) for i in range(50)])
        assert len(read_registry(path).tasks) == 50
        assert check_every_head(path) == 50
        assert unlisted_files(path) == []

    @pytest.mark.slow
    def test_twenty_processes_add_versions_of_one_task(
        self, path: Path, server: ForkServerContext
    ) -> None:
        run_all([server.Process(target=add, args=(path, "spam", i)) for i in range(20)])
        entry = read_registry(path).tasks["spam"]
        assert sorted(entry.versions) == list(range(1, 21))
        assert len({record.sha256 for record in entry.versions.values()}) == 20
        assert check_every_head(path) == 20

    def test_transactions_of_two_processes_and_this_one(
        self, path: Path, server: ForkServerContext
    ) -> None:
        add(path)
        writers = [server.Process(target=add_many_times, args=(path, name)) for name in "ab"]
        for writer in writers:
            writer.start()
        seen = set()
        while any(writer.is_alive() for writer in writers) or not seen:
            add(path, seed=len(seen))
            tasks = read_registry(path).tasks
            # Of each transaction all tasks are seen, in the same version, or none.
            for prefix in "ab":
                names = [f"{prefix}-{number}" for number in range(5)]
                found = {max(tasks[name].versions) if name in tasks else 0 for name in names}
                assert len(found) == 1
                seen |= {(prefix, version) for version in found}
        assert [writer.exitcode for writer in writers] == [0, 0]
        registry = read_registry(path)
        assert {max(registry.tasks[f"{name}-0"].versions) for name in "ab"} == {6}
        assert registry.tasks == parse_registry(path.read_bytes(), path).tasks
        assert check_every_head(path) == 60 + len(registry.tasks["spam"].versions)
        assert unlisted_files(path) == []

    def test_readers_beside_a_writer_see_whole_registries(
        self, path: Path, server: ForkServerContext
    ) -> None:
        add(path)
        writer = server.Process(target=add_forever, args=(path, 1))
        writer.start()
        try:
            seen = set()
            start = time.monotonic()
            while time.monotonic() < start + 0.7 or (
                len(seen) < 3 and time.monotonic() < start + 20
            ):
                resolved = read_registry(path).resolve("spam")
                read_head(resolved.path, sha256=resolved.record.sha256)
                seen.add(resolved.version)
        finally:
            writer.kill()
            writer.join()
        assert len(seen) >= 3


def die_before_registry(path: Path, seed: int) -> None:
    versions.write_registry = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    add(path, seed=seed)


def die_before_rename(path: Path, seed: int) -> None:
    atomic.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    add(path, seed=seed)


def die_with_lock(path: Path) -> None:
    with registry_lock(path):
        os.kill(os.getpid(), signal.SIGKILL)


def die_before_registry_of_many(path: Path) -> None:
    versions.write_registry = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    add_many(path, 0)


class TestKilledWriters:
    @pytest.mark.slow
    def test_at_random_moments(self, path: Path, server: ForkServerContext) -> None:
        first = add(path)
        chance = random.Random(0)
        before = 1
        for attempt in range(1, 21):
            started = server.Event()
            writer = server.Process(target=add_forever, args=(path, attempt * 10_000, started))
            writer.start()
            assert started.wait(60)
            time.sleep(chance.uniform(0.0, 0.08))
            writer.kill()
            writer.join()
            count = check_every_head(path)
            assert count >= before
            before = count
            assert read_registry(path).tasks["spam"].versions[1] == first.record
        start = time.monotonic()
        add(path, "last")
        assert time.monotonic() - start < 5
        assert not stray_files(path.parent)
        assert not stray_files(path.parent / "heads")
        assert before > 1

    def test_between_head_and_registry(self, path: Path, server: ForkServerContext) -> None:
        add(path)
        before = path.read_bytes()
        assert run(server, die_before_registry, path, 1) == -signal.SIGKILL
        assert path.read_bytes() == before
        assert check_every_head(path) == 1
        orphan = path.parent / "heads" / "spam.2.safetensors"
        assert unlisted_files(path) == [orphan]
        assert add(path, seed=2).path == orphan
        assert check_every_head(path) == 2
        assert unlisted_files(path) == []

    def test_between_the_heads_of_many_tasks_and_the_registry(
        self, path: Path, server: ForkServerContext
    ) -> None:
        add(path)
        before = path.read_bytes()
        assert run(server, die_before_registry_of_many, path) == -signal.SIGKILL
        assert path.read_bytes() == before
        assert read_registry(path).names() == ("spam",)
        orphans = [path.parent / "heads" / f"many-{number}.safetensors" for number in range(5)]
        assert unlisted_files(path) == orphans
        add_many(path, 1)
        assert check_every_head(path) == 6
        assert unlisted_files(path) == []

    def test_before_a_rename(self, path: Path, server: ForkServerContext) -> None:
        add(path)
        before = path.read_bytes()
        assert run(server, die_before_rename, path, 1) == -signal.SIGKILL
        assert path.read_bytes() == before
        assert len(unlisted_files(path)) == 1
        add(path, seed=2)
        assert unlisted_files(path) == []

    def test_a_dead_holder_frees_the_lock(self, path: Path, server: ForkServerContext) -> None:
        add(path)
        assert run(server, die_with_lock, path) == -signal.SIGKILL
        start = time.monotonic()
        add(path, seed=1)
        assert time.monotonic() - start < 5


class TestDamage:
    def test_every_truncation_is_refused(self, tmp_path: Path) -> None:
        data = good_file()
        for length in range(len(data)):
            with pytest.raises(HeadFileError):
                parse_head(data[:length], source="x")
        path = tmp_path / "a.safetensors"
        digest = hashlib.sha256(data).hexdigest()
        for length in (0, 1, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:length])
            with pytest.raises(IntegrityError, match=rf"a\.safetensors.*{digest}"):
                read_head(path, sha256=digest, size=len(data))

    def test_two_hundred_bit_flips_are_refused(self, path: Path) -> None:
        resolved = add(path)
        data = resolved.path.read_bytes()
        chance = random.Random(0)
        for position in chance.sample(range(8 * len(data)), 200):
            damaged = bytearray(data)
            damaged[position // 8] ^= 1 << position % 8
            resolved.path.write_bytes(damaged)
            with pytest.raises(IntegrityError):
                read_head(resolved.path, sha256=resolved.record.sha256, size=resolved.record.size)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Lets the system refuse to write more than `size` bytes to a file, as a full disk would."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


def no_room_for_the_head(path: Path) -> None:
    spec = task_spec(task="big", backbone=backbone_spec(hidden_size=4_096))
    with (
        file_size_limit(8_192),
        pytest.raises(HeadFileError, match=r"big.*File too large") as caught,
    ):
        add_version(
            path, spec, head_tensors(spec), backbone_key="small", backbone_entry=backbone_entry()
        )
    assert isinstance(caught.value.__cause__, OSError)


def no_room_for_the_registry(path: Path) -> None:
    with file_size_limit(2_048), pytest.raises(RegistryError, match=r"registry\.yaml: .*too large"):
        add_forever(path, 1)


def write_beside_a_reader(path: Path) -> None:
    read_registry(path)  # Python's own files may be closed to other users, so import all now
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    assert check_every_head(path) == 1
    for write in (lambda: set_alias(path, "spam", "prod", 1), lambda: add(path, seed=1)):
        with pytest.raises(RegistryError, match=r"registry\.yaml: .*Permission denied"):
            write()


class TestFullAndReadOnlyDisks:
    @pytest.mark.parametrize("fill", [no_room_for_the_head, no_room_for_the_registry])
    def test_full_disk(
        self, path: Path, server: ForkServerContext, fill: Callable[[Path], None]
    ) -> None:
        add(path)
        assert run(server, fill, path) == 0
        count = check_every_head(path)
        assert count >= 1
        assert not stray_files(path.parent)
        assert not stray_files(path.parent / "heads")
        assert add(path, seed=1_000).version == count + 1

    def test_an_error_while_writing_keeps_the_old_registry(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add(path)
        before = path.read_bytes()

        def fail(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(RegistryError, match=r"registry\.yaml: .*No space left on device"):
            set_alias(path, "spam", "prod", 1)
        with pytest.raises(HeadFileError, match=r"spam\.2\.safetensors: .*No space left on device"):
            add(path, seed=1)
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert unlisted_files(path) == []

    def test_read_only_folder(self, server: ForkServerContext) -> None:
        # pytest's own folders are closed to other users, and root may write anywhere.
        folder = Path(tempfile.mkdtemp())
        try:
            folder.chmod(0o755)
            path = folder / "registry.yaml"
            add(path)
            if os.geteuid() != 0:
                folder.chmod(0o555)
            before = path.read_bytes()
            assert run(server, write_beside_a_reader, path) == 0
            assert path.read_bytes() == before
        finally:
            folder.chmod(0o755)
            shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["with space", "nön-äscii", "-dash", "%2e%2e", "a'b\"c"])
def test_odd_folder_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "registry.yaml"
    resolved = add(path)
    assert read_head(resolved.path, sha256=resolved.record.sha256).spec.task == "spam"


def test_a_clock_that_jumps_back_shows_no_old_registry(path: Path) -> None:
    add(path)
    for seed in range(1, 6):
        version = add(path, seed=seed).version
        os.utime(path, (10_000_000_000 - seed, 10_000_000_000 - seed))
        assert read_registry(path).resolve("spam").version == version
