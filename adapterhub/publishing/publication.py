"""Options and result of a publication."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """How to publish.

    Attributes:
        private: Whether a repository that has to be created is private.
        tag: Tag for the commit, or None.
        create_pr: Whether to open a pull request instead of changing the main branch.
        dry_run: Whether to send nothing.
    """

    private: bool = False
    tag: str | None = None
    create_pr: bool = False
    dry_run: bool = False


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
