"""Dependency trees of words, as training data have them, and checks of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapterhub.training.data.tagging import TaggedWords, join_words, mark_words
from adapterhub.training.options import Joining


@dataclass(frozen=True, slots=True, order=True)
class Arc:
    """One word of a tree.

    Attributes:
        start: First code point of the word in the text.
        end: Code point after its last one.
        head: Place of its head among the words of the row, from 1; 0 is the root.
        relation: Its relation to the head.
    """

    start: int
    end: int
    head: int
    relation: str


@dataclass(frozen=True, slots=True)
class ParsedWords:
    """One parsed row as it was read.

    Attributes:
        words: The words.
        heads: The place of each word's head, from 1; 0 is the root.
        relations: The relation of each word to its head.
        text: The text that the words are of; None where it is joined from them.
        offsets: Start and end of each word in that text; words of one token that is written
            otherwise, as `de` and `le` of `du`, have those of the token.
    """

    words: tuple[str, ...]
    heads: tuple[int, ...]
    relations: tuple[str, ...]
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ParsedText:
    """A text and its tree.

    Attributes:
        text: The text.
        arcs: Its words, in the order of the row.
    """

    text: str
    arcs: tuple[Arc, ...]


def join_tree(row: ParsedWords, joining: Joining) -> ParsedText:
    """Returns the text of a row and its tree.

    Args:
        row: The words and their heads.
        joining: As in `join_words`, for rows without a text.
    """
    if row.text is not None:
        arcs = zip(row.offsets, row.heads, row.relations, strict=True)
        return ParsedText(row.text, tuple(Arc(*place, head, name) for place, head, name in arcs))
    joined = join_words(TaggedWords(row.words, mark_words(row.relations)), joining)
    arcs_of = zip(joined.spans, row.heads, strict=True)
    return ParsedText(
        joined.text, tuple(Arc(span.start, span.end, head, span.entity) for span, head in arcs_of)
    )


def check_heads(heads: Sequence[int]) -> None:
    """Checks that heads make a tree with one root.

    Parsing predicts exactly one root, as Universal Dependencies have it, so that rows with several
    could never be predicted.

    Raises:
        ValueError: They do not; the message names the word.
    """
    for place, head in enumerate(heads, start=1):
        if not 0 <= head <= len(heads):
            raise ValueError(
                f"word {place} has the head {head}; heads are places of words from 1 to "
                f"{len(heads)}, or 0 for the root"
            )
        if head == place:
            raise ValueError(f"word {place} is its own head")
    roots = [place for place, head in enumerate(heads, start=1) if head == 0]
    if not roots:
        raise ValueError("no word has the head 0, so that the tree has no root")
    if len(roots) > 1:
        raise ValueError(
            f"{len(roots)} words have the head 0 ({', '.join(map(str, roots[:5]))}"
            f"{', …' if len(roots) > 5 else ''}); a tree has one root: attach the others to it"
        )
    circle = _find_circle(heads)
    if circle is not None:
        raise ValueError(
            f"the heads run in a circle: word {' -> '.join(map(str, (*circle, circle[0])))}"
        )


def _find_circle(heads: Sequence[int]) -> list[int] | None:
    """Returns the words of a circle of heads, or None where all lead to the root."""
    done = [False] * (len(heads) + 1)
    done[0] = True
    for start in range(1, len(heads) + 1):
        path: dict[int, None] = {}
        place = start
        while not done[place] and place not in path:
            path[place] = None
            place = heads[place - 1]
        if not done[place]:
            words = list(path)
            return words[words.index(place) :]
        for word in path:
            done[word] = True
    return None


def depths_of_words(heads: Sequence[int]) -> list[int]:
    """Returns how many arcs each word of a tree is away from the root, in the order of words."""
    depths = [0] * (len(heads) + 1)
    for start in range(1, len(heads) + 1):
        path = []
        place = start
        while place and not depths[place]:
            path.append(place)
            place = heads[place - 1]
        for word in reversed(path):
            depths[word] = depths[heads[word - 1]] + 1
    return depths[1:]
