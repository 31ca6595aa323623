"""Which heads are tried: depths, poolings and shapes, each with every setting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from adapterhub.errors import UsageError
from adapterhub.specs import HeadSpec, Kind, Pooling
from adapterhub.training.encoding import POOLED
from adapterhub.training.options import TrainingOptions


@dataclass(frozen=True, slots=True)
class Setting:
    """How one candidate is fitted.

    Attributes:
        learning_rate: Greatest step size of AdamW, on standardised features.
        weight_decay: Decoupled from the gradient.
    """

    learning_rate: float
    weight_decay: float


def settings_of(options: TrainingOptions) -> tuple[Setting, ...]:
    """Returns every combination of learning rate and weight decay."""
    pairs = product(options.learning_rates, options.weight_decays)
    return tuple(Setting(rate, decay) for rate, decay in pairs)


def depths_of(options: TrainingOptions, depth: int) -> tuple[int, ...]:
    """Returns the depths that heads may read on a backbone with `depth` of them.

    Raises:
        UsageError: The backbone does not have one that the options name.
    """
    if options.depths is None:
        return tuple(range(depth + 1))
    if max(options.depths) > depth:
        raise UsageError(f"Option depths: {max(options.depths)} is over the backbone's {depth}.")
    return tuple(sorted(set(options.depths)))


def single_heads(options: TrainingOptions, kind: Kind, depth: int) -> list[HeadSpec]:
    """Returns a linear head for each depth and each pooling without weights of its own."""
    poolings: tuple[Pooling, ...] = ("tokens",)
    if kind != "tagging":
        poolings = tuple(pooling for pooling in POOLED if pooling in options.poolings)
    depths = depths_of(options, depth)
    return [HeadSpec(depths=(d,), pooling=pooling) for d in depths for pooling in poolings]


def mixed_heads(options: TrainingOptions, pooling: Pooling, depth: int) -> list[HeadSpec]:
    """Returns a linear head on a mix of the lowest depths, for each number of them from two."""
    depths = depths_of(options, depth)
    if not options.mixes or pooling == "attentive":
        return []
    return [HeadSpec(depths=depths[:count], pooling=pooling) for count in range(2, len(depths) + 1)]
