"""Which tokenizer a folder gets, and every trap on the way to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AlbertTokenizer, BertTokenizer

from adapterhub.errors import TokenizerError
from adapterhub.model.tokenizers.tokenizer_digest import tokenizer_digest
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer, tokenizer_class_name
from tests.model.encoder.pieces import SPECIAL, save_pieces, save_tokenizer_json
from tests.tiny import vocabulary

ROWS = 1_200
TEXT = "The quick naïve fox, 中国 and a café."


def save_words(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return folder


def write_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def digest(folder: Path) -> bytes:
    return tokenizer_digest(folder, load_tokenizer(folder, vocab_size=ROWS))


def ids(folder: Path, text: str = TEXT) -> list[int]:
    found: list[int] = load_tokenizer(folder, vocab_size=ROWS)(text)["input_ids"]
    return found


@pytest.mark.parametrize(
    ("save", "name", "kind"),
    [
        (save_words, "BertTokenizer", BertTokenizer),
        (save_pieces, "AlbertTokenizer", AlbertTokenizer),
        (save_tokenizer_json, "PreTrainedTokenizerFast", object),
    ],
)
def test_the_files_choose_where_no_config_does(
    tmp_path: Path, save: Callable[[Path], Path], name: str, kind: type
) -> None:
    folder = save(tmp_path)
    assert tokenizer_class_name(folder) == name
    assert isinstance(load_tokenizer(folder, vocab_size=ROWS), kind)


def test_tokenizer_json_goes_before_spiece_and_spiece_before_vocab(tmp_path: Path) -> None:
    folder = save_words(save_pieces(save_tokenizer_json(tmp_path)))
    save_pieces(folder)
    assert tokenizer_class_name(folder) == "PreTrainedTokenizerFast"
    (folder / "tokenizer.json").unlink()
    assert tokenizer_class_name(folder) == "AlbertTokenizer"
    (folder / "spiece.model").unlink()
    assert tokenizer_class_name(folder) == "BertTokenizer"


@pytest.mark.parametrize("config", ["tokenizer_config.json", "config.json"])
def test_a_class_named_in_a_config_goes_before_the_files(tmp_path: Path, config: str) -> None:
    folder = save_words(save_pieces(tmp_path))
    write_json(folder / config, tokenizer_class="BertTokenizerFast")
    assert isinstance(load_tokenizer(folder, vocab_size=ROWS), BertTokenizer)


def test_tokenizer_config_goes_before_config(tmp_path: Path) -> None:
    folder = save_words(save_pieces(tmp_path))
    write_json(folder / "config.json", tokenizer_class="BertTokenizer")
    write_json(folder / "tokenizer_config.json", tokenizer_class="AlbertTokenizer")
    assert tokenizer_class_name(folder) == "AlbertTokenizer"


def test_a_config_without_a_class_leaves_the_choice_to_the_files(tmp_path: Path) -> None:
    write_json(save_words(tmp_path) / "tokenizer_config.json", model_max_length=512)
    assert tokenizer_class_name(tmp_path) == "BertTokenizer"


def test_the_trap_of_five_tokens_is_avoided(tmp_path: Path) -> None:
    folder = save_words(tmp_path)
    write_json(folder / "config.json", model_type="albert", vocab_size=len(vocabulary()))
    # AutoTokenizer of transformers 5 gives five tokens here, without a word.
    assert len(load_tokenizer(folder, vocab_size=ROWS)) == len(vocabulary())


def test_special_tokens_are_found_where_no_config_names_them(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(save_tokenizer_json(tmp_path), vocab_size=ROWS)
    roles = ("pad", "unk", "cls", "sep", "mask")
    assert tuple(getattr(tokenizer, f"{role}_token") for role in roles) == SPECIAL
    assert [getattr(tokenizer, f"{role}_token_id") for role in roles] == [0, 1, 2, 3, 4]


def test_a_checkpoint_with_both_files_and_no_class_is_read_as_transformers_reads_it(
    tmp_path: Path,
) -> None:
    AlbertTokenizer.from_pretrained(str(save_pieces(tmp_path))).save_pretrained(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", model_max_length=512)
    expected = AlbertTokenizer.from_pretrained(str(tmp_path))(TEXT)["input_ids"]
    assert ids(tmp_path) == expected


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "vocab.txt").unlink(), "no tokenizer; expected one of"),
        (
            lambda folder: write_json(
                folder / "tokenizer_config.json", tokenizer_class="AlbertTokenizer"
            ),
            "is of class AlbertTokenizer, which needs tokenizer.json or spiece.model",
        ),
        (
            lambda folder: write_json(folder / "config.json", tokenizer_class="GPT2Tokenizer"),
            "config.json names the tokenizer GPT2Tokenizer; known are AlbertTokenizer, ",
        ),
        (
            lambda folder: (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]"),
            "has only 5 tokens",
        ),
        (lambda folder: (folder / "vocab.txt").write_bytes(b""), "has only 5 tokens"),
        (
            lambda folder: (folder / "vocab.txt").write_bytes(b"\xff\xfe" * 400),
            "vocab.txt is damaged or no such file, BertTokenizer cannot read it: ",
        ),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{}"),
            "tokenizer.json is damaged or no such file, PreTrainedTokenizerFast cannot read it: ",
        ),
        (
            lambda folder: (folder / "tokenizer.json").write_text("{"),
            "tokenizer.json is damaged or no such file, PreTrainedTokenizerFast cannot read it: ",
        ),
        (
            lambda folder: (folder / "spiece.model").write_bytes(b"nothing of the kind"),
            "spiece.model is damaged or no such file, AlbertTokenizer cannot read it. Fetch it",
        ),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text("{"),
            "tokenizer_config.json cannot be read",
        ),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
            "tokenizer_config.json is not a JSON object",
        ),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text("[" * 100_000),
            "tokenizer_config.json cannot be read",
        ),
        (
            lambda folder: (folder / "vocab.txt").write_text(
                "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(str, range(500))])
            ),
            "does not know",
        ),
    ],
)
def test_a_folder_that_gives_no_good_tokenizer_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], problem: str
) -> None:
    folder = save_words(tmp_path / "albert")
    damage(folder)
    with pytest.raises(TokenizerError) as refused:
        load_tokenizer(folder, vocab_size=ROWS)
    assert problem in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.source == str(folder)


def test_a_vocabulary_larger_than_the_token_table_is_refused(tmp_path: Path) -> None:
    folder = save_words(tmp_path)
    size = len(vocabulary())
    assert len(load_tokenizer(folder, vocab_size=size)) == size
    with pytest.raises(
        TokenizerError, match=f"ids up to {size - 1}, the token table has {size - 1}"
    ):
        load_tokenizer(folder, vocab_size=size - 1)


@pytest.mark.parametrize("save", [save_words, save_pieces, save_tokenizer_json])
def test_a_vocabulary_far_smaller_than_the_token_table_is_refused(
    tmp_path: Path, save: Callable[[Path], Path]
) -> None:
    """A table padded to a power of two may have nearly twice the rows, but not more."""
    folder = save(tmp_path)
    size = len(load_tokenizer(folder, vocab_size=ROWS))
    for rows in (size, size + 8, size + 128, 1_024, 2 * size - 1):
        assert len(load_tokenizer(folder, vocab_size=rows)) == size
    for rows in (2 * size, 3 * size, 30_000, 250_002):
        with pytest.raises(TokenizerError, match=rf"ids up to {size - 1}, most of the {rows} rows"):
            load_tokenizer(folder, vocab_size=rows)


def test_a_tokenizer_without_its_special_tokens_is_refused(tmp_path: Path) -> None:
    folder = save_tokenizer_json(tmp_path)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8").replace("[CLS]", "[BEGIN]")
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"has no \[CLS\] token"):
        load_tokenizer(folder, vocab_size=ROWS)


@pytest.mark.parametrize("save", [save_words, save_pieces, save_tokenizer_json])
def test_the_digest_outlives_saving_again(tmp_path: Path, save: Callable[[Path], Path]) -> None:
    first = save(tmp_path / "first")
    second = tmp_path / "second"
    load_tokenizer(first, vocab_size=ROWS).save_pretrained(second)
    third = tmp_path / "third"
    load_tokenizer(second, vocab_size=ROWS).save_pretrained(third)
    assert {path.name for path in second.iterdir()} != {path.name for path in first.iterdir()}
    assert ids(first) == ids(second) == ids(third)
    assert digest(first) == digest(second) == digest(third)


@pytest.mark.parametrize(
    ("save", "settings"),
    [
        (save_words, {"do_lower_case": False}),
        (save_words, {"strip_accents": False}),
        (save_words, {"tokenize_chinese_chars": False}),
        (save_words, {"cls_token": "[MASK]"}),
        (save_words, {"sep_token": "."}),
        (save_words, {"unk_token": "a"}),
        (save_words, {"additional_special_tokens": ["qu"]}),
        (save_pieces, {"do_lower_case": False}),
        (save_pieces, {"keep_accents": True}),
        (save_pieces, {"add_prefix_space": False}),
        (save_pieces, {"cls_token": "[MASK]"}),
    ],
)
def test_what_changes_the_ids_changes_the_digest(
    tmp_path: Path, save: Callable[[Path], Path], settings: dict[str, object]
) -> None:
    plain = save(tmp_path / "plain")
    other = save(tmp_path / "other")
    write_json(other / "tokenizer_config.json", **settings)
    assert ids(plain) != ids(other)
    assert digest(plain) != digest(other)


@pytest.mark.parametrize(
    "settings",
    [{}, {"do_lower_case": True}, {"model_max_length": 64}, {"tokenizer_class": "BertTokenizer"}],
)
def test_what_does_not_change_the_ids_leaves_the_digest(
    tmp_path: Path, settings: dict[str, object]
) -> None:
    plain = save_words(tmp_path / "plain")
    other = save_words(tmp_path / "other")
    write_json(other / "tokenizer_config.json", **settings)
    assert digest(plain) == digest(other)


def test_one_line_of_the_vocabulary_changes_the_digest(tmp_path: Path) -> None:
    plain = save_words(tmp_path / "plain")
    other = save_words(tmp_path / "other")
    text = (other / "vocab.txt").read_text(encoding="utf-8").replace("\nfilm\n", "\nfilms\n")
    (other / "vocab.txt").write_text(text, encoding="utf-8")
    assert digest(plain) != digest(other)


def test_one_score_of_a_piece_changes_the_digest(tmp_path: Path) -> None:
    plain = save_tokenizer_json(tmp_path / "plain")
    other = Path(shutil.copytree(plain, tmp_path / "other"))
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"][20][1] -= 0.5
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert digest(plain) != digest(other)


def test_one_rule_of_tokenizer_json_changes_the_digest(tmp_path: Path) -> None:
    plain = save_tokenizer_json(tmp_path / "plain")
    other = Path(shutil.copytree(plain, tmp_path / "other"))
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"] = {"type": "NFKC"}
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    assert ids(plain) != ids(other)
    assert digest(plain) != digest(other)
