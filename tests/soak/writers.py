"""Writers of a registry that race, die or find a full disk: real processes and files."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

from adapterhub.errors import AdapterHubError
from adapterhub.store.atomic import stray_files
from adapterhub.store.editing import registry_lock, unlisted_files
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import Resolved, parse_registry, read_registry
from adapterhub.store.versions import add_version
from tests.builders import backbone_entry, head_tensors, task_spec
from tests.soak.figures import Effort, Figure, Unavailable, exactly, none, processes


def add(path: Path, task: str = "spam", seed: int = 0) -> Resolved:
    spec = task_spec(task=task)
    return add_version(
        path, spec, head_tensors(spec, seed), backbone_key="small", backbone_entry=backbone_entry()
    )


def add_forever(path: Path, task: str = "spam", started: Event | None = None) -> None:
    for seed in range(1, 1_000_000):
        add(path, task, seed)
        if started is not None:
            started.set()


def read_heads(path: Path, known: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """Reads the head file of every version that the registry lists; returns their paths.

    Args:
        path: The registry.
        known: Files that were read before and are left out now.
    """
    registry = read_registry(path)
    found = set()
    for task, entry in registry.tasks.items():
        for version, record in entry.versions.items():
            resolved = registry.resolve(f"{task}:{version}")
            found.add(resolved.path)
            if resolved.path not in known:
                read_head(resolved.path, sha256=record.sha256, size=record.size)
    return frozenset(found)


def unreadable(path: Path, known: frozenset[Path]) -> tuple[int, frozenset[Path]]:
    """Returns 1 if the registry or a head that it lists cannot be read, and the heads."""
    try:
        found = read_heads(path, known)
    except AdapterHubError:
        return 1, known
    return int(not known <= found), found


def killed_writers(folder: Path, effort: Effort) -> list[Figure]:
    """Kills writers at random moments and reads the registry after each."""
    path = folder / "registry.yaml"
    heads = frozenset([add(path, "first").path])
    pick = random.Random(0)
    kills = broken = 0
    for kill in effort.steps():
        started = processes().Event()
        writer = processes().Process(target=add_forever, args=(path, f"task-{kill}", started))
        writer.start()
        started.wait(60)
        time.sleep(pick.uniform(0.0, 0.08))
        writer.kill()
        writer.join()
        kills += writer.exitcode == -signal.SIGKILL
        wrong, heads = unreadable(path, heads)
        broken += wrong
    add(path, "last")
    strays = [*stray_files(folder), *stray_files(folder / "heads")]
    dangling, everything = unreadable(path, frozenset())
    return [
        effort.done("writers killed", kills),
        none("registries or heads that cannot be read", broken + dangling),
        Figure("heads that the dead have added", len(everything) - 2, at_least=kills),
        none("temporary files after the next writer", len(strays)),
    ]


def dead_holders(folder: Path, effort: Effort) -> list[Figure]:
    """Kills processes that hold the lock; the next writer must get it at once."""
    path = folder / "registry.yaml"
    add(path)
    waits = []
    for _ in effort.steps():
        holder = processes().Process(target=die_with_lock, args=(path,))
        holder.start()
        holder.join(60)
        assert holder.exitcode == -signal.SIGKILL
        start = time.monotonic()
        with registry_lock(path):
            waits.append(time.monotonic() - start)
    return [
        effort.done("holders killed", len(waits)),
        Figure("longest wait for the lock, s", round(max(waits), 3), at_most=1),
    ]


def die_with_lock(path: Path) -> None:
    with registry_lock(path):
        os.kill(os.getpid(), signal.SIGKILL)


def racing_tasks(folder: Path, effort: Effort) -> list[Figure]:
    """Lets many processes add one task each, all at once."""
    path = folder / "registry.yaml"
    count = effort.rounds or 1
    failed = _run_all([(path, f"task-{number}", number) for number in range(count)])
    return [
        none("processes that failed", failed),
        exactly("tasks", len(read_registry(path).tasks), count),
        exactly("heads that load", len(read_heads(path)), count),
        none("files that no entry lists", len(unlisted_files(path))),
    ]


def racing_versions(folder: Path, effort: Effort) -> list[Figure]:
    """Lets many processes add a version of the same task each, all at once."""
    path = folder / "registry.yaml"
    count = effort.rounds or 1
    failed = _run_all([(path, "spam", number) for number in range(count)])
    entry = read_registry(path).tasks["spam"]
    in_order = sorted(entry.versions) == list(range(1, count + 1))
    return [
        none("processes that failed", failed),
        exactly("versions", len(entry.versions), count),
        none("numbers missing or twice", int(not in_order)),
        exactly("different heads", len({one.sha256 for one in entry.versions.values()}), count),
        exactly("heads that load", len(read_heads(path)), count),
    ]


def _run_all(calls: list[tuple[Path, str, int]]) -> int:
    """Runs `add` in one process per call; returns how many failed."""
    writers = [processes().Process(target=add, args=call) for call in calls]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    return sum(writer.exitcode != 0 for writer in writers)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mounts a disk of `size` at `folder`.

    Raises:
        Unavailable: This user may not mount disks.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable("needs a user who may mount a disk") from error
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(folder: Path, effort: Effort) -> list[Figure]:
    """Fills a disk of 256 kB with versions until the system refuses, again and again."""
    place = folder / "disk"
    place.mkdir()
    path = place / "registry.yaml"
    refusals = changed = strays = foreign = versions = 0
    with small_disk(place, "256k"):
        add(path)
        for step in effort.steps():
            before = path.read_bytes()
            try:
                add(path, f"task-{step % 3}", step)
            except AdapterHubError as error:
                refusals += "No space left on device" in str(error)
                changed += path.read_bytes() != before
            except OSError:
                foreign += 1
            strays += len(stray_files(place)) + len(stray_files(place / "heads"))
        parse_registry(path.read_bytes(), path)
        versions = len(read_heads(path))
    return [
        Figure("writers refused by a full disk", refusals, at_least=1),
        none("registries that a refused writer changed", changed),
        none("errors that are not ours", foreign),
        none("temporary files left", strays),
        Figure("heads that load afterwards", versions, at_least=2),
    ]
