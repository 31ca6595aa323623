"""Vectors of sentences: what sentence-transformers computes, computed here by transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from adapterhub.errors import BackboneError, InputError, UsageError
from adapterhub.hub import Hub
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from tests.encoders import MODELS, save_encoder
from tests.sentence_files import change_json, list_modules, write_new, write_old, write_prompts

TEXTS = [
    "he",
    "The film was good, and the city late.",
    "中国的天气很好，他们在学校里学习。",
    "a bad day " * 20,
    "  the MixEd Case\n",
]
PAIRS = [{"text": text, "text_pair": other} for text, other in zip(TEXTS, TEXTS[::-1], strict=True)]
FIELDS = ("text", "text_pair")
CLOSE = {"rtol": 0, "atol": 2e-6}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder") / "bert", "bert")


@pytest.fixture
def folder(encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder, tmp_path / "bert"))


def opened(folder: Path) -> Hub:
    return Hub(backbone=folder, device="cpu")


def theirs(
    folder: Path,
    *texts: Sequence[str],
    pooling: str = "mean",
    normalize: bool = True,
    window: int = 32,
) -> np.ndarray:
    """Returns what the modules compute from a padded, truncated batch."""
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    model = MODELS[kind][1].from_pretrained(str(folder)).eval()
    tokenizer: PreTrainedTokenizerFast
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    settings: dict[str, Any] = {"padding": True, "truncation": True, "return_tensors": "pt"}
    batch = tokenizer(*map(list, texts), max_length=window, **settings)
    if not hasattr(model.embeddings, "token_type_embeddings"):
        batch.pop("token_type_ids", None)
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None].bool()
    vectors = {
        "cls": hidden[:, 0],
        "mean": hidden.masked_fill(~mask, 0).sum(1) / mask.sum(1),
        "max": hidden.masked_fill(~mask, float("-inf")).amax(1),
    }[pooling]
    if normalize:
        vectors = torch.nn.functional.normalize(vectors, p=2, dim=1)
    found: np.ndarray = vectors.numpy()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", ["albert", "distilbert", "electra", "roberta", "xlm-roberta"])
def test_every_family_makes_the_vectors_of_its_repository(family: str, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / family, family)
    hub = opened(write_new(folder))
    np.testing.assert_allclose(hub.encode(TEXTS), theirs(folder, TEXTS), **CLOSE)


@pytest.mark.parametrize("pooling", ["cls", "mean", pytest.param("max", marks=pytest.mark.slow)])
def test_vectors_are_those_of_the_repository(pooling: str, folder: Path) -> None:
    normalize = pooling != "max"
    hub = opened(write_old(folder, pooling, normalize=normalize))
    found = hub.encode(TEXTS)
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((len(TEXTS), 32), np.float32)
    expected = theirs(folder, TEXTS, pooling=pooling, normalize=normalize)
    np.testing.assert_allclose(found, expected, **CLOSE)
    np.testing.assert_allclose(hub.encode(TEXTS[::-1]), expected[::-1], **CLOSE)
    np.testing.assert_allclose(hub.encode(TEXTS[2]), expected[2:3], **CLOSE)
    np.testing.assert_allclose(
        hub.encode(PAIRS, fields=FIELDS),
        theirs(folder, TEXTS, TEXTS[::-1], pooling=pooling, normalize=normalize),
        **CLOSE,
    )


def test_a_pooling_makes_plain_features(encoder: Path, folder: Path) -> None:
    write_prompts(write_old(folder), {"q": "the city: "}, "q")
    plain, own = opened(encoder), opened(folder)
    for pooling in ("cls", "mean", "max"):
        found = own.encode(TEXTS, pooling=pooling)  # type: ignore[arg-type]
        expected = plain.encode(TEXTS, pooling=pooling)  # type: ignore[arg-type]
        assert np.array_equal(found, expected)
    assert np.array_equal(plain.encode(TEXTS), plain.encode(TEXTS, pooling="mean"))


def test_depth_and_window_go_before_those_of_the_repository(folder: Path) -> None:
    hub = opened(write_old(folder, max_length=16))
    short = hub.encode(TEXTS[3])
    whole = hub.encode(TEXTS[3], max_length=64)
    np.testing.assert_allclose(whole, theirs(folder, TEXTS[3:4], window=64), **CLOSE)
    np.testing.assert_allclose(short, theirs(folder, TEXTS[3:4], window=16), **CLOSE)
    assert not np.allclose(short, whole, atol=1e-3)
    shallow = hub.encode(TEXTS[1], depth=2)
    plain = hub.encode(TEXTS[1], depth=2, pooling="mean")
    np.testing.assert_allclose(shallow, plain / np.linalg.norm(plain), **CLOSE)


def test_prompts_go_before_the_first_text(folder: Path) -> None:
    write_prompts(write_old(folder), {"query": "the city: ", "doc": ""}, "query")
    hub = opened(folder)
    prompted = [f"the city: {text}" for text in TEXTS]
    expected = theirs(folder, prompted)
    for found in (
        hub.encode(TEXTS),
        hub.encode(TEXTS, prompt="query"),
        hub.encode(TEXTS, prompt="the city: "),
        hub.encode(prompted, prompt="doc"),
        hub.encode(prompted, prompt=""),
    ):
        np.testing.assert_allclose(found, expected, **CLOSE)
    pairs = theirs(folder, prompted, TEXTS[::-1])
    np.testing.assert_allclose(hub.encode(PAIRS, fields=FIELDS), pairs, **CLOSE)
    plain = hub.encode(TEXTS, pooling="mean", prompt="query")
    assert np.array_equal(plain, hub.encode(prompted, pooling="mean"))


def test_a_prompt_of_ones_own_needs_no_repository(encoder: Path) -> None:
    hub = opened(encoder)
    for prompt in ("the city: ", "天气：", " "):
        found = hub.encode(TEXTS, prompt=prompt)
        assert np.array_equal(found, hub.encode([prompt + text for text in TEXTS]))


UNKNOWN: tuple[tuple[Any, str], ...] = (
    ("querry", "prompt is 'querry'; the prompts of this backbone are query, passage"),
    ("天气", "A text of your own ends with a space or punctuation"),
    (3, "prompt is 3, of type int"),
    ("\ud800: ", "prompt has a lone surrogate (U+D800) at code point 0"),
)


def test_an_unknown_prompt_is_refused_with_the_known_ones(folder: Path) -> None:
    hub = opened(write_prompts_of(folder))
    for prompt, expected in UNKNOWN:
        with pytest.raises(UsageError) as refused:
            hub.encode(TEXTS, prompt=prompt)
        assert expected in str(refused.value)


def write_prompts_of(folder: Path) -> Path:
    write_prompts(write_old(folder), {"query": "query: ", "passage": "passage: "})
    return folder


def test_texts_are_lowercased_where_the_repository_does(folder: Path) -> None:
    write_old(folder)
    change_json(folder / "config.json", tokenizer_class="BertTokenizer")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    expected = theirs(folder, [text.lower() for text in TEXTS])
    assert not np.allclose(opened(folder).encode(TEXTS), expected, atol=1e-3)
    change_json(folder / "sentence_bert_config.json", do_lower_case=True)
    np.testing.assert_allclose(opened(folder).encode(TEXTS), expected, **CLOSE)


def test_a_module_that_cannot_run_is_refused_by_name(folder: Path) -> None:
    list_modules(write_old(folder), ["Transformer", "Pooling", "Dense", "Normalize"])
    hub = opened(folder)
    assert hub.encode(TEXTS, pooling="mean").shape == (len(TEXTS), 32)  # type: ignore[union-attr]
    with pytest.raises(BackboneError) as refused:
        hub.encode(TEXTS)
    assert str(refused.value) == (
        "Backbone 'bert': its sentence vectors are made with the module 2_Dense "
        "(sentence_transformers.models.Dense), which cannot run here; pass pooling='mean', 'cls' "
        "or 'max' for features of the hidden states"
    )


def test_a_pooling_without_the_prompt_is_refused_with_a_prompt(folder: Path) -> None:
    change_json(write_old(folder) / "1_Pooling" / "config.json", include_prompt=False)
    hub = opened(folder)
    np.testing.assert_allclose(hub.encode(TEXTS), theirs(folder, TEXTS), **CLOSE)
    with pytest.raises(BackboneError, match=r"leaves out the tokens of the prompt \(include_pr"):
        hub.encode(TEXTS, prompt="query: ")


def test_bad_rows_and_no_rows_are_as_for_plain_features(folder: Path) -> None:
    hub = opened(write_prompts_of(folder))
    for bad in ("", " \n", None):
        with pytest.raises(InputError) as refused:
            hub.encode(["he", bad], prompt="query")  # type: ignore[list-item]
        assert refused.value.row == 1
    empty = hub.encode([])
    assert isinstance(empty, np.ndarray)
    assert (empty.shape, empty.dtype) == ((0, 32), np.float32)
