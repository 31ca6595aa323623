"""The options of `adapterhub train` that make an adapter: the fields of AdapterOptions.

`--epochs`, `--batch-size` and `--head-dropout` are those of the adapter where there is one. Of
several depths and ranks, `--from-depth 2,4 --rank 4,16`, the cheapest good one is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from adapterhub.commands.options import one_of
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.training.adapter_options import AdapterOptions

Adapter = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Train an adapter too: lora, dora, rslora, any method of PEFT, or block for an own "
        "copy of the whole block. [none: a head on the frozen backbone]",
    ),
]
AdapterOf = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="Fit a new head on the adapter of this task, which stays as it is."
    ),
]
ContinueFrom = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="Begin with the adapter of this task; its shape holds where no other is given.",
    ),
]
FromDepth = Annotated[
    str | None,
    typer.Option(
        metavar="N[,N]", help="Depth where the adapter starts; several are tried. [2/3 of all]"
    ),
]
Rank = Annotated[str | None, typer.Option(metavar="N[,N]", help="Rank; several are tried. [8]")]
Alpha = Annotated[float | None, typer.Option(metavar="X", help="Scale, as PEFT has it. [2 rank]")]
Sites = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="What it changes: query, key, value, dense, ffn, ffn_output. [all]",
    ),
]
TieDepths = Annotated[
    bool | None, typer.Option("--tie-depths", help="One adapter for all its depths, as plain PEFT.")
]
Dropout = Annotated[float | None, typer.Option(metavar="X", help="On the adapter's input. [0]")]
LearningRate = Annotated[
    float | None, typer.Option(metavar="X", help="Of the adapter. [by the method]")
]
HeadLearningRate = Annotated[
    float | None, typer.Option(metavar="X", help="Of the head beside an adapter. [0.003]")
]
Patience = Annotated[
    int | None, typer.Option(metavar="N", help="Epochs without a better value before it stops. [4]")
]
Precision = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Products of an adapter: float32, bfloat16. [auto]"),
]
Search = Annotated[
    bool | None,
    typer.Option(
        "--search", help="Try depths and ranks that are not given; keep the cheapest good."
    ),
]

NAMES = (
    "adapter",
    "continue_from",
    "from_depth",
    "rank",
    "alpha",
    "sites",
    "tie_depths",
    "dropout",
    "learning_rate",
    "head_learning_rate",
    "patience",
    "precision",
    "search",
)
"""The parameters of the command that are for the adapter alone."""

SHARED = ("epochs", "batch_size", "head_dropout")
"""Parameters that are those of the adapter where there is one."""

_LISTS = {"from_depth": "from_depths", "rank": "ranks"}


def read_adapter_options(values: Mapping[str, object]) -> AdapterOptions | None:
    """Returns the options of the adapter that was asked for, or None.

    Args:
        values: The parameters of the command, None where an option was not given.

    Raises:
        UsageError: One makes no sense, or is given without `--adapter` or `--continue-from`.
    """
    given = {name: values[name] for name in NAMES if values[name] is not None}
    method = given.pop("adapter", None)
    if method is None and "continue_from" not in given:
        if given:
            option = "--" + next(iter(given)).replace("_", "-")
            raise UsageError(
                f"{option} is for adapters; name a method, for instance --adapter lora."
            )
        return None
    from adapterhub.specs import SITES
    from adapterhub.training.adapter_options import Precision as Known
    from adapterhub.training.adapter_options import adapter_options

    found: dict[str, object] = {} if method is None else {"method": method}
    for name, value in given.items():
        if name in _LISTS:
            numbers = _numbers(name, str(value))
            found |= {_LISTS[name]: numbers} if len(numbers) > 1 else {name: numbers[0]}
        elif name == "sites":
            parts = [part.strip() for part in str(value).split(",") if part.strip()]
            found[name] = tuple(one_of("--sites", part, SITES) for part in parts)
        elif name == "precision":
            found[name] = one_of("--precision", str(value), get_args(Known))
        else:
            found[name] = value
    found |= {name: values[name] for name in SHARED if values[name] is not None}
    return adapter_options(**found)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        option = "--" + name.replace("_", "-")
        raise UsageError(f"{option} is '{text}'; expected whole numbers such as 4 or 2,4.")
    return tuple(int(part) for part in parts)
