"""G x C heads of one shape as stacked tensors, and an AdamW that updates all of them at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn import functional

from adapterhub.training.features.standardized_features import Parameters, Scale, by_copy
from adapterhub.training.heads.candidates import Hyperparameters
from adapterhub.training.kinds.objective import Objective, Unit

_BETAS = (0.9, 0.999)
_EPS = 1e-8
_VALUES_AT_ONCE = 2**22
"""Numbers that are updated at once: 16 MB."""
_COPIES = 6
"""Tensors of the size of a head's parameters while it is fitted: these, their gradient, two
moments, the best ones, and one that is computed in between."""
_LOGIT_COPIES = 4
"""The same for logits: these, their loss, and the gradients of both."""
# Weight decay is for matrices: biases, mixes and queries have few parameters.
_DECAYED = ("first", "last")


@dataclass(frozen=True, slots=True)
class BatchShape:
    """Sizes of a batch of heads.

    Attributes:
        groups: Number G of heads that differ in what they read.
        settings: Number C of hyperparameter settings for each of them.
        hidden_size: Width H of the features.
        hidden_width: Width W of the hidden layer, or None for linear heads.
    """

    groups: int
    settings: int
    hidden_size: int
    hidden_width: int | None


def batch_bytes(shape: BatchShape, outputs: int, *, rows: int) -> int:
    """Returns the memory, in bytes, that fitting a batch of heads takes beside their features.

    Args:
        shape: Of the batch.
        outputs: Number of logits.
        rows: Rows per step.
    """
    width = shape.hidden_width
    inner = shape.hidden_size * (width or outputs) + (width or 0) * outputs
    one = _COPIES * inner + _LOGIT_COPIES * rows * outputs
    return 4 * shape.groups * shape.settings * one


def initial_heads(
    shape: BatchShape, objective: Objective, generator: torch.Generator
) -> Parameters:
    """Returns initial parameters, equal for all settings of a group; outputs are the prior.

    In cross-validation the prior is that of each copy, and the copies of a setting are adjacent.

    `first` (G, C, H, K) and `first_bias` (G, C, K); with a hidden layer `first` is (G, C, H, W)
    and `last` (G, C, W, K), `last_bias` (G, C, K) follow.
    """
    lead = (shape.groups, shape.settings)
    priors = by_copy(objective.prior)
    prior = priors.repeat(shape.settings // len(priors), 1).expand(*lead, -1).clone()
    if shape.hidden_width is None:
        first = torch.zeros(*lead, shape.hidden_size, objective.outputs)
        return {"first": first, "first_bias": prior}
    width = shape.hidden_width
    drawn = torch.randn(shape.groups, 1, shape.hidden_size, width, generator=generator)
    return {
        "first": (drawn / math.sqrt(shape.hidden_size)).expand(*lead, -1, -1).clone(),
        "first_bias": torch.zeros(*lead, width),
        "last": torch.zeros(*lead, width, objective.outputs),
        "last_bias": prior,
    }


def head_logits(parameters: Parameters, features: torch.Tensor) -> torch.Tensor:
    """Returns the logits of all heads: (G, C or 1, B, H) -> (G, C, B, K).

    In cross-validation C are settings times copies, and settings may share features (G, R, B, H).
    """
    first = parameters["first"]
    if features.shape[1] == 1:
        hidden = torch.einsum("gbh,gchj->gcbj", features[:, 0], first)
    elif features.shape[1] < first.shape[1]:
        copied = first.view(len(first), -1, features.shape[1], *first.shape[2:])
        hidden = torch.einsum("grbh,gcrhj->gcrbj", features, copied).flatten(1, 2)
    else:
        hidden = torch.einsum("gcbh,gchj->gcbj", features, first)
    hidden = hidden + parameters["first_bias"][:, :, None]
    if "last" not in parameters:
        return hidden
    hidden = functional.gelu(hidden)
    return hidden @ parameters["last"] + parameters["last_bias"][:, :, None]


def export_head(one: Parameters, scale: Scale, unit: Unit) -> Parameters:
    """Returns the tensors of one head, for raw features and in the task's own unit.

    `W ((x - m) / d) + b = (W / d) x + (b - (W / d) m)`, and the outputs times the unit's
    deviation plus its mean.

    Args:
        one: The parameters of one head, without the leading axes.
        scale: Of its features.
        unit: Mean and deviation of the outputs.
    """
    weight = (one["first"] / scale.deviation[:, None]).T  # (H, J) -> (J, H)
    bias = one["first_bias"] - weight @ scale.mean
    tensors: Parameters = {}
    if "last" in one:
        tensors = {"head.hidden.weight": weight, "head.hidden.bias": bias}
        weight, bias = one["last"].T, one["last_bias"]
    mean, deviation = (torch.as_tensor(part).to(bias) for part in unit)
    weight = weight * deviation[..., None]
    return {**tensors, "head.weight": weight, "head.bias": bias * deviation + mean}


class BatchedAdamW:
    """AdamW with a learning rate and a weight decay for each head of a batch.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.
    """

    def __init__(
        self,
        settings: Sequence[Sequence[Hyperparameters]],
        device: torch.device,
        start: Parameters | None = None,
    ) -> None:
        """Makes an optimiser without moments.

        Args:
            settings: Of each head.
            device: Where the parameters are.
            start: What some parameters decay to, (G, 1, …) by name, in the place of zeros.
        """
        self._start = start or {}
        self._rates = _matrix([[s.learning_rate for s in row] for row in settings], device)
        self._decays = _matrix([[s.weight_decay for s in row] for row in settings], device)
        self._moments: Parameters = {}
        self._squares: Parameters = {}
        self._steps = 0

    @torch.no_grad()
    def step(self, parameters: Parameters, factor: float) -> None:
        """Updates the parameters in place, and clears their gradients.

        Args:
            parameters: Each (G, C, …).
            factor: Of the schedule, for all learning rates.
        """
        self._steps += 1
        for name, parameter in parameters.items():
            if parameter.grad is None:
                continue
            if name not in self._moments:
                self._moments[name] = torch.zeros_like(parameter)
                self._squares[name] = torch.zeros_like(parameter)
            # Some groups at a time: what is computed in between is as large as they are.
            groups = max(1, _VALUES_AT_ONCE // max(1, parameter[0].numel()))
            for start in range(0, len(parameter), groups):
                self._step_groups(name, parameter, slice(start, start + groups), factor)
            parameter.grad = None

    def _step_groups(
        self, name: str, parameter: torch.Tensor, groups: slice, factor: float
    ) -> None:
        values, gradient = parameter[groups], cast("torch.Tensor", parameter.grad)[groups]
        moment, square = self._moments[name][groups], self._squares[name][groups]
        unbias = [1 - beta**self._steps for beta in _BETAS]
        moment.lerp_(gradient, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        rates = self._rates[groups] * factor
        rates = rates.view(*rates.shape, *(1,) * (parameter.dim() - 2))
        if name in self._start:
            decays = rates * self._decays[groups].view_as(rates)
            values.lerp_(self._start[name][groups].expand_as(values), decays.expand_as(values))
        elif name in _DECAYED:
            values.mul_(1 - rates * self._decays[groups].view_as(rates))
        size = square.div(unbias[1]).sqrt_().add_(_EPS)
        values.sub_(moment.div(size).mul_(rates / unbias[0]))

    def select(
        self, settings: Sequence[Sequence[Hyperparameters]], kept: KeptHeads
    ) -> BatchedAdamW:
        """Returns the optimiser of the kept heads, with their moments."""
        start = {name: values[kept.groups.flatten()] for name, values in self._start.items()}
        other = BatchedAdamW(settings, self._rates.device, start)
        other._steps = self._steps
        other._moments = kept.of(self._moments)
        other._squares = kept.of(self._squares)
        return other


@dataclass(frozen=True, slots=True, eq=False)
class KeptHeads:
    """The heads of a batch that are kept.

    Attributes:
        groups: (G', 1) indices of groups.
        settings: (G', C') indices of settings within each.
    """

    groups: torch.Tensor
    settings: torch.Tensor

    def of(self, stacked: Parameters) -> Parameters:
        """Returns the kept slices, (G, C, …) -> (G', C', …)."""
        return {name: values[self.groups, self.settings] for name, values in stacked.items()}


def _matrix(values: list[list[float]], device: torch.device) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)
