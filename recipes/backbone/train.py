"""Pretrains an ALBERT under a time budget; a run resumes by itself from its newest checkpoint."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import nn
from torch.optim import AdamW
from tqdm import tqdm
from transformers import AlbertConfig, AlbertForPreTraining

from recipes.backbone.batches import Batch, Windows
from recipes.backbone.checkpoints import (
    Progress,
    newest_checkpoint,
    restore,
    save_checkpoint,
    save_weights,
    write_progress,
)
from recipes.backbone.gradients import GradientWorkers
from recipes.backbone.initial import initialize
from recipes.backbone.meter import Meter
from recipes.backbone.objective import Outcome, mean_outcome, run_batch, to_device
from recipes.backbone.schedule import TrainOptions, pick_length, rate_factor, run_share


def make_config(
    *, vocab_size: int, hidden_size: int, depth: int, embedding_size: int = 128, head_size: int = 64
) -> AlbertConfig:
    """Returns the shape of the model: one block of weights, no dropout.

    The activation is `gelu` by the error function: on a CPU in bf16 it is three times faster to
    train than the tanh form, `gelu_new`, and five times faster to run (torch 2.13).
    """
    return AlbertConfig(
        vocab_size=vocab_size,
        embedding_size=embedding_size,
        hidden_size=hidden_size,
        num_hidden_layers=depth,
        num_attention_heads=hidden_size // head_size,
        intermediate_size=4 * hidden_size,
        hidden_act="gelu",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        max_position_embeddings=512,
        type_vocab_size=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )


def train(config: AlbertConfig, shards: Path, out: Path, options: TrainOptions) -> bool:
    """Trains, or resumes training; writes checkpoints, `log.jsonl` and, at the end, `final`.

    Args:
        config: Shape of the model.
        shards: Folder that `write_shards` wrote.
        out: Folder of the run.
        options: Budget and hyperparameters.

    Returns:
        Whether the run is complete; False when SIGTERM or SIGINT ended it (after a checkpoint).
    """
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(device_name(options.device))
    torch.manual_seed(options.seed)
    # In bf16 on a CPU the backward of the fused attention kernel takes a third of all time (torch
    # 2.13); explicit attention trains half as fast again.
    config._attn_implementation = "eager" if device.type == "cpu" else "sdpa"
    model = AlbertForPreTraining(config)
    nn.Module.to(model, device).train()
    optimizer = _make_optimizer(model, options)
    windows = Windows(shards, "train", vocab_size=config.vocab_size, seed=options.seed)
    checkpoint = newest_checkpoint(out / "checkpoints")
    if checkpoint is None:
        initialize(model, list(windows.shards.values()), word_vectors=options.word_vectors)
    progress = restore(checkpoint, model, optimizer) if checkpoint else Progress()
    done = _run(model, optimizer, windows, progress, out=out, options=options)
    save_checkpoint(out / "checkpoints", model, optimizer, progress)
    if done:
        save_weights(model, out / "final")
        write_progress(progress, out / "final")
    return done


def _run(
    model: AlbertForPreTraining,
    optimizer: AdamW,
    windows: Windows,
    progress: Progress,
    *,
    out: Path,
    options: TrainOptions,
) -> bool:
    meter = Meter(out / "log.jsonl", progress)
    begun, saved = time.monotonic() - progress.elapsed, time.monotonic()
    workers = options.workers if model.device.type == "cpu" else 1

    def compute(batch: Batch) -> Outcome:
        return run_batch(model, to_device(batch, model.device))

    bar = tqdm(initial=progress.step, unit="step", mininterval=5)
    pool = GradientWorkers.open(model.parameters(), compute, workers=workers)
    with stop_requests() as requests, bar, pool as gradients:
        while progress.step < options.steps and (share := run_share(progress, options)) < 1.0:
            if requests:
                return False
            rate = options.peak_rate * rate_factor(share, options.warmup)
            length = pick_length(progress.step, share, options)
            batches = _next_batches(windows, progress, length, options)
            outcome = mean_outcome(gradients.accumulate(batches))
            update(model, optimizer, rate)
            progress.step += 1
            progress.tokens += sum(batch.input_ids.size for batch in batches)
            progress.elapsed = time.monotonic() - begun
            meter.add(outcome, rate)
            bar.update()
            if time.monotonic() - saved > options.save_minutes * 60:
                save_checkpoint(out / "checkpoints", model, optimizer, progress)
                saved = time.monotonic()
    return True


def _make_optimizer(model: AlbertForPreTraining, options: TrainOptions) -> AdamW:
    """Returns AdamW that decays matrices only, as BERT and ALBERT do."""
    decayed = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    return AdamW(groups, lr=options.peak_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def update(model: nn.Module, optimizer: AdamW, rate: float) -> None:
    """Takes one optimizer step with clipped gradients; a group may multiply the rate by `scale`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _next_batches(
    windows: Windows, progress: Progress, length: int, options: TrainOptions
) -> list[Batch]:
    """Returns the batches of one step and moves the data position behind them."""
    first = progress.batches.get(str(length), 0)
    count = max(1, options.step_tokens // options.share_tokens)
    size = max(2, options.share_tokens // length)
    progress.batches[str(length)] = first + count
    return [windows.batch(n, size=size, length=length) for n in range(first, first + count)]


def device_name(name: str) -> str:
    """Returns `name`, or for `auto` the device that is there."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT in a list, so that the loop can end between two steps."""
    requests: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        requests.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
