"""Workspaces: buffers are kept for later calls and never held by two at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import pytest
import torch

from adapterhub.model.encoder.buffers import Buffers, Workspaces


@pytest.fixture
def workspaces() -> Workspaces:
    return Workspaces(
        hidden_size=8, intermediate_size=32, device=torch.device("cpu"), dtype=torch.float32
    )


def tensors(buffers: Buffers) -> Iterator[torch.Tensor]:
    return (getattr(buffers, field.name) for field in fields(buffers))


def places(buffers: Buffers) -> set[int]:
    return {tensor.data_ptr() for tensor in tensors(buffers)}


def test_buffers_have_room_and_the_widths_of_the_block(workspaces: Workspaces) -> None:
    taken = workspaces.take(300)
    assert taken.capacity >= 300
    widths = [tensor.shape[1] for tensor in tensors(taken)]
    assert widths == [24, 8, 8, 8, 32, 8, 1, 1]
    assert {tensor.shape[0] for tensor in tensors(taken)} == {taken.capacity}


def test_no_two_tensors_share_memory(workspaces: Workspaces) -> None:
    taken = workspaces.take(10)
    for value, tensor in enumerate(tensors(taken)):
        tensor.fill_(value)
    assert all((tensor == value).all() for value, tensor in enumerate(tensors(taken)))


def test_the_first_rows_are_views(workspaces: Workspaces) -> None:
    taken = workspaces.take(10)
    part = taken.first(7)
    assert {tensor.shape[0] for tensor in tensors(part)} == {7}
    assert places(part) == places(taken)


def test_what_was_given_back_is_used_again_where_it_is_large_enough(
    workspaces: Workspaces,
) -> None:
    first = workspaces.take(500)
    workspaces.give_back(first)
    second = workspaces.take(300)
    assert second is first
    workspaces.give_back(second)
    larger = workspaces.take(5_000)
    assert larger is not first
    assert larger.capacity >= 5_000


def test_sizes_that_are_close_share_buffers(workspaces: Workspaces) -> None:
    first = workspaces.take(200)
    workspaces.give_back(first)
    assert workspaces.take(230) is first


def test_two_calls_never_hold_the_same_buffers(workspaces: Workspaces) -> None:
    workspaces.give_back(workspaces.take(10))
    one, two = workspaces.take(10), workspaces.take(10)
    assert not places(one) & places(two)


def test_threads_never_hold_the_same_buffers(workspaces: Workspaces) -> None:
    held: set[int] = set()
    lock = threading.Lock()

    def use(size: int) -> bool:
        taken = workspaces.take(size)
        with lock:
            alone = not held & places(taken)
            held.update(places(taken))
        with lock:
            held.difference_update(places(taken))
        workspaces.give_back(taken)
        return alone

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, [1, 300, 700] * 200))


def test_statistics_have_the_dtype_that_layer_norm_writes_on_the_cpu() -> None:
    half = Workspaces(
        hidden_size=8, intermediate_size=32, device=torch.device("cpu"), dtype=torch.bfloat16
    )
    assert {tensor.dtype for tensor in tensors(half.take(4))} == {torch.bfloat16}
