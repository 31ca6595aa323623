"""`adapterhub publish`: tasks of a registry into a repository on the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, Backbone, Registries, note_token, split_names
from adapterhub.commands.printing import counted, print_json, print_line

if TYPE_CHECKING:
    from adapterhub.publishing.publication import Published, PublishOptions


@uses("adapterhub.publishing.publication:PublishOptions")
def publish(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Tasks, as in `show`; name@alias moves the alias."),
    ],
    *,
    to: Annotated[
        str,
        typer.Option("--to", metavar="OWNER/REPO", help="Where to; also its address, or @branch."),
    ],
    registry: Registries = None,
    backbone: Backbone = None,
    options: PublishOptions,
    as_json: AsJson = False,
) -> None:
    """Publish tasks to the Hugging Face Hub.

    Known answers are recomputed first. All tasks go in one commit; files that are there already are
    not sent again.
    """
    from adapterhub.model.backbone.sources import check_backbone
    from adapterhub.publishing.publication import on_branch
    from adapterhub.publishing.publish_checks import check_publication
    from adapterhub.remote.find import choose_backbone_key, choose_tasks
    from adapterhub.store.references import parse_repository
    from adapterhub.store.registries import open_registries

    place = parse_repository(to)
    how = on_branch(options, place.revision)
    note_token(options.token)
    opened = open_registries(registry)
    wanted = split_names(names)
    tasks = choose_tasks(opened, wanted)
    key = choose_backbone_key(opened, tasks, backbone)
    check_publication(place.name, tasks, how)
    check_backbone(opened, key)
    # From here on it takes seconds: torch, the backbone, the tasks.
    from adapterhub.hub import Hub

    hub = Hub(opened.paths, backbone=key, device="cpu")
    done = hub.publish(wanted, to, **options.model_dump())
    if as_json:
        print_json(_values(done))
    else:
        _print(done)


def _values(done: Published) -> dict[str, object]:
    return {
        "repo": done.repo,
        "commit": done.commit,
        "tasks": [
            {
                "name": task.name,
                "version": task.version,
                "sha256": task.sha256,
                "is_new": task.is_new,
            }
            for task in done.tasks
        ],
        "files": list(done.files),
        "pull_request": done.pull_request,
        "tag": done.tag,
        "branch": done.branch,
        "dry_run": done.dry_run,
    }


def _print(done: Published) -> None:
    for task in done.tasks:
        state = "new" if task.is_new else "there already"
        print_line(f"{task.name}  version {task.version} ({state})")
    for file in done.files if done.dry_run else ():
        print_line(f"  {file}")
    count = counted(len(done.files), "file")
    if done.dry_run:
        print_line(f"Nothing was sent; {count} would be written to {done.repo}.")
    elif done.pull_request is not None:
        print_line(f"{count} in the pull request {done.pull_request}")
    elif done.files:
        branch = f", branch {done.branch}" if done.branch else ""
        tagged = f", tag {done.tag}" if done.tag else ""
        print_line(f"{count} in commit {done.commit}{branch}{tagged}")
    else:
        print_line(f"Nothing changed; {done.repo} is at commit {done.commit}.")
