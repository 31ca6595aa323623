"""Options and result of a publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field

from adapterhub.errors import UsageError
from adapterhub.inputs import Record
from adapterhub.option_models import Option, Options, parse_options
from adapterhub.store.references import parse_repository


class CommitOptions(Options):
    """How a repository on the Hub is changed."""

    # Otherwise the cause of an error of ours would show the token.
    model_config = ConfigDict(hide_input_in_errors=True)

    revision: Annotated[str | None, Option("BRANCH", flags=("--revision", "--branch"))] = None
    """Branch to commit to, made from main if missing; or refs/pr/N for a pull request."""
    commit_message: Annotated[
        str | None, Option("TEXT", flags=("--commit-message", "--message", "-m"))
    ] = None
    """Title of the commit; after the first line, its description."""
    commit_description: Annotated[str | None, Option("TEXT")] = None
    """Description of the commit."""
    token: Annotated[str | None, Option("TOKEN", secret=True)] = Field(
        None, pattern=r"^[\x21-\x7e]+$", repr=False
    )
    """Access token of the Hub. Other users can see it in the list of processes; HF_TOKEN and the
    one of `hf auth login` they cannot."""
    create_pr: bool = False
    """Open a pull request; change nothing else."""
    dry_run: bool = False
    """Print what would be written; send nothing."""

    @property
    def branch(self) -> str:
        """Returns the branch to commit to."""
        return self.revision or "main"


_Options = TypeVar("_Options", bound=CommitOptions)


def on_branch(options: _Options, revision: str | None) -> _Options:
    """Returns options with the branch of a name such as `owner/repo@branch`.

    Raises:
        UsageError: The options have another branch.
    """
    if revision is None or revision == options.revision:
        return options
    if options.revision is not None:
        raise UsageError(f"The branch is '{options.revision}' and '{revision}'; give one of them.")
    return options.model_copy(update={"revision": revision})


class PublishOptions(CommitOptions):
    """How tasks are published."""

    private: bool = False
    """Make the repository a private one; refused where it exists and is public."""
    tag: Annotated[str | None, Option("NAME")] = None
    """Tag of the commit, for instance v1."""
    base_model: Annotated[str | None, Option("OWNER/NAME@COMMIT")] = None
    """Repository of the backbone on the Hub, which is opened and compared; the tasks name it."""
    examples: Annotated[tuple[Record, ...], Option("TEXT", flags=("--example",), repeated=True)] = (
        Field((), strict=False)
    )
    """Text that the card shows with its prediction, of a pair JSON such as {"text": "…",
    "text_pair": "…"}; kept in the published head file, instead of those in it. Repeatable."""
    benchmarks: Annotated[
        tuple[str, ...], Option("DATASET:ID", flags=("--benchmark",), repeated=True)
    ] = Field((), strict=False)
    """Benchmark of the Hub that the first metric of a task is of: its data set and `task_id`, for
    one of several tasks TASK=DATASET:ID. Repeatable."""


def read_place(repo: str, options: Mapping[str, object]) -> tuple[str, PublishOptions]:
    """Returns the name of a repository, and how to publish to it, on the branch that it names.

    Raises:
        UsageError: The name or an option is not valid.
    """
    place = parse_repository(repo)
    return place.name, on_branch(parse_options(PublishOptions, options), place.revision)


class BackboneOptions(CommitOptions):
    """How a backbone is published."""

    private: bool = False
    """Make the repository a private one; refused where it exists and is public."""


@dataclass(frozen=True, slots=True)
class PublishedBackbone:
    """What the publication of a backbone did, or would do.

    Attributes:
        repo: `owner/name`.
        commit: The commit that holds it; None for a dry run that would create one.
        fingerprint: Identity of the backbone.
        files: Paths that were written; empty if everything was there already.
        pull_request: Address of the pull request, or None.
        dry_run: Whether nothing was sent.
    """

    repo: str
    commit: str | None
    fingerprint: str
    files: tuple[str, ...]
    pull_request: str | None = None
    dry_run: bool = False

    @property
    def base_model(self) -> str | None:
        """Returns its name with the commit, for `publish --base-model`; None without a commit."""
        return None if self.commit is None else f"{self.repo}@{self.commit}"


@dataclass(frozen=True, slots=True)
class PublishedTask:
    """One task of a publication.

    Attributes:
        name: Its name for `Hub.load`: `owner/repo:task`, or `owner/repo@branch:task`.
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
        branch: The branch of the commit, or None for main.
    """

    repo: str
    commit: str | None
    tasks: tuple[PublishedTask, ...]
    files: tuple[str, ...]
    pull_request: str | None = None
    tag: str | None = None
    dry_run: bool = False
    branch: str | None = None
