"""What is fitted, and how: the probes, the depths, and the optimisation of each probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Probe = Literal["linear", "mlp", "attention"]
Weights = Literal["backbone", "random"]
Target = Literal["labels", "control", "memorised"]

PROBES: tuple[Probe, ...] = get_args(Probe)


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Settings of the probes.

    Attributes:
        probes: The architectures to fit.
        depths: The depths to read; None for all of them, 0 to D.
        mix: Whether the learned mix of these depths is read too, where there are several.
        random: Whether random weights of the same shape are probed beside the backbone.
        control: Whether the control task is fitted beside the labels.
        seed: Of all that is drawn.
        epochs: Passes over the training items at most, of linear and mlp.
        batch: Items per step, of linear and mlp.
        hidden_width: Width of the mlp's hidden layer.
        arc_width: Width of the two vectors whose product scores a head.
        learning_rate: Of linear and mlp, on standardised states.
        weight_decays: The grid that the choosing rows choose from, of linear and mlp.
        attention_epochs: Passes over the training texts at most, of attention.
        attention_batch: Texts per step.
        attention_rate: Peak learning rate of the attention probe's block.
        patience: Epochs without a gain on the choosing rows after which a probe stops.
        memory_bytes: Size of the token states that are kept in memory; more go to a file.
    """

    probes: tuple[Probe, ...] = PROBES
    depths: tuple[int, ...] | None = None
    mix: bool = True
    random: bool = True
    control: bool = True
    seed: int = 0
    epochs: int = 10
    batch: int = 256
    hidden_width: int = 64
    arc_width: int = 64
    learning_rate: float = 3e-3
    weight_decays: tuple[float, ...] = (0.01, 1.0)
    attention_epochs: int = 2
    attention_batch: int = 16
    attention_rate: float = 1e-3
    patience: int = 3
    memory_bytes: int = 2**30
