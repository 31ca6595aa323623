"""Retrieval: the partner of a text among all measured texts, by cosine, on data sets of pairs."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterhub import recall_at_k
from adapterhub.hub import Hub
from adapterhub.kinds import KINDS
from adapterhub.training.data.dataset import Dataset, read_splits
from adapterhub.training.data.labels import Target
from adapterhub.training.options import training_options
from recipes.backbone.tuning_sets import RESTRICTED
from recipes.quality.baseline import fitted_tfidf
from recipes.quality.datasets import language_of
from recipes.quality.held_out.cells import mark_of, points
from recipes.quality.held_out.halves import Halves, fewer_candidates
from recipes.quality.held_out.record import HeldOut, RetrievedSet
from recipes.quality.held_out.setting import TASK, Setting, train_head
from recipes.quality.resampling import compare_counts, mean_of

PARTNERS: Mapping[str, str | float] = {
    "csnli": "entailment",
    "lcqmc": "same",
    "mrpc": "paraphrase",
    "pan_paraphrase": "paraphrase",
    "stsb": 4.0,
    "stsb_zh": 4.0,
}
"""The data sets of pairs, with the label, or the smallest score, of texts that mean the same."""

TFIDF, VECTORS, EMBEDDING = "TF-IDF cosine", "vectors of the backbone", "embedding head"
_KIND = "embedding"
_LOOKED_AT = (1, 5, 10)
_AT_ONCE = 512


def is_trained() -> bool:
    """Returns whether there are heads that give vectors."""
    return _KIND in KINDS


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """Texts and those of them whose partners are searched for.

    Attributes:
        texts: The different texts of all rows.
        queries: Places of those that have a partner and stand first.
        partners: Of each query, the places of its partners.
    """

    texts: tuple[str, ...]
    queries: tuple[int, ...]
    partners: tuple[frozenset[int], ...]

    @classmethod
    def read(cls, dataset: Dataset) -> Searched:
        """Returns what is searched in the rows of a data set of pairs."""
        texts = tuple(dict.fromkeys(text for row in dataset.inputs for text in row))
        place = {text: number for number, text in enumerate(texts)}
        partners: defaultdict[int, set[int]] = defaultdict(set)
        for first, second in same_pairs(dataset):
            partners[place[first]].add(place[second])
        return cls(texts, tuple(partners), tuple(map(frozenset, partners.values())))

    def found(self, vectors: Any) -> list[list[int]]:
        """Returns the texts most similar to each query, best first, without the query itself.

        Args:
            vectors: (texts, F) of length 1, dense or sparse.
        """
        rows = []
        for start in range(0, len(self.queries), _AT_ONCE):
            own = list(self.queries[start : start + _AT_ONCE])
            product = vectors[own] @ vectors.T
            scores = np.array(product.toarray() if hasattr(product, "toarray") else product)
            scores[np.arange(len(own)), own] = -np.inf
            rows += np.argsort(-scores, axis=1, kind="stable")[:, : max(_LOOKED_AT)].tolist()
        return rows


def same_pairs(dataset: Dataset) -> list[tuple[str, str]]:
    """Returns the pairs of different texts that mean the same."""
    wanted = PARTNERS[dataset.name]

    def is_same(target: Target) -> bool:
        return float(str(target)) >= wanted if isinstance(wanted, float) else target == wanted

    pairs = zip(dataset.inputs, dataset.targets, strict=True)
    return [(row[0], row[1]) for row, target in pairs if is_same(target) and row[0] != row[1]]


def measure_retrieval(name: str, setting: Setting) -> RetrievedSet:
    """Returns how often the systems find the partner of a measured text.

    Raises:
        AdapterHubError: The rows cannot be used, or a head cannot be trained.
    """
    halves = setting.halves(name)
    searched = Searched.read(halves.measured)
    systems: dict[str, Callable[[], Any]] = {
        TFIDF: lambda: _tfidf(halves.splits.train, searched.texts),
        VECTORS: lambda: _backbone_vectors(searched.texts, setting),
    }
    if is_trained():
        systems[EMBEDDING] = lambda: _embeddings(halves, searched.texts, setting)
    counts: dict[str, npt.NDArray[Any]] = {}
    seconds, recall = {}, defaultdict[int, dict[str, float]](dict)
    for system, vectors in systems.items():
        started = time.perf_counter()
        found = searched.found(vectors())
        seconds[system] = round(time.perf_counter() - started, 1)
        pairs = list(zip(found, searched.partners, strict=True))
        counts[system] = np.array([[recall_at_k([own], [right], k=1)] for own, right in pairs])
        for k in _LOOKED_AT:
            recall[k][system] = round(recall_at_k(found, searched.partners, k=k), 6)
    return RetrievedSet(
        name=name,
        language=language_of(halves.splits.train),
        tuned=name in setting.listed,
        restricted=name in RESTRICTED,
        train=len(same_pairs(halves.splits.train)) if is_trained() else 0,
        queries=len(searched.queries),
        texts=len(searched.texts),
        recall=recall,
        figures=compare_counts(counts, mean_of),
        seconds=seconds,
    )


def _tfidf(train: Dataset, texts: Sequence[str]) -> Any:
    vectorizer = fitted_tfidf([text for row in train.inputs for text in row])
    return vectorizer.transform(texts).tocsr()


def _backbone_vectors(texts: Sequence[str], setting: Setting) -> npt.NDArray[Any]:
    hub = Hub(backbone=setting.backbone.folder, dtype=setting.limits.precision)
    return np.asarray(hub.encode(list(texts), normalize=True))


def _embeddings(halves: Halves, texts: Sequence[str], setting: Setting) -> npt.NDArray[Any]:
    """Returns the vectors of a head that is trained on the pairs that mean the same."""
    train, choosing = (
        [{"text": first, "text_pair": second} for first, second in same_pairs(dataset)]
        for dataset in (halves.splits.train, halves.splits.validation)
    )
    options = training_options(
        kind=_KIND,
        validation=choosing,
        test_fraction=0,
        folds=0,
        seed=setting.limits.seed,
        **fewer_candidates(setting.limits, setting.encoder.depth),
    )
    splits = read_splits(train, options)
    trained = train_head(splits, options, setting.backbone, setting.encoder)
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "registry.yaml"
        trained.save(registry)
        hub = Hub(registry, dtype=setting.limits.precision)
        answers: Sequence[Any] = hub.score(list(texts), TASK)[TASK].answers
    return np.array([answer["vector"] for answer in answers], np.float32)


def render_retrieved(found: HeldOut) -> Iterator[str]:
    """Yields the table of partners that are found."""
    systems = list(dict.fromkeys(system for one in found.retrieved for system in one.figures.of))
    yield "### Partners found among all measured texts"
    yield ""
    yield (
        "The second text of a pair that means the same (`stsb`, `stsb_zh`: score 4 or more) is "
        "searched for among all different texts of the measured rows, by the cosine of TF-IDF, of "
        "`hub.encode`"
        + (", and of the vectors of a head trained on such pairs" if EMBEDDING in systems else "")
        + ". In the cells: percent of the partners among the first 1, 5 and 10 texts found. "
        "*Points*: of the last column minus TF-IDF, at the first text."
    )
    yield ""
    yield f"| set | language | texts searched for | among | {' | '.join(systems)} | points |"
    yield f"| --- | --- | ---: | ---: | {' | '.join('---:' for _ in systems)} | ---: |"
    for one in found.retrieved:
        cells = [
            " / ".join(f"{100 * one.recall[k][system]:.1f}" for k in _LOOKED_AT)
            if system in one.recall[1]
            else "–"
            for system in systems
        ]
        ahead = one.figures.minus(list(one.figures.of)[-1], TFIDF)
        name = f"{one.name}{mark_of(one.restricted)}"
        last = "–" if ahead is None else points(ahead)
        yield (
            f"| {name} | {one.language} | {one.queries:,} | {one.texts:,} | "
            f"{' | '.join(cells)} | {last} |"
        )
