"""The registry of a repository with tasks added: versions never change, aliases move."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from adapterhub.errors import RegistryError
from adapterhub.publishing.content import TaskToPublish
from adapterhub.specs import BackboneSpec
from adapterhub.store.editing import prepare_registry, refused_change
from adapterhub.store.entries import (
    BackboneEntry,
    RegistryContent,
    TaskEntry,
    head_file_name,
    version_record,
)
from adapterhub.store.registry import parse_registry


@dataclass(frozen=True, slots=True)
class Merged:
    """A registry with tasks added.

    Attributes:
        content: The whole registry.
        data: Its bytes.
        versions: Version of each task that was to be added, by name.
        added: Names of those whose version is new.
        changed: Whether anything differs from before.
    """

    content: RegistryContent
    data: bytes
    versions: Mapping[str, int]
    added: frozenset[str]
    changed: bool


def merge(
    before: RegistryContent | None,
    tasks: Sequence[TaskToPublish],
    *,
    place: Path,
) -> Merged:
    """Returns the registry with `tasks` added; bytes that are there already add no version.

    Args:
        before: The registry as it is; None where there is none.
        tasks: What to add.
        place: Where the registry is, for messages.

    Raises:
        RegistryError: A task does not fit the entry there is, or the whole is too big.
    """
    backbones = dict(before.backbones) if before else {}
    entries = dict(before.tasks) if before else {}
    versions: dict[str, int] = {}
    added = set()
    for task in tasks:
        key = _backbone_key(backbones, task.spec.backbone)
        backbones.setdefault(key, _backbone_entry(task.spec.backbone))
        old = entries.get(task.name)
        known = {} if old is None else {r.sha256: v for v, r in old.versions.items()}
        if task.sha256 not in known:
            added.add(task.name)
        version = known.get(task.sha256, 1 if old is None else old.newest + 1)
        versions[task.name] = version
        entries[task.name] = _entry(old, task, key, version, place=place)
    data = prepare_registry(place, backbones, entries)
    content = parse_registry(data, place)
    return Merged(content, data, versions, frozenset(added), before != content)


def _entry(
    old: TaskEntry | None,
    task: TaskToPublish,
    key: str,
    version: int,
    *,
    place: Path,
) -> TaskEntry:
    spec = task.spec
    if old is not None and (old.kind, old.backbone) != (spec.kind, key):
        raise RegistryError(
            place,
            f"task '{task.name}' is {old.kind} on the backbone '{old.backbone}' there; a version "
            f"that is {spec.kind} on {spec.backbone.name} ({spec.backbone.fingerprint[:19]}…) "
            f"cannot be added. Publish it under another name.",
        )
    moved = dict(old.aliases) if old else {}
    if task.alias is not None:
        moved[task.alias] = version
    if old is not None and version in old.versions:
        return old.model_copy(update={"aliases": moved})
    file = head_file_name(task.name, version)
    record = version_record(spec, file, size=len(task.data), sha256=task.sha256)
    try:
        return TaskEntry(
            kind=spec.kind,
            backbone=key,
            description=spec.description,
            languages=spec.languages,
            license=spec.license,
            aliases=moved,
            versions={**(old.versions if old else {}), version: record},
        )
    except ValidationError as error:
        raise refused_change(error, place) from error


def _backbone_key(known: Mapping[str, BackboneEntry], backbone: BackboneSpec) -> str:
    """Returns the key that the registry has for a backbone, or a new one made of its name."""
    for key, entry in known.items():
        if entry.fingerprint == backbone.fingerprint:
            return key
    key = _slug(backbone.name)
    digest = backbone.fingerprint.removeprefix("sha256:")
    return key if key not in known else f"{key}-{digest[:8]}"


def _backbone_entry(backbone: BackboneSpec) -> BackboneEntry:
    """Returns where others find a backbone; of a folder here they learn no more than its name."""
    source = backbone.name
    if backbone.revision is None and not source.startswith("package:"):
        source = f"./{_slug(source)}"
    return BackboneEntry(
        source=source, revision=backbone.revision, fingerprint=backbone.fingerprint
    )


def _slug(name: str) -> str:
    last = name.removeprefix("package:").rstrip("/\\").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:40] or "backbone"
