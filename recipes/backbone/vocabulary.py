"""Trains the SentencePiece vocabulary: one piece per Han character, word pieces for the rest."""

from __future__ import annotations

import io
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import cast

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import normalizers
from transformers import AlbertTokenizer

from adapterhub.errors import DataError
from recipes.backbone.corpus import iter_documents

SPECIAL_PIECES = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
"""Pieces with the ids 0 to 4, as in the published ALBERT checkpoints."""

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
HAN_COVERAGE = 0.9995
"""Share of the Han characters of the corpus that get a piece of their own."""
OTHER_COVERAGE = 0.9998
"""The same for the other characters, punctuation above all, of the Chinese text."""


def train_vocabulary(
    folder: Path, *, vocab_size: int = 16_000, sample_bytes: int = 20_000_000, threads: int = 2
) -> bytes:
    """Returns a SentencePiece unigram model for English and Chinese, the bytes of `spiece.model`.

    The text is normalised as `AlbertTokenizer` normalises it at run time. Word pieces are learned
    from the English text; then every frequent Han character of the Chinese text is added as one.

    Args:
        folder: Corpus folder.
        vocab_size: Pieces, special ones included.
        sample_bytes: UTF-8 bytes of text that the word pieces are learned from.
        threads: Threads of the trainer.

    Raises:
        DataError: A trained piece mixes Han characters with others; nothing is returned.
    """
    counts: Counter[str] = Counter()
    sample = _take(_paragraphs(folder, "en"), sample_bytes)
    for text in _paragraphs(folder, "zh"):
        counts.update(text)
    counts = _normalized(counts)
    han = _cover({char: count for char, count in counts.items() if HAN.match(char)}, HAN_COVERAGE)
    other = _cover(
        {char: count for char, count in counts.items() if not HAN.match(char)}, OTHER_COVERAGE
    )
    learned = _train_word_pieces(
        sample, vocab_size=vocab_size - len(han), required=other, threads=threads
    )
    model = _add_pieces(
        learned, {char: math.log(count / counts.total()) for char, count in han.items()}
    )
    check_pieces(model)
    return model


def _train_word_pieces(
    sample: Iterator[str], *, vocab_size: int, required: Iterable[str], threads: int
) -> bytes:
    normalizer = albert_normalizer()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=(HAN.sub(" ", normalizer.normalize_str(text)) for text in sample),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        required_chars="".join(required),
        character_coverage=0.9999,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece=SPECIAL_PIECES[0],
        unk_piece=SPECIAL_PIECES[1],
        control_symbols=list(SPECIAL_PIECES[2:]),
        max_sentence_length=65_536,
        num_threads=threads,
        minloglevel=1,
    )
    return model.getvalue()


def _add_pieces(model: bytes, scores: dict[str, float]) -> bytes:
    """Returns the model with pieces added behind its own; `scores` are log probabilities."""
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(model)
    for piece, score in scores.items():
        proto.pieces.add(piece=piece, score=score)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return cast(bytes, proto.SerializeToString())


def albert_normalizer() -> normalizers.Normalizer:
    """Returns what `AlbertTokenizer` does to a text before the SentencePiece model's own map.

    Source: `AlbertTokenizer.__init__` of transformers 5, lower-casing and not keeping accents.
    """
    return normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
        ]
    )


def check_pieces(model: bytes) -> None:
    """Checks the ids of the special pieces, and that no piece has a Han character and more.

    Raises:
        DataError: One of them does not hold.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    if tuple(pieces[: len(SPECIAL_PIECES)]) != SPECIAL_PIECES:
        raise DataError(
            "spiece.model",
            f"the vocabulary starts with {pieces[:5]}; expected {list(SPECIAL_PIECES)}.",
        )
    mixed = [piece for piece in pieces if HAN.search(piece) and len(piece) > 1]
    if mixed:
        problem = f"{len(mixed)} pieces join a Han character to others, for example {mixed[:5]}"
        raise DataError("spiece.model", f"{problem}; expected none.")


def save_tokenizer(model: bytes, folder: Path) -> None:
    """Writes `spiece.model` and the tokenizer files that transformers derives from it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").unlink(
        missing_ok=True
    )  # transformers would read it in place of the model
    (folder / "spiece.model").write_bytes(model)
    tokenizer = AlbertTokenizer.from_pretrained(folder, model_max_length=512)
    for name in ("is_local", "local_files_only"):  # how it was loaded here is nobody's business
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)
    # Half a megabyte of it is the spaces that it is indented with.
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(
        json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8"
    )


def _paragraphs(folder: Path, language: str) -> Iterator[str]:
    return (
        text for document in iter_documents(folder, language, split="train") for text in document
    )


def _take(paragraphs: Iterable[str], limit: int) -> Iterator[str]:
    """Yields every fourth paragraph, to spread the sample, up to `limit` bytes."""
    for text in islice(paragraphs, 0, None, 4):
        limit -= len(text.encode())
        if limit < 0:
            return
        yield text


def _normalized(counts: Counter[str]) -> Counter[str]:
    """Returns the character counts of the normalised text."""
    normalizer = albert_normalizer()
    normalized: Counter[str] = Counter()
    for char, count in counts.items():
        for part in unicodedata.normalize("NFKC", normalizer.normalize_str(char)):
            normalized[part] += 0 if part.isspace() else count
    return +normalized


def _cover(counts: dict[str, int], share: float) -> dict[str, int]:
    """Returns the most frequent characters, with their counts, that make up `share` of all."""
    left = share * sum(counts.values())
    chosen: dict[str, int] = {}
    for char, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= 0:
            break
        chosen[char] = count
        left -= count
    return chosen
