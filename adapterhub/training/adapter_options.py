"""What the training of an adapter can be told, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from adapterhub.errors import UsageError
from adapterhub.specs import BLOCK_METHOD, SITES, Site, Spec
from adapterhub.training.parse_options import checked_options

Precision = Literal["auto", "float32", "bfloat16"]
TrunkDtype = Literal["float16", "float32"]
Keep = Literal["best", "last"]
Rank = Annotated[int, Field(ge=1, le=1_024)]
Rate = Annotated[float, Field(gt=0, le=1)]
Depth = Annotated[int, Field(ge=0, le=1_024)]


class AdapterOptions(Spec):
    """Options of one adapter's training; the defaults suit sets of some hundred rows or more.

    Attributes:
        continue_from: A task whose adapter this one begins with: a task of the registry, a head
            file, or a task on the Hub. Its shape holds where no other is given; depths that it
            does not change begin as those of a new adapter do.
        method: `lora`, `dora`, `rslora`, `pissa`, `olora`, PEFT's name of any other method in
            lower case, `block` for an own copy of the whole block, or any PEFT config object.
            What the object says about sites, depths, rank and alpha holds.
        from_depth: Depth at which the adapter starts; None for two thirds of the depths.
        rank: Rank R, where the method has one.
        alpha: Its scale in PEFT's sense; None for twice the rank, where the method has one.
        sites: Linear maps to change; None for all of them.
        tie_depths: Whether all depths share one adapter, as plain PEFT does.
        dropout: Dropout on the adapter's input, where the method has one.
        head_dropout: Dropout on the head's features.
        epochs: Passes over the training rows at most; None chooses by their number.
        batch_size: Rows per step.
        learning_rate: Greatest step size of the adapter; None chooses by the method.
        head_learning_rate: Greatest step size of the head, on standardised features.
        weight_decay: Of all trained matrices; decoupled from the gradient (AdamW).
        warmup: Part of all steps in which the step size rises.
        clip: Greatest norm of the gradient; larger ones are scaled down.
        patience: Epochs without a better validation value after which training stops.
        keep: Which epoch is kept: the best on the validation rows, or the last one, where these
            are of one kind and the training rows of several. No patience ends such a training.
        precision: `bfloat16` trains with fp32 weights and bf16 products; `auto` does so where the
            device is faster with it.
        trunk_dtype: In which the states below the adapter are kept on disk.
        checkpoint_minutes: A stopped run goes on from a state at most this old, or from the last
            epoch; 0 keeps one after every step.
        search: Whether depths and ranks that are not given are tried as well, and the cheapest
            good adapter is kept.
        from_depths: Tried one after the other; None for `from_depth` alone, or in a search for
            0, a third and two thirds of the depths, and the last one.
        ranks: Tried one after the other; None for `rank` alone, or in a search for 4 and 16.
    """

    continue_from: str | None = Field(default=None, min_length=1)
    method: Any = "lora"
    from_depth: Depth | None = None
    rank: Rank = 8
    alpha: float | None = Field(default=None, gt=0)
    sites: Annotated[tuple[Site, ...] | None, Field(strict=False, min_length=1)] = None
    tie_depths: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)
    head_dropout: float = Field(default=0.1, ge=0, lt=1)
    epochs: int | None = Field(default=None, ge=1, le=10_000)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: Rate | None = None
    head_learning_rate: Rate = 3e-3
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    patience: int = Field(default=4, ge=1)
    keep: Keep = "best"
    precision: Precision = "auto"
    trunk_dtype: TrunkDtype = "float16"
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    search: bool = False
    from_depths: Annotated[tuple[Depth, ...] | None, Field(strict=False, min_length=1)] = None
    ranks: Annotated[tuple[Rank, ...] | None, Field(strict=False, min_length=1)] = None

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
    """Returns options from keyword arguments or a command line.

    Raises:
        UsageError: An option is unknown or its value makes no sense.
    """
    names = {"one": "Adapter option", "all_of_them": "The adapter options"}
    return checked_options(AdapterOptions, values, **names)


def from_depth_of(options: AdapterOptions, depth: int) -> int:
    """Returns where an adapter on a backbone with `depth` depths starts.

    Raises:
        UsageError: The backbone does not have that depth.
    """
    own = getattr(options.method, "layers_to_transform", None)
    if options.from_depth is not None:
        start = options.from_depth
    elif own is not None:
        start = min([own] if isinstance(own, int) else own)
    else:
        start = min(depth * 2 // 3, depth - 1)
    if start >= depth:
        raise UsageError(
            f"The adapter starts at depth {start}, but this backbone has depths 0 to {depth - 1}."
        )
    return start
