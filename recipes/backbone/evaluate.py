"""Measures masked tokens and sentence order on the documents that were kept back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import AlbertForPreTraining

from recipes.backbone.batches import FIRST_PIECE, NO_ORDER, Batch, Windows
from recipes.backbone.corpus import LANGUAGES
from recipes.backbone.objective import run_batch, to_device

_WINDOWS_PER_BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """How well a checkpoint does on one language.

    Attributes:
        language: Which language.
        length: Tokens in a window.
        windows: Windows that were measured.
        mlm_loss: Nats per masked token.
        shuffled_loss: The same with the tokens that are not masked in random order: how much lower
            `mlm_loss` is shows how much the model makes of word order.
        mlm_accuracy: Share of masked tokens whose best guess is right.
        sop_accuracy: Share of pairs whose order was guessed right; chance is 0.5.
    """

    language: str
    length: int
    windows: int
    mlm_loss: float
    shuffled_loss: float
    mlm_accuracy: float
    sop_accuracy: float


def evaluate(
    model: AlbertForPreTraining,
    shards: Path,
    *,
    length: int = 128,
    windows: int = 1024,
    languages: tuple[str, ...] = LANGUAGES,
) -> list[Evaluation]:
    """Returns one `Evaluation` per language, in fp32.

    Args:
        model: Model in eval mode.
        shards: Folder that `write_shards` wrote.
        length: Tokens in a window.
        windows: Windows per language at most; fewer when one pass over the documents has fewer.
        languages: Languages to measure.
    """
    return [_evaluate_language(model, shards, language, length, windows) for language in languages]


def shuffle_context(batch: Batch, *, seed: int) -> Batch:
    """Returns the batch with the ordinary, unmasked tokens of each window in random order."""
    rng = np.random.default_rng(seed)
    ids = batch.input_ids.copy()
    free = ids >= FIRST_PIECE
    free.reshape(-1)[batch.positions] = False
    for row, places in zip(ids, free, strict=True):
        row[places] = rng.permutation(row[places])
    return replace(batch, input_ids=ids)


def _evaluate_language(
    model: AlbertForPreTraining, shards: Path, language: str, length: int, limit: int
) -> Evaluation:
    source = Windows(shards, "eval", vocab_size=model.config.vocab_size, languages=(language,))
    size = min(_WINDOWS_PER_BATCH, source.count(language, length))
    count = max(1, min(limit, source.count(language, length)) // max(1, size))
    device = next(model.parameters()).device
    loss, shuffled, hits, masked, right, pairs = 0.0, 0.0, 0, 0, 0, 0
    with torch.inference_mode():
        for index in range(count):
            batch = source.batch(index, size=size, length=length)
            outcome = run_batch(model, to_device(batch, device))
            loss += float(outcome.mlm_loss)
            mixed = run_batch(model, to_device(shuffle_context(batch, seed=index), device))
            shuffled += float(mixed.mlm_loss)
            hits += int(outcome.mlm_correct)
            right += int(outcome.sop_correct)
            masked += batch.labels.size
            pairs += int((batch.orders != NO_ORDER).sum())
    return Evaluation(
        language=language,
        length=length,
        windows=count * size,
        mlm_loss=loss / count,
        shuffled_loss=shuffled / count,
        mlm_accuracy=hits / masked,
        sop_accuracy=right / max(1, pairs),
    )
