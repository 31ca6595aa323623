"""What the training of an adapter can be told, and what follows from it."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, SupportsIndex

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from adapterhub.errors import UsageError
from adapterhub.option_models import Option, Options, parse_options
from adapterhub.specs import BLOCK_METHOD, SITES, Site

Precision = Literal["auto", "float32", "bfloat16"]
TrunkDtype = Literal["float16", "float32"]
Keep = Literal["best", "last"]
Rank = Annotated[int, Field(ge=1, le=1_024)]
Rate = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, le=10)]
Depth = Annotated[int, BeforeValidator(lambda given: plain_int(given)), Field(ge=0, le=1_024)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Epochs = Annotated[int, Field(ge=1, le=10_000)]
Several: Any = Field(strict=False, min_length=1)

_WHOLE = "whole numbers such as 4 or 2,4"


def plain_int(given: object) -> object:
    """Returns a whole number of numpy as one of Python; anything else unchanged."""
    if isinstance(given, bool) or not isinstance(given, SupportsIndex):
        return given
    try:
        return operator.index(given)
    except TypeError:  # An array of several numbers; what is wrong with it is said by the field.
        return given


def read_depths(depths: Iterable[int]) -> tuple[int, ...]:
    """Returns depths in ascending order.

    Raises:
        ValueError: One is there twice.
    """
    found = sorted(depths)
    twice = next((one for one, other in pairwise(found) if one == other), None)
    if twice is not None:
        raise ValueError(f"depth {twice} is there twice")
    return tuple(found)


class AdapterOptions(Options):
    """Options of one adapter's training; the defaults suit some hundred rows or more."""

    called: ClassVar[str] = "adapter option"

    method: Annotated[
        Any, Option("METHOD", "none: a head on the frozen backbone", ("--adapter",))
    ] = "lora"
    """Train an adapter by this method: lora, dora, rslora, pissa, olora, PEFT's name of any other
    method, or block for an own copy of the whole block. In Python lora is the default, and a PEFT
    config object may stand here, whose sites, depths, rank and alpha are used."""
    continue_from: Annotated[str | None, Option("TASK")] = Field(default=None, min_length=1)
    """Initialise from the adapter of this task: named as in `show`. Its
    shape is used where no other is given; depths that it does not change start as usual."""
    from_depth: Annotated[
        Depth | None, Option("N[,N]", "2/3 of all", expected=_WHOLE, several="from_depths")
    ] = None
    """Depth where the adapter starts; the cheapest good one of several is kept."""
    at_depths: Annotated[
        tuple[Depth, ...] | None,
        Option("N,N", "all from from_depth on", expected="whole numbers such as 0,1,5"),
        Several,
        BeforeValidator(lambda given: (one,) if type(one := plain_int(given)) is int else given),
        AfterValidator(lambda given: None if given is None else read_depths(given)),
    ] = None
    """Depths that the adapter changes, and no others, for instance 0,1,5: depth N is the pass from
    N to N+1. The head reads above the last of them. Without a method it is a LoRA."""
    rank: Annotated[Rank, Option("N[,N]", expected=_WHOLE, several="ranks")] = 8
    """Rank R, where the method has one; the cheapest good one of several is kept."""
    alpha: Annotated[float | None, Option(shown="2 rank")] = Field(default=None, gt=0)
    """Scale alpha of PEFT, where the method has one."""
    sites: Annotated[tuple[Site, ...] | None, Option(shown="all"), Several] = None
    """Linear maps to change."""
    tie_depths: bool = False
    """Share one adapter among all its depths, as plain PEFT does."""
    dropout: Fraction = 0.0
    """Dropout on the adapter's input, where the method has one."""
    head_dropout: Fraction = 0.1
    """Dropout on the head's features."""
    epochs: Annotated[Epochs | None, Option(shown="by the number of rows")] = None
    """Passes over the training set at most."""
    batch_size: int = Field(default=16, ge=1)
    """Rows per step."""
    learning_rate: Annotated[Rate | None, Option(shown="by the method")] = None
    """Peak learning rate of the adapter."""
    head_learning_rate: Rate = 3e-3
    """Peak learning rate of the head beside an adapter, on standardised features."""
    weight_decay: Decay = 0.01
    """Weight decay of the matrices that train with an adapter, decoupled from the gradient."""
    warmup: Fraction = 0.1
    """Fraction of an adapter's steps in which the learning rate rises."""
    clip: float = Field(default=1.0, gt=0)
    """Greatest norm of an adapter's gradient; larger ones are scaled down."""
    patience: int = Field(default=4, ge=1)
    """Epochs without a better validation metric after which the adapter's training stops."""
    keep: Keep = "best"
    """Checkpoint that is kept: that of the best epoch on the validation set, or the last one where
    the validation set has labels of one kind and the training set of several. With last, no
    patience ends the training."""
    precision: Precision = "auto"
    """Precision of an adapter's training: bfloat16 has fp32 weights and bf16 products; auto takes
    it where the device is faster with it, else float32."""
    trunk_dtype: TrunkDtype = "float16"
    """Precision of the states below the adapter on disk."""
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    """A stopped run resumes from a checkpoint at most so many minutes old, or from the last epoch;
    0 keeps one after every step."""
    search: bool = False
    """Try depths and ranks that are not given too, and keep the cheapest good adapter."""
    from_depths: Annotated[tuple[Depth, ...] | None, Several] = None
    """Depths to try one after the other; None tries from_depth alone, or in a search 0, a third and
    two thirds of the depths, and the last one."""
    ranks: Annotated[tuple[Rank, ...] | None, Several] = None
    """Ranks to try one after the other; None tries rank alone, or in a search 4 and 16."""

    @field_validator("method")
    @classmethod
    def _is_method(cls, method: object) -> object:
        if isinstance(method, str):
            if not method:
                raise ValueError("a method has a name")
            return method.lower()
        if not hasattr(method, "peft_type"):
            raise ValueError(f"a {type(method).__name__} is neither a name nor a PEFT config")
        return method

    @field_serializer("method")
    def _plain_method(self, method: Any) -> object:
        if isinstance(method, str):
            return method
        # Sets have another order in every process.
        values: dict[str, object] = method.to_dict()
        return {name: sorted(v) if isinstance(v, set) else v for name, v in values.items()}

    @model_validator(mode="after")
    def _is_consistent(self) -> AdapterOptions:
        if self.method == BLOCK_METHOD and self.sites not in (None, SITES):
            raise ValueError("'block' changes all sites; give no sites")
        asked = asked_depths(self)
        for name in ("from_depth", "from_depths"):
            if asked is not None and getattr(self, name) is not None:
                own = "layers_to_transform" if self.at_depths is None else "at_depths"
                raise ValueError(f"give {own} or {name}, not both")
        if self.at_depths is not None and _layers_to_transform(self.method) is not None:
            raise ValueError("give at_depths or layers_to_transform, not both")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One adapter that can be built.

    Attributes:
        method: Name or PEFT config, as in `AdapterOptions`.
        depths: The passes that it changes, ascending.
        sites: The linear maps that it changes there.
        rank: Where the method has one.
        alpha: Where the method has one; None for PEFT's default.
        dropout: Where the method has one.
        tie_depths: Whether all depths share it.
        steps: Steps that its training takes at most; some methods plan ahead.
    """

    method: Any
    depths: tuple[int, ...]
    sites: tuple[Site, ...]
    rank: int
    alpha: float | None
    dropout: float
    tie_depths: bool
    steps: int

    @property
    def from_depth(self) -> int:
        """Returns the depth at which it starts."""
        return self.depths[0]


def adapter_options(**values: object) -> AdapterOptions:
    """Returns options from keyword arguments.

    Raises:
        UsageError: An option is unknown or its value is not valid.
    """
    return parse_options(AdapterOptions, values)


def asked_depths(options: AdapterOptions) -> tuple[int, ...] | None:
    """Returns the depths that at_depths, or else a PEFT config, names; None where none does."""
    return _layers_to_transform(options.method) if options.at_depths is None else options.at_depths


def _layers_to_transform(method: object) -> tuple[int, ...] | None:
    layers = getattr(method, "layers_to_transform", None)
    if layers is None or layers == []:
        return None
    return (layers,) if isinstance(layers, int) else tuple(sorted(set(layers)))


def check_depths(depths: tuple[int, ...], depth: int, *, called: str) -> None:
    """Checks that a backbone with `depth` depths has some depths.

    Raises:
        UsageError: It does not.
    """
    beyond = [one for one in depths if not 0 <= one < depth]
    if beyond:
        raise UsageError(
            f"{called} names depth {beyond[0]}, but this backbone has depths 0 to {depth - 1}."
        )


def from_depth_of(options: AdapterOptions, depth: int) -> int:
    """Returns where an adapter on a backbone with `depth` depths starts.

    Raises:
        UsageError: The backbone does not have that depth.
    """
    asked = asked_depths(options)
    if asked is not None:
        named = "layers_to_transform" if options.at_depths is None else "at_depths"
        check_depths(asked, depth, called=f"Option {named}")
        return asked[0]
    start = min(depth * 2 // 3, depth - 1) if options.from_depth is None else options.from_depth
    if start >= depth:
        raise UsageError(
            f"The adapter starts at depth {start}, but this backbone has depths 0 to {depth - 1}."
        )
    return start
