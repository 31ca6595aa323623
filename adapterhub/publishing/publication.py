"""Options and result of a publication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adapterhub.option_models import Option, Options


class PublishOptions(Options):
    """How tasks are published."""

    private: bool = False
    """Make the repository a private one; refused where it exists and is public."""
    tag: Annotated[str | None, Option("NAME")] = None
    """Tag of the commit, for instance v1."""
    create_pr: bool = False
    """Open a pull request; change nothing else."""
    dry_run: bool = False
    """Print what would be written; send nothing."""


@dataclass(frozen=True, slots=True)
class PublishedTask:
    """One task of a publication.

    Attributes:
        name: Its name for `Hub.load`: `owner/repo:task`.
        version: Its version in the repository's registry.
        sha256: Digest of its head file.
        is_new: Whether this publication added that version.
    """

    name: str
    version: int
    sha256: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication did, or would do.

    Attributes:
        repo: `owner/name`.
        commit: The commit that holds the tasks; None for a dry run that would create one.
        tasks: The tasks, in the given order.
        files: Paths that were written; empty if everything was there already.
        pull_request: Address of the pull request, or None.
        tag: Tag of the commit, or None.
        dry_run: Whether nothing was sent.
    """

    repo: str
    commit: str | None
    tasks: tuple[PublishedTask, ...]
    files: tuple[str, ...]
    pull_request: str | None = None
    tag: str | None = None
    dry_run: bool = False
