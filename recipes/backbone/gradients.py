"""Computes the gradient of one step from small batches that worker threads share out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn


class HasLoss(Protocol):
    """What a batch gave: a scalar to minimise, and whatever else is worth logging."""

    @property
    def loss(self) -> Tensor:
        """Returns a scalar with a gradient."""


BatchT = TypeVar("BatchT")
OutcomeT = TypeVar("OutcomeT", bound=HasLoss)


class GradientWorkers(Generic[BatchT, OutcomeT]):
    """Threads that compute gradients of one model, each taking the next small batch when free.

    On a CPU that other programs use too, a step so uses the free time of all cores; with threads
    inside each operation, every operation waits for the slowest core. On idle cores both are about
    as fast.

    Args:
        parameters: What to compute gradients of; they are left in it.
        compute: Runs the model on one batch.
        workers: Threads; use 1 on CUDA.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        compute: Callable[[BatchT], OutcomeT],
        *,
        workers: int,
    ) -> None:
        self._parameters = list(parameters)
        self._run = compute
        self._device = self._parameters[0].device
        self._pool = ThreadPoolExecutor(
            workers, initializer=partial(torch.set_num_threads, 1) if workers > 1 else None
        )

    @classmethod
    @contextmanager
    def open(
        cls,
        parameters: Iterable[nn.Parameter],
        compute: Callable[[BatchT], OutcomeT],
        *,
        workers: int,
    ) -> Iterator[GradientWorkers[BatchT, OutcomeT]]:
        """Yields the workers and ends their threads."""
        started = cls(parameters, compute, workers=workers)
        try:
            yield started
        finally:
            started._pool.shutdown()

    def accumulate(self, batches: Sequence[BatchT]) -> list[OutcomeT]:
        """Sets the gradients to the mean over the batches and returns what each batch gave.

        A parameter that no batch uses gets no gradient at all, so that its optimizer state rests.
        """
        outcomes, gradients = [], []
        for outcome, found in self._pool.map(self._compute, batches):
            outcomes.append(outcome)
            gradients.append(found)
        for parameter, parts in zip(self._parameters, zip(*gradients, strict=True), strict=True):
            used = [part for part in parts if part is not None]
            total = used[0] if used else None
            for part in used[1:]:
                total += part
            parameter.grad = None if total is None else total.div_(len(batches))
        return outcomes

    def _compute(self, batch: BatchT) -> tuple[OutcomeT, tuple[Tensor | None, ...]]:
        with torch.autocast(self._device.type, torch.bfloat16):
            outcome = self._run(batch)
        return outcome, torch.autograd.grad(outcome.loss, self._parameters, allow_unused=True)
