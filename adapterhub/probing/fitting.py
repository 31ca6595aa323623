"""All probes of a run, fitted on kept states and measured."""

from __future__ import annotations

from collections.abc import Mapping

from adapterhub.probing.fit_settings import FitSettings
from adapterhub.probing.items import ProbeItems, Split
from adapterhub.probing.result import ProbeFit
from adapterhub.probing.states import ProbeStates


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
    """
    raise NotImplementedError
