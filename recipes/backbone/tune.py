"""Multi-task tuning before the backbone is frozen: labelled sets, teacher vectors and the corpus.

Source: sampling by size to a power, MT-DNN, arXiv:1901.11504; losses scaled by log K, Muppet,
arXiv:2101.11038, section 3.2.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import AdamW
from tqdm import tqdm

from recipes.backbone.batches import Batch, Windows
from recipes.backbone.checkpoints import (
    Progress,
    load_weights,
    newest_checkpoint,
    read_progress,
    restore,
    save_checkpoint,
    save_weights,
    write_progress,
)
from recipes.backbone.gradients import GradientWorkers
from recipes.backbone.record import TuningRecord, write_record
from recipes.backbone.schedule import TuneOptions, rate_factor, run_share
from recipes.backbone.train import device_name, stop_requests, update
from recipes.backbone.tuning_batches import (
    RowBuckets,
    TuningBatch,
    held_rows,
    take_apart,
    take_rows,
)
from recipes.backbone.tuning_model import TuningModel, TuningOutcome
from recipes.backbone.tuning_sets import TuningSet

_EVERY = 20  # steps between lines of the log
_HEAD_SCALE = 4.0
"""Heads start at zero and take part in few of the steps, so their learning rate is this multiple.

At 10, where length goes with the label (a batch has rows of one length), a head swings.
"""


@dataclass(frozen=True)
class Sources:
    """What a step draws from: the labelled sets, the vectors and the corpus.

    Attributes:
        sets: Labelled sets and texts.
        vectors: Sentences with the vectors of a teacher.
        shards: Folder of the corpus.
    """

    sets: Sequence[TuningSet]
    vectors: Sequence[TuningSet]
    shards: Path

    @property
    def all(self) -> list[TuningSet]:
        """Returns sets and vectors."""
        return [*self.sets, *self.vectors]


def tune(start: Path, sources: Sources, out: Path, options: TuneOptions) -> bool:
    """Tunes the model of a checkpoint, or resumes; writes `log.jsonl`, `held.json` and `final`.

    Args:
        start: Checkpoint to start from; it stays as it is.
        sources: What to learn.
        out: Folder of the run.
        options: Budget and hyperparameters.

    Returns:
        Whether the run is complete; False when SIGTERM or SIGINT ended it (after a checkpoint).
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    model = load_weights(start)
    device = torch.device(device_name(options.device))
    model.config._attn_implementation = "eager" if device.type == "cpu" else "sdpa"
    tuning = TuningModel(model, sources.all)
    nn.Module.to(tuning, device).train()
    optimizer = _make_optimizer(tuning, options)
    checkpoint = newest_checkpoint(out / "checkpoints")
    progress = restore(checkpoint, tuning, optimizer) if checkpoint else Progress()
    done = _run(tuning, optimizer, sources, progress, out=out, options=options)
    save_checkpoint(out / "checkpoints", tuning, optimizer, progress)
    if done:
        save_weights(model, out / "final")
        write_progress(progress, out / "final")
        record = TuningRecord(
            start=read_progress(start),
            sets={rows.name: len(rows) for rows in sources.sets},
            vectors={rows.name: len(rows) for rows in sources.vectors},
        )
        write_record(record, out / "final")
        write_held(tuning, sources.all, out / "held.json")
    return done


def _run(
    tuning: TuningModel,
    optimizer: AdamW,
    sources: Sources,
    progress: Progress,
    *,
    out: Path,
    options: TuneOptions,
) -> bool:
    begun, saved = time.monotonic() - progress.elapsed, time.monotonic()
    workers = options.workers if tuning.model.device.type == "cpu" else 1
    draw = Draw(sources, options, vocab_size=tuning.config.vocab_size)
    log = _Log(out / "log.jsonl", progress)
    pool = GradientWorkers.open(tuning.parameters(), tuning.run, workers=workers)
    bar = tqdm(initial=progress.step, unit="step", mininterval=5)
    with stop_requests() as requests, bar, pool as gradients:
        while progress.step < options.steps and (share := run_share(progress, options)) < 1.0:
            if requests:
                return False
            rate = options.peak_rate * rate_factor(share, options.warmup)
            batches = draw.step(progress.step)
            outcomes = gradients.accumulate(batches)
            update(tuning, optimizer, rate)
            progress.step += 1
            progress.tokens += sum(batch.input_ids.size for batch in batches)
            progress.elapsed = time.monotonic() - begun
            log.add(outcomes, rate)
            bar.update()
            if time.monotonic() - saved > options.save_minutes * 60:
                save_checkpoint(out / "checkpoints", tuning, optimizer, progress)
                saved = time.monotonic()
    return True


class Draw:
    """Draws the batches of a step: the same for the same step, seed and sources.

    Args:
        sources: What to draw from.
        options: Shares of the three kinds of sources, seed, tokens.
        vocab_size: Of the model.
    """

    def __init__(self, sources: Sources, options: TuneOptions, *, vocab_size: int) -> None:
        self._options = options
        self._vocab_size = vocab_size
        self._buckets = [RowBuckets(rows, seed=options.seed) for rows in sources.all]
        self._windows = Windows(
            sources.shards, "train", vocab_size=vocab_size, seed=options.seed + 1
        )
        corpus, vectors = options.corpus_share, options.vector_share if sources.vectors else 0.0
        parts = [
            (1.0 - corpus - vectors) * _weights(sources.sets, options.size_power),
            vectors * _weights(sources.vectors, options.size_power),
            np.array([corpus]),
        ]
        self._chances = np.concatenate(parts)
        self._chances /= self._chances.sum()

    def step(self, step: int) -> list[TuningBatch | Batch]:
        """Returns the batches of one step."""
        count = max(1, self._options.step_tokens // self._options.share_tokens)
        return [self._batch(step * count + place) for place in range(count)]

    def _batch(self, number: int) -> TuningBatch | Batch:
        rng = np.random.default_rng((self._options.seed, number))
        chosen = int(rng.choice(len(self._chances), p=self._chances))
        tokens = self._options.share_tokens
        if chosen == len(self._buckets):
            length = int(rng.choice(self._options.lengths))
            return self._windows.batch(number, size=max(2, tokens // length), length=length)
        return self._buckets[chosen].batch(number, tokens=tokens, vocab_size=self._vocab_size)


def write_held(tuning: TuningModel, sets: Sequence[TuningSet], path: Path) -> None:
    """Writes loss and quality on the rows that were kept back, by set."""
    found = {}
    rng = np.random.default_rng(0)
    tuning.eval()
    for rows in sets:
        chosen = np.asarray(held_rows(rows), dtype=np.int64)
        if not len(chosen):
            continue
        batches = [take_rows(rows, chosen, rng, vocab_size=tuning.config.vocab_size)]
        if rows.paired:
            batches.append(take_apart(rows, chosen))
        for batch in batches:
            with torch.inference_mode():
                outcome = tuning.run(batch)
            found[batch.name] = {
                "kind": rows.kind,
                "rows": len(chosen),
                "loss": round(float(outcome.loss), 4),
                "quality": round(float(outcome.quality), 4),
            }
    path.write_text(json.dumps(found, indent=2) + "\n")


class _Log:
    """Means of losses and qualities by set, a line every `_EVERY` steps."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._mark = (progress.tokens, progress.elapsed)

    def add(self, outcomes: Sequence[TuningOutcome], rate: float) -> None:
        for outcome in outcomes:
            self._found[outcome.name].append((float(outcome.loss.detach()), float(outcome.quality)))
        if self._progress.step % _EVERY:
            return
        tokens, elapsed = self._progress.tokens, self._progress.elapsed
        every = [loss for found in self._found.values() for loss, _ in found]
        line = {
            "step": self._progress.step,
            "tokens": tokens,
            "elapsed": round(elapsed, 1),
            "loss": round(float(np.mean(every)), 4),
            "rate": rate,
            "tokens_per_second": round(
                (tokens - self._mark[0]) / max(elapsed - self._mark[1], 1e-9)
            ),
            "sets": {
                name: [round(float(value), 3) for value in np.mean(found, axis=0)]
                for name, found in sorted(self._found.items())
            },
        }
        with self._path.open("a") as log:
            log.write(json.dumps(line) + "\n")
        self._found, self._mark = defaultdict(list), (tokens, elapsed)


def _weights(
    sets: Sequence[TuningSet], power: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    sizes = np.array([len(rows) for rows in sets], dtype=float) ** power
    return sizes / sizes.sum() if len(sizes) else sizes


def _make_optimizer(tuning: TuningModel, options: TuneOptions) -> AdamW:
    heads = [*tuning.weights.values(), *tuning.biases.values()]
    own = list(tuning.model.parameters())
    groups = [
        {"params": [item for item in own if item.dim() > 1], "weight_decay": 0.01},
        {"params": [item for item in own if item.dim() <= 1], "weight_decay": 0.0},
        {"params": heads, "weight_decay": 0.0, "scale": _HEAD_SCALE},
    ]
    return AdamW(groups, lr=options.peak_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
