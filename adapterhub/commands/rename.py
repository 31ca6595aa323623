"""`adapterhub rename`: another name for a task; the old one leads to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.changed import print_change
from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, OwnRegistry, OwnTask, note_token

if TYPE_CHECKING:
    from adapterhub.publishing.publication import CommitOptions


@uses("adapterhub.publishing.publication:CommitOptions")
def rename(
    *,
    name: OwnTask,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    registry: OwnRegistry = None,
    options: CommitOptions,
    as_json: AsJson = False,
) -> None:
    """Give a task another name.

    The old name leads to the task from then on, with a warning; copies that others added under it
    are updated as before.
    """
    from adapterhub.publishing.task_changes import rename_task

    note_token(options.token)
    given = options.model_dump(exclude_unset=True)
    done = rename_task(name, new, registry=registry, **given)
    print_change(done, f"{name} is {new}", as_json=as_json)
