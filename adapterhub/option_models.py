"""Options as models: a field declares the name, type, default, limits and help of one option.

The command line is made from the fields (`commands/option_fields.py`), and so is the list of
attributes in the docstring of a model.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from adapterhub.errors import UsageError
from adapterhub.specs import Spec


@dataclass(frozen=True, slots=True)
class Option:
    """What the command line needs of a field beyond its name, type and default.

    Attributes:
        metavar: Stands for the value in the help; None derives it from the type.
        shown: Stands for the default in the help; None shows the default itself.
        flags: Names of the option; none for the name of the field.
        read: Converts the text of the option; None converts it to the type of the field.
        expected: What `read` converts, for the error where it cannot.
        constant: What the option stands for, which makes it a flag; None for no such flag.
        several: Field that is set instead where there is more than one value, as in `2,4`.
    """

    metavar: str | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    read: Callable[[str], object] | None = None
    expected: str = ""
    constant: object = None
    several: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Marks a field that is a model of options itself, whose options the command has too.

    Options that both models have go to the part where there is one.

    Attributes:
        begun_by: Fields of the part; there is one where an option of these is given.
        otherwise: What is wrong with another option of the part where there is none.
    """

    begun_by: tuple[str, ...]
    otherwise: str


class Options(Spec):
    """Options whose help is the text under each field, which the docstring repeats."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    called: ClassVar[str] = "option"
    """What an error calls one of them."""

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        """Lists the fields in the docstring, where `help()` shows them."""
        super().__pydantic_init_subclass__(**settings)
        fields = cls.model_fields.items()
        lines = [f"    {name}: {help_text('True', field)}" for name, field in fields]
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *lines])
        # Without the markers of the command line, which are no types.
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter(name, kind, default=field.default, annotation=field.annotation)
            for name, field in fields
        ]
        cls.__signature__ = inspect.Signature(parameters)


_Options = TypeVar("_Options", bound=Options)


def parse_options(
    model: type[_Options], values: Mapping[str, object], *, names: Mapping[str, str] | None = None
) -> _Options:
    """Returns the options of a model.

    Args:
        model: Their class.
        values: By field.
        names: What errors call a field; None for its own name.

    Raises:
        UsageError: An option is unknown or its value is not valid.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        name = (names or {}).get(str(first["loc"][0]) if first["loc"] else "", name)
        problem = first["msg"].removeprefix("Value error, ")
        if not name:
            raise UsageError(f"The {model.called}s: {problem}.") from error
        found = reprlib.repr(first["input"])
        raise UsageError(
            f"{model.called.capitalize()} {name}: {problem}, found {found}."
        ) from error


def option_of(field: FieldInfo) -> Option:
    """Returns what a field says about its form on the command line."""
    return next((mark for mark in field.metadata if isinstance(mark, Option)), Option())


def help_text(name: str, field: FieldInfo, *, more: str = "") -> str:
    """Returns the description of a field, then `more`, then its default in brackets."""
    shown, value = option_of(field).shown, field.default
    if shown is not None or value is None or value is False:
        default = shown
    elif isinstance(value, tuple):
        default = ",".join(map(str, value))
    else:
        default = name if value is True else f"{value:g}" if isinstance(value, float) else value
    description = " ".join((field.description or "").split())
    return f"{description}{more}" + (f" [{default}]" if default not in (None, "") else "")
