"""Front matter of people and of adapterhub in one: what people wrote or changed by hand stays.

A value is ours while it is the one that we wrote last, which a record in the card says by its
digest: it survives clones, the Hub's editor and clients that write the front matter anew. Where
an earlier version wrote the card there is no record, and what it wrote follows from the registry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapterhub.publishing.front_matter import Card, with_values
from adapterhub.publishing.hub_metadata import OWN_KEYS, OWN_TAGS, REBUILT, SEVERAL

Written = Mapping[str, str | Sequence[str]]
"""Digest of what we wrote, by key; of lists one of each entry."""

_ADDED_TO = frozenset({"datasets", "tags"})
"""Lists that also have our entries where a person wrote them first."""
_BESIDE = {"license_name": "license", "base_model_relation": "base_model"}
"""Keys that say something of another key, and mean nothing without our value of that."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The outcome for one key.

    Attributes:
        value: Its value.
        changed: Whether that differs from the current one.
        written: What the record says from now on; None for nothing.
    """

    value: Any
    changed: bool = False
    written: str | Sequence[str] | None = None


def with_ours(card: Card, ours: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> Card:
    """Returns a card with our front matter in it, and the record of what is ours.

    Args:
        card: The current card.
        ours: What we would write into an empty card; a value of None or [] removes nothing.
        earlier: What an earlier version wrote, as far as known; for cards of ours without record.
    """
    base = read_record(card.record)
    if base is None:
        base = digests(earlier) if earlier and "<!-- adapterhub:top " in card.body else {}
    ours, written = dict(ours), dict(base)
    changes: dict[str, Any] = {}
    for key in (key for key in OWN_KEYS if key not in REBUILT):
        if key == "tags":
            ours[key] = _of_models(ours[key], ours["base_model"], changes, card)
        if not _may_write(key, ours, changes, card):
            continue
        kept = _keep(key, card.values.get(key), ours.get(key), base.get(key))
        if kept.changed:
            changes[key] = kept.value
        if kept.written is not None:
            written[key] = kept.written
    if _name_is_left(card, changes, base):
        changes["license_name"] = None
        del written["license_name"]
    for key in REBUILT:
        entries, before = ours.get(key), card.values.get(key)
        # An empty list removes only a list: nothing else is known to be ours.
        if entries != before and (entries or isinstance(before, list)):
            changes[key] = entries or None
    return replace(with_values(card, changes, OWN_KEYS), record=dump_record(written))


def strings(value: object) -> list[Any]:
    """Returns the entries of a list, or of a single value one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _may_write(key: str, ours: Mapping[str, Any], changes: Mapping[str, Any], card: Card) -> bool:
    """Returns whether a key says something of a value that is ours."""
    other = _BESIDE.get(key)
    if other is None or key in card.values:
        return True
    now = strings(changes.get(other, card.values.get(other)))
    return any(entry in now for entry in strings(ours.get(other)))


def _name_is_left(card: Card, changes: Mapping[str, Any], base: Written) -> bool:
    """Returns whether our name of several licences is left beside a licence that has none."""
    name = changes.get("license_name", card.values.get("license_name"))
    licence = changes.get("license", card.values.get("license"))
    is_ours = "license_name" in changes or _digest(name) == base.get("license_name")
    return name == SEVERAL and licence != "other" and is_ours


def _of_models(
    tags: Sequence[str], models: Sequence[str], changes: Mapping[str, Any], card: Card
) -> list[str]:
    """Returns our tags without those of models that a person removed from `base_model`."""
    now = strings(changes.get("base_model", card.values.get("base_model")))
    gone = {f"base_model:adapter:{model}" for model in models if model not in now}
    return [tag for tag in tags if tag not in gone]


def _keep(key: str, theirs: Any, ours: Any, base: str | Sequence[str] | None) -> _Kept:
    if ours in (None, []):
        return _Kept(theirs)
    if theirs is None:
        # Without our last value there, a person removed it.
        return _Kept(ours, True, digest_of(ours)) if base is None else _Kept(None)
    if isinstance(ours, list):
        return _keep_list(key, strings(theirs), ours, base)
    if base is None or _digest(theirs) != base:
        return _Kept(theirs)
    return _Kept(ours, ours != theirs, _digest(ours))


def _keep_list(
    key: str, theirs: list[Any], ours: list[Any], base: str | Sequence[str] | None
) -> _Kept:
    if base is None and key not in _ADDED_TO:
        return _Kept(theirs)
    known = set([base] if isinstance(base, str) else base or ())
    old = [one for one in theirs if _digest(one) in known and one not in ours]
    dropped = [one for one in old if _may_go(key, one)]
    kept = [one for one in theirs if one not in dropped]
    added = [one for one in ours if one not in theirs and _digest(one) not in known]
    value = [*kept, *added]
    if set(map(_digest, value)) == set(map(_digest, ours)):
        value = ours
    gone = set(map(_digest, dropped))
    written = [*(one for one in known if one not in gone), *map(_digest, added)]
    return _Kept(value, value != theirs, sorted(written))


def _may_go(key: str, entry: Any) -> bool:
    """Returns whether an entry of ours leaves its list when we would not write it any more."""
    if key == "tags":
        return str(entry).startswith(OWN_TAGS)
    # Only of the tasks that are published now the data sets are known.
    return key != "datasets"


def read_record(text: str | None) -> Written | None:
    """Returns the record of a card, or None if there is none that can be read."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    for one in value.values():
        if not isinstance(one, str) and not (
            isinstance(one, list) and all(isinstance(part, str) for part in one)
        ):
            return None
    return value


def dump_record(written: Written) -> str:
    """Returns the text of a record."""
    return json.dumps(written, separators=(",", ":"), sort_keys=True)


def digests(values: Mapping[str, Any]) -> Written:
    """Returns the record of values that we wrote."""
    return {
        key: digest_of(value)
        for key, value in values.items()
        if key not in REBUILT and value not in (None, [])
    }


def digest_of(value: Any) -> str | Sequence[str]:
    """Returns what the record says of a value, of a list for each entry."""
    return sorted(map(_digest, value)) if isinstance(value, list) else _digest(value)


def _digest(value: Any) -> str:
    """Returns what the record says of a value: never text of a head file."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
