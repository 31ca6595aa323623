"""Tokenizers that are damaged or do not fit the backbone, each with one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import TokenizerError
from adapterhub.model.tokenizers.tokenizer_checks import ID_BITS, check_fit
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from tests.model.tokenizers.layouts import (
    JSON_AND_MERGES,
    ROWS,
    edited,
    layout,
    load,
    write_json,
)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("BertJapaneseTokenizer", "cannot be used: it splits Japanese into words with MeCab"),
        ("BertweetTokenizer", "cannot be used: it rewrites user names"),
        ("PhobertTokenizerFast", "cannot be used: it needs texts whose Vietnamese words"),
        ("CamembertTokenizer", "cannot be used: "),
        ("HerbertTokenizerFast", "cannot be used: "),
        ("MPNetTokenizer", "known are AlbertTokenizer, "),
        ("MyOwnTokenizer", "known are AlbertTokenizer, "),
    ],
)
def test_a_class_that_is_not_known_is_refused_by_name(
    name: str, reason: str, written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(
        written("roberta"), tmp_path, JSON_AND_MERGES, model_type="roberta", tokenizer_class=name
    )
    with pytest.raises(TokenizerError) as refused:
        load(folder)
    assert f"tokenizer_config.json names the tokenizer {name}" in str(refused.value)
    assert reason in str(refused.value)


def merges(folder: Path) -> list[str]:
    return (folder / "merges.txt").read_text(encoding="utf-8").splitlines()


def keep_merges(folder: Path, keep: Callable[[list[str]], list[str]]) -> None:
    lines = merges(folder)
    text = "\n".join([lines[0], *keep(lines[1:])])
    (folder / "merges.txt").write_text(text + "\n", encoding="utf-8")


def rename(folder: Path, token: str, other: str) -> None:
    """Gives a token of vocab.json another name; that of GPT-2 has no `<s>`, for instance."""
    content = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    content[other] = content.pop(token)
    write_json(folder / "vocab.json", **content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda f: (f / "merges.txt").unlink(), "needs tokenizer.json or vocab.json with merges"),
        (lambda f: (f / "vocab.json").unlink(), "no tokenizer; expected one of"),
        (lambda f: (f / "merges.txt").write_text(""), "its merges make only 0% of the tokens"),
        (lambda f: keep_merges(f, lambda _: []), "its merges make only 0% of the tokens"),
        (lambda f: keep_merges(f, lambda lines: lines[: len(lines) // 2]), "merges make only"),
        (lambda f: rename(f, "<s>", "<start>"), "the vocabulary has no <s> token"),
        (lambda f: keep_merges(f, lambda lines: [*lines, "th zz"]), "is damaged or no such file"),
        (lambda f: (f / "vocab.json").write_text("{}"), "is damaged or no such file"),
        (lambda f: (f / "vocab.json").write_text("["), "is damaged or no such file"),
        (lambda f: (f / "vocab.json").write_bytes(b"\xff" * 99), "is damaged or no such file"),
    ],
)
def test_merges_that_do_not_make_the_vocabulary_are_refused(
    damage: Callable[[Path], object],
    problem: str,
    written: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """transformers takes them in silence: every text then is a token per byte, or nearly."""
    folder = layout(written("roberta"), tmp_path, "vocab.json merges.txt", model_type="roberta")
    damage(folder)
    refuse(folder, problem)


def refuse(folder: Path, problem: str, **fit: int) -> None:
    with pytest.raises(TokenizerError) as refused:
        load_tokenizer(folder, **{"vocab_size": ROWS, **fit})
    assert problem in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_post_processor_that_makes_the_library_panic_is_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(written("bert"), tmp_path, "tokenizer.json", model_type="bert")
    edited(folder, lambda c: c["post_processor"]["pair"][0]["SpecialToken"].update(id="[NONE]"))
    refuse(folder, "tokenizer.json is damaged or no such file")


def test_an_unknown_token_that_is_not_in_the_vocabulary_is_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(written("bert"), tmp_path, "tokenizer.json", model_type="bert")
    edited(folder, lambda content: content["model"].update(unk_token="[NONE]"))
    refuse(folder, "tokenizer.json is damaged or no such file")


def test_merges_with_dropout_are_refused(written: Callable[[str], Path], tmp_path: Path) -> None:
    folder = layout(written("roberta"), tmp_path, "tokenizer.json", model_type="roberta")
    edited(folder, lambda content: content["model"].update(dropout=0.1))
    refuse(folder, "its merges have dropout")


@pytest.mark.parametrize(
    ("family", "files", "name", "needed"),
    [
        ("bert", "vocab.txt", "PreTrainedTokenizerFast", "needs tokenizer.json"),
        ("bert", "vocab.txt", "RobertaTokenizer", "needs tokenizer.json or vocab.json with merges"),
        ("bert", "vocab.txt", "XLMRobertaTokenizer", "needs tokenizer.json or sentencepiece.bpe"),
        ("roberta", "vocab.json merges.txt", "BertTokenizer", "needs tokenizer.json or vocab.txt"),
        ("xlm-roberta", "sentencepiece.bpe.model", "RobertaTokenizerFast", "needs tokenizer.json"),
    ],
)
def test_a_class_without_its_files_is_refused(
    family: str,
    files: str,
    name: str,
    needed: str,
    written: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    folder = layout(written(family), tmp_path, files, model_type="bert", tokenizer_class=name)
    refuse(folder, f"is of class {name}, which {needed}")


@pytest.mark.parametrize("line", ["[CLS]", "[SEP]", "[UNK]"])
def test_a_vocabulary_without_a_special_token_is_refused(
    line: str, written: Callable[[str], Path], tmp_path: Path
) -> None:
    """transformers adds it behind the last row, often one that the token table has for padding."""
    folder = layout(written("bert"), tmp_path, "vocab.txt", model_type="bert")
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[lines.index(line)] = "ordinary"
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    refuse(folder, f"the vocabulary has no {line}")


def test_a_padding_token_that_is_another_is_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(written("roberta"), tmp_path, "tokenizer.json", model_type="roberta")
    assert load_tokenizer(folder, vocab_size=ROWS, padding=1).pad_token_id == 1
    refuse(folder, "the padding token is 1 to the tokenizer and 50 to config.json", padding=50)
    # XLM-R's tokenizer beside the config of a BERT, as in small multilingual encoders.
    assert load_tokenizer(folder, vocab_size=ROWS, padding=0).pad_token_id == 1


def test_more_types_than_the_backbone_has_are_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(written("bert"), tmp_path, "tokenizer.json", model_type="bert")
    edited(
        folder, lambda content: content["post_processor"]["pair"][3]["Sequence"].update(type_id=2)
    )
    edited(
        folder,
        lambda content: content["post_processor"]["pair"][4]["SpecialToken"].update(type_id=2),
    )
    refuse(folder, "the tokenizer gives the type 2, the backbone has 2 types")
    assert load_tokenizer(folder, vocab_size=ROWS, type_vocab_size=1)
    assert load_tokenizer(folder, vocab_size=ROWS, type_vocab_size=3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rules: [part.pop(0) for part in rules], "adds 0 special tokens before a text"),
        (lambda rules: [part.insert(0, part[0]) for part in rules], "adds 2 special tokens before"),
        (lambda rules: rules[0].extend(rules[0][-1:] * 4), "adds 6 special tokens to a text or"),
        (lambda rules: rules[1].extend(rules[1][-1:] * 2), "adds 5 special tokens to a text or"),
    ],
    ids=["none before", "two before", "many behind a text", "many behind a pair"],
)
def test_special_tokens_that_a_window_does_not_have_are_refused(
    change: Callable[[list[Any]], object],
    problem: str,
    written: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    # Tags of words are read behind one token, and the shortest window has room for four.
    folder = layout(written("bert"), tmp_path, "tokenizer.json", model_type="bert")
    edited(folder, lambda c: change([c["post_processor"]["single"], c["post_processor"]["pair"]]))
    refuse(folder, problem)


def test_a_vocabulary_of_another_language_is_taken(tmp_path: Path) -> None:
    letters = [chr(code) for code in range(0x5D0, 0x5EB)]
    words = ["".join(letters[index : index + 4]) for index in range(20)]
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *words]
    lines += [f"##{letter}" for letter in letters] + [f"{one}{letters[3]}" for one in letters]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = load_tokenizer(tmp_path, vocab_size=len(lines))
    assert found("the", add_special_tokens=False)["input_ids"] == [1]
    assert found(words[3], add_special_tokens=False)["input_ids"] == [5 + len(letters) + 3]


def test_ids_that_ngrams_cannot_hold_are_refused(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    tokenizer = load(layout(written("bert"), tmp_path, "vocab.txt", model_type="bert"))
    fits = {"missing": None, "vocab_size": 2**ID_BITS, "type_vocab_size": 2, "padding": None}
    vocabulary = {**tokenizer.get_vocab(), "last": 2**ID_BITS - 2}
    assert check_fit(tokenizer, vocabulary, **fits) is None
    problem = check_fit(tokenizer, {**vocabulary, "last": 2**ID_BITS - 1}, **fits)
    assert problem == "the tokenizer gives ids up to 1048575; the highest possible is 1048574"
