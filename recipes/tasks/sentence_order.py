"""Rows of sentence order: two neighbours of a paragraph, in the order of the text or swapped.

Each part is made of a shard of its own, so no document is in two parts.
"""

from __future__ import annotations

import gzip
import json
import lzma
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from adapterhub.errors import DataError
from adapterhub.probing.sentence_pairs import SentencePair, sentence_pairs


def write_order(
    corpus: Path, target: Path, parts: Mapping[str, str], *, rows: Mapping[str, int], each: int
) -> Path:
    """Writes the rows of each part to the new folder `target`, and returns that.

    Args:
        corpus: Folder with the shards.
        target: It is made.
        parts: Shard by part; it has a paragraph per line, and an empty line between documents.
        rows: How many of each part; fewer where the documents have fewer pairs.
        each: Pairs of one document at most.

    Raises:
        DataError: A shard is missing.
    """
    target.mkdir()
    for part, shard in parts.items():
        pairs = islice(drawn_pairs(documents_of(corpus / shard), each), rows[part])
        lines = (f"{json.dumps(asdict(pair), ensure_ascii=False)}\n" for pair in pairs)
        with gzip.open(target / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(lines)
    return target


def drawn_pairs(documents: Iterable[Sequence[str]], each: int) -> Iterator[SentencePair]:
    """Yields up to `each` pairs of every document, the same in every run.

    Args:
        documents: Their paragraphs.
        each: More would make few documents of many rows.
    """
    draw = random.Random(0)
    for paragraphs in documents:
        pairs = [pair for paragraph in paragraphs for pair in sentence_pairs(paragraph)]
        yield from draw.sample(pairs, min(each, len(pairs)))


def documents_of(shard: Path) -> Iterator[list[str]]:
    """Yields the paragraphs of each document of a shard.

    Raises:
        DataError: It is missing.
    """
    if not shard.is_file():
        raise DataError(shard, "it is missing; rows of sentence order are made from it")
    with lzma.open(shard, "rt", encoding="utf-8") as file:
        for document in file.read().split("\n\n"):
            yield document.splitlines()
