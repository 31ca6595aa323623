"""Slabs: rows are lent and come back, and no head's rows are another's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.model.heads.slab import Slab, Slot

CPU = torch.device("cpu")
WIDTH = 4


def head(rows: int, value: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((rows, WIDTH), value), torch.full((rows,), value)


def put(slab: Slab, rows: int, value: float = 1.0) -> Slot:
    slot = slab.put(*head(rows, value))
    assert slot is not None
    return slot


def test_a_slab_is_one_product_of_all_its_heads() -> None:
    slab = Slab(8, WIDTH, CPU)
    weight, bias = torch.randn(3, WIDTH), torch.randn(3)
    slot = slab.put(weight, bias)
    assert slot is not None
    features = torch.randn(5, WIDTH)
    found = slab.forward(features)
    assert found.shape == (5, 8)
    torch.testing.assert_close(found[:, slot.start : slot.stop], features @ weight.T + bias)
    assert torch.equal(found[:, slot.stop :], torch.zeros(5, 5))


def test_heads_stand_side_by_side_until_the_slab_is_full() -> None:
    slab = Slab(8, WIDTH, CPU)
    slots = [put(slab, rows) for rows in (3, 4, 1)]
    assert [(slot.start, slot.stop) for slot in slots] == [(0, 3), (3, 7), (7, 8)]
    assert slab.put(*head(1, 1.0)) is None


def test_a_head_wider_than_the_slab_has_no_room() -> None:
    assert Slab(8, WIDTH, CPU).put(*head(9, 1.0)) is None


def test_rows_are_used_again_only_after_they_came_back() -> None:
    slab = Slab(4, WIDTH, CPU)
    first = put(slab, 4, 1.0)
    assert slab.put(*head(4, 2.0)) is None
    assert torch.equal(slab.weight, head(4, 1.0)[0])
    slab.give_back(first.start, first.stop)
    assert torch.equal(slab.weight, head(4, 1.0)[0]), "rows stay as they are until they are lent"
    put(slab, 4, 2.0)
    assert torch.equal(slab.weight, head(4, 2.0)[0])
    assert torch.equal(slab.bias, head(4, 2.0)[1])


def test_free_rows_must_lie_together() -> None:
    slab = Slab(6, WIDTH, CPU)
    slots = [put(slab, 2) for _ in range(3)]
    slab.give_back(slots[0].start, slots[0].stop)
    slab.give_back(slots[2].start, slots[2].stop)
    assert slab.put(*head(3, 1.0)) is None
    slab.give_back(slots[1].start, slots[1].stop)
    assert put(slab, 6).start == 0


def test_the_first_gap_that_is_large_enough_is_taken() -> None:
    slab = Slab(9, WIDTH, CPU)
    slots = [put(slab, rows) for rows in (1, 2, 3, 3)]
    for slot in slots[::2]:
        slab.give_back(slot.start, slot.stop)
    assert put(slab, 2).start == 3


def test_a_new_head_leaves_the_logits_of_the_others_bit_identical() -> None:
    slab = Slab(128, 32, CPU)
    slot = slab.put(torch.randn(5, 32), torch.randn(5))
    assert slot is not None
    features = torch.randn(7, 32)
    before = slab.forward(features)[:, slot.start : slot.stop].clone()
    assert slab.put(torch.randn(100, 32), torch.randn(100)) is not None
    assert torch.equal(slab.forward(features)[:, slot.start : slot.stop], before)


def test_a_slab_is_empty_when_all_rows_came_back() -> None:
    slab = Slab(4, WIDTH, CPU)
    assert slab.is_empty()
    slot = put(slab, 3)
    assert not slab.is_empty()
    slab.give_back(slot.start, slot.stop)
    assert slab.is_empty()


STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 7)), max_size=40)


@given(STEPS)
@settings(deadline=None)
@pytest.mark.parametrize("rows", [8, 20])
@pytest.mark.slow
def test_no_two_heads_ever_share_a_row(rows: int, steps: list[tuple[bool, int]]) -> None:
    slab = Slab(rows, WIDTH, CPU)
    live: list[tuple[Slot, float]] = []
    for number, (adds, size) in enumerate(steps):
        if adds or not live:
            slot = slab.put(*head(size, float(number)))
            if slot is not None:
                assert slot.stop - slot.start == size
                live.append((slot, float(number)))
        else:
            slot, _ = live.pop(size % len(live))
            slab.give_back(slot.start, slot.stop)
        taken = [row for slot, _ in live for row in range(slot.start, slot.stop)]
        assert len(taken) == len(set(taken))
        for slot, value in live:
            assert (slab.weight[slot.start : slot.stop] == value).all()
            assert (slab.bias[slot.start : slot.stop] == value).all()
    assert slab.is_empty() == (not live)


def test_a_slab_made_in_inference_mode_takes_heads_outside_of_it() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            slab = Slab(8, WIDTH, CPU)
    finally:
        torch.set_default_dtype(torch.float32)
    put(slab, 3)
    assert slab.forward(torch.ones(1, WIDTH))[0].tolist() == [5.0] * 3 + [0.0] * 5
