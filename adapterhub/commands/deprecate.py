"""`adapterhub deprecate`: a task that should not be used any more, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.changed import print_change
from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, OwnRegistry, OwnTask, note_token
from adapterhub.errors import UsageError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import DeprecateOptions
    from adapterhub.publishing.publication import CommitOptions


@uses(
    "adapterhub.commands.verb_options:DeprecateOptions",
    "adapterhub.publishing.publication:CommitOptions",
)
def deprecate(
    *,
    name: OwnTask,
    reason: Annotated[
        str | None, typer.Argument(metavar="REASON", help="Why it should not be used any more.")
    ] = None,
    registry: OwnRegistry = None,
    what: DeprecateOptions,
    options: CommitOptions,
    as_json: AsJson = False,
) -> None:
    """Mark a task as one that should not be used any more.

    It works as before; whoever loads, lists or updates it is told the reason.
    """
    from adapterhub.publishing.task_changes import deprecate_task

    if what.undo == (reason is not None):
        raise UsageError("Give the reason, or --undo without one.")
    if what.undo and what.use is not None:
        raise UsageError("--undo takes no other task.")
    note_token(options.token)
    given = options.model_dump(exclude_unset=True)
    done = deprecate_task(name, reason, use=what.use, registry=registry, **given)
    state = "is not deprecated" if what.undo else "is deprecated"
    print_change(done, f"{name} {state}", as_json=as_json)
