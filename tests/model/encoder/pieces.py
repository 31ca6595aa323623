"""A small SentencePiece model with ALBERT's special tokens, and tokenizers made of it."""

from __future__ import annotations

import io
import json
import random
from functools import lru_cache
from pathlib import Path

import sentencepiece
from transformers import AlbertTokenizer

from tests.tiny import HAN

TEXT = (
    "the quick brown fox said that it would be back before end of year a good bad day film food "
    "late early and not very was he she city school people naive cafe"
)
SPECIAL = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")


@lru_cache
def sentencepiece_model() -> bytes:
    """Returns the bytes of a `spiece.model` of some 650 pieces, trained in a moment."""
    pick = random.Random(0)
    words = TEXT.split()
    lines = [" ".join(pick.choices(words, k=10)) + pick.choice(".,!?'") for _ in range(300)]
    lines += ["".join(pick.choices(HAN, k=12)) for _ in range(300)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=700,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece=SPECIAL[0],
        unk_piece=SPECIAL[1],
        control_symbols=list(SPECIAL[2:]),
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def save_pieces(folder: Path) -> Path:
    """Writes `spiece.model` to `folder`, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(sentencepiece_model())
    return folder


def save_tokenizer_json(folder: Path) -> Path:
    """Writes a `tokenizer.json` as older converters did, so that tokens begin with their space."""
    tokenizer = AlbertTokenizer.from_pretrained(str(save_pieces(folder)))
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "always",
        "split": True,
    }
    (folder / "spiece.model").unlink()
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
