"""A registry that cannot take the task is met before training, and costs nothing after it."""

from __future__ import annotations

import os
import resource
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import RegistryError, SaveError
from adapterhub.store import editing
from adapterhub.store.atomic import stray_files
from adapterhub.store.editing import registry_lock
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from adapterhub.training.finalize import finalize
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.commands.conftest import Run
from tests.commands.conftest import run as run
from tests.training.rows import sentiment_rows, write_rows

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")

QUICK: dict[str, Any] = {
    "epochs": 1,
    "hidden_widths": (8,),
    "depths": (1,),
    "learning_rates": (0.01,),
    "weight_decays": (0.01,),
}


@pytest.fixture
def quick(tmp_path: Path) -> TrainingOptions:
    return training_options(**QUICK, cache_dir=tmp_path / "cache")


@contextmanager
def locked(path: Path) -> Iterator[Path]:
    with registry_lock(path):
        yield path


@contextmanager
def damaged(path: Path) -> Iterator[Path]:
    path.write_text("schema: [1")
    yield path


@contextmanager
def empty(path: Path) -> Iterator[Path]:
    path.write_text("")
    yield path


@contextmanager
def heads_are_a_file(path: Path) -> Iterator[Path]:
    heads = path.parent / "heads"
    heads.rename(path.parent / "away")
    heads.write_text("")
    yield path


@contextmanager
def heads_lead_away(path: Path) -> Iterator[Path]:
    heads = path.parent / "heads"
    heads.rename(path.parent.parent / "away")
    heads.symlink_to(path.parent.parent / "away")
    yield path


@contextmanager
def below_a_file(path: Path) -> Iterator[Path]:
    yield path / "new" / "registry.yaml"


@contextmanager
def read_only(path: Path) -> Iterator[Path]:
    yield Path("/proc/tasks/registry.yaml")  # closed to root too


@contextmanager
def full(path: Path) -> Iterator[Path]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    try:
        yield path
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)


@contextmanager
def too_big(path: Path) -> Iterator[Path]:
    text = path.read_bytes()
    path.write_bytes(text + b"#" * (8 * 2**20 - len(text) - 100) + b"\n")
    yield path


@contextmanager
def links_in_a_circle(path: Path) -> Iterator[Path]:
    loop = path.parent / "loop"
    loop.symlink_to("loop")
    yield loop


@pytest.mark.parametrize(
    "obstacle",
    [
        locked,
        damaged,
        empty,
        heads_are_a_file,
        heads_lead_away,
        below_a_file,
        read_only,
        full,
        too_big,
        links_in_a_circle,
    ],
)
def test_what_cannot_be_saved_is_not_trained(
    tiny_registry: Path,
    quick: TrainingOptions,
    monkeypatch: pytest.MonkeyPatch,
    obstacle: Callable[[Path], AbstractContextManager[Path]],
) -> None:
    monkeypatch.setattr(editing, "LOCK_TIMEOUT", 0.05)

    class Unread(list[dict[str, object]]):
        def __iter__(self) -> Iterator[dict[str, object]]:
            raise AssertionError("rows were read")

    with obstacle(tiny_registry) as path, pytest.raises(RegistryError) as caught:
        train(Unread(sentiment_rows()), task="new", options=quick, registry=path)
    assert not isinstance(caught.value, SaveError)
    assert stray_files(tiny_registry.parent) == []


@pytest.mark.slow
def test_a_new_registry_is_made_at_the_end_only(tmp_path: Path, quick: TrainingOptions) -> None:
    class Bad(list[dict[str, object]]):
        def __iter__(self) -> Iterator[dict[str, object]]:
            raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        train(Bad(), task="new", options=quick, registry=tmp_path / "a" / "b" / "registry.yaml")
    assert os.listdir(tmp_path) == []


@contextmanager
def breaking(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Breaks a registry while its task is trained, and mends it at the end."""
    heads = path.parent / "heads"

    def late(*words: Any, **options: Any) -> Any:
        heads.rename(path.parent / "away")
        heads.write_text("")
        return finalize(*words, **options)

    with monkeypatch.context() as patch:
        patch.setattr("adapterhub.training.train.finalize", late)
        yield
    heads.unlink()
    (path.parent / "away").rename(heads)


def test_a_python_caller_keeps_what_was_trained(
    tiny_registry: Path, quick: TrainingOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with breaking(tiny_registry, monkeypatch), pytest.raises(SaveError) as caught:
        train(sentiment_rows(), task="new", options=quick, registry=tiny_registry)
    assert "task 'new' was trained, but cannot be saved: " in str(caught.value)
    assert caught.value.exit_code == 5
    assert "new" not in read_registry(tiny_registry).tasks
    saved = caught.value.trained.save(tiny_registry)
    assert (saved.task, saved.version) == ("new", 1)


def words_of(data: Path, registry: Path) -> tuple[object, ...]:
    few = ("--epochs", 1, "--hidden-widths", 8, "--learning-rates", 0.01)
    return ("train", data, "-t", "new", "-r", registry, *few)


@pytest.mark.slow
@pytest.mark.parametrize("here", [True, False])
def test_the_command_line_writes_it_elsewhere(
    run: Run, tiny_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = write_rows(tmp_path / "rows.jsonl", sentiment_rows())
    working = Path.cwd() if here else Path("/proc")  # closed to root too
    (Path.cwd() / "new.safetensors").write_text("of somebody else")
    with breaking(tiny_registry, monkeypatch):
        os.chdir(working)
        ran = run(*words_of(data, tiny_registry))
    assert ran.code == 5
    assert "task 'new' was trained, but cannot be saved: " in ran.err
    command = shlex.split(ran.err.rpartition("add it with `adapterhub ")[2].rstrip("`\n"))
    kept = Path(command[1])
    assert kept.parent.resolve() == Path.cwd() if here else kept.is_relative_to(tmp_path)
    assert kept.name == ("new.2.safetensors" if here else "new.safetensors")
    assert read_head(kept).spec.task == "new"
    assert run(*command).code == 0
    assert read_registry(tiny_registry).resolve("new").version == 1
    assert run("score", "good", "-t", "new", "-r", tiny_registry).code == 0


def test_a_head_file_is_added_by_its_path(run: Run, tiny_registry: Path) -> None:
    file = tiny_registry.parent / "heads" / "rating.safetensors"
    assert run("add", file, "--as", "copy", "-r", tiny_registry).code == 0
    assert read_registry(tiny_registry).resolve("copy").record.size == file.stat().st_size
    assert run("add", "rating", "-r", tiny_registry).code == 2
    assert run("add", "./absent.safetensors", "-r", tiny_registry).code == 5
    refused = run("add", file, "-r", "new.yaml")
    assert refused.code == 5
    assert "new.yaml does not list" in refused.err
