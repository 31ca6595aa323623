"""All probes of a run, fitted on kept states and measured."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from adapterhub.errors import DataError
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.probing.attention_probes import fit_attention
from adapterhub.probing.batched_probes import fit_batched
from adapterhub.probing.fit_settings import PROBES, FitSettings
from adapterhub.probing.information import v_information
from adapterhub.probing.items import SPLITS, ProbeItems, Split
from adapterhub.probing.probe_inputs import Outcome, probe_inputs
from adapterhub.probing.result import ProbeFit
from adapterhub.probing.states import ProbeStates


@own_state
def fit_probes(
    items: Mapping[Split, ProbeItems],
    states: ProbeStates,
    *,
    labels: int | None,
    settings: FitSettings,
) -> tuple[ProbeFit, ...]:
    """Returns all probes, fitted on the training rows and measured on the measuring rows.

    Args:
        items: By split.
        states: Of the same texts.
        labels: Number K of labels; None where the head of a word among the words of its sentence is
            predicted.
        settings: What to fit, and how.

    Raises:
        DataError: A split has no items.
    """
    for split in SPLITS:
        if not items[split].predicted:
            raise DataError(f"the {split} rows", "nothing in them is predicted; give more rows")
    inputs = probe_inputs(items, states, labels=labels, settings=settings)
    outcomes = []
    for probe in PROBES:
        if probe in settings.probes:
            outcomes += (
                fit_attention(inputs) if probe == "attention" else fit_batched(inputs, probe)
            )
    return tuple(_measured(outcome, items["measuring"]) for outcome in outcomes)


def _measured(outcome: Outcome, items: ProbeItems) -> ProbeFit:
    target, mask = outcome.target, outcome.target.measured_on
    bit = math.log(2)
    drawn = items.sentences if target.name == "labels" else items.types
    found = v_information(
        target.constant.nats[mask] / bit, outcome.measured.nats[mask] / bit, drawn[mask]
    )
    return ProbeFit(
        weights=outcome.source.weights,
        depth=outcome.source.depth,
        probe=outcome.probe,
        target=target.name,
        items=found.items,
        entropy=found.entropy,
        cross_entropy=found.cross_entropy,
        bits=found.bits,
        standard_error=found.standard_error,
        coefficient=found.coefficient,
        accuracy=float(np.mean(outcome.measured.hits[mask])),
        base_accuracy=float(np.mean(target.constant.hits[mask])),
        parameters=outcome.parameters,
        epoch=outcome.epoch,
        weight_decay=outcome.weight_decay,
        shares=outcome.shares,
        seconds=outcome.seconds,
    )
