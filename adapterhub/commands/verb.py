"""What holds for the command line of every verb."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand


class Verb(TyperCommand):
    """One verb. An option that takes one value is given once: of two, one would go unheard."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fills the context from the words of a command line.

        Raises:
            typer.BadParameter: An option that takes one value has more than one.
        """
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            counted: Counter[Any] = Counter(given)
            for option, times in counted.items():
                if times > 1 and option.param_type_name == "option" and _takes_one(option):
                    problem = f"it takes one value and has {times}"
                    raise typer.BadParameter(problem, ctx=ctx, param=option)
        return super().parse_args(ctx, args)


def _takes_one(option: Any) -> bool:
    return not (option.multiple or option.is_flag or option.count)
