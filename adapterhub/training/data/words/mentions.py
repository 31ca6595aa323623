"""Mention replacement: augments tagged rows with other mentions of the same entity type.

Source: Dai and Adel, "An Analysis of Simple Data Augmentation for Named Entity Recognition", 2020;
here the mentions are given, not taken from the training set.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from adapterhub.errors import UsageError
from adapterhub.training.data.tagging import Span
from adapterhub.training.options import TrainingOptions

Mentions = Mapping[str, Sequence[str]]
"""Mentions by entity type."""


def rows_with_mentions(
    inputs: Sequence[tuple[str, ...]],
    entities: Sequence[Sequence[Span]],
    types: Sequence[str],
    options: TrainingOptions,
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[Span, ...], ...]]:
    """Returns inputs and entities of new rows, with random mentions, of all rows that have any.

    Args:
        inputs: One text per row.
        entities: Of each row.
        types: The entity types of all rows; none unless the task is tagging.
        options: Of the mentions and the seed.

    Raises:
        UsageError: Mentions are given for a type that the rows do not have.
    """
    check_mentions(options.mentions, types)
    draw = random.Random(options.seed)
    rows = zip(inputs, entities, strict=True)
    copies = [with_other_mentions(text, s, options.mentions, draw) for (text,), s in rows]
    found = [copy for copy in copies if copy is not None]
    return tuple((text,) for text, _ in found), tuple(spans for _, spans in found)


def with_other_mentions(
    text: str, spans: Sequence[Span], mentions: Mentions, draw: random.Random
) -> tuple[str, tuple[Span, ...]] | None:
    """Returns a text and its entities with random mentions, or None where none can be replaced.

    Args:
        text: The text.
        spans: Its entities in text order.
        mentions: Replacements by entity type.
        draw: Random generator.
    """
    if not any(span.entity in mentions for span in spans):
        return None
    parts: list[str] = []
    moved: list[Span] = []
    end = length = 0
    for span in spans:
        known = mentions.get(span.entity)
        mention = text[span.start : span.end] if known is None else draw.choice(known)
        before = text[end : span.start]
        start = length + len(before)
        length, end = start + len(mention), span.end
        moved.append(Span(start, length, span.entity))
        parts += (before, mention)
    return "".join(parts) + text[end:], tuple(moved)


def check_mentions(mentions: Mentions, types: Sequence[str]) -> None:
    """Checks that the rows have the entity types of all mentions.

    Raises:
        UsageError: The rows do not have one of the types.
    """
    for entity in mentions:
        if entity not in types:
            known = ", ".join(types[:12]) or "none, since the task is not tagging"
            raise UsageError(
                f"Option mentions has mentions of '{entity}', which is no entity type of the rows; "
                f"types are {known}{', …' if len(types) > 12 else ''}."
            )
