"""The measured targets: which items choose and measure each, and its constant predictor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adapterhub.probing.fit_settings import Target
from adapterhub.probing.item_batches import ItemBatches
from adapterhub.probing.items import NO_LABEL, ProbeItems, Split
from adapterhub.probing.readouts import Readout

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_ITEMS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Predictions of all M items of a split.

    Attributes:
        nats: (…, M) -log probability of the right label.
        hits: (…, M) whether it is the most probable one.
    """

    nats: Floats
    hits: Mask


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredTarget:
    """One target.

    Attributes:
        name: Its name.
        index: Which of the fitted targets it measures: 0 the labels, 1 the control task.
        chosen_on: (M,) the items of the choosing rows that count.
        measured_on: (M,) the items of the measuring rows that count.
        prior: The mean of nats of the constant predictor on the former.
        constant: The constant predictor on all items of the measuring rows.
    """

    name: Target
    index: int
    chosen_on: Mask
    measured_on: Mask
    prior: float
    constant: Measured


def measured_targets(
    batches: Mapping[Split, ItemBatches], readout: Readout, *, control: bool
) -> tuple[MeasuredTarget, ...]:
    """Returns the targets that have items to choose by, and to measure."""
    choosing, measuring = batches["choosing"], batches["measuring"]
    names: tuple[Target, ...] = ("labels", "control", "memorised") if control else ("labels",)
    found = []
    for name in names:
        index = 0 if name == "labels" else 1
        chosen_on, measured_on = (_counting(one.items, name) for one in (choosing, measuring))
        # A probe that was chosen on known types memorises, and would be wrong on new ones.
        if not measured_on.any() or not chosen_on.any():
            continue
        # A type's random label is drawn from the frequencies of the labels, while its own frequency
        # decides how often that label is seen. On other types the former predicts better.
        priors = range(index + 1)
        means = [
            float(_constant(choosing, readout, prior).nats[index][chosen_on].mean())
            for prior in priors
        ]
        best = int(np.argmin(means))
        measured = _constant(measuring, readout, best)
        constant = Measured(measured.nats[index], measured.hits[index])
        found.append(MeasuredTarget(name, index, chosen_on, measured_on, means[best], constant))
    return tuple(found)


def _counting(items: ProbeItems, name: Target) -> Mask:
    """Returns which items count for a target: (M,)."""
    mask: Mask = items.labels != NO_LABEL
    if name != "labels":
        mask = (items.control != NO_LABEL) & (items.novel == (name == "control"))
    return mask


def _constant(batches: ItemBatches, readout: Readout, prior: int) -> Measured:
    """Returns what a constant predictor gives on all items: (T, M)."""
    shape = tuple(batches.labels.shape)
    nats, hits = np.zeros(shape), np.zeros(shape, np.bool_)
    for batch in batches.cut(_ITEMS_AT_ONCE):
        found = readout.constant(batch, prior)
        rows = batch.rows.numpy()
        nats[:, rows] = found.nats[0].cpu().double().numpy()
        hits[:, rows] = found.hits[0].cpu().numpy()
    return Measured(nats, hits)
