"""`adapterhub label`: labels of a prototype task, added, renamed and dropped without training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import one_of
from adapterhub.commands.printing import print_json, print_line
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import LabelOptions
    from adapterhub.store.registry import Resolved

_ACTIONS = ("add", "rename", "drop")
_OF_ADD = ("text", "examples", "describe", "extend")


@uses("adapterhub.commands.verb_options:LabelOptions")
def label(
    *,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="add, rename or drop.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A prototype task of the registry.")],
    labels: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LABEL",
            help="add: the label, or none with a file that names several. rename: the label and "
            "its new name. drop: one or more.",
        ),
    ] = None,
    options: LabelOptions,
) -> None:
    """Add, rename or drop labels of a prototype task, without training it again.

    Each makes the next version of the task, in which all other labels are what they were. Examples:
    label add intents refund --text "I want my money back." --describe "Asks for a refund.";
    label add intents --examples more.csv; label rename intents refund money-back;
    label drop intents refund.
    """
    one_of("ACTION", action, _ACTIONS)
    given = labels or []
    unused = next((one for one in _OF_ADD if getattr(options, one)), None)
    if action != "add" and unused is not None:
        raise UsageError(f"--{unused} is for label add.")
    if action == "rename":
        done, what = _rename(name, given, options)
    elif action == "drop":
        done, what = _drop(name, given, options)
    else:
        done, what = _add(name, given, options)
    if options.as_json:
        values = {"task": done.task, "version": done.version, "file": str(done.path)}
        print_json(values)
        return
    print_line(f"{done.task}:{done.version} {what}, in {done.path}")


def _rename(name: str, labels: list[str], options: LabelOptions) -> tuple[Resolved, str]:
    from adapterhub.labels.edit import rename_label

    if len(labels) != 2:
        raise UsageError("label rename takes the label and its new name.")
    done = rename_label(name, *labels, registry=options.registry)
    return done, f"calls '{labels[0]}' '{labels[1]}'"


def _drop(name: str, labels: list[str], options: LabelOptions) -> tuple[Resolved, str]:
    from adapterhub.labels.edit import drop_labels

    if not labels:
        raise UsageError("label drop takes the labels to drop; name one or more.")
    done = drop_labels(name, labels, registry=options.registry)
    return done, f"is without {_listed(labels)}"


def _add(name: str, labels: list[str], options: LabelOptions) -> tuple[Resolved, str]:
    from adapterhub.labels.edit import add_labels
    from adapterhub.labels.new_examples import checked_label, texts_of_file

    if len(labels) > 1:
        raise UsageError("label add takes one label; several stand in a file (--examples FILE).")
    examples: dict[str, list[str]] = {}
    descriptions: dict[str, str] = {}
    if not labels:
        if options.examples is None or options.text or options.describe:
            raise UsageError(
                "Name the label to add, or give a file with columns text and label alone "
                "(--examples FILE)."
            )
        examples = texts_of_file(options.examples)
    else:
        own = checked_label(labels[0])
        examples[own] = list(options.text)
        if options.examples is not None:
            examples[own] += texts_of_file(options.examples, own)[own]
        if options.describe is not None:
            descriptions[own] = options.describe
    done = add_labels(
        name, examples, descriptions=descriptions, extend=options.extend, registry=options.registry
    )
    verb = "has more examples of" if options.extend else "has the new label"
    plural = "s" if len(examples) > 1 and not options.extend else ""
    return done, f"{verb}{plural} {_listed(list(examples))}"


def _listed(labels: list[str]) -> str:
    shown = ", ".join(f"'{one}'" for one in labels[:8])
    return f"{shown}, and {len(labels) - 8:,} more" if len(labels) > 8 else shown
