"""What the verbs that change a task print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterhub.commands.printing import counted, print_json, print_line

if TYPE_CHECKING:
    from adapterhub.publishing.task_changes import TaskChange


def print_change(done: TaskChange, what: str, *, as_json: bool) -> None:
    """Prints what a change did.

    Args:
        done: The change.
        what: The state after it, for instance `spam@prod is version 3`.
        as_json: Whether to print JSON.
    """
    if as_json:
        print_json(
            {
                "place": done.place,
                "changed": done.changed,
                "deleted": list(done.deleted),
                "commit": done.commit,
                "pull_request": done.pull_request,
                "branch": done.branch,
                "dry_run": done.dry_run,
            }
        )
        return
    if not done.changed:
        print_line(f"Nothing changed in {done.place}: {what}.")
        return
    for path in done.deleted if done.dry_run else ():
        print_line(f"  {path}")
    files = f"; {counted(len(done.deleted), 'file')} deleted" if done.deleted else ""
    if done.dry_run:
        print_line(f"Nothing was changed in {done.place}; then: {what}{files}.")
    elif done.pull_request is not None:
        print_line(f"{what}{files}, in the pull request {done.pull_request}")
    elif done.commit is not None:
        branch = f", branch {done.branch}" if done.branch else ""
        print_line(f"{what}{files}, in {done.place}, commit {done.commit}{branch}")
    else:
        print_line(f"{what}{files}, in {done.place}")
