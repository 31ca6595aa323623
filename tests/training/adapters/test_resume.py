"""A training that was killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.training.adapters.run_config import EpochRecord
from adapterhub.training.adapters.train_loop import AdapterRun, Checkpoint, Checkpoints, Progress
from tests.training.adapters.killed import STEPS_BEFORE, train_with

pytest.importorskip("sklearn")
pytest.importorskip("seqeval")


@pytest.mark.slow
def test_a_killed_training_ends_as_an_uninterrupted_one(
    tiny_backbone: Backbone,
    tiny_backbone_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "tests.training.adapters.killed"
    words = [sys.executable, "-m", code, str(tiny_backbone_folder), str(tmp_path / "killed")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "killed" / "runs").iterdir())) == 1
    taken = []
    step = AdapterRun._take_step
    monkeypatch.setattr(
        AdapterRun, "_take_step", lambda self, rows: taken.append(rows) or step(self, rows)
    )
    resumed = train_with(tmp_path / "killed", tiny_backbone)
    steps = len(taken)
    whole = train_with(tmp_path / "whole", tiny_backbone)
    assert len(taken) - steps == steps + STEPS_BEFORE
    assert resumed.tensors.keys() == whole.tensors.keys()
    for name, tensor in whole.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor), name
    assert resumed.spec == whole.spec
    assert not list((tmp_path / "killed" / "runs").iterdir())


def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, {"a": 1})
    history = (EpochRecord(0, 0.0, 0.5, 1.0),)
    kept.write(Checkpoint(Progress(2, 3, 0.5, 1.5, False, history), {"x": torch.arange(3)}))
    found = kept.read()
    assert found is not None
    assert found.progress == Progress(2, 3, 0.5, 1.5, False, history)
    assert torch.equal(found.tensors["x"], torch.arange(3))
    assert Checkpoints(tmp_path, {"a": 2}).read() is None
    kept.path.write_bytes(kept.path.read_bytes()[:-5])
    assert kept.read() is None
    assert not kept.path.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(UsageError, match=r"cannot be written to .*runs"):
        Checkpoints(tmp_path / "runs", {}).write(Checkpoint(Progress(), {}))
