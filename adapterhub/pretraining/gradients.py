"""Computes the gradient of one step from small batches that worker threads share out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor
from transformers import AlbertForPreTraining

from adapterhub.pretraining.batches import Batch
from adapterhub.pretraining.objective import Outcome, run_batch, to_device


@dataclass(frozen=True)
class _Share:
    gradients: tuple[Tensor, ...]
    outcome: Outcome


class GradientWorkers:
    """Threads that compute gradients of one model, each taking the next small batch when free.

    On a CPU that other programs use too, a step so uses the free time of all cores; with threads
    inside each operation, every operation waits for the slowest core. On idle cores both are about
    as fast.

    Args:
        model: The model; gradients are left in its parameters.
        workers: Threads; use 1 on CUDA.
    """

    def __init__(self, model: AlbertForPreTraining, workers: int) -> None:
        self._model = model
        self._parameters = list(model.parameters())
        self._device = self._parameters[0].device
        self._pool = ThreadPoolExecutor(
            workers, initializer=partial(torch.set_num_threads, 1) if workers > 1 else None
        )

    @classmethod
    @contextmanager
    def open(cls, model: AlbertForPreTraining, workers: int) -> Iterator[GradientWorkers]:
        """Yields the workers and ends their threads."""
        started = cls(model, workers)
        try:
            yield started
        finally:
            started._pool.shutdown()

    def accumulate(self, batches: list[Batch]) -> Outcome:
        """Sets the gradient of every parameter to the mean over the batches."""
        shares = list(self._pool.map(self._compute, batches))
        for number, parameter in enumerate(self._parameters):
            total = shares[0].gradients[number]
            for share in shares[1:]:
                total += share.gradients[number]
            parameter.grad = total.div_(len(shares))
        return _mean([share.outcome for share in shares])

    def _compute(self, batch: Batch) -> _Share:
        placed = to_device(batch, self._device)
        with torch.autocast(self._device.type, torch.bfloat16):
            outcome = run_batch(self._model, placed)
        return _Share(torch.autograd.grad(outcome.loss, self._parameters), outcome)


def _mean(outcomes: list[Outcome]) -> Outcome:
    means = (
        torch.stack([getattr(outcome, f.name).detach().float() for outcome in outcomes]).mean()
        for f in fields(Outcome)
    )
    return Outcome(*means)
