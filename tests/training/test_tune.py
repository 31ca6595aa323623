"""Recipes of tuning: what is read, what they stand for, and what is refused before torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peft import LoraConfig

from adapterhub.errors import UsageError
from adapterhub.training.adapter_options import AdapterOptions, from_depth_of
from adapterhub.training.options import TrainingOptions, with_recipe
from adapterhub.training.tune import Tune


def spelled(tune: str, depth: int = 6, *, shares_block: bool = True, **more: Any) -> AdapterOptions:
    options = TrainingOptions(tune=tune, **more)
    found = with_recipe(options, depth=depth, shares_block=shares_block).adapter
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("tune", "depth", "expected"),
    [
        ("top:2", 6, {"method": "block", "at_depths": (4, 5), "tie_depths": False}),
        ("TOP: 6", 6, {"method": "block", "at_depths": (0, 1, 2, 3, 4, 5)}),
        ("middle-frozen", 6, {"method": "lora", "at_depths": (0, 1, 4, 5)}),
        ("middle-frozen", 3, {"at_depths": (0, 2)}),
        ("middle-frozen", 5, {"at_depths": (0, 4)}),
        ("at:5,0, 1", 6, {"method": "lora", "at_depths": (0, 1, 5)}),
        ("tied", 6, {"method": "lora", "from_depth": 0, "tie_depths": True}),
        ("block", 6, {"method": "block", "from_depth": 0, "tie_depths": True}),
    ],
)
def test_a_recipe_stands_for_options_of_an_adapter(
    tune: str, depth: int, expected: dict[str, object]
) -> None:
    found = spelled(tune, depth)
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_block_for_every_depth_is_not_tied() -> None:
    assert spelled("block", shares_block=False).tie_depths is False


def test_options_go_with_a_recipe_as_on_the_command_line() -> None:
    found = spelled("at:1", epochs=3, adapter=AdapterOptions(rank=4, method="dora"))
    assert (found.epochs, found.rank, found.method, found.at_depths) == (3, 4, "dora", (1,))
    own = AdapterOptions(epochs=2)
    assert spelled("middle-frozen", epochs=3, adapter=own).epochs == 2
    options = with_recipe(TrainingOptions(tune="tied", epochs=3), depth=4, shares_block=True)
    assert options.epochs is None
    head = TrainingOptions(tune="head", epochs=3)
    assert with_recipe(head, depth=4, shares_block=True) is head
    assert not head.trains_encoder


def test_a_recipe_is_written_as_it_is_read() -> None:
    for text in ("head", "top:2", "middle-frozen", "at:0,5", "tied", "block", "embeddings", "all"):
        options = TrainingOptions(tune=text)
        assert isinstance(options.tune, Tune)
        assert str(options.tune) == options.model_dump()["tune"] == text
        assert TrainingOptions(**options.model_dump()) == options


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tune": "top"}, "after top: comes the number of depths"),
        ({"tune": "top:0"}, "1 or more; for no depths write head"),
        ({"tune": "top:1.5"}, "comes the number of depths"),
        ({"tune": "at:"}, "comes depths, as in at:0,1,5"),
        ({"tune": "at:1,,2"}, "comes depths"),
        ({"tune": "at:1,1"}, "depth 1 is there twice"),
        ({"tune": "block:2"}, "takes nothing after a colon"),
        ({"tune": "midle-frozen"}, "there are head, .*did you mean 'middle-frozen'"),
        ({"tune": 3}, "Option tune"),
        ({"tune": "top:1", "adapter": {"method": "lora"}}, "by no adapter's method"),
        ({"tune": "all", "adapter": {"rank": 2}}, "rank is for adapters"),
        ({"tune": "all", "adapter": {"continue_from": "x"}}, "give it as the backbone"),
        ({"tune": "at:1", "adapter": {"from_depth": 1}}, "leave from_depth out"),
        ({"tune": "tied", "adapter": {"at_depths": (1,)}}, "leave at_depths out"),
        ({"tune": "tied", "adapter": {"tie_depths": False}}, "shares one adapter"),
        (
            {"tune": "at:1", "adapter": {"method": LoraConfig(layers_to_transform=[1])}},
            "leave layers_to_transform out",
        ),
        ({"tune": "head", "adapter": {}}, "head trains no adapter"),
        ({"tune": "tied", "adapter_of": "x"}, "give one"),
    ],
)
def test_what_contradicts_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainingOptions(**values)


@pytest.mark.parametrize(
    ("tune", "depth", "message"),
    [
        ("top:7", 6, "is top:7, but this backbone has 6 depths"),
        ("at:0,6", 6, "names depth 6, but this backbone has depths 0 to 5"),
        ("middle-frozen", 2, "three parts need 3 or more"),
    ],
)
def test_depths_that_are_not_there_are_refused(tune: str, depth: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        spelled(tune, depth)


def test_single_depths_are_checked() -> None:
    assert from_depth_of(AdapterOptions(at_depths=(5, 0, 2)), 6) == 0
    assert AdapterOptions(at_depths=3).at_depths == (3,)
    assert AdapterOptions(at_depths=(np.int64(3), 1)).at_depths == (1, 3)
    assert type(AdapterOptions(from_depth=np.int64(3)).from_depth) is int
    with pytest.raises(UsageError, match="at_depths names depth 6"):
        from_depth_of(AdapterOptions(at_depths=(0, 6)), 6)
    with pytest.raises(UsageError, match="layers_to_transform names depth 9"):
        from_depth_of(AdapterOptions(method=LoraConfig(layers_to_transform=[1, 9])), 6)
    for values in (
        {"at_depths": (1, 1)},
        {"at_depths": ()},
        {"at_depths": np.array([0.5, 1])},
        {"at_depths": (1,), "from_depth": 1},
        {"at_depths": (1,), "from_depths": (1, 2)},
        {"at_depths": (1,), "method": LoraConfig(layers_to_transform=2)},
        {"from_depth": 1, "method": LoraConfig(layers_to_transform=[2])},
    ):
        with pytest.raises(UsageError):
            AdapterOptions(**values)
