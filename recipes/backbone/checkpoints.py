"""Writes and reads training checkpoints: tensors as safetensors, the rest as JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import AdamW
from transformers import AlbertConfig, AlbertForPreTraining

from adapterhub.errors import DataError

_KEPT = 2  # newest checkpoints that stay on disk


class Trainable(Protocol):
    """A model that checkpoints can hold."""

    @property
    def config(self) -> AlbertConfig:
        """Returns its shape."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields every parameter once, with its name."""


@dataclass
class Progress:
    """Where a run is: everything that a resumed run needs beside weights and optimizer state.

    Attributes:
        step: Optimizer steps done.
        tokens: Tokens seen, special ones included.
        elapsed: Seconds of training, all starts of the run together.
        batches: Batches used so far by window length; the data position.
    """

    step: int = 0
    tokens: int = 0
    elapsed: float = 0.0
    batches: dict[str, int] = field(default_factory=dict)


def save_checkpoint(folder: Path, model: Trainable, optimizer: AdamW, progress: Progress) -> Path:
    """Writes `<folder>/step-<step>` in one move, drops old checkpoints and returns its path."""
    target = folder / f"step-{progress.step:08d}"
    temporary = folder / f".{target.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_weights(model, temporary)
    save_file(_optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
    write_progress(progress, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old)
    return target


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the checkpoint with the most steps, or None."""
    return max(folder.glob("step-*"), default=None)


def restore(checkpoint: Path, model: Trainable, optimizer: AdamW) -> Progress:
    """Loads weights and optimizer state in place and returns where the run was.

    Raises:
        DataError: The checkpoint holds another model.
    """
    _copy_weights(checkpoint, model)
    tensors = load_file(checkpoint / "optimizer.safetensors")
    for name, parameter in model.named_parameters():
        keys = ("step", "exp_avg", "exp_avg_sq")
        if f"{name}.step" in tensors:
            optimizer.state[parameter] = {
                key: tensors[f"{name}.{key}"].to(parameter.device) for key in keys
            }
    return read_progress(checkpoint)


def read_progress(checkpoint: Path) -> Progress:
    """Returns where the run was when the checkpoint was written."""
    return Progress(**json.loads((checkpoint / "progress.json").read_text()))


def write_progress(progress: Progress, folder: Path) -> None:
    """Writes `progress.json`."""
    (folder / "progress.json").write_text(json.dumps(asdict(progress)) + "\n")


def save_weights(model: Trainable, folder: Path) -> None:
    """Writes `model.safetensors` (every parameter once, fp32) and `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)


def load_weights(checkpoint: Path) -> AlbertForPreTraining:
    """Returns the model of a checkpoint, fp32, in eval mode."""
    model = AlbertForPreTraining(AlbertConfig.from_pretrained(checkpoint))
    _copy_weights(checkpoint, model)
    model.train(False)
    return model


def _copy_weights(checkpoint: Path, model: Trainable) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    parameters = dict(model.named_parameters())
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    expected = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    if found != expected:
        names = sorted(set(found.items()) ^ set(expected.items()))[:3]
        problem = f"holds another model; first differences: {names}. Use another output folder."
        raise DataError(checkpoint, problem)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def _optimizer_tensors(model: Trainable, optimizer: AdamW) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
