"""What a search finds: for each query the texts that are nearest to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A text that was found.

    Attributes:
        row: Index of its row among the texts that were given, from 0.
        score: Cosine similarity of its vector and that of the query, in [-1, 1].
        text: The text.
        record: What else its row holds, as far as that is kept; None for plain texts.
    """

    row: int
    score: float
    text: str
    record: Mapping[str, object] | None = None

    def as_dict(self) -> dict[str, object]:
        """Returns it as JSON holds it; without `record` where there is none."""
        found: dict[str, object] = {"row": self.row, "score": self.score, "text": self.text}
        return found if self.record is None else {**found, "record": dict(self.record)}


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The texts that were found for Q queries; a sequence with one entry per query.

    Attributes:
        queries: The queries.
        found: The texts that were found for each, nearest first.
    """

    queries: tuple[str, ...]
    found: tuple[tuple[Neighbour, ...], ...]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[tuple[Neighbour, ...]]:
        return iter(self.found)

    def __getitem__(self, number: int) -> tuple[Neighbour, ...]:
        return self.found[number]

    @property
    def rows(self) -> list[list[int]]:
        """Returns the rows that were found for each query, as `recall_at_k` takes them."""
        return [[one.row for one in own] for own in self.found]

    def as_dicts(self) -> list[dict[str, object]]:
        """Returns one record per query, as JSON holds it."""
        return [
            {"query": query, "neighbours": [one.as_dict() for one in own]}
            for query, own in zip(self.queries, self.found, strict=True)
        ]
