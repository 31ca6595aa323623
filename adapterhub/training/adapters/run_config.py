"""Configuration of one training run, its optimiser, and the record of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from adapterhub.model.encoder.tokens import TokenBatch
from adapterhub.specs import HeadSpec
from adapterhub.training.adapter_options import AdapterOptions
from adapterhub.training.adapters.examples import ExampleBatch, Examples
from adapterhub.training.adapters.trunk import TrunkStates
from adapterhub.training.kinds.objective import Objective
from adapterhub.training.kinds.selection import Judge

if TYPE_CHECKING:
    from adapterhub.peft.format import PeftAdapter
    from adapterhub.training.adapters.trainable.encoder_copy import TrainedWeights
    from adapterhub.training.warm_start import WarmStart

ADAPTER, HEAD = "adapter.", "head."
"""Prefixes of the names of trained parameters."""

EMBEDDINGS = "embeddings."
"""Start of the names of an encoder's tables, and of their layer norm."""


class TrainableAdapter(Protocol):
    """An ALBERT with an adapter to be trained."""

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trained parameters by name."""
        ...

    @property
    def module(self) -> nn.Module:
        """Returns the whole model, to move it or to switch dropout on and off."""
        ...

    @property
    def has_own_state(self) -> bool:
        """Returns whether it keeps a state over the steps that no checkpoint holds."""
        ...

    def load_weights(self, warm_start: WarmStart) -> None:
        """Copies the weights of another adapter, at the depths that both change.

        Raises:
            UsageError: Its settings differ, the two change nothing in common, or the method cannot
                start from given weights.
        """
        ...

    def layer(self, depth: int) -> Any:
        """Returns the layer of the pass from `depth` on."""
        ...

    def after_step(self, step: int) -> None:
        """Called after every optimiser step, before gradients are cleared."""
        ...

    def export(self) -> PeftAdapter | TrainedWeights:
        """Returns spec and tensors, by the names of a head file; of a whole encoder, weights."""
        ...


class TrainableHead(Protocol):
    """A head that is trained with an adapter, a module of torch."""

    spec: HeadSpec
    training: bool

    def features(
        self, taps: Mapping[int, torch.Tensor], batch: TokenBatch, picks: torch.Tensor | None
    ) -> torch.Tensor:
        """Returns pooled features in fp32: (N, H) per window, or (M, H) per word.

        Args:
            taps: Hidden states (P, H) by depth.
            batch: Of the windows.
            picks: Of words: (M,) the token of each among the P packed ones.
        """
        ...

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Returns outputs of features, which are averaged over the windows of a text."""
        ...

    def loss(self, outputs: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        """Returns the loss of the outputs for a training batch."""
        ...

    def predictions(self, outputs: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
        """Returns what the judge takes of the outputs for a validation batch."""
        ...

    def export(self) -> dict[str, torch.Tensor]:
        """Returns the tensors of a head file."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields the trained parameters."""
        ...

    def to(self, device: torch.device) -> object:
        """Moves it to a device."""
        ...

    def train(self, mode: bool = True) -> object:
        """Switches dropout on or off."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class RunConfig:
    """The configuration of one run.

    Attributes:
        options: Learning rates, batch size, patience.
        objective: Targets and loss.
        judge: Computes the validation metric.
        trunk: Reads the states where the adapter starts.
        from_depth: That depth.
        train: The training rows.
        validation: The validation rows.
        epochs: Passes over the training rows at most.
        learning_rate: Of the adapter.
        max_tokens: Tokens per batch of validation.
        seed: Of the order and of dropout.
        device: Where everything is trained.
        dtype: Of matrix products: fp32, or bf16 with fp32 weights.
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
    """The result of one epoch.

    Attributes:
        epoch: From 1.
        loss: Mean over its steps.
        value: Validation metric after it.
        seconds: Its time, validation included.
    """

    epoch: int
    loss: float
    value: float
    seconds: float


def make_optimiser(parameters: dict[str, nn.Parameter], config: RunConfig) -> torch.optim.AdamW:
    """Returns AdamW with the learning rates of adapter and head; only matrices of maps decay.

    Weight decay of a table would move the rows of tokens that no text has.
    """
    groups: list[dict[str, Any]] = []
    options = config.options
    for prefix, rate in ((ADAPTER, config.learning_rate), (HEAD, options.head_learning_rate)):
        for is_matrix in (True, False):
            chosen = [
                p
                for name, p in parameters.items()
                if name.startswith(prefix) and _decays(name, p) == is_matrix
            ]
            decay = options.weight_decay if is_matrix else 0.0
            if chosen:
                groups.append({"params": chosen, "highest": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.dim() > 1 and not name.startswith(f"{ADAPTER}{EMBEDDINGS}")


def schedule(step: int, setup: RunConfig) -> float:
    """Returns the factor of the peak learning rate: linear warm-up, then linear decay to 0."""
    # A function of the step has no state that a checkpoint must hold. The linear schedule of
    # transformers is no shorter to call, and its first step has the learning rate 0.
    rising = max(1, round(setup.steps * setup.options.warmup))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (setup.steps - step) / max(1, setup.steps - rising))


def product_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Returns the dtype of matrix products in training."""
    if precision == "auto":
        is_better = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if is_better else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
