"""Publishes a backbone as a model repository of its own, which tasks name as their base model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from adapterhub.errors import BackboneError, RemoteContentError, RemoteUnavailableError
from adapterhub.model.backbone.open_backbone import FILES, SHIPPED, Backbone, open_backbone
from adapterhub.option_models import parse_options
from adapterhub.publishing.backbone_card import is_marked, write_backbone_card
from adapterhub.publishing.front_matter import CARD_NAME
from adapterhub.publishing.publication import BackboneOptions, PublishedBackbone
from adapterhub.publishing.publish import MOST_RACES, check_commit_options, commit_message
from adapterhub.remote.calls import Place, current_place, pause
from adapterhub.remote.compare import changed_files
from adapterhub.remote.fetch import MAIN, fetch
from adapterhub.remote.session import operation
from adapterhub.remote.upload import (
    Newest,
    Sent,
    Uploads,
    find_branch,
    find_pull,
    make_repository,
    read_newest,
    require_token,
    send_commit,
)
from adapterhub.store.atomic import reason
from adapterhub.store.references import check_repository
from adapterhub.store.registry import REGISTRY_NAME


@dataclass(frozen=True, slots=True)
class _Order:
    """What to publish, and where."""

    repo: str
    backbone: Backbone
    files: Mapping[str, bytes]
    options: BackboneOptions
    place: Place
    uploads: Uploads


def publish_backbone(
    repo: str, backbone: str | Path = SHIPPED, **options: object
) -> PublishedBackbone:
    """Publishes a backbone in one commit, so that tasks can name it and transformers opens it.

    The files are those of its folder, byte for byte. Those that are there already are not sent;
    without any change there is no commit.

    Args:
        repo: `owner/name`; created if missing.
        backbone: As in `open_backbone`; by default the one that ships.
        options: Of `BackboneOptions`: `private`, `revision`, `commit_message`,
            `commit_description`, `token`, `create_pr`, `dry_run`, as in `Hub.publish`.

    Raises:
        UsageError: The name or an option is not valid.
        BackboneError: The backbone cannot be opened.
        RemoteError: The Hub refuses it, or the repository holds something else.
    """
    given = parse_options(BackboneOptions, options)
    check_repository(repo)
    check_commit_options(given)
    opened = open_backbone(backbone)
    place = current_place(given.token)
    if place.offline:
        raise RemoteUnavailableError(repo, "publishing needs the network; HF_HUB_OFFLINE is set")
    if not given.dry_run:
        require_token(place, repo)
    order = _Order(repo, opened, _files(opened), given, place, Uploads())
    with operation() as clock:
        for tried in range(1, MOST_RACES + 1):
            newest = _read(order)
            if newest is None and not given.dry_run:
                make_repository(place, repo, private=given.private)
                continue
            done = _send(order, newest)
            if done is not None:
                return done
            time.sleep(min(pause(tried), max(clock.left, 0)))
    raise RemoteUnavailableError(
        repo, f"others published {MOST_RACES} times while this was tried. Try again later."
    )


def _files(backbone: Backbone) -> dict[str, bytes]:
    """Returns the files that open a backbone, by path."""
    root = backbone.root
    paths = {path for pattern in FILES for path in root.glob(pattern) if path.is_file()}
    try:
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}
    except OSError as error:
        raise BackboneError(str(root), f"it cannot be read: {reason(error)}") from error


def _read(order: _Order) -> Newest | None:
    newest, branch = read_newest(order.place, order.repo), order.options.revision
    if newest is None or branch in (None, MAIN):
        return newest
    return find_branch(newest, str(branch), make=not order.options.dry_run)


def _send(order: _Order, newest: Newest | None) -> PublishedBackbone | None:
    """Returns what was published, or None if another publisher was first."""
    options = order.options
    there = frozenset() if newest is None else newest.files
    card = fetch(newest.commit, CARD_NAME) if newest is not None and CARD_NAME in there else None
    wanted = {**order.files, CARD_NAME: write_backbone_card(card, order.backbone, order.repo)}
    if newest is None:
        return _done(order, wanted, None)
    files: dict[str, bytes | None] = dict(changed_files(newest.commit, wanted))
    files |= dict.fromkeys(
        path for path in there - wanted.keys() if any(fnmatch(path, one) for one in FILES)
    )
    if not files:
        return _done(order, {}, Sent(newest.commit.oid))
    _check_owner(newest, card)
    if options.dry_run:
        return _done(order, files, None)
    sent: Sent | None = None
    if options.create_pr:
        sent = find_pull(newest.commit, CARD_NAME, wanted[CARD_NAME])
    sent = sent or send_commit(
        newest.commit,
        files,
        commit_message(options, "Publish the backbone"),
        uploads=order.uploads,
        branch=options.revision or MAIN,
        as_pull=options.create_pr,
    )
    return None if sent is None else _done(order, files, sent)


def _check_owner(newest: Newest, card: bytes | None) -> None:
    """Checks that a repository is empty, or holds a backbone that adapterhub published."""
    if REGISTRY_NAME in newest.files:
        raise RemoteContentError(
            str(newest.commit),
            "it holds tasks. A backbone needs a repository of its own, which transformers opens by "
            "its name; give another one.",
        )
    others = newest.files - {CARD_NAME, ".gitattributes"}
    if others and not is_marked(card, newest.commit.repo):
        raise RemoteContentError(
            str(newest.commit),
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
