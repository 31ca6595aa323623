"""What is compared beside full fine-tuning: a head alone, and two adapters with their heads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import Kind, Spec
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.options import MetricName, TrainingOptions
from adapterhub.training.train import train

HEAD, TIED, PER_DEPTH, FULL = "head only", "tied LoRA", "LoRA per depth", "full fine-tuning"
SYSTEMS = (HEAD, TIED, PER_DEPTH, FULL)

Precision = Literal["float32", "bfloat16"]
"""Of products where the block is trained: fp32, or bf16 with fp32 weights."""

LABELS_PER_EPOCH = 5
"""Full fine-tuning starts from a random output layer: many labels need more epochs."""


class Budget(Spec):
    """The budget of every system.

    Attributes:
        max_rows: Training rows, and validation rows, at most; drawn by a fixed seed.
        epochs: Passes over the training rows at most, where the block is trained; full
            fine-tuning has one per `LABELS_PER_EPOCH` labels where that is more.
        batch_size: Rows per step there.
        patience: Epochs without a better validation metric before early stopping.
        rank: Of the adapters.
        full_rates: Greatest step sizes of full fine-tuning, the best of which counts; adapters
            have their default.
        seed: Of initial weights and order.
    """

    max_rows: int = Field(default=2_000, ge=2)
    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=16, ge=1)
    patience: int = Field(default=4, ge=1)
    rank: int = Field(default=8, ge=1)
    full_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(2e-4,), min_length=1)
    seed: int = Field(default=0, ge=0)

    def full_epochs(self, kind: Kind, labels: int) -> int:
        """Returns the passes over the rows of full fine-tuning, on a task with so many labels."""
        # In tagging a row has many labels.
        wanted = 0 if kind == "tagging" else labels // LABELS_PER_EPOCH
        return max(self.epochs, wanted)


class Outcome(Spec):
    """The result of one system on one data set.

    Attributes:
        value: The compared metric on the validation rows.
        trained: Number of trained parameters.
        passes: Passes per text if nothing else is scored.
        own_passes: Those of them that no other task shares.
        seconds: Training time.
        precision: Of the products where the block was trained.
    """

    value: float
    trained: int
    passes: int
    own_passes: int
    seconds: float
    precision: Precision


@dataclass(frozen=True)
class Given:
    """The settings of all systems on one data set.

    Attributes:
        metric: The metric that is compared.
        budget: Rows, epochs, batches and learning rates.
        precision: Of products where the block is trained.
        backbone: The weights to start from.
        encoder: The same on its device.
    """

    metric: MetricName
    budget: Budget
    precision: Precision
    backbone: Backbone
    encoder: Encoder


def adapter_of(system: str, given: Given) -> AdapterOptions | None:
    """Returns the adapter of a system; None for the head alone."""
    if system == HEAD:
        return None
    return AdapterOptions(
        rank=given.budget.rank,
        epochs=given.budget.epochs,
        batch_size=given.budget.batch_size,
        patience=given.budget.patience,
        from_depth=0 if system == TIED else None,
        tie_depths=system == TIED,
        precision=given.precision,
    )


def train_here(data: Path, options: TrainingOptions, given: Given) -> Outcome:
    """Returns the result of `train` with these options."""
    started = time.perf_counter()
    trained = train(
        data,
        task="quality",
        options=options.model_copy(update={"metric": given.metric}),
        registry=None,
        backbone=given.backbone,
        encoder=given.encoder,
    )
    seconds = time.perf_counter() - started
    spec = trained.spec
    return Outcome(
        value=next(found.value for found in spec.metrics if found.name == given.metric),
        trained=sum(tensor.numel() for tensor in trained.tensors.values()),
        passes=spec.deepest,
        own_passes=0 if spec.adapter is None else spec.deepest - spec.adapter.from_depth,
        seconds=seconds,
        precision=given.precision,
    )
