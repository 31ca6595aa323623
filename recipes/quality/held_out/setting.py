"""What all data sets of one run share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.training.data.dataset import Splits
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import TrainingJob
from adapterhub.training.train import run
from recipes.quality.held_out.halves import Halves, TunedTexts, read_halves
from recipes.quality.held_out.record import Limits

TASK = "quality"


@dataclass(frozen=True, eq=False)
class Setting:
    """What is measured, and how.

    Attributes:
        data: Holds a folder per data set.
        backbone: The backbone.
        encoder: Its encoder.
        listed: The sets that its model card lists.
        tuned: Their texts.
        other: Another encoder for English sets, or None.
        limits: Of all systems.
    """

    data: Path
    backbone: Backbone
    encoder: Encoder
    listed: tuple[str, ...]
    tuned: TunedTexts
    other: tuple[Backbone, Encoder] | None
    limits: Limits

    def halves(self, name: str) -> Halves:
        """Returns the rows of a data set."""
        return read_halves(self.data / name, self.limits, backbone=self.backbone, tuned=self.tuned)


def train_head(
    splits: Splits, options: TrainingOptions, backbone: Backbone, encoder: Encoder
) -> TrainedTask:
    """Returns a head that `train` makes of these very rows."""
    return run(TrainingJob(TASK, splits, options, None, backbone), encoder=encoder)
