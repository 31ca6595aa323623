"""What is measured about freezing, as it is recorded."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from adapterhub.specs import BackboneSpec, Kind, Spec
from adapterhub.training.options import MetricName

ALBERT, BERT = "albert", "bert"
"""The two encoders: one block at all depths, and a block for each depth."""


class Run(Spec):
    """One recipe on one data set.

    Attributes:
        encoder: `albert` or `bert`.
        name: Folder of the data set.
        recipe: As `train --tune` takes it.
        parameters: Trained numbers, the head's included.
        passes: Passes per text if nothing else is scored.
        own_passes: Those of them that no other task shares.
        seconds: Of one epoch of training.
        memory_bytes: Gradients, the optimiser's moments, and what a step keeps for the gradients.
        encoding_seconds: Of encoding the training rows once, up to the lowest depth that the recipe
            trains, for the head up to the last one; 0 where depth 0 trains.
        value: The metric on rows that chose nothing.
    """

    encoder: str
    name: str
    recipe: str
    parameters: int
    passes: int
    own_passes: int
    seconds: float
    memory_bytes: int
    encoding_seconds: float
    value: float


class MeasuredRows(Spec):
    """The rows of one data set.

    Attributes:
        kind: Kind of its task.
        language: `zh` where many signs are Han, else `en`.
        train: Training rows used.
        choosing: Rows of the training file that chose.
        measured: Rows of the validation file, which chose nothing.
        metric: The metric.
        is_listed: Whether its training rows had a part in the first encoder.
    """

    kind: Kind
    language: str
    train: int
    choosing: int
    measured: int
    metric: MetricName
    is_listed: bool


class DepthTime(Spec):
    """Scoring time by the depth that is read.

    Attributes:
        depth: The depth.
        milliseconds: Per text, median of the repetitions.
    """

    depth: int
    milliseconds: float


class Inference(Spec):
    """Times of inference with the first encoder.

    Attributes:
        texts: Number of texts.
        frozen: Milliseconds per text by state of the weights: `trained`, `frozen`, `untied`.
        bytes: Of the weights, by the same states.
        depths: Time by depth.
        tasks: Number of heads on one trunk.
        shared_passes: Passes per text of one call for all tasks.
        separate_passes: Passes per text of a separate model per task.
        shared_milliseconds: Per text, of one call for all tasks.
        separate_milliseconds: Per text, computed: the time of all depths, once for each task.
    """

    texts: int
    frozen: Mapping[str, float]
    bytes: Mapping[str, int]
    depths: tuple[DepthTime, ...]
    tasks: int
    shared_passes: int
    separate_passes: int
    shared_milliseconds: float
    separate_milliseconds: float


class Similarity(Spec):
    """Spearman's correlation of a similarity with the scores of people.

    Attributes:
        name: Folder of the data set of pairs.
        encoder: `albert` or `bert`.
        train: Training rows of the head.
        rows: Measured rows.
        cls: By depth from 0, cosine of the vectors of the first token; None where it is constant.
        mean: By depth from 0, cosine of the means of all tokens.
        head: Of a trained head that compares the two texts.
        reads: What that head reads.
    """

    name: str
    encoder: str
    train: int
    rows: int
    cls: tuple[float | None, ...]
    mean: tuple[float | None, ...]
    head: float
    reads: str


class FreezingRecord(Spec):
    """All results.

    Attributes:
        backbone: The first encoder.
        other: The second, of BERT's shape; None without one.
        other_name: What the page calls it.
        max_rows: Training rows, and rows that choose or measure, at most.
        epochs: Of training, at most.
        batch_size: Rows of a step.
        sets: The data sets of the recipes, by name.
        runs: What was measured so far.
        inference: None until it is measured.
        similarity: What was measured so far.
    """

    backbone: BackboneSpec
    other: BackboneSpec | None
    other_name: str
    max_rows: int
    epochs: int
    batch_size: int
    sets: Mapping[str, MeasuredRows] = Field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    inference: Inference | None = None
    similarity: tuple[Similarity, ...] = ()

    def run(self, encoder: str, name: str, recipe: str) -> Run | None:
        """Returns a result; None if it is not there."""
        found = (one for one in self.runs if (one.encoder, one.name) == (encoder, name))
        return next((one for one in found if one.recipe == recipe), None)

    def continues(self, known: FreezingRecord) -> bool:
        """Returns whether a record is of the same encoders and budget."""
        mine, theirs = (
            (
                one.backbone.fingerprint,
                None if one.other is None else one.other.fingerprint,
                one.max_rows,
                one.epochs,
                one.batch_size,
            )
            for one in (self, known)
        )
        return mine == theirs
