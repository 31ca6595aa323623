"""What the training of one adapter is given, and what it says of each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.adapters.examples import Examples
from adapterhub.training.adapters.trunk import TrunkStates
from adapterhub.training.heads.candidates import Objective
from adapterhub.training.heads.selection import Judge

if TYPE_CHECKING:
    from adapterhub.peft.format import PeftAdapter
    from adapterhub.training.warm_start import Existing

ADAPTER, HEAD = "adapter.", "head."
"""What the names of trained parameters begin with."""


class Change(Protocol):
    """An ALBERT with something trainable in its block."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns what is trained, by name."""
        ...

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout on and off."""
        ...

    @property
    def plans_ahead(self) -> bool:
        """Returns whether it keeps a state of its own over the steps, which no file holds."""
        ...

    def begin_with(self, existing: Existing) -> None:
        """Takes the numbers of another adapter, at the depths that both change."""
        ...

    def layer(self, depth: int) -> Any:
        """Returns the layer that makes the pass from `depth` on."""
        ...

    def after_step(self, step: int) -> None:
        """Is told of every step while its gradients are still there."""
        ...

    def export(self) -> PeftAdapter:
        """Returns spec and tensors, by the names of a head file."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What a run needs and does not change.

    Attributes:
        options: Step sizes, batches, patience.
        objective: Targets and loss.
        judge: Gives the validation value of outputs.
        trunk: Gives the states where the adapter starts.
        from_depth: That depth.
        train: The training rows.
        validation: The validation rows.
        epochs: Passes over the training rows at most.
        learning_rate: Of the adapter.
        max_tokens: Tokens per batch of validation.
        seed: Of the order and of dropout.
        device: Where everything is trained.
        dtype: Of products: fp32, or bf16 with fp32 weights.
    """

    options: AdapterOptions
    objective: Objective
    judge: Judge
    trunk: TrunkStates
    from_depth: int
    train: Examples
    validation: Examples
    epochs: int
    learning_rate: float
    max_tokens: int
    seed: int
    device: torch.device
    dtype: torch.dtype

    @property
    def steps_per_epoch(self) -> int:
        """Returns the steps of one epoch."""
        return -(-len(self.train) // self.options.batch_size)

    @property
    def steps(self) -> int:
        """Returns the steps of all epochs."""
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch gave.

    Attributes:
        epoch: From 1.
        loss: Mean over its steps.
        value: Validation value after it.
        seconds: What it took, validation included.
    """

    epoch: int
    loss: float
    value: float
    seconds: float


def make_optimiser(parameters: dict[str, nn.Parameter], setup: Setup) -> torch.optim.AdamW:
    """Returns AdamW with the step sizes of adapter and head; vectors do not decay."""
    groups: list[dict[str, Any]] = []
    options = setup.options
    for prefix, rate in ((ADAPTER, setup.learning_rate), (HEAD, options.head_learning_rate)):
        for is_matrix in (True, False):
            chosen = [
                p
                for name, p in parameters.items()
                if name.startswith(prefix) and (p.dim() > 1) == is_matrix
            ]
            decay = options.weight_decay if is_matrix else 0.0
            if chosen:
                groups.append({"params": chosen, "highest": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def schedule(step: int, setup: Setup) -> float:
    """Returns the factor of the peak learning rate: linear warm-up, then linear decay to 0."""
    # A function of the step has no state that a checkpoint must hold. The linear schedule of
    # transformers is no shorter to call, and its first step has the learning rate 0.
    rising = max(1, round(setup.steps * setup.options.warmup))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (setup.steps - step) / max(1, setup.steps - rising))


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns in what matrix products are computed while an adapter is trained."""
    if precision == "auto":
        is_better = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if is_better else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
