"""The figures of all data sets as they are kept between runs, in one compact JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from adapterhub.errors import UsageError
from adapterhub.kinds import KINDS
from adapterhub.specs import BackboneSpec, Kind, Spec
from adapterhub.store.atomic import write_atomic
from adapterhub.training.options import MetricName
from recipes.quality.resampling import Figure, Figures

BASELINE, HEAD = "baseline", "head"
"""Without an encoder; the head on the backbone that is measured."""
OTHER_VECTORS, OTHER_HEAD = "vectors of the other", "head on the other"
"""Sentence vectors of another encoder with a linear model; a head on that encoder."""


_Named = TypeVar("_Named", "HeldOutSet", "RetrievedSet")


class Limits(Spec):
    """What keeps a run short, the same for all systems.

    Attributes:
        max_rows: Training rows at most, drawn by the seed; None for all.
        held_out_rows: Rows at most that choose, and as many that measure.
        max_tokens: Tokens of the training rows at most, and half as many of each half of the
            others; fewer rows are drawn of long texts. None for no limit.
        candidates: `few` tries heads on two depths, without mixes of depths, and texts of pairs
            apart only.
        precision: Of the encoder.
        seed: Of the halves and of what is drawn.
    """

    max_rows: int | None = Field(default=None, ge=8)
    held_out_rows: int = Field(default=2_000, ge=2)
    max_tokens: int | None = Field(default=None, ge=1_000)
    candidates: Literal["all", "few"] = "all"
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = Field(default=0, ge=0)


class HeldOutSet(Spec):
    """One data set.

    Attributes:
        name: Its folder.
        kind: Kind of its task.
        pair: Whether on text pairs.
        language: `zh` where many signs are Han, else `en`.
        tuned: Whether the backbone was tuned on its training rows.
        restricted: Whether its stated terms are for research, not for commerce or a vendor's own.
        train: Training rows.
        choosing: Validation rows that chose.
        measured: The others, which measured.
        shared: Those left out of them, since the backbone was tuned on a text of theirs.
        metric: The metric that is compared.
        baseline: What the baseline is.
        figures: The metric of each system.
        reads: What each head reads.
        seconds: Of each system, from rows to predictions.
    """

    name: str
    kind: Kind
    pair: bool
    language: str
    tuned: bool
    restricted: bool
    train: int
    choosing: int
    measured: int
    shared: int
    metric: MetricName
    baseline: str
    figures: Figures
    reads: Mapping[str, str]
    seconds: Mapping[str, float]

    @property
    def ahead(self) -> Figure:
        """Returns the metric of the head minus that of the baseline."""
        found = self.figures.minus(HEAD, BASELINE)
        assert found is not None  # both are always measured
        return found

    @property
    def predicts(self) -> str:
        """Returns what is predicted, as the page groups sets."""
        row = KINDS[self.kind]
        if row.biaffine:
            return "a dependency tree"
        if row.slides_second:
            return "the answer to a question"
        if row.of_choices:
            return "one of several choices"
        if row.per_token:
            return "entities"
        return "a label or number for two texts" if self.pair else "label or labels of one text"


class RetrievedSet(Spec):
    """One data set of pairs, of which the partners are searched for.

    Attributes:
        name: Its folder.
        language: As in `HeldOutSet`.
        tuned: As in `HeldOutSet`.
        restricted: As in `HeldOutSet`.
        train: Training rows of the head; 0 where there is none.
        queries: Measured texts that have a partner.
        texts: Texts among which it is.
        recall: By number of texts looked at and by system, the share of queries that find it.
        figures: The recall of each system at the first text.
        seconds: Of each system.
    """

    name: str
    language: str
    tuned: bool
    restricted: bool
    train: int
    queries: int
    texts: int
    recall: Mapping[int, Mapping[str, float]]
    figures: Figures
    seconds: Mapping[str, float]


class HeldOut(Spec):
    """All figures of one backbone.

    Attributes:
        backbone: What the heads were fitted on.
        listed: Number of sets that its model card lists.
        other: The other encoder; None without one.
        other_name: What the page calls it.
        limits: Of all systems.
        names: All data sets of the folder.
        sets: Those that were measured, by name.
        retrieved: Those whose partners were searched for, by name.
        failed: Why others could not be measured, by name.
    """

    backbone: BackboneSpec
    listed: int
    other: BackboneSpec | None = None
    other_name: str = ""
    limits: Limits = Limits()
    names: tuple[str, ...] = ()
    sets: tuple[HeldOutSet, ...] = ()
    retrieved: tuple[RetrievedSet, ...] = ()
    failed: Mapping[str, str] = Field(default_factory=dict)

    def added(self, label: str, one: HeldOutSet | RetrievedSet) -> HeldOut:
        """Returns the same with the figures of one data set more.

        Args:
            label: By which it failed before, if it did.
            one: The figures; earlier ones of the same set are replaced.
        """
        failed = {name: why for name, why in self.failed.items() if name != label}
        if isinstance(one, HeldOutSet):
            sets = {known.name: known for known in (*self.sets, one)}
            return self.model_copy(update={"sets": _by_name(sets), "failed": failed})
        retrieved = {known.name: known for known in (*self.retrieved, one)}
        return self.model_copy(update={"retrieved": _by_name(retrieved), "failed": failed})

    def with_failure(self, label: str, why: str) -> HeldOut:
        """Returns the same with a data set that could not be measured."""
        return self.model_copy(update={"failed": {**self.failed, label: why}})

    def write(self, path: Path) -> None:
        """Writes the record; a file that is there is replaced as a whole."""
        write_atomic(path, f"{self.model_dump_json()}\n".encode(), replace=True)


def _by_name(known: Mapping[str, _Named]) -> tuple[_Named, ...]:
    return tuple(known[name] for name in sorted(known))


def resumed(new: HeldOut, path: Path) -> HeldOut:
    """Returns the figures of a file to go on with, or the new, empty ones.

    Raises:
        UsageError: The file has figures of other limits, or of another encoder beside the
            backbone; they would be lost.
    """
    if not path.is_file():
        return new
    try:
        known = HeldOut.model_validate_json(path.read_bytes())
    except ValidationError:
        raise UsageError(f"{path} is of another version; remove it to measure anew.") from None
    has_figures = known.sets or known.retrieved
    if known.backbone.fingerprint != new.backbone.fingerprint or not has_figures:
        return new
    if known.limits != new.limits:
        raise UsageError(
            f"{path} has figures of other limits ({known.limits}); these are ({new.limits}). Give "
            f"the same options, another page by --out, or remove the file."
        )
    if new.other is None:
        return known.model_copy(update={"names": new.names})
    if known.other is not None and known.other.fingerprint != new.other.fingerprint:
        raise UsageError(
            f"{path} has figures of {known.other_name}, which is another encoder than "
            f"{new.other_name}; give another page by --out, or remove the file."
        )
    changes = {"names": new.names, "other": new.other, "other_name": new.other_name}
    return known.model_copy(update=changes)
