"""What the training of adapters gives: one adapter with its head, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from adapterhub.specs import AdapterSpec, EarlierTask, HeadSpec
from adapterhub.training.adapters.checkpoints import Checkpoints
from adapterhub.training.adapters.table import AdapterTable
from adapterhub.training.candidates import Setting
from adapterhub.training.table import SearchTable


@dataclass(frozen=True, slots=True, eq=False)
class FittedAdapter:
    """An adapter and its head, as a task takes them.

    Attributes:
        head: What the head reads and its shape.
        adapter: What the adapter changes.
        tensors: Of both, by the names of a head file.
        apart: Whether the head compares two texts that are read alone.
        setting: How the adapter was trained.
        value: Its validation value.
        epoch: The epoch that gave it, from 1.
        seconds: Mean time of an epoch.
        checkpoints: What is of no use any more once the task is saved.
        earlier: The task whose adapter it began with, if any.
    """

    head: HeadSpec
    adapter: AdapterSpec
    tensors: Mapping[str, torch.Tensor]
    apart: bool
    setting: Setting
    value: float
    epoch: int
    seconds: float
    checkpoints: Checkpoints | None
    earlier: EarlierTask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FoundAdapter:
    """The outcome of a search among adapters.

    Attributes:
        chosen: The cheapest adapter within the tolerance of the best.
        table: All that were tried: adapters, or heads on one that stays as it is.
        checkpoints: What is of no use any more once the task is saved.
    """

    chosen: FittedAdapter
    table: AdapterTable | SearchTable
    checkpoints: tuple[Checkpoints, ...]

    def forget_runs(self) -> None:
        """Removes the checkpoints of all trials."""
        for one in self.checkpoints:
            one.remove()
