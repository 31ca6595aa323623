"""The state of a training run on disk: a stopped run goes on from it as if it had not stopped.

One safetensors file that is replaced whole: parameters, those to keep so far, the optimiser's
moments, and where the run is. Order and dropout are functions of seed, epoch and step, so no
state of a generator has to be kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open

from adapterhub.errors import UsageError
from adapterhub.store.atomic import reason, write_atomic
from adapterhub.training.adapters.setup import EpochRecord

_SUFFIX = ".run.safetensors"
_KEY = "run"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: The epoch that is under way, from 1.
        step: Steps of it that are done.
        loss: Sum of their losses.
        seconds: What they took.
        is_done: Whether the training is over.
        history: The epochs that are done.
    """

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    is_done: bool = False
    history: tuple[EpochRecord, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run at one moment.

    Attributes:
        progress: Where it is.
        tensors: Parameters, kept parameters and moments, by names that the run gives.
    """

    progress: Progress
    tensors: dict[str, torch.Tensor]


class Checkpoints:
    """The place of one run on disk."""

    def __init__(self, folder: Path, meaning: object) -> None:
        """Names the place by all that decides what the run does.

        Args:
            folder: Where runs are kept; made when one is written.
            meaning: Anything that JSON takes; other options are another run.
        """
        digest = hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode())
        self.path = folder / f"{digest.hexdigest()[:32]}{_SUFFIX}"

    def read(self) -> Checkpoint | None:
        """Returns the last state; None where there is none, or the file is damaged."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                text = (file.metadata() or {})[_KEY]
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return Checkpoint(TypeAdapter(Progress).validate_json(text), tensors)
        # What it held is trained again, so a damaged file costs time and nothing else.
        except (SafetensorError, ValueError, KeyError):
            self.remove()
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Keeps a state, whole or not at all.

        Raises:
            UsageError: The folder cannot be written.
        """
        metadata = {_KEY: json.dumps(asdict(checkpoint.progress))}
        data = safetensors.torch.save(checkpoint.tensors, metadata)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, data, replace=True)
        except OSError as error:
            raise UsageError(
                f"The state of the training cannot be kept in {self.path.parent}: "
                f"{reason(error)}. Choose another folder with the option cache_dir or "
                f"$ADAPTERHUB_CACHE."
            ) from error

    def remove(self) -> None:
        """Forgets the run."""
        self.path.unlink(missing_ok=True)
