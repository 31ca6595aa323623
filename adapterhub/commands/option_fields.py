"""Commands whose options are the fields of models.

A builder on Typer: cyclopts, the nearest library that reads models, has `--adapter.rank` for fields
of a nested model, repeated options for lists and errors of many lines, and would need a converter
for each of `a,b`, sizes, choices and `--rank 4,16`, and all verbs written anew.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from adapterhub.commands.options import one_of
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from adapterhub.option_models import Option, Options, Part

_Run = TypeVar("_Run", bound=Callable[..., None])
_METAVARS = {int: "N", float: "X", Path: "FILE"}
_EXPECTED = {int: "whole numbers such as 1,2", float: "numbers such as 0.1,0.5"}


@dataclass(frozen=True, slots=True)
class Only:
    """Marks a parameter that is a model of options, of which the command has some only."""

    fields: tuple[str, ...]


def uses(*models: str) -> Callable[[_Run], _Run]:
    """Names the models that a verb has as parameters, each `package.module:Class`.

    They are imported when the verb is used: `adapterhub --help` needs none of them.
    """

    def mark(run: _Run) -> _Run:
        run.__dict__["models"] = models
        return run

    return mark


class Verb(TyperCommand):
    """One verb, whose options are made when they are needed.

    An option that takes one value is given once: of two, one would be dropped in silence.
    """

    def __init__(self, name: str, run: Callable[..., None]) -> None:
        super().__init__(name, help=inspect.getdoc(run), rich_markup_mode=None)
        self._run = run
        self._bare: Mapping[str, str] = {}

    def get_params(self, ctx: Any) -> Any:
        """Returns the arguments and options."""
        if self.callback is None:
            app = typer.Typer(add_completion=False)
            function = command_function(self._run)
            self._bare = function.__dict__["bare"]
            app.command()(function)
            made = typer.main.get_command(app)
            self.params, self.callback = made.params, made.callback
        return super().get_params(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Fills the context from the words of a command line.

        Raises:
            typer.BadParameter: An option that takes one value has more than one.
        """
        self.get_params(ctx)
        args = self._with_choices(args)
        if not ctx.resilient_parsing:
            _, _, given = self.make_parser(ctx).parse_args(args=list(args))
            counted: Counter[Any] = Counter(given)
            for option, times in counted.items():
                if times > 1 and option.param_type_name == "option" and _takes_one(option):
                    problem = f"it takes one value and has {times}"
                    raise typer.BadParameter(problem, ctx=ctx, param=option)
        return super().parse_args(ctx, args)

    def _with_choices(self, args: list[str]) -> list[str]:
        """Returns the words, with the choice that an option without one stands for."""
        end = args.index("--") if "--" in args else len(args)
        found = list(args)
        for place, word in enumerate(args[:end]):
            if word in self._bare and (place + 1 == len(args) or args[place + 1].startswith("-")):
                found[place] = f"{word}={self._bare[word]}"
        return found


def _takes_one(option: Any) -> bool:
    return not (option.multiple or option.is_flag or option.count)


def command_function(run: Callable[..., None]) -> Callable[..., None]:
    """Returns a verb as Typer takes it: with one parameter per option in the place of a model."""
    named: tuple[str, ...] = getattr(run, "models", ())
    models = {model.__name__: model for model in map(pkgutil.resolve_name, named)}
    made: dict[str, Parameter] = {}
    groups: dict[str, tuple[type[Options], tuple[str, ...]]] = {}
    bare: dict[str, str] = {}
    signature = inspect.signature(run, locals=models, eval_str=True)
    for name, parameter in signature.parameters.items():
        hint, only = parameter.annotation, ()
        if get_origin(hint) is Annotated and isinstance(hint.__metadata__[0], Only):
            hint, only = hint.__origin__, hint.__metadata__[0].fields
        if hint in models.values():
            groups[name] = hint, only
            for field, option in field_options(hint, only).items():
                made.setdefault(field, option.parameter())
                if option.option.bare is not None:
                    bare |= dict.fromkeys(option.flags, option.option.bare)
        else:
            made[name] = parameter.replace(kind=Parameter.KEYWORD_ONLY)

    def call(**values: object) -> None:
        # A parameter of the verb takes the place of an option of the same name.
        own = {name: value for name, value in values.items() if name in signature.parameters}
        rest = {name: value for name, value in values.items() if name not in own}
        run(**own, **{name: read_options(*group, rest) for name, group in groups.items()})

    call.__dict__["bare"] = bare
    call.__dict__["__signature__"] = Signature(list(made.values()))
    call.__annotations__ = {name: parameter.annotation for name, parameter in made.items()}
    return call


@dataclass(frozen=True, slots=True)
class FieldOption:
    """The option that a field is.

    Attributes:
        name: Name of the field.
        field: The field.
        option: Its form on the command line.
        type: Of its value, or of one of several.
        many: Whether its value is several, written `a,b`.
        choices: The texts that it may be; none for any.
    """

    name: str
    field: FieldInfo
    option: Option
    type: Any
    many: bool
    choices: tuple[str, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        """Returns its names on the command line; the first is that of errors."""
        dashed = self.name.replace("_", "-")
        negative = f"/--no-{dashed}" if self.field.default is True else ""
        return self.option.flags or (f"--{dashed}{negative}",)

    def parameter(self) -> Parameter:
        """Returns it as a parameter of Typer's, which is None where it is not given."""
        from adapterhub.option_models import help_text

        mark, described = self.option, self.field.description or ""
        is_flag = self.type is bool or mark.constant is not None
        is_text = self.many or self.choices or mark.read is not None
        named = all(choice in described for choice in self.choices)
        more = "" if named else f" One of {', '.join(self.choices)}."
        usual = _METAVARS.get(self.type, "NAME" if self.choices or self.many else "TEXT")
        metavar = mark.metavar or (f"{usual},{usual}" if self.many else usual)
        info = typer.Option(
            None,
            *self.flags,
            metavar=None if is_flag else metavar,
            help=help_text(self.name, self.field, more=more),
        )
        kind: Any = bool if is_flag else str if is_text else self.type
        kind = list[kind] if mark.repeated else kind
        return Parameter(self.name, Parameter.KEYWORD_ONLY, default=info, annotation=kind | None)

    def read(self, given: object) -> dict[str, object]:
        """Returns the value of an option, by field.

        Raises:
            UsageError: It is not written as the type of the field is, or is no choice.
        """
        if self.option.constant is not None:
            return {self.name: self.option.constant} if given else {}
        if not isinstance(given, str):
            return {self.name: tuple(given) if isinstance(given, list) else given}
        if not self.many:
            return {self.name: self._convert(given, given)}
        parts = [part.strip() for part in given.split(",") if part.strip()]
        values = tuple(self._convert(part, given) for part in parts)
        if (several := self.option.several) is None:
            return {self.name: values}
        return {self.name: values[0]} if len(values) == 1 else {several: values}

    def _convert(self, part: str, text: str) -> object:
        if self.choices:
            return one_of(self.flags[0], part, self.choices)
        try:
            return (self.option.read or self.type)(part)
        except (ValueError, UsageError) as error:
            expected = self.option.expected or _EXPECTED[self.type]
            raise UsageError(f"{self.flags[0]} is '{text}'; expected {expected}.") from error


def field_options(model: type[Options], only: Sequence[str] = ()) -> dict[str, FieldOption]:
    """Returns the options that the fields of a model are, those of its parts last, by field."""
    fields = {name: model.model_fields[name] for name in only or model.model_fields}
    found = {name: _field_option(name, field) for name, field in fields.items()}
    parts = _parts(model, only)
    elsewhere = {option.option.several for option in found.values()} | parts.keys()
    found = {name: option for name, option in found.items() if name not in elsewhere}
    for _, nested in parts.values():
        found |= {key: one for key, one in field_options(nested).items() if key not in found}
    return found


def _parts(model: type[Options], only: Sequence[str] = ()) -> dict[str, tuple[Part, type[Options]]]:
    from adapterhub.option_models import Part

    return {
        name: (mark, _plain(field.annotation))
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Part) and (not only or name in only)
    }


def _field_option(name: str, field: FieldInfo) -> FieldOption:
    from adapterhub.option_models import option_of

    option, kind = option_of(field), _plain(field.annotation)
    is_tuple = get_origin(kind) is tuple
    if is_tuple:
        kind = _plain(get_args(kind)[0])
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    many = (is_tuple and not option.repeated) or option.several is not None
    return FieldOption(name, field, option, str if choices or kind is Any else kind, many, choices)


def _plain(annotation: Any) -> Any:
    """Returns a type without its annotations and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(part for part in get_args(annotation) if part is not NoneType))
    return annotation


def read_options(
    model: type[Options], only: Sequence[str], values: Mapping[str, object]
) -> Options:
    """Returns the options of a model.

    Args:
        model: Their class.
        only: The fields that the command has; none for all.
        values: The parameters of the command by field, None where an option is not given.

    Raises:
        UsageError: An option is not valid, or belongs to a part that is not used.
    """
    from adapterhub.option_models import parse_options

    given = {name: value for name, value in values.items() if value is not None}
    found: dict[str, object] = {}
    for name, (part, nested) in _parts(model, only).items():
        own = field_options(nested)
        if part.begins(given):
            found[name] = read_options(nested, (), given)
            given = {key: value for key, value in given.items() if key not in own}
        for key, option in own.items():
            if key in given and key not in model.model_fields:
                raise UsageError(f"{option.flags[0]} {part.otherwise}")
    options = field_options(model, only)
    for name, option in options.items():
        if name in given and name in model.model_fields:
            found |= option.read(given[name])
    flags = {name: option.flags[0].partition("/")[0] for name, option in options.items()}
    flags |= {
        one.option.several: flags[name] for name, one in options.items() if one.option.several
    }
    return parse_options(model, found, names=flags)
