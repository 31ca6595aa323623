"""Trains an adapter in a process of its own that is killed in the middle of an epoch."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.training.adapter_options import adapter_options
from adapterhub.training.adapters.train_loop import AdapterRun
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.training.rows import sentiment_rows

STEPS_BEFORE = 9
"""Six steps are an epoch, so this one stops within the second."""


def options_with(cache: Path) -> TrainingOptions:
    adapter = adapter_options(
        from_depth=2,
        rank=2,
        epochs=3,
        batch_size=8,
        dropout=0.1,
        head_dropout=0.2,
        patience=3,
        checkpoint_minutes=0,
    )
    return training_options(
        epochs=2,
        batch_size=16,
        learning_rates=(0.01,),
        weight_decays=(0.01,),
        validation_fraction=0.25,
        poolings=("mean",),
        hidden_widths=(),
        ngrams=False,
        cache_dir=cache,
        adapter=adapter,
    )


def train_with(cache: Path, backbone: Backbone) -> TrainedTask:
    options = options_with(cache)
    return train(sentiment_rows(64), task="mine", options=options, registry=None, backbone=backbone)


def main(folder: str, cache: str) -> None:
    step = AdapterRun._take_step
    taken = 0

    def stopped(self: AdapterRun, rows: Sequence[int]) -> float:
        nonlocal taken
        if taken == STEPS_BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        taken += 1
        return step(self, rows)

    AdapterRun._take_step = stopped  # type: ignore[method-assign]
    train_with(Path(cache), open_backbone(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
