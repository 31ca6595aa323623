"""The registry of a repository with tasks added: versions never change, aliases move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterhub.errors import RegistryError
from adapterhub.remote.find import FoundTask
from adapterhub.store.agreement import with_own_name
from adapterhub.store.editing import (
    make_content,
    make_entry,
    prepare_registry,
    registry_bytes,
)
from adapterhub.store.entries import (
    RegistryContent,
    Retired,
    TaskEntry,
    backbone_key,
    head_file_name,
    portable_entry,
    version_record,
)
from adapterhub.store.registry import Registry
from adapterhub.store.retired import come_back


@dataclass(frozen=True, slots=True)
class Merged:
    """A registry with tasks added.

    Attributes:
        content: The whole registry.
        data: Its bytes.
        versions: The version of each added task, by name.
        added: Names of the tasks whose version is new.
        before: The registry before, or None.
    """

    content: RegistryContent
    data: bytes
    versions: Mapping[str, int]
    added: frozenset[str]
    before: RegistryContent | None

    @property
    def changed(self) -> bool:
        """Returns whether the registry differs from before."""
        return self.before != self.content


def merge(
    before: RegistryContent | None,
    tasks: Sequence[FoundTask],
    *,
    place: Path,
    renames_backbone: bool = False,
) -> Merged:
    """Returns the registry with `tasks` added; a head file that is there already adds no version.

    Args:
        before: The current registry, or None.
        tasks: The tasks to add.
        place: Path of the registry, for messages.
        renames_backbone: Whether a backbone that is listed gets the source that the tasks name.

    Raises:
        RegistryError: A task does not fit its current entry, or the registry gets too large.
    """
    backbones = dict(before.backbones) if before else {}
    entries = dict(before.tasks) if before else {}
    retired = dict(before.retired) if before else {}
    versions: dict[str, int] = {}
    added = set()
    for task in tasks:
        key = backbone_key(backbones, task.spec.backbone)
        if renames_backbone or key not in backbones:
            backbones[key] = portable_entry(task.spec.backbone)
        old = entries.get(task.name)
        known = {} if old is None else {r.sha256: v for v, r in old.versions.items()}
        if task.sha256 not in known:
            added.add(task.name)
        gone = retired.pop(task.name, None)
        used = _used(gone, task.name, place) if old is None else old.last
        version = known.get(task.sha256, used + 1)
        versions[task.name] = version
        entries[task.name] = come_back(_entry(old, task, key, version, place=place), gone)
    state = prepare_registry(Registry(place, {}, {}), backbones, entries, retired=retired)
    content = make_content(state.backbones, state.tasks, state.retired)
    data = registry_bytes(state)
    return Merged(content, data, versions, frozenset(added), before)


def _entry(
    old: TaskEntry | None,
    task: FoundTask,
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
        same = with_own_name(old.versions[version], task.name, spec)
        return old.model_copy(
            update={"aliases": moved, "versions": {**old.versions, version: same}}
        )
    file = head_file_name(task.name, version)
    record = version_record(spec, file, size=len(task.data), sha256=task.sha256)
    own = with_own_name(record, task.name, spec)
    versions = {**(old.versions if old else {}), version: own}
    return make_entry(spec, key, aliases=moved, versions=versions, place=place, old=old)


def _used(retired: Retired | None, name: str, place: Path) -> int:
    """Returns the highest version that a name without a task had; 0 for one that never had any."""
    if retired is not None and retired.renamed is not None:
        raise RegistryError(
            place,
            f"'{name}' was renamed to '{retired.renamed}' there, and the old name leads to that "
            f"task. Publish it under that name: `adapterhub rename {name} {retired.renamed}`.",
        )
    return 0 if retired is None else retired.last
