"""Reads the corpus: xz files, one paragraph per line, an empty line between documents."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from adapterhub.errors import DataError

Split = Literal["train", "eval"]
Document = tuple[str, ...]

LANGUAGES = ("en", "zh")
EVAL_SHARE = 0.005
"""Share of the documents that are kept back for evaluation."""


def iter_documents(
    folder: Path, language: str, *, split: Split | None = None
) -> Iterator[Document]:
    """Yields the documents of one language, each as its paragraphs, in file order.

    Args:
        folder: Corpus folder; the text is in `<folder>/<language>/*.txt.xz`.
        language: Name of the subfolder, for example `en`.
        split: Only the documents of this split; all of them when None.

    Raises:
        DataError: The folder has no file for the language.
    """
    paths = sorted((folder / language).glob("*.txt.xz"))
    if not paths:
        raise DataError(
            folder / language, "has no .txt.xz file; expected one or more. Pass the corpus folder."
        )
    for path in paths:
        for document in _read_file(path):
            if split is None or split_of(document) == split:
                yield document


def split_of(document: Document) -> Split:
    """Returns the split of a document, by a hash of its text: the same in every run."""
    digest = hashlib.blake2b("\n".join(document).encode(), digest_size=8).digest()
    return "eval" if int.from_bytes(digest, "big") < EVAL_SHARE * 2**64 else "train"


def _read_file(path: Path) -> Iterator[Document]:
    paragraphs: list[str] = []
    with lzma.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            text = line.strip()
            if text:
                paragraphs.append(text)
            elif paragraphs:
                yield tuple(paragraphs)
                paragraphs = []
    if paragraphs:
        yield tuple(paragraphs)
