"""Publishes a backbone as a model repository of its own, which tasks name as their base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from adapterhub.errors import BackboneError, RemoteContentError
from adapterhub.model.backbone.open_backbone import FILES, Backbone, open_backbone
from adapterhub.model.backbone.sources import SHIPPED
from adapterhub.option_models import parse_options
from adapterhub.publishing.backbone_card import is_marked, write_backbone_card
from adapterhub.publishing.front_matter import CARD_NAME
from adapterhub.publishing.hub_metadata import LIBRARY
from adapterhub.publishing.ownership import check_library
from adapterhub.publishing.publication import BackboneOptions, PublishedBackbone, on_branch
from adapterhub.publishing.target import (
    State,
    check_commit,
    commit_message,
    make_missing_branch,
    open_place,
    read_or_make,
    send_changes,
    until_first,
)
from adapterhub.remote.compare import changed_files
from adapterhub.remote.fetch import Commit
from adapterhub.remote.large_files import Uploads
from adapterhub.remote.upload import Sent
from adapterhub.store.atomic import reason
from adapterhub.store.references import parse_repository
from adapterhub.store.registry import REGISTRY_NAME


@dataclass(frozen=True, slots=True)
class _Order:
    """What to publish, and where."""

    repo: str
    backbone: Backbone
    files: Mapping[str, bytes]
    options: BackboneOptions
    uploads: Uploads


def publish_backbone(
    repo: str, backbone: str | Path = SHIPPED, **options: object
) -> PublishedBackbone:
    """Publishes a backbone in one commit, so that tasks can name it and transformers opens it.

    The files are those of its folder, byte for byte. Those that are there already are not sent;
    without any change there is no commit.

    Args:
        repo: `owner/name`, or its address; created if missing.
        backbone: As in `open_backbone`; by default the one that ships.
        options: Of `BackboneOptions`: `private`, `revision`, `commit_message`,
            `commit_description`, `token`, `create_pr`, `dry_run`, as in `Hub.publish`.

    Raises:
        UsageError: The name or an option is not valid.
        BackboneError: The backbone cannot be opened.
        RemoteError: The Hub refuses it, or the repository holds something else.
    """
    target = parse_repository(repo)
    given = on_branch(parse_options(BackboneOptions, options), target.revision)
    check_commit(given)
    opened = open_backbone(backbone)
    place = open_place(target.name, given)
    order = _Order(target.name, opened, _files(opened), given, Uploads())

    def attempt() -> PublishedBackbone | None:
        state = read_or_make(place, order.repo, given, private=given.private)
        return None if state is None else _send(order, state)

    return until_first(order.repo, attempt)


def _files(backbone: Backbone) -> dict[str, bytes]:
    """Returns the files that open a backbone, by path."""
    root = backbone.root
    paths = {path for pattern in FILES for path in root.glob(pattern) if path.is_file()}
    try:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}
    except OSError as error:
        raise BackboneError(str(root), f"it cannot be read: {reason(error)}") from error


def _send(order: _Order, state: State) -> PublishedBackbone | None:
    """Returns what was published, or None if another commit was first."""
    options, card = order.options, state.card
    wanted = {**order.files, CARD_NAME: write_backbone_card(card, order.backbone, order.repo)}
    if state.commit is None:
        return _done(order, wanted, None)
    files: dict[str, bytes | None] = dict(changed_files(state.commit, wanted))
    files |= dict.fromkeys(
        path
        for path in set(state.files) - wanted.keys()
        if any(fnmatch(path, pattern) for pattern in FILES)
    )
    if not files:
        make_missing_branch(state, options)
        return _done(order, {}, Sent(state.commit.oid))
    _check_owner(state.commit, state)
    if options.dry_run:
        return _done(order, files, None)
    make_missing_branch(state, options)
    sent = send_changes(
        state.commit,
        files,
        commit_message(options, "Publish the backbone"),
        options=options,
        uploads=order.uploads,
        sign=(CARD_NAME, wanted[CARD_NAME]),
    )
    return None if sent is None else _done(order, files, sent)


def _check_owner(commit: Commit, state: State) -> None:
    """Checks that a repository is empty, or holds a backbone that adapterhub published."""
    repo = commit.repo
    if REGISTRY_NAME in state.files:
        raise RemoteContentError(
            repo,
            "it holds tasks. A backbone needs a repository of its own, which transformers opens by "
            "its name; give another one.",
        )
    if is_marked(state.card, repo):
        return
    check_library(commit, state.card, LIBRARY, "transformers")
    if others := set(state.files) - {CARD_NAME, ".gitattributes"}:
        raise RemoteContentError(
            repo,
            f"it holds {min(others)}, and adapterhub published no backbone there. Give another "
            f"repository, or remove its files if they are yours.",
        )


def _done(order: _Order, files: Mapping[str, bytes | None], sent: Sent | None) -> PublishedBackbone:
    return PublishedBackbone(
        repo=order.repo,
        commit=None if sent is None else sent.oid,
        fingerprint=order.backbone.spec.fingerprint,
        files=tuple(sorted(path for path, data in files.items() if data is not None)),
        pull_request=None if sent is None else sent.pull_request,
        dry_run=order.options.dry_run,
    )
