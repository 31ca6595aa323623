"""What all probes of a run are fitted on, and what comes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch

from adapterhub.probing.fit_settings import FitSettings, Probe, Weights
from adapterhub.probing.item_batches import ItemBatches, Scales, measure_all
from adapterhub.probing.items import ProbeItems, Split
from adapterhub.probing.readouts import HeadReadout, LabelReadout, Readout
from adapterhub.probing.states import ProbeStates
from adapterhub.probing.targets import Measured, MeasuredTarget, measured_targets


@dataclass(frozen=True, slots=True)
class Source:
    """What a probe reads: the states at a depth, or the learned mix of all, if it is None."""

    weights: Weights
    depth: int | None


@dataclass(frozen=True, eq=False)
class ProbeInputs:
    """What all probes of a run share.

    Attributes:
        states: The kept states.
        items: By split.
        batches: The same, cut into batches.
        readout: Predicts the targets.
        targets: What is measured.
        settings: How to fit.
    """

    states: ProbeStates
    items: Mapping[Split, ProbeItems]
    batches: Mapping[Split, ItemBatches]
    readout: Readout
    targets: tuple[MeasuredTarget, ...]
    settings: FitSettings

    @property
    def device(self) -> torch.device:
        """Returns where probes are fitted."""
        return self.states.device

    @property
    def fitted(self) -> tuple[int, ...]:
        """Returns the indices of the targets that are fitted: the labels, the control task."""
        return tuple(sorted({target.index for target in self.targets}))

    @cached_property
    def token_scales(self) -> Scales:
        """Returns the scales of the training tokens, of the depths of each set of weights."""
        states = self.states
        return measure_all(
            [
                states.read("training", depth, name)
                for name in states.weights
                for depth in states.depths
            ]
        )

    @property
    def has_mix(self) -> bool:
        """Returns whether the mix is read; that of one depth is this depth."""
        return self.settings.mix and len(self.states.depths) > 1

    @property
    def sources(self) -> tuple[Source, ...]:
        """Returns what is read: the depths of each set of weights, then its mix."""
        single = [
            Source(name, depth) for name in self.states.weights for depth in self.states.depths
        ]
        mixed = [Source(name, None) for name in self.states.weights] if self.has_mix else []
        return (*single, *mixed)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One probe on one target.

    Attributes:
        probe: Its architecture.
        source: What it reads.
        target: What it was measured on.
        measured: Its predictions on all items of the measuring rows.
        epoch: The chosen epoch; 0 for the constant predictor.
        weight_decay: The chosen one.
        parameters: Number of trained parameters.
        shares: Of a mix, the share of each depth.
        seconds: Time of its fit.
    """

    probe: Probe
    source: Source
    target: MeasuredTarget
    measured: Measured
    epoch: int
    weight_decay: float
    parameters: int
    shares: tuple[float, ...] | None
    seconds: float


def probe_inputs(
    items: Mapping[Split, ProbeItems],
    states: ProbeStates,
    *,
    labels: int | None,
    settings: FitSettings,
) -> ProbeInputs:
    """Returns what probes are fitted on; the arguments are those of `fit_probes`."""
    batches = {
        split: ItemBatches(one, control=settings.control, heads=labels is None)
        for split, one in items.items()
    }
    readout: Readout
    if labels is None:
        readout = HeadReadout(batches["training"], settings.arc_width, states.device)
    else:
        readout = LabelReadout(batches["training"], labels, states.device)
    targets = measured_targets(batches, readout, control=settings.control)
    return ProbeInputs(states, items, batches, readout, targets, settings)
