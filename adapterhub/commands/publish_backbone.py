"""`adapterhub publish-backbone`: a backbone into a model repository on the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, note_token
from adapterhub.commands.printing import counted, print_json, print_line

if TYPE_CHECKING:
    from adapterhub.publishing.publication import BackboneOptions, PublishedBackbone


@uses("adapterhub.publishing.publication:BackboneOptions")
def publish_backbone(
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="Where to; also its address, or @branch.")
    ],
    *,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="A folder or a Hub name; else the one that ships."),
    ] = None,
    options: BackboneOptions,
    as_json: AsJson = False,
) -> None:
    """Publish a backbone to the Hugging Face Hub.

    It gets a model repository of its own, which transformers opens, and which tasks name with
    `publish --base-model`. All files go in one commit; files that are there already are not sent
    again.
    """
    from adapterhub.model.backbone.sources import SHIPPED, check_source
    from adapterhub.publishing.publication import on_branch
    from adapterhub.publishing.target import check_commit, open_place
    from adapterhub.store.references import parse_repository

    target, source = parse_repository(repo), backbone or SHIPPED
    how = on_branch(options, target.revision)
    check_commit(how)
    note_token(options.token)
    open_place(target.name, how)
    check_source(source)
    # From here on it takes seconds: torch.
    from adapterhub.publishing.backbone import publish_backbone

    done = publish_backbone(repo, source, **options.model_dump())
    if as_json:
        print_json(_values(done))
    else:
        _print(done)


def _values(done: PublishedBackbone) -> dict[str, object]:
    return {
        "repo": done.repo,
        "commit": done.commit,
        "base_model": done.base_model,
        "fingerprint": done.fingerprint,
        "files": list(done.files),
        "pull_request": done.pull_request,
        "dry_run": done.dry_run,
    }


def _print(done: PublishedBackbone) -> None:
    print_line(f"fingerprint {done.fingerprint}")
    for file in done.files if done.dry_run else ():
        print_line(f"  {file}")
    count = counted(len(done.files), "file")
    if done.dry_run:
        print_line(f"Nothing was sent; {count} would be written to {done.repo}.")
        return
    if done.pull_request is not None:
        print_line(f"{count} in the pull request {done.pull_request}")
    elif done.files:
        print_line(f"{count} in commit {done.commit}")
    else:
        print_line(f"Nothing changed; {done.repo} is at commit {done.commit}.")
    print_line(f"Tasks name it with: adapterhub publish … --base-model {done.base_model}")
