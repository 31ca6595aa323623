"""Index: texts with their vectors, among which those that are nearest to a query are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapterhub.inputs import Record, read_records
from adapterhub.option_models import parse_options
from adapterhub.retrieval.build import (
    EncodingHub,
    check_encoder,
    encode_unit,
    make_parts,
    prepare_index,
)
from adapterhub.retrieval.exact import Array, Places, Ranked, rank_all, rank_some
from adapterhub.retrieval.neighbours import Neighbour, Neighbours
from adapterhub.retrieval.options import IndexOptions, QueryOptions
from adapterhub.retrieval.parts import IndexParts, IndexRecord
from adapterhub.retrieval.saved import read_parts, save_parts
from adapterhub.scoring.sources.open_source import open_source
from adapterhub.store.paths import absolute_path


class Index:
    """Texts with their vectors.

    Made by `Index.build` or `Index.open`. Thread-safe.

    Attributes:
        record: What the vectors were made of.
        vectors: (N, D) fp32 unit vectors of the texts, read-only.
        has_graph: Whether a search is approximate unless it is to be exact.
    """

    def __init__(self, hub: EncodingHub, parts: IndexParts) -> None:
        self._hub, self._parts = hub, parts
        self.record: IndexRecord = parts.record
        self.vectors: Array = parts.vectors.view()
        self.vectors.flags.writeable = False
        self.has_graph = parts.graph is not None

    @classmethod
    def build(
        cls, hub: EncodingHub, texts: object, *, folder: str | Path | None = None, **options: Any
    ) -> Index:
        """Returns an index of texts, each encoded once.

        Args:
            hub: The `Hub` whose encoder makes the vectors, of queries too.
            texts: A file, folder or pattern; an open stream; a table; or strings or records.
            folder: Where it is saved. An index that is there already is opened if it was made of
                the same texts, settings and backbone, and refused if not.
            options: Of `IndexOptions`, such as `text_column`, `pooling`, `prompt`, `force`.

        Raises:
            DataError: The texts or the folder cannot be used.
            UsageError: An option is not valid.
            AdapterHubError: As `Hub.encode`.
        """
        own = parse_options(IndexOptions, options)
        place = None if folder is None else absolute_path(folder, "folder of the index")
        job = prepare_index(open_source(texts, own.format), own, place)
        return cls(hub, make_parts(hub, job))

    @classmethod
    def open(cls, folder: str | Path, hub: EncodingHub) -> Index:
        """Returns a saved index.

        Args:
            folder: Where it was saved. Open only what you trust: the graph of an index is read by
                a library that does not check it.
            hub: A `Hub` with the backbone that the index was made with.

        Raises:
            DataError: There is none, it is damaged, or its task is another version here.
            BackboneMismatchError: It was made with another backbone.
        """
        place = absolute_path(folder, "folder of the index")
        parts = read_parts(place)
        check_encoder(parts.record, hub, place)
        return cls(hub, parts)

    def __repr__(self) -> str:
        count, size = self.vectors.shape
        return f"Index({count} texts, {size} numbers each, of {self.record.backbone.name})"

    def __len__(self) -> int:
        """Returns the number of texts."""
        return len(self._parts.texts)

    def text_at(self, place: int) -> dict[str, object]:
        """Returns a text by its place among those of the index: `row`, `text` and `record`."""
        return self._parts.texts.at(place)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Writes the index to a folder, which is whole or not there.

        Args:
            folder: Made; may exist if it is empty.
            force: Whether an index that is there is replaced.

        Raises:
            DataError: It holds something else, or the system cannot write it.
        """
        save_parts(absolute_path(folder, "folder of the index"), self._parts, force=force)

    def query(
        self, queries: Record | Iterable[Record], top_k: int = 10, **options: Any
    ) -> Neighbours:
        """Returns the texts that are nearest to each query by cosine similarity.

        Args:
            queries: Strings, or records with the column of the texts.
            top_k: Number of texts for each query; all, if there are fewer.
            options: Of `QueryOptions`: `min_score`, `exact`.

        Raises:
            UsageError: An option is not valid.
            InputError: A query cannot be read.
        """
        asked = parse_options(QueryOptions, {"top_k": top_k, **options})
        rows = read_records(queries)
        field = self.record.text_column
        vectors = encode_unit(self._hub, rows, self.record, role="query", fields=(field,))
        texts = tuple(str(row[field] if isinstance(row, Mapping) else row) for row in rows)
        return self._neighbours(texts, self._ranked(vectors, asked), asked)

    def neighbours(self, top_k: int = 10, **options: Any) -> Iterator[Neighbours]:
        """Yields the nearest other texts of each text, in order, some thousand texts at a time.

        Args:
            top_k: Number of other texts for each.
            options: As in `query`.

        Raises:
            UsageError: An option is not valid.
        """
        asked = parse_options(QueryOptions, {"top_k": top_k, **options})
        return self._each(asked)

    def _each(self, asked: QueryOptions, step: int = 1_024) -> Iterator[Neighbours]:
        for start in range(0, len(self), step):
            own = np.arange(start, min(start + step, len(self)))
            ranked = self._ranked(self._parts.vectors[own], asked, without=own)
            texts = tuple(self._parts.texts.strings[place] for place in own.tolist())
            yield self._neighbours(texts, ranked, asked)

    def _ranked(
        self, queries: Array, asked: QueryOptions, *, without: Places | None = None
    ) -> Iterator[Ranked]:
        graph, vectors = self._parts.graph, self._parts.vectors
        if graph is None or asked.exact:
            yield from rank_all(vectors, queries, asked.top_k, without=without)
            return
        for number, query in enumerate(queries):
            places = graph.candidates(query, asked.top_k + 1)
            if without is not None:
                places = places[places != without[number]]
            yield rank_some(vectors, query, places, asked.top_k)

    def _neighbours(
        self, queries: Sequence[str], ranked: Iterable[Ranked], asked: QueryOptions
    ) -> Neighbours:
        found = []
        for places, scores in ranked:
            if asked.min_score is not None:
                places = places[scores >= asked.min_score]
            pairs = zip(places.tolist(), scores.tolist(), strict=False)
            found.append(tuple(self._neighbour(*pair) for pair in pairs))
        return Neighbours(tuple(queries), tuple(found))

    def _neighbour(self, place: int, score: float) -> Neighbour:
        return Neighbour(score=score, **self._parts.texts.at(place))
