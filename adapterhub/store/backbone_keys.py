"""How a registry names a backbone that comes from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping

from adapterhub.specs import BackboneSpec
from adapterhub.store.entries import BackboneEntry


def backbone_key(known: Mapping[str, BackboneEntry], backbone: BackboneSpec) -> str:
    """Returns the key that a registry has for a backbone, or a new one made of its name."""
    for key, entry in known.items():
        if entry.fingerprint == backbone.fingerprint:
            return key
    key = _slug(backbone.name)
    digest = backbone.fingerprint.removeprefix("sha256:")
    return key if key not in known else f"{key}-{digest[:8]}"


def is_portable(backbone: BackboneSpec) -> bool:
    """Returns whether others can open a backbone by its name: it ships, or is on the Hub."""
    return backbone.name.startswith("package:") or backbone.revision is not None


def portable_entry(backbone: BackboneSpec) -> BackboneEntry:
    """Returns where others find a backbone; of a folder here they learn no more than its name."""
    source = backbone.name if is_portable(backbone) else f"./{_slug(backbone.name)}"
    return BackboneEntry(
        source=source, revision=backbone.revision, fingerprint=backbone.fingerprint
    )


def _slug(name: str) -> str:
    last = name.removeprefix("package:").rstrip("/\\").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:40] or "backbone"
