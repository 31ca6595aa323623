"""What the store keeps when processes die, race, or run out of disk: real processes and files."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from adapterhub.errors import HeadFileError, RegistryError
from adapterhub.store import atomic, versions
from adapterhub.store.atomic import stray_files
from adapterhub.store.editing import set_alias, unlisted_files
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import parse_registry, read_registry
from adapterhub.store.versions import Addition, add_version, add_versions
from tests.builders import backbone_entry, backbone_spec, head_tensors, task_spec
from tests.soak.writers import add, add_forever, read_heads

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


class TestRaces:
    @pytest.mark.slow
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
        assert len(read_heads(path)) == 60 + len(registry.tasks["spam"].versions)
        assert unlisted_files(path) == []

    @pytest.mark.slow
    def test_readers_beside_a_writer_see_whole_registries(
        self, path: Path, server: ForkServerContext
    ) -> None:
        add(path)
        writer = server.Process(target=add_forever, args=(path,))
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


def die_before_registry_of_many(path: Path) -> None:
    versions.write_registry = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    add_many(path, 0)


class TestKilledWriters:
    @pytest.mark.slow
    def test_between_head_and_registry(self, path: Path, server: ForkServerContext) -> None:
        add(path)
        before = path.read_bytes()
        assert run(server, die_before_registry, path, 1) == -signal.SIGKILL
        assert path.read_bytes() == before
        assert len(read_heads(path)) == 1
        orphan = path.parent / "heads" / "spam.2.safetensors"
        assert unlisted_files(path) == [orphan]
        assert add(path, seed=2).path == orphan
        assert len(read_heads(path)) == 2
        assert unlisted_files(path) == []

    @pytest.mark.slow
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
        assert len(read_heads(path)) == 6
        assert unlisted_files(path) == []

    def test_before_a_rename(self, path: Path, server: ForkServerContext) -> None:
        add(path)
        before = path.read_bytes()
        assert run(server, die_before_rename, path, 1) == -signal.SIGKILL
        assert path.read_bytes() == before
        assert len(unlisted_files(path)) == 1
        add(path, seed=2)
        assert unlisted_files(path) == []


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
        add_forever(path)


def write_beside_a_reader(path: Path) -> None:
    read_registry(path)  # Python's own files may be closed to other users, so import all now
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    assert len(read_heads(path)) == 1
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
        count = len(read_heads(path))
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
