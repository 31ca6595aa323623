"""Options as models: a field declares the name, type, default, limits and help of one option.

The command line is made from the fields (`commands/option_fields.py`), and so is the list of
attributes in the docstring of a model.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from adapterhub.errors import UsageError, check_type, nearest
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
        secret: Whether its value is shown nowhere.
        repeated: Whether several values are given by repeating the option, not as `a,b`.
        bare: What the option stands for where no value follows it; None for no such form.
    """

    metavar: str | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    read: Callable[[str], object] | None = None
    expected: str = ""
    constant: object = None
    several: str | None = None
    secret: bool = False
    repeated: bool = False
    bare: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Marks a field that is a model of options itself, whose options the command has too.

    Options that both models have go to the part where there is one.

    Attributes:
        begins: Returns whether there is one, given the values of options by field.
        otherwise: What is wrong with another option of the part where there is none.
    """

    begins: Callable[[Mapping[str, object]], bool]
    otherwise: str


class Options(Spec):
    """Options whose help is the text under each field, which the docstring repeats."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    called: ClassVar[str] = "option"
    """What an error calls one of them."""

    def __init__(self, **values: Any) -> None:
        """Checks the options.

        Raises:
            UsageError: An option is unknown or its value is not valid.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _usage_error(type(self), error, {}) from error

    # As on BaseModel: pydantic validates nested options itself, and reports all with their place.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls: type[_Options], obj: Any, **settings: Any) -> _Options:
        """Returns options from a mapping.

        Raises:
            UsageError: An option is unknown or its value is not valid.
        """
        try:
            return super().model_validate(obj, **settings)
        except ValidationError as error:
            raise _usage_error(cls, error, {}) from error

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
    model: type[_Options],
    values: Mapping[str, object],
    *,
    names: Mapping[str, str] | None = None,
    strict: bool | None = None,
) -> _Options:
    """Returns the options of a model.

    Args:
        model: Their class.
        values: By field.
        names: What errors call a field; None for its own name.
        strict: False takes texts for numbers and lists for tuples, as from a file; None decides by
            field.

    Raises:
        UsageError: An option is unknown or its value is not valid.
    """
    check_type(values, Mapping, f"The {model.called}s", f"{model.__name__} or a dictionary")
    try:
        made: _Options = model.__pydantic_validator__.validate_python(dict(values), strict=strict)
        return made
    except ValidationError as error:
        raise _usage_error(model, error, names or {}) from error


def read_options(model: type[_Options], options: object) -> _Options:
    """Returns the options of a call: as given, from a mapping, or the defaults for None.

    Raises:
        UsageError: It is none of these, or an option is unknown or its value is not valid.
    """
    if isinstance(options, model):
        return options
    if options is None:
        return model()
    if not isinstance(options, Mapping):
        found = " ".join(repr(options)[:80].split())
        raise UsageError(f"options is {found}; expected {model.__name__}, a dictionary or None.")
    return parse_options(model, options)


def _usage_error(
    model: type[Options], error: ValidationError, names: Mapping[str, str]
) -> UsageError:
    """Returns the first problem as an error of ours."""
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    if not name:
        return UsageError(f"The {model.called}s: {problem}.")
    shown = names.get(str(first["loc"][0]), name)
    field = model.model_fields.get(str(first["loc"][0]))
    is_secret = field is not None and option_of(field).secret
    found = "a value that is not shown" if is_secret else reprlib.repr(first["input"])
    hint = None
    if first["type"] == "extra_forbidden":
        problem = "there is no such option"
        known = {known for one in _with_parts(model) for known in one.model_fields}
        hint = nearest(str(first["loc"][-1]), sorted(known))
    meant = f" Did you mean '{hint}'?" if hint else ""
    return UsageError(f"{model.called.capitalize()} {shown}: {problem}, found {found}.{meant}")


def _with_parts(model: type[Options]) -> list[type[Options]]:
    """Returns a model and the models of options among its fields."""
    parts = [
        part
        for field in model.model_fields.values()
        for part in (field.annotation, *get_args(field.annotation))
        if isinstance(part, type) and issubclass(part, Options)
    ]
    return [model, *parts]


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
