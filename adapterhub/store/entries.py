"""The schema of registry.yaml: backbones, tasks, and every version of each task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from adapterhub.kinds import KINDS, NEWEST_SCHEMA, Kind
from adapterhub.specs import (
    BackboneSpec,
    Fingerprint,
    HeadSpec,
    Language,
    Pooling,
    Sha256,
    Spec,
    TaskName,
    TaskSpec,
)
from adapterhub.store.header import MAX_FILE_BYTES, SUFFIX

FIRST_SCHEMA, SCHEMA_VERSION = 1, NEWEST_SCHEMA
"""The oldest and the newest schema that is read; `schema_of` says which one is written."""

BACKBONES_FOLDER = "backbones"
"""Beside registry.yaml, of backbones that training made, each `<task>-<number>`."""
_MADE = re.compile(rf"\./{BACKBONES_FOLDER}/[^/]+-\d+")

K = TypeVar("K")
V = TypeVar("V")


def _check_file(text: str) -> str:
    parts = text.split("/")
    if not re.fullmatch(r"[A-Za-z0-9._/ -]{1,512}", text) or text.startswith("/"):
        raise ValueError(f"{text!a} is not a relative path with '/' and plain characters")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"'{text}' is not a plain path below the registry's folder")
    if PurePosixPath(text).suffix != SUFFIX:
        raise ValueError(f"'{text}' does not end in '{SUFFIX}'")
    return text


def _freeze(content: Mapping[K, V]) -> Mapping[K, V]:
    # Parsed registries are cached and shared, so they must be immutable.
    return MappingProxyType(dict(content))


def _nothing() -> Mapping[Any, Any]:
    return MappingProxyType({})


BackboneKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
HeadPath = Annotated[str, AfterValidator(_check_file)]
Version = Annotated[int, Field(ge=1, le=999_999_999)]
# Shown in logs and cards: without control characters and marks that reverse the writing direction.
Note = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$", max_length=500
    ),
]


class BackboneEntry(Spec):
    """A backbone that tasks of the registry were trained on.

    Attributes:
        source: Where to open it: `package:<name>`, a folder (`./name` and `../name` are relative
            to the registry's folder, `/name` is absolute) or a Hub name.
        revision: Commit on the Hub, required for a Hub name; None otherwise.
        fingerprint: Its identity; what `source` opens must have it.
    """

    source: str = Field(min_length=1, max_length=512)
    revision: str | None = None
    fingerprint: Fingerprint

    @property
    def was_made_by_training(self) -> bool:
        """Returns whether the training of a task made it, so that no other task is meant for it."""
        return _MADE.fullmatch(self.source) is not None

    @property
    def is_portable(self) -> bool:
        """Returns whether it can be opened elsewhere: it ships or is on the Hub."""
        return self.source.startswith("package:") or self.revision is not None


class Origin(Spec):
    """The version on the Hub that a local version is a copy of.

    Attributes:
        repo: `owner/name`.
        commit: The commit that it was read at.
        task: Name of the task on the Hub.
        version: Its version on the Hub.
        alias: The alias that updates follow; None for the newest version.
        fixed: Whether it is pinned by version, tag or commit, so that it is never updated.
    """

    repo: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")
    task: TaskName
    version: Version
    alias: TaskName | None = None
    fixed: bool = False


class VersionRecord(Spec):
    """One version of a task; immutable once it is in a registry.

    Attributes:
        file: The head file, relative to the registry's folder, with `/`.
        size: Its size in bytes.
        sha256: Its digest, compared with the bytes that are parsed.
        depths: The depths that the head reads.
        pooling: How it pools.
        metrics: Value by metric name, copied from the head file.
        measured_on: The split that they are of, where the head file records its use.
        data_digest: Digest of the training rows, where known.
        seed: Seed of the training, where known.
        origin: Where on the Hub it was fetched from; None for a task that was made locally.
        task: The task's name in the head file, where it is neither the one in this registry nor
            that of `origin`; None elsewhere.
    """

    file: HeadPath
    size: int = Field(ge=1, le=MAX_FILE_BYTES)
    sha256: Sha256
    depths: Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
    pooling: Pooling
    metrics: Annotated[Mapping[str, float], AfterValidator(_freeze)] = Field(
        default_factory=_nothing
    )
    measured_on: str | None = None
    data_digest: Sha256 | None = None
    seed: int | None = None
    origin: Origin | None = None
    task: TaskName | None = None

    @model_validator(mode="after")
    def _reads_a_head(self) -> VersionRecord:
        HeadSpec(depths=self.depths, pooling=self.pooling)
        return self


class Deprecation(Spec):
    """That a task should not be used any more.

    Attributes:
        reason: Why.
        use: The task to use instead, as a reference, or None.
        by_owner: Of a task that was added from the Hub: whether its owner said so there, so that
            an update follows the owner.
    """

    reason: Note = Field(min_length=1)
    use: Note | None = None
    by_owner: bool = False


class Retired(Spec):
    """A name that a task had, which no other task takes over in silence.

    Attributes:
        last: The highest version number that was used; the next one under this name is above it.
        renamed: The name that the task has now; None for one that was removed.
        reason: Why it was removed.
        use: The task to use instead, as a reference, or None.
    """

    last: Version
    renamed: TaskName | None = None
    reason: Note = ""
    use: Note | None = None


class TaskEntry(Spec):
    """One task with all its versions.

    Attributes:
        kind: Kind of task; the same in all versions.
        backbone: Key of its backbone; the same in all versions.
        description: Description of the newest version.
        languages: Language tags of the newest version.
        license: Licence of the newest version.
        aliases: Version by alias; an alias may be moved.
        deprecated: Why it should not be used any more; None where it may be.
        removed: Why a version was removed, by version; its number is not used again.
        versions: Record by version; records are immutable.
    """

    kind: Kind
    backbone: BackboneKey
    description: str = Field(default="", max_length=2_000)
    languages: Annotated[tuple[Language, ...], Field(strict=False)] = ()
    license: str | None = None
    aliases: Annotated[Mapping[TaskName, Version], AfterValidator(_freeze)] = Field(
        default_factory=_nothing
    )
    deprecated: Deprecation | None = None
    removed: Annotated[Mapping[Version, Note], AfterValidator(_freeze)] = Field(
        default_factory=_nothing
    )
    versions: Annotated[Mapping[Version, VersionRecord], AfterValidator(_freeze)]

    @property
    def newest(self) -> int:
        """Returns the number of the newest version."""
        return max(self.versions)

    @property
    def last(self) -> int:
        """Returns the highest number that a version has or had."""
        return max([*self.versions, *self.removed])

    def removal(self, version: int) -> str | None:
        """Returns why a version was removed; None for one that is there, or never was.

        A task that was removed as a whole and came back records its last number for all of them.
        """
        above = [number for number in self.removed if number >= version]
        return None if version in self.versions or not above else self.removed[min(above)]

    @model_validator(mode="after")
    def _is_consistent(self) -> TaskEntry:
        if not self.versions:
            raise ValueError("it has no versions")
        for alias, version in self.aliases.items():
            if version not in self.versions:
                raise ValueError(
                    f"the alias '{alias}' points to version {version}, which does not exist"
                )
        both = [version for version in self.removed if version in self.versions]
        if both:
            raise ValueError(f"version {both[0]} is listed and removed")
        return self


class RegistryContent(Spec):
    """The content of registry.yaml.

    Attributes:
        version: Schema of the file; the key in the file is `schema`.
        backbones: Backbone by key.
        retired: Names that tasks had, by name.
        tasks: Task by name.
    """

    # Not Literal[1], which accepts `true`.
    version: int = Field(alias="schema", ge=FIRST_SCHEMA, le=SCHEMA_VERSION)
    backbones: Annotated[Mapping[BackboneKey, BackboneEntry], AfterValidator(_freeze)]
    retired: Annotated[Mapping[TaskName, Retired], AfterValidator(_freeze)] = Field(
        default_factory=_nothing
    )
    tasks: Annotated[Mapping[TaskName, TaskEntry], AfterValidator(_freeze)]

    @model_validator(mode="after")
    def _is_consistent(self) -> RegistryContent:
        problem = inconsistency(self.backbones, self.tasks, self.retired)
        if problem is not None:
            raise ValueError(problem)
        return self


def schema_of(tasks: Mapping[str, TaskEntry], retired: Mapping[str, Retired]) -> int:
    """Returns the oldest schema that can hold a registry, so that older adapterhubs read it."""
    has_later = retired or any(entry.deprecated or entry.removed for entry in tasks.values())
    kinds = (KINDS[entry.kind].schema for entry in tasks.values())
    return max([2 if has_later else FIRST_SCHEMA, *kinds])


def inconsistency(
    backbones: Mapping[str, BackboneEntry],
    tasks: Mapping[str, TaskEntry],
    retired: Mapping[str, Retired],
) -> str | None:
    """Returns a contradiction between entries that are valid each by itself, or None."""
    both = [name for name in retired if name in tasks]
    if both:
        return f"'{both[0]}' is a task and the retired name of one"
    for name, entry in tasks.items():
        if entry.backbone not in backbones:
            return f"task '{name}' names the backbone '{entry.backbone}', which is not listed"
    # Folded, because some file systems do not distinguish case.
    files = [r.file.casefold() for entry in tasks.values() for r in entry.versions.values()]
    if len(set(files)) == len(files):
        return None
    owner: dict[str, str] = {}
    for name, entry in tasks.items():
        for version, record in entry.versions.items():
            own = f"{name}:{version}"
            other = owner.setdefault(record.file.casefold(), own)
            if other != own:
                return f"'{record.file}' is the file of both {other} and {own}"
    return None


def listed_files(tasks: Mapping[str, TaskEntry]) -> set[str]:
    """Returns the paths of all head files that entries list."""
    return {record.file for entry in tasks.values() for record in entry.versions.values()}


def head_file_name(task: str, version: int) -> str:
    """Returns the path of a head file below the registry's folder.

    Task names have no dot, so no two versions of any tasks share a path.
    """
    return f"heads/{task}{SUFFIX}" if version == 1 else f"heads/{task}.{version}{SUFFIX}"


def version_record(spec: TaskSpec, file: str, *, size: int, sha256: str) -> VersionRecord:
    """Returns the record of a head file, with the fields that are copied from `spec`."""
    metrics: dict[str, float] = {}
    for metric in spec.metrics:
        metrics.setdefault(metric.name, metric.value)
    first = next(iter(spec.metrics), None)
    training = spec.training
    return VersionRecord(
        file=file,
        size=size,
        sha256=sha256,
        depths=spec.head.depths,
        pooling=spec.head.pooling,
        metrics=metrics,
        measured_on=None if first is None or first.used_for is None else first.split,
        data_digest=training.data_digest if training else None,
        seed=training.seed if training else None,
    )


def backbone_key(
    known: Mapping[str, BackboneEntry], backbone: BackboneSpec, *, prefer: str | None = None
) -> str:
    """Returns the key that lists a backbone in a registry, or a new one made of its name.

    Args:
        known: The registry's backbones.
        backbone: The backbone.
        prefer: The key to return where several list it.
    """
    found = [key for key, entry in known.items() if entry.fingerprint == backbone.fingerprint]
    if found:
        return prefer if prefer in found else found[0]
    key = _slug(backbone.name)
    digest = backbone.fingerprint.removeprefix("sha256:")
    return key if key not in known else f"{key}-{digest[:8]}"


def is_portable(backbone: BackboneSpec) -> bool:
    """Returns whether a backbone can be opened by name elsewhere: it ships or is on the Hub."""
    return backbone.name.startswith("package:") or backbone.revision is not None


def portable_entry(backbone: BackboneSpec) -> BackboneEntry:
    """Returns a backbone's entry for other machines; a local folder is reduced to its name."""
    source = backbone.name if is_portable(backbone) else f"./{_slug(backbone.name)}"
    return BackboneEntry(
        source=source, revision=backbone.revision, fingerprint=backbone.fingerprint
    )


def _slug(name: str) -> str:
    last = name.removeprefix("package:").rstrip("/\\").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:40] or "backbone"
