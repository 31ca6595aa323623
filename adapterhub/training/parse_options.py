"""Keyword arguments -> options, or one clear line about what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from adapterhub.errors import UsageError
from adapterhub.specs import Spec

_Options = TypeVar("_Options", bound=Spec)


def checked_options(
    model: type[_Options], values: Mapping[str, object], *, one: str, all_of_them: str
) -> _Options:
    """Returns the options that `values` say.

    Args:
        model: Their class.
        values: By name.
        one: What one of them is called in an error.
        all_of_them: What they are called together.

    Raises:
        UsageError: An option is unknown or its value makes no sense.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        subject = f"{one} {name}" if name else all_of_them
        raise UsageError(f"{subject}: {problem}.") from error
