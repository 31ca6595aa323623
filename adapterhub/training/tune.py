"""Recipes of tuning: which parts of the encoder train with the head, read from texts like `top:2`.

A recipe is read once, when the options are; `adapter_for` makes an adapter's options of it as soon
as the depths of the backbone are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from adapterhub.errors import UsageError, nearest
from adapterhub.specs import BLOCK_METHOD
from adapterhub.training.adapter_options import (
    AdapterOptions,
    adapter_options,
    check_depths,
    read_depths,
)

Recipe = Literal["head", "top", "middle-frozen", "at", "tied", "block", "embeddings", "all"]

RECIPES = "head, top:K, middle-frozen, at:0,1,5, tied, block, embeddings, all"
"""The recipes as they are written; K and the depths are examples."""

_ARGUMENTS = {"top": "the number of depths, as in top:2", "at": "depths, as in at:0,1,5"}
_FEWEST_FOR_MIDDLE = 3
_PLACES = ("from_depth", "from_depths", "at_depths")
_OF_ADAPTERS = ("rank", "ranks", "alpha", "dropout", "sites", "tie_depths", "search")


@dataclass(frozen=True, slots=True)
class Tune:
    """A recipe of tuning.

    Attributes:
        recipe: Its name.
        top: Of `top`, how many of the last depths get own copies of the block.
        depths: Of `at`, the depths that get an adapter, ascending.
    """

    recipe: Recipe
    top: int = 0
    depths: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Returns it as it is written."""
        if self.recipe == "top":
            return f"top:{self.top}"
        return f"at:{','.join(map(str, self.depths))}" if self.recipe == "at" else self.recipe

    @property
    def trains_encoder(self) -> bool:
        """Returns whether anything but the head trains."""
        return self.recipe != "head"

    @property
    def makes_backbone(self) -> bool:
        """Returns whether the result is a backbone of its own, which shares no trunk."""
        return self.recipe in ("embeddings", "all")

    @property
    def trains_weights(self) -> bool:
        """Returns whether weights of the encoder itself, or copies of them, train."""
        return self.recipe in ("top", "block", "embeddings", "all")


def read_tune(value: object) -> object:
    """Returns the recipe that a text is; anything but a text unchanged.

    Raises:
        ValueError: It is no recipe.
    """
    if not isinstance(value, str):
        return value
    name, colon, rest = (part.strip() for part in value.strip().lower().partition(":"))
    recipe = next((one for one in get_args(Recipe) if one == name), None)
    if recipe is None:
        hint = nearest(name, get_args(Recipe))
        meant = f"; did you mean '{hint}'?" if hint else ""
        raise ValueError(f"there is no such recipe; there are {RECIPES}{meant}")
    if recipe not in _ARGUMENTS:
        if colon:
            raise ValueError(f"the recipe {recipe} takes nothing after a colon")
        return Tune(recipe)
    if not rest:
        raise ValueError(f"after {recipe}: comes {_ARGUMENTS[recipe]}")
    if recipe == "at":
        return Tune("at", depths=read_depths(_numbers(rest, recipe)))
    numbers = _numbers(rest, recipe)
    if len(numbers) != 1 or numbers[0] < 1:
        raise ValueError("after top: comes one whole number, 1 or more; for no depths write head")
    return Tune("top", top=numbers[0])


def _numbers(text: str, recipe: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"after {recipe}: comes {_ARGUMENTS[recipe]}")
    return tuple(map(int, parts))


def check_together(tune: Tune, adapter: AdapterOptions | None, adapter_of: str | None) -> None:
    """Checks that a recipe and the options of an adapter do not contradict.

    Raises:
        ValueError: They do.
    """
    if adapter_of is not None and tune.trains_encoder:
        raise ValueError(
            f"tune {tune} trains the encoder, and adapter_of takes an adapter as it is; give one"
        )
    if adapter is None:
        return
    given = adapter.model_fields_set
    if not tune.trains_encoder:
        raise ValueError("tune head trains no adapter; leave tune or the adapter out")
    places = [name for name in _PLACES if getattr(adapter, name) is not None]
    if places:
        raise ValueError(f"tune {tune} gives the depths; leave {places[0]} out")
    if getattr(adapter.method, "layers_to_transform", None) not in (None, []):
        raise ValueError(f"tune {tune} gives the depths; leave layers_to_transform out")
    if tune.recipe == "tied" and "tie_depths" in given and not adapter.tie_depths:
        raise ValueError("tune tied shares one adapter among all depths; leave tie_depths out")
    if tune.trains_weights:
        _check_whole(tune, adapter)


def _check_whole(tune: Tune, adapter: AdapterOptions) -> None:
    """Checks the options beside a recipe that trains whole weights.

    Raises:
        ValueError: One of them is for adapters.
    """
    given = adapter.model_fields_set
    if "method" in given and adapter.method != BLOCK_METHOD:
        raise ValueError(f"tune {tune} trains weights of the encoder, by no adapter's method")
    others = [name for name in _OF_ADAPTERS if name in given]
    if others:
        raise ValueError(f"tune {tune} trains whole weights; {others[0]} is for adapters")
    if tune.makes_backbone and adapter.continue_from is not None:
        raise ValueError(
            f"tune {tune} makes a backbone of its own; to continue from one, give it as the "
            f"backbone in the place of continue_from"
        )


def check_tune(tune: Tune, depth: int) -> None:
    """Checks that a backbone with `depth` depths has those of a recipe.

    Raises:
        UsageError: It does not.
    """
    if tune.recipe == "at":
        check_depths(tune.depths, depth, called="Option tune")
    if tune.recipe == "top" and tune.top > depth:
        raise UsageError(f"Option tune is {tune}, but this backbone has {depth} depths.")
    if tune.recipe == "middle-frozen" and depth < _FEWEST_FOR_MIDDLE:
        raise UsageError(
            f"Option tune is {tune}, but this backbone has {depth} depths, and three parts need "
            f"{_FEWEST_FOR_MIDDLE} or more."
        )


def adapter_for(
    tune: Tune, adapter: AdapterOptions | None, *, depth: int, shares_block: bool
) -> AdapterOptions | None:
    """Returns the options of the adapter that a recipe stands for; None for a head alone.

    Args:
        tune: The recipe.
        adapter: Options that go with it, as `check_together` accepts them.
        depth: Number of depths of the backbone.
        shares_block: Whether one block runs at all depths.

    Raises:
        UsageError: The backbone does not have its depths.
    """
    check_tune(tune, depth)
    third = depth // 3
    places: dict[Recipe, dict[str, object]] = {
        "top": {"at_depths": tuple(range(depth - tune.top, depth))},
        "middle-frozen": {"at_depths": (*range(third), *range(depth - third, depth))},
        "at": {"at_depths": tune.depths},
        "tied": {"from_depth": 0, "tie_depths": True},
        "block": {"from_depth": 0, "tie_depths": shares_block},
        "embeddings": {"from_depth": 0},
        "all": {"from_depth": 0},
    }
    if not tune.trains_encoder:
        return None
    given = {} if adapter is None else {n: getattr(adapter, n) for n in adapter.model_fields_set}
    method = {"method": BLOCK_METHOD} if tune.trains_weights else {}
    return adapter_options(**{**given, **method, **places[tune.recipe]})
