"""The tags of entities in the schemes BIO and BIOES.

In BIO `I-x` continues an entity that `B-x` began; in BIOES `E-x` is also its last word and `S-x`
its only one.

Source: Ratinov and Roth, "Design Challenges and Misconceptions in Named Entity Recognition", 2009,
section 5.2, compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

OUTSIDE = "O"
_SCHEMES = {False: "BI", True: "BIES"}
_TAG = re.compile(r"[BIES]-.+", re.DOTALL)


def mark_of(tag: str) -> str:
    """Returns the prefix of a tag: `O`, `B`, `I`, `E` or `S`."""
    return tag.partition("-")[0]


def entity_types(tags: Iterable[str]) -> tuple[str, ...]:
    """Returns the entity types of tags, in order of first appearance."""
    return tuple(dict.fromkeys(tag[2:] for tag in tags if tag != OUTSIDE))


def have_ends(tags: Sequence[str]) -> bool:
    """Returns whether tags are BIOES: every entity ends with `E-x` or `S-x`."""
    return any(mark_of(tag) in ("E", "S") for tag in tags)


def tags_of(types: Iterable[str], *, ends: bool) -> tuple[str, ...]:
    """Returns the tags of entity types: `O`, then those of each type in turn.

    Args:
        types: The entity types in order.
        ends: True for BIOES, False for BIO.
    """
    marks = _SCHEMES[ends]
    return (OUTSIDE, *(f"{mark}-{entity}" for entity in types for mark in marks))


def check_tags(tags: Sequence[str]) -> None:
    """Checks that tags are complete BIO or BIOES.

    Raises:
        ValueError: `O` is missing, a tag is of another scheme, or a type lacks a tag.
    """
    if OUTSIDE not in tags:
        raise ValueError("a tagging task needs the tag 'O'")
    for tag in tags:
        if tag != OUTSIDE and not _TAG.fullmatch(tag):
            raise ValueError(f"tag '{tag}' is neither 'O' nor 'B-…', 'I-…', 'E-…' or 'S-…'")
    needed = _SCHEMES[True] if have_ends(tags) else "B"
    for entity in entity_types(tags):
        for mark in needed:
            if f"{mark}-{entity}" not in tags:
                known = next(tag for tag in tags if tag[2:] == entity and tag != OUTSIDE)
                raise ValueError(f"tag '{known}' has no '{mark}-{entity}' beside it")
