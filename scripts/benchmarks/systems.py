"""What is compared by `scripts/finetune`: heads, adapters and full fine-tuning on the same rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from adapterhub.model.backbone import Backbone
from adapterhub.training.adapters.options import AdapterOptions
from adapterhub.training.options import TrainingOptions
from adapterhub.training.train import train


@dataclass(frozen=True, slots=True)
class Budget:
    """What all systems are given.

    Attributes:
        epochs: Passes over the training rows at most.
        batch_size: Rows per step.
        seed: Of initial weights and order.
        metric: The figure that is compared.
    """

    epochs: int
    batch_size: int
    seed: int
    metric: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one system reached.

    Attributes:
        value: On the validation rows.
        trained: Numbers that were trained.
        passes: Passes per text where nothing else is scored.
        own_passes: Those that other tasks do not share.
        seconds: What the training took.
    """

    value: float
    trained: int
    passes: int
    own_passes: int
    seconds: float


def train_here(data: Path, backbone: Backbone, options: TrainingOptions, budget: Budget) -> Outcome:
    """Returns what `adapterhub train` reaches with these options."""
    started = time.perf_counter()
    trained = train(data, task="measured", options=options, registry=None, backbone=backbone)
    seconds = time.perf_counter() - started
    spec = trained.spec
    return Outcome(
        value=next(metric.value for metric in spec.metrics if metric.name == budget.metric),
        trained=sum(tensor.numel() for tensor in trained.tensors.values()),
        passes=spec.deepest,
        own_passes=0 if spec.adapter is None else spec.deepest - spec.adapter.from_depth,
        seconds=seconds,
    )


def adapters(depth: int, budget: Budget) -> dict[str, AdapterOptions]:
    """Returns the adapters that are compared on a backbone with `depth` depths."""
    common = {"epochs": budget.epochs, "batch_size": budget.batch_size}
    return {
        "tied LoRA": AdapterOptions(from_depth=0, tie_depths=True, **common),
        "LoRA per depth": AdapterOptions(from_depth=depth * 2 // 3, **common),
        "LoRA per depth from 0": AdapterOptions(from_depth=0, **common),
        "block": AdapterOptions(method="block", from_depth=depth - 1, **common),
    }
