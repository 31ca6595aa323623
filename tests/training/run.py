"""Trains tasks on tiny backbones as `train` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import training_options
from adapterhub.training.train import train


def train_in(
    rows: Any, folder: Path, backbone: Backbone, encoder: Encoder, *, task: str, **options: Any
) -> TrainedTask:
    """Returns a task that is trained into the registry of a folder, which has the cache too."""
    return train(
        rows,
        task=task,
        options=training_options(**options, cache_dir=folder / "cache"),
        registry=folder / "registry.yaml",
        backbone=backbone,
        encoder=encoder,
    )
