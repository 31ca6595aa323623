"""Text files to documents, to a vocabulary, to shards."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer

from adapterhub.errors import DataError
from recipes.backbone.corpus import iter_documents, split_of
from recipes.backbone.shards import read_manifest, read_shard
from recipes.backbone.vocabulary import HAN, SPECIAL_PIECES, check_pieces


def test_every_document_is_in_one_split(corpus):
    whole = list(iter_documents(corpus, "en"))
    parts = {split: list(iter_documents(corpus, "en", split=split)) for split in ("train", "eval")}
    assert len(whole) == len(parts["train"]) + len(parts["eval"]) > 100
    assert all(split_of(document) == "eval" for document in parts["eval"])
    assert all(len(document) == 3 for document in whole)


@pytest.mark.slow
def test_missing_language_is_named(corpus):
    with pytest.raises(DataError, match=r"fr: has no \.txt\.xz file"):
        list(iter_documents(corpus, "fr"))


def test_special_pieces_and_han_pieces(tokenizer_folder):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    assert tuple(pieces[:5]) == SPECIAL_PIECES
    assert all(len(piece) == 1 for piece in pieces if HAN.search(piece))
    check_pieces((tokenizer_folder / "spiece.model").read_bytes())


def test_one_token_per_han_character_with_its_offsets(tokenizer_folder):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    text = "小河流过老城，Río。"
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    spans = [text[start:end] for start, end in encoded["offset_mapping"]]
    han = [(token, span) for token, span in zip(tokens, spans, strict=True) if HAN.search(token)]
    assert [token for token, _ in han] == list("小河流过老城")
    assert all(token == span for token, span in han)
    assert "Río" in "".join(spans)


@pytest.mark.slow
def test_shards_hold_whole_documents_and_sentence_starts(shards, tokenizer_folder):
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    manifest = read_manifest(shards)
    manifest.check_vocabulary(tokenizer_folder / "spiece.model")
    for language in ("en", "zh"):
        shard = read_shard(shards, language, "train")
        assert shard.ids.dtype == np.uint16
        assert shard.documents[-1] == len(shard.ids) == manifest.counts[f"{language}-train"].tokens
        assert np.isin(shard.documents[:-1], shard.sentences).all()
        start, end = shard.sentences[1:3]
        sentence = tokenizer.decode(shard.ids[start:end].tolist()).strip()
        assert sentence.endswith((".", "。")), sentence
        assert manifest.unknown_rate(language) < 0.01


def test_other_vocabulary_is_refused(shards, tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"another")
    with pytest.raises(DataError, match="made with"):
        read_manifest(shards).check_vocabulary(tmp_path / "spiece.model")


def test_shard_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match="write the shards first"):
        read_manifest(tmp_path)
