"""Pooling: each window on its own, as one would pool it by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from adapterhub.model.encoder.pooling import POOLINGS, pool_attentive, pool_cls, pool_max, pool_mean
from adapterhub.model.encoder.tokens import TokenBatch, Window, pack
from adapterhub.specs import POOLINGS as NAMES

HIDDEN = 16
LENGTHS = (7, 7, 7, 4, 2, 2, 1)


def batch_of(*lengths: int) -> TokenBatch:
    windows = [Window(row, 0, size, [1] * size, [0] * size) for row, size in enumerate(lengths)]
    return pack(windows, device=torch.device("cpu"))


def states(batch: TokenBatch, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(batch.tokens, HIDDEN, generator=torch.Generator().manual_seed(0)).to(dtype)


def by_hand(
    batch: TokenBatch, hidden: torch.Tensor, pool: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Returns the windows pooled one by one: (N, H)."""
    parts = hidden.float().split([len(window.ids) for window in batch.windows])
    return torch.stack([pool(part) for part in parts])


QUERY = torch.linspace(-1, 1, HIDDEN)


def attend(tokens: torch.Tensor) -> torch.Tensor:
    return torch.softmax(tokens @ QUERY / HIDDEN**0.5, 0) @ tokens


@pytest.mark.parametrize("lengths", [LENGTHS, (5,), (1, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_pooling_is_that_of_each_window_alone(
    lengths: tuple[int, ...], dtype: torch.dtype
) -> None:
    batch = batch_of(*lengths)
    hidden = states(batch, dtype)
    cases = [
        (pool_cls(hidden, batch), lambda tokens: tokens[0]),
        (pool_mean(hidden, batch), lambda tokens: tokens.mean(0)),
        (pool_max(hidden, batch), lambda tokens: tokens.amax(0)),
        (pool_attentive(hidden, batch, QUERY), attend),
    ]
    for found, pool in cases:
        assert found.dtype is torch.float32
        assert found.shape == (len(lengths), HIDDEN)
        torch.testing.assert_close(found, by_hand(batch, hidden, pool))


def test_tokens_stay_as_they_are_in_fp32() -> None:
    batch = batch_of(*LENGTHS)
    hidden = states(batch, torch.float16)
    found = POOLINGS["tokens"](hidden, batch)
    assert found.dtype is torch.float32
    assert torch.equal(found, hidden.float())


def test_half_precision_is_summed_in_fp32() -> None:
    batch = batch_of(4096)
    hidden = torch.full((4096, HIDDEN), 40.0, dtype=torch.float16)
    assert torch.equal(POOLINGS["mean"](hidden, batch), torch.full((1, HIDDEN), 40.0))


def test_a_query_of_zeros_is_the_mean() -> None:
    batch = batch_of(*LENGTHS)
    hidden = states(batch)
    torch.testing.assert_close(
        pool_attentive(hidden, batch, torch.zeros(HIDDEN)), pool_mean(hidden, batch)
    )


def test_a_large_query_picks_one_token_and_does_not_overflow() -> None:
    batch = batch_of(3)
    hidden = torch.zeros(3, HIDDEN)
    hidden[1, 0] = 1.0
    query = torch.zeros(HIDDEN)
    query[0] = 1e6
    assert torch.equal(pool_attentive(hidden, batch, query), hidden[1:2])


def test_the_input_is_not_changed() -> None:
    batch = batch_of(*LENGTHS)
    hidden = states(batch)
    kept = hidden.clone()
    for pool in POOLINGS.values():
        pool(hidden, batch)
    pool_attentive(hidden, batch, QUERY)
    assert torch.equal(hidden, kept)


def test_the_table_has_every_pooling_without_weights() -> None:
    assert set(POOLINGS) == set(NAMES) - {"attentive"}
