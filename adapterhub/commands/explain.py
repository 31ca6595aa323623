"""`adapterhub explain`: what a call with some tasks would compute, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.options import AsJson, Registries, split_names
from adapterhub.commands.printing import note, print_json, print_line

if TYPE_CHECKING:
    from adapterhub.plan import Plan, Tap


def explain(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="Tasks, as in `show`; without any, all tasks of the registries."
        ),
    ] = None,
    registry: Registries = None,
    as_dot: Annotated[
        bool, typer.Option("--dot", help="Print a drawing for Graphviz instead of the table.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a call with these tasks would compute, and its cost."""
    from adapterhub.errors import UsageError
    from adapterhub.plan import make_plan, plan_dot
    from adapterhub.remote.find import choose_tasks
    from adapterhub.store.registries import open_registries

    opened = open_registries(registry)
    wanted = split_names(names) or [one.name for one in opened.tasks()]
    if not wanted:
        raise UsageError(f"There is no task in {opened.text}; `adapterhub train` makes one.")
    if not names:
        note(f"adapterhub: no task named, so all {len(wanted)} of {opened.text}")
    tasks = choose_tasks(opened, wanted)
    plan = make_plan({task.reference: task.spec for task in tasks})
    if as_json:
        print_json(plan_values(plan))
    elif as_dot:
        print_line(plan_dot(plan))
    else:
        print_line(str(plan))


def plan_values(plan: Plan) -> dict[str, object]:
    """Returns a plan as plain values for JSON."""
    return {
        "tasks": plan.tasks,
        "passes": plan.passes,
        "separate_passes": plan.separate_passes,
        "ratio": plan.ratio,
        "parameters": plan.parameters,
        "bytes": plan.bytes,
        "num_hidden_layers": plan.num_hidden_layers,
        "trunks": [
            {
                "fields": list(trunk.reading.fields),
                "apart": trunk.reading.apart,
                "choices": trunk.reading.choices,
                "max_length": trunk.reading.max_length,
                "overlap": trunk.reading.overlap,
                "stop": trunk.stop,
                "taps": _tap_values(trunk.taps),
                "branches": [
                    {
                        "adapter": branch.adapter,
                        "method": branch.method,
                        "fork": branch.fork,
                        "stop": branch.stop,
                        "taps": _tap_values(branch.taps),
                    }
                    for branch in trunk.branches
                ],
            }
            for trunk in plan.trunks
        ],
    }


def _tap_values(taps: tuple[Tap, ...]) -> list[dict[str, object]]:
    return [{"depth": tap.depth, "pooling": tap.pooling, "tasks": list(tap.tasks)} for tap in taps]
