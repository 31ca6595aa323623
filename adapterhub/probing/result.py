"""The fits of a run of probes, with what they were measured on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from adapterhub.probing.fit_settings import Probe, Target, Weights
from adapterhub.specs import Spec

Count = Annotated[int, Field(ge=0)]


class ProbeFit(Spec):
    """One probe, measured.

    Attributes:
        weights: Whose states it reads: those of the backbone or of random weights of its shape.
        depth: The depth that it reads; None for the learned mix of all of them.
        probe: Its architecture.
        target: `labels`; `control`: random labels, measured on types that no training row has, of
            which nothing can be known; `memorised`: the same on types that training rows have.
        items: Number of items that it was measured on.
        entropy: Mean -log2 probability of the constant predictor, in bits per item.
        cross_entropy: The same of the probe.
        bits: Information: `entropy` - `cross_entropy`; below 0 where the probe overfits.
        standard_error: Of `bits`, over texts; None where fewer than two texts were measured.
        coefficient: `bits` / `entropy`; None where the entropy is 0.
        accuracy: Share of items whose most probable label is the right one.
        base_accuracy: The same of the constant predictor.
        parameters: Number of trained parameters.
        epoch: The chosen epoch; 0 for the constant predictor.
        weight_decay: The chosen one.
        shares: Of the learned mix, the share of each depth.
        seconds: Time of the fit; of probes that are fitted together, its share.
    """

    weights: Weights
    depth: Annotated[int, Field(ge=0)] | None
    probe: Probe
    target: Target
    items: Count
    entropy: float
    cross_entropy: float
    bits: float
    standard_error: float | None = None
    coefficient: float | None
    accuracy: float
    base_accuracy: float
    parameters: Count
    epoch: Count
    weight_decay: float
    shares: tuple[float, ...] | None = None
    seconds: float


class SplitSizes(Spec):
    """What one split has.

    Attributes:
        texts: Number of texts or pairs.
        items: Number of predictions.
        tokens: Number of tokens, special ones included.
    """

    texts: Count
    items: Count
    tokens: Count


class ProbeResult(Spec):
    """What a run of probes found.

    Attributes:
        data: Name of the data.
        target: What was predicted, for instance `label`, `tags`, `relation`, `head`.
        reads: What a prediction reads: a whole text, a word, a word and its head, or, for heads,
            a word and all words of its sentence.
        labels: The labels, in order; empty for heads.
        label_counts: Training items of each label, in the same order.
        entropy: Of the label on the measuring rows, in bits: that of the constant predictor.
        splits: Sizes by split.
        backbone: Its identity.
        depths: Number D of passes of the backbone.
        settings: The options of the run.
        fits: The probes, measured.
        notes: What was left out or cut, in sentences.
        seconds: Time of the whole run.
    """

    data: str
    target: str
    reads: Literal["text", "word", "relation", "head"]
    labels: tuple[str, ...]
    label_counts: tuple[int, ...]
    entropy: float
    splits: dict[str, SplitSizes]
    backbone: str
    depths: Count
    settings: dict[str, JsonValue]
    fits: tuple[ProbeFit, ...]
    notes: tuple[str, ...] = ()
    seconds: float
