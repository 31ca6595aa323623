"""Sentences for teachers, and their vectors on disk."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from transformers import AlbertTokenizer

from adapterhub.errors import DataError
from recipes.backbone import teachers
from recipes.backbone.corpus import iter_documents
from recipes.backbone.teachers import corpus_sentences, read_vectors, row_texts, write_vectors


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    return AlbertTokenizer.from_pretrained(tokenizer_folder)


@pytest.mark.parametrize(("language", "end"), [("en", "."), ("zh", "。")])
def test_sentences_are_whole_and_from_training_documents(corpus, language, end):
    found = corpus_sentences(corpus, language, 100)
    text = "\n".join(
        part for one in iter_documents(corpus, language, split="train") for part in one
    )
    assert len(found) == 100
    for sentence in found:
        assert sentence.endswith(end)
        assert sentence.count(end) == 1
        assert sentence in text


def test_texts_of_rows_are_of_the_language_and_each_is_there_once(tmp_path):
    rows = [
        {"text": "the old town by the river", "label": "a"},
        {"text": "the old town by the river", "text_pair": "people watch the boats", "label": "b"},
        {"text": "小河流过老城很多人在看船", "label": "a"},
    ]
    for name in ("kept", "dropped"):
        (tmp_path / name).mkdir()
        with gzip.open(tmp_path / name / "train.jsonl.gz", "wt", encoding="utf-8") as file:
            for row in rows if name == "kept" else [{"text": "this one must not be read"}]:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    found = {lang: row_texts(tmp_path, lang, 10, leave_out=["dropped"]) for lang in ("en", "zh")}
    assert sorted(found["en"]) == ["people watch the boats", "the old town by the river"]
    assert found["zh"] == ["小河流过老城很多人在看船"]


def test_vectors_come_back_centred_beside_their_own_texts(tokenizer, tmp_path, monkeypatch):
    texts = [f"the {'old ' * (n % 7)}town" for n in range(200)]
    lengths = {text: len(text) for text in texts}

    def encoder(some):
        return np.array([[lengths[text], 1.0, 5.0] for text in some], dtype=np.float32)

    monkeypatch.setitem(teachers.TEACHERS, "made", (lambda: encoder, ("en",)))
    write_vectors(texts, "made", tokenizer, tmp_path / "made-en.safetensors", max_length=32)
    (found,) = read_vectors(tmp_path)
    assert (found.name, found.head, found.kind, found.outputs) == ("made-en", "made", "vectors", 3)
    assert len(found) == 200
    plain = encoder(texts) / np.linalg.norm(encoder(texts), axis=1, keepdims=True)
    expected = plain - plain.mean(0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.targets, expected, atol=5e-3)  # bf16
    assert found.ids[: found.starts[1]].tolist() == tokenizer(texts[0])["input_ids"]


def test_a_teacher_that_is_not_installed_is_named(tokenizer, tmp_path, monkeypatch):
    def missing():
        raise ModuleNotFoundError("no", name="some_encoder")

    monkeypatch.setitem(teachers.TEACHERS, "made", (missing, ("en",)))
    with pytest.raises(DataError, match="some_encoder is not installed"):
        write_vectors(["a"], "made", tokenizer, tmp_path / "made-en.safetensors", max_length=32)
