"""Other mentions in the place of a row's entities, so that a head learns where they stand.

Source: Dai and Adel, "An Analysis of Simple Data Augmentation for Named Entity Recognition", 2020,
there called mention replacement; here the mentions are given, not those of the training rows.
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
    """Returns the rows in which other mentions can stand, with drawn ones: inputs and entities.

    Args:
        inputs: One text per row.
        entities: Of each row.
        types: The entity types of all rows; none where it is no tagging task.
        options: Gives the mentions and the seed.

    Raises:
        UsageError: The rows have no entities of a type that mentions are given of.
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
    """Returns a text with drawn mentions in the place of its entities of the types that have some.

    Args:
        text: The text.
        spans: Its entities in text order.
        mentions: What may stand there.
        draw: Chooses.

    Returns:
        The text and its entities, or None where it has no entity of these types.
    """
    if not any(span.entity in mentions for span in spans):
        return None
    parts: list[str] = []
    moved: list[Span] = []
    end = length = 0
    for span in spans:
        known = mentions.get(span.entity)
        said = text[span.start : span.end] if known is None else draw.choice(known)
        before = text[end : span.start]
        start = length + len(before)
        length, end = start + len(said), span.end
        moved.append(Span(start, length, span.entity))
        parts += (before, said)
    return "".join(parts) + text[end:], tuple(moved)


def check_mentions(mentions: Mentions, types: Sequence[str]) -> None:
    """Checks that mentions are of entity types that the rows have.

    Raises:
        UsageError: The rows have no entities, or none of a type.
    """
    for entity in mentions:
        if entity not in types:
            known = ", ".join(types[:12]) or "none, since it is no tagging task"
            raise UsageError(
                f"Option mentions has mentions of '{entity}', which is no entity type of the rows; "
                f"types are {known}{', …' if len(types) > 12 else ''}."
            )
