"""`adapterhub remove`: a task, or one version of it, is taken down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.changed import print_change
from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, OwnRegistry, OwnTask, UseInstead, note_token

if TYPE_CHECKING:
    from adapterhub.publishing.publication import CommitOptions


@uses("adapterhub.publishing.publication:CommitOptions")
def remove(
    *,
    name: OwnTask,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for those who use it.")
    ] = "",
    use: UseInstead = None,
    registry: OwnRegistry = None,
    options: CommitOptions,
    as_json: AsJson = False,
) -> None:
    """Remove a task, or one of its versions.

    NAME removes all versions with their files, NAME:VERSION one. Copies that others added keep
    working, and their `update` says that it was removed. The numbers of its versions are not used
    again. On the Hub the files stay in the history of the repository.
    """
    from adapterhub.publishing.task_changes import remove_task

    note_token(options.token)
    given = options.model_dump(exclude_unset=True)
    done = remove_task(name, reason, use=use, registry=registry, **given)
    print_change(done, f"{name} is removed", as_json=as_json)
