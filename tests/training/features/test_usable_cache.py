"""The feature cache where the home cannot be written, or there is none."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from adapterhub.store.atomic import remove_held
from adapterhub.training.features import usable_cache as module
from adapterhub.training.features.usable_cache import usable_cache
from adapterhub.training.options import TrainingOptions

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADAPTERHUB_CACHE", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    module._temporary_folder.cache_clear()


def a_file(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file")


@pytest.mark.parametrize("home", ["/proc", "/proc/none", "/dev/null", "file"])
def test_a_home_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, home: str
) -> None:
    monkeypatch.setenv("HOME", a_file(tmp_path) if home == "file" else home)
    with caplog.at_level(logging.WARNING, "adapterhub"):
        folder = usable_cache(TrainingOptions())
    assert folder.is_relative_to(tmp_path)
    assert "the cache in the home cannot be written" in caplog.text
    assert usable_cache(TrainingOptions()) == folder
    remove_held()
    assert not folder.exists()


def test_no_home_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)

    def unknown(_: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert usable_cache(TrainingOptions()).is_relative_to(tmp_path)


def test_a_home_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = usable_cache(TrainingOptions())
    assert folder == tmp_path / ".cache" / "adapterhub" / "features"
    assert os.listdir(folder) == []


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_folder_that_is_named_is_not_replaced(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    named = Path("/proc/none")
    if by == "environment":
        monkeypatch.setenv("ADAPTERHUB_CACHE", str(named))
    options = TrainingOptions(cache_dir=named if by == "option" else None)
    assert usable_cache(options).is_relative_to(named)
