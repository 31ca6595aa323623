"""Computes the masked-token and sentence-order losses of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AlbertForPreTraining

from recipes.backbone.batches import NO_ORDER, Batch


@dataclass(frozen=True)
class DeviceBatch:
    """A `Batch` as tensors on the device; same fields, same shapes, int64."""

    input_ids: Tensor
    token_type_ids: Tensor
    positions: Tensor
    labels: Tensor
    orders: Tensor


@dataclass(frozen=True)
class Outcome:
    """What a batch gave.

    Attributes:
        loss: Scalar to minimise: the two losses added.
        mlm_loss: Scalar, nats per masked token.
        sop_loss: Scalar, nats per pair.
        mlm_correct: Masked tokens whose best guess is right, scalar int64.
        sop_correct: Pairs whose order was guessed right, scalar int64.
    """

    loss: Tensor
    mlm_loss: Tensor
    sop_loss: Tensor
    mlm_correct: Tensor
    sop_correct: Tensor


def to_device(batch: Batch, device: torch.device) -> DeviceBatch:
    """Returns the batch as tensors on the device."""
    return DeviceBatch(
        *(
            torch.from_numpy(array).to(device, non_blocking=True)
            for array in (
                batch.input_ids,
                batch.token_type_ids,
                batch.positions,
                batch.labels,
                batch.orders,
            )
        )
    )


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns the mean of each field over some batches, detached, fp32."""
    means = (
        torch.stack([getattr(outcome, f.name).detach().float() for outcome in outcomes]).mean()
        for f in fields(Outcome)
    )
    return Outcome(*means)


def run_batch(model: AlbertForPreTraining, batch: DeviceBatch) -> Outcome:
    """Returns the losses and hits of one batch.

    Source: ALBERT, arXiv:1909.11942, section 3.1 (sentence order) and section 4.1 (n-gram masking).
    """
    output = model.albert(input_ids=batch.input_ids, token_type_ids=batch.token_type_ids)
    # (N, S, H) -> (N * M, H): only masked places reach the vocabulary projection
    hidden = output.last_hidden_state.flatten(0, 1)[batch.positions]
    tokens = model.predictions(hidden).float()
    orders = model.sop_classifier(output.pooler_output).float()
    mlm_loss = functional.cross_entropy(tokens, batch.labels)
    pairs = (batch.orders != NO_ORDER).sum()
    sop_sum = functional.cross_entropy(orders, batch.orders, ignore_index=NO_ORDER, reduction="sum")
    sop_loss = sop_sum / pairs.clamp(min=1)
    with torch.no_grad():
        mlm_correct = (tokens.argmax(-1) == batch.labels).sum()
        sop_correct = (orders.argmax(-1) == batch.orders).sum()
    return Outcome(
        mlm_loss + sop_loss, mlm_loss.detach(), sop_loss.detach(), mlm_correct, sop_correct
    )
