"""Whether an entry of a registry and the head file that it names are of one task."""

from __future__ import annotations

from pathlib import Path

from adapterhub.errors import RegistryError
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import BackboneEntry, TaskEntry, VersionRecord
from adapterhub.store.registry import Resolved

Pair = tuple[str, object, object]


def contradiction(
    spec: TaskSpec, name: str, *, version: int, entry: TaskEntry, backbone: BackboneEntry
) -> str:
    """Returns where an entry and the header of its head file differ, or an empty string.

    All that makes the task, and its figures, is compared: the sha256 of an entry proves that the
    bytes are the ones that it lists, but not that they are of the task that it names.

    Args:
        spec: The task, as the head file states it.
        name: The task's name in the registry.
        version: The version that the head file is of.
        entry: The task's entry.
        backbone: The entry of its backbone.
    """
    record = entry.versions[version]
    own = _name_in_file(record, name)
    found = _text(
        [
            ("the task", own, spec.task),
            ("the kind", entry.kind, spec.kind),
            ("the backbone", backbone.fingerprint, spec.backbone.fingerprint),
            ("the depths", record.depths, spec.head.depths),
            ("the pooling", record.pooling, spec.head.pooling),
            *_figures(record, spec),
        ]
    )
    renamed = f" (under another name a version states `task: {spec.task}`)"
    return found + renamed if own != spec.task else found


def check_agreement(found: Resolved, spec: TaskSpec, registry: Path) -> None:
    """Checks that an entry of a registry is of the task in its head file.

    Raises:
        RegistryError: It is of another one.
    """
    problem = contradiction(
        spec, found.task, version=found.version, entry=found.entry, backbone=found.backbone
    )
    if problem:
        raise RegistryError(
            registry,
            f"the entry of '{found.task}:{found.version}' is not of its file {found.path}: "
            f"{problem}. Restore one of them from a copy, or train the task again.",
        )


def other_description(spec: TaskSpec, entry: TaskEntry) -> str:
    """Returns where an entry, which may be edited, describes its newest version otherwise.

    Args:
        spec: The newest version, as its head file states it.
        entry: The task's entry.
    """
    return _text(
        [
            ("the description", entry.description, spec.description),
            ("the list of languages", ", ".join(entry.languages), ", ".join(spec.languages)),
            ("the licence", entry.license, spec.license),
        ]
    )


def with_own_name(record: VersionRecord, name: str, spec: TaskSpec) -> VersionRecord:
    """Returns a record that states the name in its head file where that is another one."""
    same = _name_in_file(record, name) == spec.task
    return record if same else record.model_copy(update={"task": spec.task})


def renamed(record: VersionRecord, old: str, new: str) -> VersionRecord:
    """Returns the record of a version whose task gets another name in the registry."""
    own = _name_in_file(record, old)
    plain = record.model_copy(update={"task": None})
    return plain if _name_in_file(plain, new) == own else plain.model_copy(update={"task": own})


def _name_in_file(record: VersionRecord, name: str) -> str:
    # A task from the Hub may have another name here, and keeps that of the Hub in its file.
    return record.task or (name if record.origin is None else record.origin.task)


def _figures(record: VersionRecord, spec: TaskSpec) -> list[Pair]:
    training = spec.training
    pairs: list[Pair] = []
    if record.data_digest is not None:
        own = None if training is None else training.data_digest
        pairs.append(("the digest of the data", record.data_digest, own))
    if record.seed is not None:
        pairs.append(("the seed", record.seed, None if training is None else training.seed))
    if record.measured_on is not None:
        splits = [metric.split for metric in spec.metrics]
        pairs.append(
            ("the split of its metrics", record.measured_on, splits[0] if splits else None)
        )
    for name, value in record.metrics.items():
        measured = [metric.value for metric in spec.metrics if metric.name == name]
        if value not in measured:
            pairs.append((f"the metric {name}", value, measured[0] if measured else None))
    return pairs


def _text(pairs: list[Pair]) -> str:
    return "; ".join(
        f"{what} is {str(ours)[:80]} in the registry and {str(theirs)[:80]} in the file"
        for what, ours, theirs in pairs
        if ours != theirs
    )
