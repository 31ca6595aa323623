from __future__ import annotations

from dataclasses import replace

import torch

from adapterhub.specs import HeadSpec
from adapterhub.training.heads.candidates import FittedHead, Hyperparameters
from adapterhub.training.heads.table import SearchTable, by_cost, make_table


def _fitted(
    depths: tuple[int, ...], value: float, *, width: int | None = None, pooling: str = "mean"
) -> FittedHead:
    head = HeadSpec(depths=depths, pooling=pooling, hidden_width=width)  # type: ignore[arg-type]
    return FittedHead(
        head, Hyperparameters(0.01, 0.1), value, 3, {"head.weight": torch.zeros(2, 8)}, 4
    )


FITTED = (
    _fitted((6,), 0.900),
    _fitted((3,), 0.896),
    _fitted((3,), 0.897, width=32),
    _fitted((1, 2, 3), 0.8955),
    _fitted((3,), 0.8951, pooling="max"),
    _fitted((2,), 0.894),
)


def _table(tolerance: float) -> SearchTable:
    return make_table(by_cost(FITTED), metric="accuracy", tolerance=tolerance, notes=["a note"])


def _chosen(tolerance: float) -> HeadSpec:
    table = _table(tolerance)
    return table.rows[table.chosen].head


def test_the_cheapest_within_the_tolerance_is_chosen() -> None:
    assert _chosen(0.0).depths == (6,)
    # Linear before hidden, one depth before a mix, and of equals the better.
    assert _chosen(0.5) == FITTED[1].head
    assert _chosen(0.35) == FITTED[2].head
    assert _chosen(0.7).depths == (2,)


def test_the_table_is_for_people() -> None:
    table = _table(0.5)
    assert table.candidates == 24
    text = table.render()
    assert "chosen: 3 passes instead of 6, 0.40 points below the best (tolerance 0.5)" in text
    assert "a note" in text
    assert "mix 1-3" not in text
    assert "mix 1-3" in table.render(every=True)
    assert text.isascii()
    assert "best" in _table(0).summary


def test_the_curve_has_the_best_of_each_depth_and_the_chosen_one() -> None:
    curve = _table(0.7).curve()
    assert dict(curve.lines) == {"best head": [(2, 0.894), (3, 0.897), (6, 0.9)]}
    assert curve.chosen == (2, 0.894)
    apart = [replace(one, apart=True, value=one.value - 0.1) for one in FITTED[:2]]
    pairs = make_table(by_cost([*FITTED, *apart]), metric="mcc", tolerance=0, notes=[]).curve()
    assert list(pairs.lines) == ["best head, texts together", "best head, texts apart"]
    assert [depth for depth, _ in pairs.lines["best head, texts apart"]] == [3, 6]
