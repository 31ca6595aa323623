"""Turns the corpus into memory-mapped token ids with document and sentence starts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm
from transformers import AlbertTokenizer

from adapterhub.errors import DataError
from recipes.backbone.corpus import LANGUAGES, Document, Split, iter_documents
from recipes.backbone.vocabulary import HAN

SPLITS: tuple[Split, ...] = ("train", "eval")
_BATCH = 256  # documents that are tokenised in one call

Ids = npt.NDArray[np.uint16]
Starts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """The tokens of one language and split.

    Attributes:
        ids: Token ids without special tokens, document after document; memory mapped.
        documents: Index in `ids` of the first token of each document, and `len(ids)` at the end.
        sentences: Index in `ids` of the first token of each sentence; every document start is one.
    """

    ids: Ids
    documents: Starts
    sentences: Starts


@dataclass(frozen=True)
class ShardCounts:
    """Sizes of one shard; `unknown` is the number of `<unk>` tokens."""

    tokens: int
    documents: int
    sentences: int
    unknown: int


@dataclass(frozen=True)
class Manifest:
    """What a shard folder holds.

    Attributes:
        vocabulary_sha256: Of the `spiece.model` that made the ids.
        vocab_size: Pieces.
        counts: By shard name, `<language>-<split>`.
    """

    vocabulary_sha256: str
    vocab_size: int
    counts: dict[str, ShardCounts]

    def unknown_rate(self, language: str) -> float:
        """Returns the share of `<unk>` in the held-out text of a language."""
        counts = self.counts[f"{language}-eval"]
        return counts.unknown / max(1, counts.tokens)

    def check_vocabulary(self, vocabulary: Path) -> None:
        """Checks that the shards were made with this `spiece.model`.

        Raises:
            DataError: They were made with another.
        """
        found = hashlib.sha256(vocabulary.read_bytes()).hexdigest()
        if found != self.vocabulary_sha256:
            expected = self.vocabulary_sha256
            problem = f"sha256 is {found}; the shards were made with {expected}. Use that one."
            raise DataError(vocabulary, problem)


def write_shards(
    corpus: Path, tokenizer_folder: Path, out: Path, *, languages: Iterable[str] = LANGUAGES
) -> None:
    """Writes `<language>-<split>.{ids,documents,sentences}.npy` and, last, `manifest.json`.

    Args:
        corpus: Corpus folder.
        tokenizer_folder: Folder with `spiece.model`.
        out: Folder to write to; made when missing.
        languages: Subfolders of the corpus.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = cast(AlbertTokenizer, AlbertTokenizer.from_pretrained(tokenizer_folder))
    rules = _SentenceRules.of(tokenizer)
    counts: dict[str, ShardCounts] = {}
    for language in languages:
        for split in SPLITS:
            name = f"{language}-{split}"
            shard = _tokenize(iter_documents(corpus, language, split=split), tokenizer, rules, name)
            for field in ("ids", "documents", "sentences"):
                np.save(out / f"{name}.{field}.npy", getattr(shard, field))
            counts[name] = ShardCounts(
                tokens=len(shard.ids),
                documents=len(shard.documents) - 1,
                sentences=len(shard.sentences),
                unknown=int((shard.ids == tokenizer.unk_token_id).sum()),
            )
    digest = hashlib.sha256((tokenizer_folder / "spiece.model").read_bytes()).hexdigest()
    manifest = Manifest(vocabulary_sha256=digest, vocab_size=len(tokenizer), counts=counts)
    (out / "manifest.json").write_text(json.dumps(asdict(manifest), indent=2) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Returns what `write_shards` recorded about a shard folder.

    Raises:
        DataError: The folder has no manifest, that is, the shards are missing or not complete.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise DataError(path, "not found; write the shards first")
    fields = json.loads(path.read_text())
    counts = {name: ShardCounts(**values) for name, values in fields.pop("counts").items()}
    return Manifest(**fields, counts=counts)


def read_shard(folder: Path, language: str, split: Split) -> Shard:
    """Returns a shard that `write_shards` wrote, memory mapped.

    Raises:
        DataError: The folder does not hold the shard.
    """
    if not (folder / f"{language}-{split}.sentences.npy").is_file():
        raise DataError(folder, f"holds no shard {language}-{split}; write the shards first")
    ids, documents, sentences = (
        np.load(folder / f"{language}-{split}.{field}.npy", mmap_mode="r")
        for field in ("ids", "documents", "sentences")
    )
    return Shard(ids=ids, documents=np.asarray(documents), sentences=np.asarray(sentences))


@dataclass(frozen=True)
class _SentenceRules:
    """Per token id, whether it marks a sentence border. All arrays are (V,) bool."""

    stop: npt.NDArray[np.bool_]
    """The token ends a sentence, if a new one can start behind it: . ! ? 。 ;"""
    wide_stop: npt.NDArray[np.bool_]
    """The token ends a sentence even with no space behind it: 。"""
    close: npt.NDArray[np.bool_]
    """A closing quote or bracket: it belongs to the sentence before."""
    spaced: npt.NDArray[np.bool_]
    """The piece starts a word, that is, a space stood before it."""
    han: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: AlbertTokenizer) -> _SentenceRules:
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))

        def flags(pattern: str) -> npt.NDArray[np.bool_]:
            return np.array([re.search(pattern, piece) is not None for piece in pieces])

        return cls(
            stop=flags(r"^[^▁]?[.!?。;]$"),
            wide_stop=flags(r"。$"),
            close=flags(r"^[”’\"')\]」』》]+$"),
            spaced=flags(r"^▁"),
            han=np.array([HAN.search(piece) is not None for piece in pieces]),
        )

    def starts(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Returns for each token of a paragraph whether a sentence starts with it; (P,) -> (P,)."""
        found = np.zeros(len(ids), dtype=bool)
        found[:1] = True
        if len(ids) < 3:
            return found
        stop, before, after = self.stop[ids], ids[:-1], ids[1:]
        word = (
            self.spaced[after]
            | self.han[after] & self.han[np.roll(ids, 1)][:-1]
            | self.wide_stop[before]
        )
        found[1:] = stop[:-1] & word & ~self.close[after]
        # 。” + text: the sentence starts behind the closing mark
        found[2:] |= stop[:-2] & self.close[ids[1:-1]] & (self.spaced[ids[2:]] | self.han[ids[2:]])
        return found


def _tokenize(
    documents: Iterator[Document], tokenizer: AlbertTokenizer, rules: _SentenceRules, name: str
) -> Shard:
    ids: list[Ids] = []
    starts: list[npt.NDArray[np.bool_]] = []
    lengths = [0]
    progress = tqdm(desc=name, unit="document")
    while batch := list(islice(documents, _BATCH)):
        paragraphs = [text for document in batch for text in document]
        encoded = iter(
            tokenizer(paragraphs, add_special_tokens=False, return_attention_mask=False)[
                "input_ids"
            ]
        )
        for document in batch:
            parts = [np.asarray(next(encoded), dtype=np.uint16) for _ in document]
            ids.extend(parts)
            starts.extend(rules.starts(part) for part in parts)
            lengths.append(sum(map(len, parts)))
        progress.update(len(batch))
    progress.close()
    if not ids:
        return Shard(np.zeros(0, np.uint16), np.zeros(1, np.int64), np.zeros(0, np.int64))
    return Shard(
        ids=np.concatenate(ids),
        documents=np.cumsum(np.asarray(lengths, dtype=np.int64)),
        sentences=np.flatnonzero(np.concatenate(starts)),
    )
