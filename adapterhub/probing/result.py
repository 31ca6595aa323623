"""The fits of a run of probes, with what they were measured on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, JsonValue

from adapterhub.probing.fit_settings import Probe, Target, Weights
from adapterhub.specs import Spec

if TYPE_CHECKING:
    from adapterhub.probing.conclusions import Conclusion

Count = Annotated[int, Field(ge=0)]
Reads = Literal["text", "word", "relation", "head"]


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
        standard_error: Of `bits`, over texts, of random labels over types; None where fewer than
            two were measured.
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
    reads: Reads
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

    @property
    def conclusions(self) -> tuple[Conclusion, ...]:
        """Returns what each probe found: the depth with most bits, the lowest that is as good."""
        from adapterhub.probing.conclusions import conclusions

        return conclusions(self.fits)

    def render(self) -> str:
        """Returns the result as text: bits by depth and probe, controls, which depth to read."""
        from adapterhub.probing.tables import render

        return render(self)

    def as_dict(self) -> dict[str, JsonValue]:
        """Returns the result as values of JSON."""
        values: dict[str, JsonValue] = self.model_dump(mode="json")
        return values

    def to_json(self) -> str:
        """Returns the result as JSON, which `ProbeResult.model_validate_json` reads."""
        return self.model_dump_json(indent=1)

    def plot(self, path: str | Path) -> Path:
        """Draws bits over depth into a .png, .svg or .pdf file, and returns the file.

        Raises:
            UsageError: The file has another ending, or cannot be written.
            MissingExtraError: matplotlib is not installed.
        """
        from adapterhub.plots.combine import save_panels
        from adapterhub.probing.panels import panel_of

        return save_panels({f"{self.data}, {self.target}": [panel_of(self, title="")]}, path)
