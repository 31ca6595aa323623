"""The tokenizer of every layout that repositories on the Hub have: ids, types, digest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from adapterhub.errors import TokenizerError
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.tokenizers.tokenizer_checks import ID_BITS, check_fit
from adapterhub.model.tokenizers.tokenizer_digest import tokenizer_digest
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from adapterhub.plan import Reading
from tests.encoders import save_tokenizer
from tests.tiny import vocabulary

ROWS = 1_200
WORDS = "The Good City Film Early Late Berlin London Paris Anna Peter Maria school people".split()  # noqa: SIM905
TEXTS = (
    "the good city",
    "The Good  City, naïve CAFÉ cafe\u0301!",
    "  中国的天气很好。it is good\r\n\tand  late ",
    "ＡＢ ﬁlm ½ \u3000\xa0the\u200bcity \x10x",
    "👩\u200d👩\u200d👧 a film about [MASK] and </s> <mask>x",
    "x" * 120,
    "",
)

# transformers reads a pair with an empty second text as a single text.
PAIRS = list(zip(TEXTS[:-1], TEXTS[-2::-1], strict=True))

Fast = PreTrainedTokenizerFast


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of the vocabulary files of a family, with the tokenizer.json of each."""

    @cache
    def write(family: str) -> Path:
        folder = tmp_path_factory.mktemp(family)
        if family == "cased":
            lines = [*vocabulary(), *WORDS, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
            (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        else:
            save_tokenizer(folder, family)
        name = "bert" if family == "cased" else family
        write_json(folder / "config.json", model_type=name, vocab_size=ROWS)
        settings = {"do_lower_case": False} if family == "cased" else {}
        found = AutoTokenizer.from_pretrained(str(folder), **settings)
        found.backend_tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return write


def write_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the tokenizer.json of a folder."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def layout(source: Path, folder: Path, files: str, *, model_type: str, **config: object) -> Path:
    """Copies some vocabulary files and writes the configs beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in files.split():
        shutil.copy(source / name, folder / name)
    write_json(folder / "config.json", model_type=model_type, vocab_size=ROWS)
    if config:
        write_json(folder / "tokenizer_config.json", **config)
    return folder


def load(folder: Path) -> Fast:
    return load_tokenizer(folder, vocab_size=ROWS)


def digest(folder: Path) -> bytes:
    return tokenizer_digest(folder, load(folder))


def ids(folder: Path) -> list[list[int]]:
    """Returns the ids of the texts in windows of our own, and of pairs of them."""
    tokenizer = TextTokenizer(load(folder))
    return [
        window.ids + window.type_ids
        for fields, inputs in (
            (("text",), [(text,) for text in TEXTS]),
            (("text", "text_pair"), PAIRS),
        )
        for reading in (Reading(fields, 512, 0),)
        for window in tokenizer.windows(
            tokenizer.rows(inputs, reading=reading, max_windows=1), reading=reading
        )
    ]


def expected(reference: Fast) -> list[list[int]]:
    """Returns the ids and types that a tokenizer of transformers gives."""
    inputs = [*((text,) for text in TEXTS), *PAIRS]
    found = [reference(*texts, return_token_type_ids=True) for texts in inputs]
    return [one["input_ids"] + one["token_type_ids"] for one in found]


JSON_AND_WORDS = "tokenizer.json vocab.txt"
JSON_AND_MERGES = "tokenizer.json vocab.json merges.txt"
JSON_AND_PIECES = "tokenizer.json sentencepiece.bpe.model"
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


def newer_pieces(content: dict[str, Any]) -> None:
    """Gives XLM-R's tokenizer the rules that transformers 4.39 and later wrote for it."""
    content["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            content["normalizer"],
            {"type": "Strip", "strip_left": False, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"},
        ],
    }
    content["pre_tokenizer"] = content["pre_tokenizer"]["pretokenizers"][1]


def before_words(content: dict[str, Any]) -> None:
    content["pre_tokenizer"]["add_prefix_space"] = True


def with_lower_case(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Lowercase"}


def of_one_type(content: dict[str, Any]) -> None:
    for part in content["post_processor"]["pair"]:
        next(iter(part.values()))["type_id"] = 0


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
    found = [tokenizer.encode(*texts) for texts in inputs]
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


# Refused


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
    ids=str,
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


# Digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "files"),
    [
        ("bert", ["vocab.txt", "tokenizer.json", JSON_AND_WORDS]),
        ("roberta", ["vocab.json merges.txt", "tokenizer.json", JSON_AND_MERGES]),
        ("xlm-roberta", ["sentencepiece.bpe.model", "tokenizer.json", JSON_AND_PIECES]),
    ],
)
def test_the_digest_is_of_the_ids_and_not_of_the_files(
    family: str, files: list[str], written: Callable[[str], Path], tmp_path: Path
) -> None:
    named = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}[family]
    found = set()
    for index, some in enumerate(files):
        for config in ({}, {"tokenizer_class": f"{named}Tokenizer"}, {"model_max_length": 64}):
            folder = tmp_path / f"{index}{len(found)}{len(config)}"
            folder = layout(written(family), folder, some, model_type=family, **config)
            saved = tmp_path / f"{folder.name}-saved"
            load(folder).save_pretrained(saved)
            shutil.copy(folder / "config.json", saved)
            found |= {digest(folder), digest(saved)}
    assert len(found) == 1


def swap_merges(content: dict[str, Any]) -> None:
    lines = content["model"]["merges"]
    lines[20], lines[30] = lines[30], lines[20]


CHANGES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "lower case": ("bert", lambda c: c["normalizer"].update(lowercase=False)),
    "accents": ("bert", lambda c: c["normalizer"].update(strip_accents=False)),
    "controls": ("bert", lambda c: c["normalizer"].update(clean_text=False)),
    "prefix": ("bert", lambda c: c["model"].update(continuing_subword_prefix="#")),
    "longest word": ("bert", lambda c: c["model"].update(max_input_chars_per_word=9)),
    "one type": ("bert", of_one_type),
    "added token": (
        "bert",
        lambda c: c["added_tokens"].append({**c["added_tokens"][0], "id": 300, "content": "qq"}),
    ),
    "token": ("bert", lambda c: c["model"]["vocab"].update(film=9, h=c["model"]["vocab"]["film"])),
    "space before": ("roberta", before_words),
    "case": ("roberta", with_lower_case),
    "order of merges": ("roberta", swap_merges),
    "mask eats its space": ("roberta", lambda c: c["added_tokens"][4].update(lstrip=True)),
    "no regex": ("roberta", lambda c: c["pre_tokenizer"].update(use_regex=False)),
    "score": ("xlm-roberta", lambda c: c["model"]["vocab"][20].__setitem__(1, -1.0)),
    "newer rules": ("xlm-roberta", newer_pieces),
    "no rules": ("xlm-roberta", lambda c: c.update(normalizer=None)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_each_rule_changes_the_digest(
    name: str, written: Callable[[str], Path], tmp_path: Path
) -> None:
    family, change = CHANGES[name]
    plain = layout(written(family), tmp_path / "a", "tokenizer.json", model_type=family)
    other = layout(written(family), tmp_path / "b", "tokenizer.json", model_type=family)
    edited(other, change)
    assert digest(plain) != digest(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("bert", lambda c: c["normalizer"].update(strip_accents=True)),
        ("bert", lambda c: c.update(decoder=None)),
        ("bert", lambda c: c["added_tokens"][4].update(lstrip=True)),
        ("roberta", lambda c: c["added_tokens"][0].update(normalized=True)),
        ("roberta", lambda c: c["pre_tokenizer"].update(trim_offsets=False)),
        ("roberta", lambda c: c["post_processor"].update(trim_offsets=False)),
        ("xlm-roberta", lambda c: c["added_tokens"][4].update(lstrip=True)),
    ],
)
def test_what_changes_no_id_leaves_the_digest(
    family: str,
    change: Callable[[dict[str, Any]], object],
    written: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    plain = layout(written(family), tmp_path / "a", "tokenizer.json", model_type=family)
    other = layout(written(family), tmp_path / "b", "tokenizer.json", model_type=family)
    edited(other, change)
    assert ids(plain) == ids(other)
    assert digest(plain) == digest(other)
