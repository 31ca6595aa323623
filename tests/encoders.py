"""Tiny random encoders of every family, with real tokenizers, as transformers saves them."""

from __future__ import annotations

import io
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from tokenizers import ByteLevelBPETokenizer, Regex, normalizers, pre_tokenizers
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from adapterhub.families import FAMILY_NAMES as FAMILY_NAMES
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from tests.model.encoder.pieces import TEXT
from tests.tiny import HAN, vocabulary

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
_DISTILBERT: dict[str, Any] = {
    "dim": 32,
    "n_layers": 4,
    "n_heads": 4,
    "hidden_dim": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}
MODELS: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
    "albert": (AlbertConfig, AlbertModel, {**SIZES, "embedding_size": 16}),
    "bert": (BertConfig, BertModel, SIZES),
    "distilbert": (DistilBertConfig, DistilBertModel, _DISTILBERT),
    "electra": (ElectraConfig, ElectraModel, {**SIZES, "embedding_size": 16}),
    "roberta": (RobertaConfig, RobertaModel, {**SIZES, "type_vocab_size": 1, "pad_token_id": 1}),
    "xlm-roberta": (
        XLMRobertaConfig,
        XLMRobertaModel,
        {**SIZES, "type_vocab_size": 1, "pad_token_id": 1},
    ),
}


def save_encoder(folder: Path, family: str, *, seed: int = 0, **changes: Any) -> Path:
    """Writes a random encoder and its tokenizer; `changes` go to its config."""
    folder.mkdir(parents=True, exist_ok=True)
    size = save_tokenizer(folder, family)
    save_model(folder, family, seed=seed, **{"vocab_size": size, **changes})
    return folder


def save_model(
    folder: Path, family: str, *, seed: int = 0, kind: Any = None, **changes: Any
) -> None:
    """Writes config.json and model.safetensors of a random model, by default without a head."""
    random_model(family, seed=seed, kind=kind, **changes).save_pretrained(folder)


def random_model(family: str, *, seed: int = 0, kind: Any = None, **changes: Any) -> Any:
    """Returns a random model of a family; `kind` is a class with a head."""
    config, model, settings = MODELS[family]
    torch.manual_seed(seed)
    found = (kind or model)(config(**{**settings, **changes}))
    # Random biases too: zeros would hide a bias that is read from the wrong place.
    for parameter in found.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.mean() == 1 else 0.0, std=0.1)
    return found.eval()


def save_tokenizer(folder: Path, family: str) -> int:
    """Writes the vocabulary files that a family has on the Hub; returns the number of tokens."""
    if family == "roberta":
        return _save_bytes(folder)
    if family == "xlm-roberta":
        (folder / "sentencepiece.bpe.model").write_bytes(_fairseq_pieces())
        # Its class adds <s>, <pad>, </s>, <unk> in front and <mask> behind.
        return len(sentencepiece.SentencePieceProcessor(model_proto=_fairseq_pieces())) + 2
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return len(vocabulary())


def _save_bytes(folder: Path) -> int:
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        _lines(), vocab_size=700, special_tokens=special, show_progress=False
    )
    tokenizer.save_model(str(folder))
    return int(tokenizer.get_vocab_size())


@lru_cache
def _lines() -> tuple[str, ...]:
    pick = random.Random(0)
    words = TEXT.split()
    lines = [" ".join(pick.choices(words, k=10)) + pick.choice(".,!?'") for _ in range(300)]
    return (*lines, *("".join(pick.choices(HAN, k=12)) for _ in range(300)))


@lru_cache
def _fairseq_pieces() -> bytes:
    """Returns the bytes of a `sentencepiece.bpe.model`, trained in a moment."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(_lines()),
        model_writer=model,
        model_type="unigram",
        vocab_size=700,
        hard_vocab_limit=False,
        character_coverage=1.0,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def family_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerFast:
    """Returns the tokenizer of a family; `…, newer` has the rules of later conversions."""
    family, _, newer = name.partition(", ")
    save_tokenizer(folder, family)
    found = load_tokenizer(folder, vocab_size=1_200)
    if newer:
        fast = found.backend_tokenizer
        fast.normalizer = normalizers.Sequence(
            [
                fast.normalizer,
                normalizers.Strip(left=False, right=True),
                normalizers.Replace(Regex(" {2,}"), "\u2581"),
            ]
        )
        fast.pre_tokenizer = pre_tokenizers.Metaspace()
    return found
