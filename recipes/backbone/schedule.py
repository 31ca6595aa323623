"""What a training run does when: its budget, its learning rate and its window lengths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recipes.backbone.checkpoints import Progress

LENGTHS = (64, 128, 512)
EARLY_SHARES = (0.5, 0.46, 0.04)
LATE_SHARES = (0.3, 0.4, 0.3)
"""Shares of steps by window length, before and after `LATE_PROGRESS`.

Short windows are cheap; long ones train the position embeddings up to 512 and attention over them.
"""
LATE_PROGRESS = 0.85


@dataclass(frozen=True)
class RunOptions:
    """The options of every run.

    Attributes:
        hours: Time budget; the learning rate reaches 0 at its end.
        steps: Optimizer steps after which the run ends, if earlier.
        peak_rate: Highest learning rate of the encoder.
        warmup: Share of the run in which the rate rises.
        step_tokens: Tokens in one optimizer step.
        share_tokens: Tokens that one worker takes at a time.
        save_minutes: Time between checkpoints.
        seed: What is drawn when; in pretraining the initial weights too.
        device: `auto`, `cpu` or `cuda`.
        workers: Threads that compute gradients; on CUDA one is used.
        lengths: Window lengths of the corpus that are used, of `LENGTHS`.
    """

    hours: float
    steps: int = 1_000_000
    peak_rate: float = 1e-3
    warmup: float = 0.06
    step_tokens: int = 4096
    share_tokens: int = 1024
    save_minutes: float = 3.0
    seed: int = 0
    device: str = "auto"
    workers: int = 2
    lengths: tuple[int, ...] = LENGTHS


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """What a pretraining run does. The model's shape is in its `AlbertConfig`.

    Attributes:
        word_vectors: Start the word embeddings from counts of pairs; takes vocab_size**2 floats.
    """

    word_vectors: bool = True


@dataclass(frozen=True)
class TuneOptions(RunOptions):
    """What a tuning run does; what a worker takes at a time is all of one set.

    Attributes:
        corpus_share: Share of batches from the corpus, masked tokens and sentence order.
        vector_share: Share of batches that imitate a teacher.
        size_power: A set is drawn in proportion to its size to this power.
    """

    peak_rate: float = 6e-4
    lengths: tuple[int, ...] = (64, 128)
    corpus_share: float = 0.2
    vector_share: float = 0.3
    size_power: float = 0.5


def run_share(progress: Progress, options: RunOptions) -> float:
    """Returns how much of the run is over, 0 to 1, by steps or by time, whichever is further."""
    by_time = progress.elapsed / (options.hours * 3600)
    return min(1.0, max((progress.step + 1) / (options.steps + 1), by_time))


def rate_factor(share: float, warmup: float) -> float:
    """Returns the learning rate as a share of its peak: a line up to 1, then a line down to 0.

    Args:
        share: How much of the run is over, 0 to 1.
        warmup: Share of the run that is warm-up, above 0 and below 1.
    """
    return max(0.0, min(share / warmup, (1.0 - share) / (1.0 - warmup)))


def pick_length(step: int, share: float, options: TrainOptions) -> int:
    """Returns the window length of a step: by chance, but always the same for the same step."""
    weights = np.array(EARLY_SHARES if share < LATE_PROGRESS else LATE_SHARES)
    weights *= [length in options.lengths for length in LENGTHS]
    rng = np.random.default_rng((options.seed, step))
    return int(rng.choice(LENGTHS, p=weights / weights.sum()))
