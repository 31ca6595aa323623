"""The tokenizer of every layout that repositories on the Hub have: ids and types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tests.model.tokenizers.layouts import (
    JSON_AND_MERGES,
    JSON_AND_PIECES,
    JSON_AND_WORDS,
    PAIRS,
    TEXTS,
    before_words,
    digest,
    edited,
    expected,
    ids,
    layout,
    load,
    newer_pieces,
    of_one_type,
    with_lower_case,
    write_json,
)
from tests.tiny import vocabulary

AS_TRANSFORMERS: dict[str, tuple[str, str, str, dict[str, object]]] = {
    "bert, words": ("bert", "vocab.txt", "bert", {}),
    "bert, named": ("bert", "vocab.txt", "bert", {"tokenizer_class": "BertTokenizer"}),
    "bert, both files": ("bert", JSON_AND_WORDS, "bert", {"do_lower_case": True}),
    "bert, json": ("bert", "tokenizer.json", "bert", {"tokenizer_class": "BertTokenizerFast"}),
    "bert, no class": ("bert", "tokenizer.json", "bert", {"model_max_length": 512}),
    "chinese": ("bert", JSON_AND_WORDS, "bert", {"do_lower_case": False}),
    "cased": ("cased", "vocab.txt", "bert", {"do_lower_case": False, "model_max_length": 512}),
    "cased, both files": ("cased", JSON_AND_WORDS, "bert", {"do_lower_case": False}),
    "cased, named": (
        "cased",
        JSON_AND_WORDS,
        "bert",
        {"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
    ),
    "accents stay": ("bert", "vocab.txt", "bert", {"strip_accents": False}),
    "accents stay, both files": ("bert", JSON_AND_WORDS, "bert", {"strip_accents": False}),
    "no han": (
        "bert",
        JSON_AND_WORDS,
        "bert",
        {"tokenize_chinese_chars": False, "tokenizer_class": "BertTokenizer"},
    ),
    "many languages, of class fast": (
        "xlm-roberta",
        "tokenizer.json",
        "bert",
        {"do_lower_case": True, "tokenizer_class": "PreTrainedTokenizerFast"},
    ),
    "many languages, of class xlm-r": (
        "xlm-roberta",
        JSON_AND_PIECES,
        "bert",
        {"tokenizer_class": "XLMRobertaTokenizer"},
    ),
    "distilbert": ("bert", "vocab.txt", "distilbert", {}),
    "distilbert, named": (
        "bert",
        JSON_AND_WORDS,
        "distilbert",
        {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": True},
    ),
    "electra": ("bert", "vocab.txt", "electra", {"do_lower_case": True}),
    "electra, named": (
        "bert",
        JSON_AND_WORDS,
        "electra",
        {"tokenizer_class": "ElectraTokenizer"},
    ),
    "electra, fast": ("bert", "vocab.txt", "electra", {"tokenizer_class": "ElectraTokenizerFast"}),
    "roberta": ("roberta", "vocab.json merges.txt", "roberta", {}),
    "roberta, all files": ("roberta", JSON_AND_MERGES, "roberta", {"model_max_length": 512}),
    "roberta, named": (
        "roberta",
        JSON_AND_MERGES,
        "roberta",
        {"tokenizer_class": "RobertaTokenizer"},
    ),
    "roberta, fast": (
        "roberta",
        "tokenizer.json",
        "roberta",
        {"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": False},
    ),
    "roberta, space before": (
        "roberta",
        "vocab.json merges.txt",
        "roberta",
        {"add_prefix_space": True},
    ),
    "roberta, space before, all files": (
        "roberta",
        JSON_AND_MERGES,
        "roberta",
        {"add_prefix_space": True, "tokenizer_class": "RobertaTokenizerFast"},
    ),
    "roberta of words": ("bert", "vocab.txt", "roberta", {"tokenizer_class": "BertTokenizer"}),
    "xlm-r": ("xlm-roberta", "sentencepiece.bpe.model", "xlm-roberta", {}),
    "xlm-r, both files": ("xlm-roberta", JSON_AND_PIECES, "xlm-roberta", {}),
    "xlm-r, json": ("xlm-roberta", "tokenizer.json", "xlm-roberta", {}),
    "xlm-r, named": (
        "xlm-roberta",
        JSON_AND_PIECES,
        "xlm-roberta",
        {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 8192},
    ),
    "xlm-r, no space before": (
        "xlm-roberta",
        JSON_AND_PIECES,
        "xlm-roberta",
        {"tokenizer_class": "XLMRobertaTokenizerFast", "add_prefix_space": False},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AS_TRANSFORMERS)
def test_a_layout_is_read_as_transformers_reads_it(
    name: str, written: Callable[[str], Path], tmp_path: Path
) -> None:
    family, files, model_type, config = AS_TRANSFORMERS[name]
    folder = layout(written(family), tmp_path, files, model_type=model_type, **config)
    assert ids(folder) == expected(AutoTokenizer.from_pretrained(str(folder)))


# transformers builds these anew with the rules of the class, and so loses those of the file.
AS_THE_FILE: dict[str, tuple[str, str, str, dict[str, object], Callable[..., object]]] = {
    "cased, no setting": ("cased", JSON_AND_WORDS, "bert", {"model_max_length": 512}, len),
    "cased, named, no setting": (
        "cased",
        "tokenizer.json",
        "bert",
        {"tokenizer_class": "BertTokenizer"},
        len,
    ),
    "pieces of class bert": (
        "xlm-roberta",
        "tokenizer.json",
        "bert",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True},
        len,
    ),
    "pieces of no class": ("xlm-roberta", "tokenizer.json", "bert", {}, len),
    "words of class roberta": (
        "bert",
        "tokenizer.json",
        "roberta",
        {"tokenizer_class": "RobertaTokenizer"},
        len,
    ),
    "one type": (
        "bert",
        "tokenizer.json",
        "bert",
        {"tokenizer_class": "BertTokenizer"},
        of_one_type,
    ),
    "newer pieces": (
        "xlm-roberta",
        JSON_AND_PIECES,
        "xlm-roberta",
        {"tokenizer_class": "XLMRobertaTokenizer"},
        newer_pieces,
    ),
    "roberta, space before": (
        "roberta",
        JSON_AND_MERGES,
        "roberta",
        {"tokenizer_class": "RobertaTokenizer"},
        before_words,
    ),
    "roberta in lower case": ("roberta", "tokenizer.json", "roberta", {}, with_lower_case),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", AS_THE_FILE)
def test_the_rules_of_tokenizer_json_hold(
    name: str, written: Callable[[str], Path], tmp_path: Path
) -> None:
    family, files, model_type, config, change = AS_THE_FILE[name]
    folder = layout(written(family), tmp_path, files, model_type=model_type, **config)
    edited(folder, change)
    assert ids(folder) == of_file(folder)


def of_file(folder: Path) -> list[list[int]]:
    """Returns the ids and types that the tokenizers library gives for a tokenizer.json."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    inputs = [*((text,) for text in TEXTS), *PAIRS]
    found = [tokenizer.encode(texts[0], *texts[1:2]) for texts in inputs]
    return [one.ids + one.type_ids for one in found]


def test_what_tokenizer_config_sets_goes_before_the_rules_of_the_file(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    for name, config in {
        "cased": {"do_lower_case": False},
        "lower": {"do_lower_case": True},
    }.items():
        folder = layout(
            written("bert"), tmp_path / name, "tokenizer.json", model_type="bert", **config
        )
        known = load(folder)("The", add_special_tokens=False)["input_ids"]
        assert (known == load(folder)("the", add_special_tokens=False)["input_ids"]) == (
            name == "lower"
        )


def test_a_cased_vocabulary_keeps_its_case_where_nothing_says_otherwise(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    """transformers makes it lower case, so that no word with a capital is ever found."""
    silent = layout(written("cased"), tmp_path / "a", "vocab.txt", model_type="bert")
    plain = layout(
        written("cased"), tmp_path / "b", "vocab.txt", model_type="bert", do_lower_case=False
    )
    lower = layout(
        written("cased"), tmp_path / "c", "vocab.txt", model_type="bert", do_lower_case=True
    )
    assert ids(silent) == ids(plain) != ids(lower)
    assert digest(silent) == digest(plain) != digest(lower)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_a_tokenizer_json_without_special_tokens_gets_those_of_its_family(
    written: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    folder = layout(written(family), tmp_path, "tokenizer.json", model_type=family)
    whole = ids(folder)
    edited(folder, lambda content: content.update(post_processor=None))
    assert ids(folder) == whole


def test_a_file_that_cuts_and_pads_does_neither(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(written("bert"), tmp_path, JSON_AND_WORDS, model_type="bert")
    whole = ids(folder), digest(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))
    assert (ids(folder), digest(folder)) == whole
    assert len(load(folder)("the good city " * 9)["input_ids"]) > 20


def test_tokens_of_added_tokens_json_are_found(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = layout(written("bert"), tmp_path, "vocab.txt", model_type="bert")
    write_json(folder / "added_tokens.json", **{"[NAME]": len(vocabulary())})
    assert len(vocabulary()) in load(folder)("a [NAME] b")["input_ids"]
