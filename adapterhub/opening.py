"""What Hub opens: which backbone of a registry, at which fingerprint."""

from __future__ import annotations

import re
from pathlib import Path

from adapterhub.errors import BackboneError, BackboneMismatchError, UsageError
from adapterhub.model.backbone import Backbone, open_backbone
from adapterhub.model.sources import is_folder
from adapterhub.results import TaskInfo
from adapterhub.specs import BackboneSpec
from adapterhub.store.registry import Registry

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def task_info(registry: Registry, name: str, *, resident: bool = False) -> TaskInfo:
    """Returns what a registry says about the newest version of a task."""
    found = registry.resolve(name)
    return TaskInfo(
        name=name,
        version=found.version,
        kind=found.entry.kind,
        languages=found.entry.languages,
        description=found.entry.description,
        depths=found.record.depths,
        pooling=found.record.pooling,
        aliases=dict(found.entry.aliases),
        metrics=dict(found.record.metrics),
        size=found.record.size,
        resident=resident,
    )


def parse_bytes(size: int | str | None) -> int | None:
    """Returns a number of bytes: `"2GB"` is 2 * 10**9, `"512MiB"` is 512 * 2**20.

    Raises:
        UsageError: It is not a size.
    """
    if size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0):
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    if match is None or match[2].lower() not in _UNITS or float(match[1]) <= 0:
        raise UsageError(f"max_bytes is {size!r}; expected a size such as 500MB, 2GB or 1GiB.")
    return max(1, int(float(match[1]) * _UNITS[match[2].lower()]))


def open_registered(registry: Registry, key: str) -> Backbone:
    """Returns the backbone under `key` of a registry, checked against its fingerprint there.

    Raises:
        BackboneMismatchError: Other weights or another tokenizer are at its source.
        BackboneError: Its source is malformed, absent, or cannot be fetched.
    """
    entry = registry.backbones[key]
    opened = open_backbone(_registered_source(registry, key), revision=entry.revision)
    if opened.spec.fingerprint != entry.fingerprint:
        problem = (
            f"the registry {registry.path} names {entry.fingerprint[:19]}… as its '{key}'; the "
            f"weights or the tokenizer at {entry.source} differ. Restore them, or train its tasks "
            f"again on these."
        )
        raise BackboneMismatchError(key, entry.fingerprint, identity(opened.spec), problem)
    return opened


def _registered_source(registry: Registry, key: str) -> str | Path:
    """Returns the source of a registry's backbone; a folder goes from the registry's own."""
    entry = registry.backbones[key]
    source = entry.source
    if source.startswith("package:"):
        return source
    if is_folder(source) and not source.startswith("~"):
        return registry.path.parent / source
    if entry.revision is None:
        raise BackboneError(
            source,
            f"the registry {registry.path} gives its '{key}' no revision, as a Hub name needs. A "
            f"folder is written ./name, ../name or /name, from the registry's folder.",
        )
    return source


def choose_backbone(registry: Registry, backbone: str | Path | None) -> Backbone:
    """Returns the backbone of a hub: the one asked for, or the registry's only one.

    Args:
        registry: Names backbones by key.
        backbone: A key of the registry, or a source as `open_backbone` takes it.

    Raises:
        UsageError: None was asked for, and the registry does not have exactly one.
        BackboneError: It cannot be opened.
    """
    if backbone is None:
        if len(registry.backbones) != 1:
            names = ", ".join(registry.backbones) or "none"
            raise UsageError(
                f"Registry {registry.path} names {len(registry.backbones)} backbones ({names}); "
                f"say which one with backbone=…"
            )
        return open_registered(registry, next(iter(registry.backbones)))
    if isinstance(backbone, str) and backbone in registry.backbones:
        return open_registered(registry, backbone)
    text = str(backbone)
    if "/" not in text and not is_folder(backbone) and not text.startswith("package:"):
        raise BackboneError(
            text,
            f"is no key of the registry {registry.path}, which has "
            f"{', '.join(registry.backbones) or 'none'}. A folder is written ./{text}.",
        )
    return open_backbone(backbone)


def identity(backbone: BackboneSpec) -> str:
    """Returns name, revision and fingerprint of a backbone, shortened for messages."""
    revision = f"@{backbone.revision[:12]}" if backbone.revision else ""
    return f"{backbone.name}{revision} ({backbone.fingerprint[:19]}…)"
