"""Config, tokenizer and documents of a converted folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import BackboneError
from adapterhub.importing.converted_settings import copy_files, fit_tokenizer, write_config
from adapterhub.model.tokenizers.tokenizer_files import load_tokenizer
from tests.tiny import vocabulary

TENSORS = {
    "albert": "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.bias",
    "bert": "bert.encoder.layer.0.output.dense.bias",
    "distilbert": "transformer.layer.0.attention.q_lin.bias",
    "electra": "electra.embeddings.word_embeddings.weight",
    "roberta": "roberta.encoder.layer.0.output.dense.bias",
}


def write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values))


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def made(folder: Path, *tensors: str) -> tuple[Any, list[str]]:
    """Returns the config that is written, and the notes."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    notes = write_config(folder, out, tensors)
    return read(out / "config.json"), notes


def test_a_config_that_says_its_family_is_copied(tmp_path: Path) -> None:
    text = '{"model_type": "albert",\n "custom": [1.0], "architectures": ["BertModel"]}'
    (tmp_path / "config.json").write_text(text)
    assert made(tmp_path, TENSORS["bert"])[1] == []
    assert (tmp_path / "out" / "config.json").read_text() == text


@pytest.mark.parametrize("family", TENSORS)
def test_the_names_of_tensors_say_the_family(family: str, tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"hidden_size": 32, "architectures": ["Custom"]})
    values, notes = made(tmp_path, "classifier.weight", TENSORS[family])
    assert values == {"hidden_size": 32, "architectures": ["Custom"], "model_type": family}
    assert notes == [
        f"config.json names no model_type; it is '{family}' by its tensor {TENSORS[family]}"
    ]


@pytest.mark.parametrize(
    ("architecture", "family"),
    [
        ("AlbertForMaskedLM", "albert"),
        ("BertModel", "bert"),
        ("DistilBertForSequenceClassification", "distilbert"),
        ("ElectraForPreTraining", "electra"),
        ("RobertaForMaskedLM", "roberta"),
        ("XLMRobertaModel", "xlm-roberta"),
    ],
)
def test_the_architecture_says_the_family(architecture: str, family: str, tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"architectures": [architecture]})
    values, notes = made(tmp_path, "encoder.layer.0.output.dense.bias")
    assert values["model_type"] == family
    assert notes[0].endswith(f"it is '{family}' by its architecture {architecture}")


def test_the_vocabulary_tells_roberta_from_xlm_roberta(tmp_path: Path) -> None:
    write(tmp_path / "config.json", {})
    (tmp_path / "sentencepiece.bpe.model").touch()
    assert made(tmp_path, TENSORS["roberta"])[0]["model_type"] == "xlm-roberta"


@pytest.mark.parametrize(
    ("name", "family"), [("bert_config.json", "bert"), ("albert_config_tiny_g.json", "albert")]
)
def test_a_config_under_an_older_name(name: str, family: str, tmp_path: Path) -> None:
    write(tmp_path / name, {"hidden_size": 32})
    values, notes = made(tmp_path, "encoder.layer.0.output.dense.bias")
    assert values == {"hidden_size": 32, "model_type": family}
    assert notes == [
        f"config.json is {name}",
        f"{name} names no model_type; it is '{family}' by the name of that file",
    ]
    write(tmp_path / "config.json", {"model_type": "electra"})
    assert made(tmp_path)[0] == {"model_type": "electra"}


def test_one_of_several_configs_is_not_chosen(tmp_path: Path) -> None:
    for name in ("albert_config_tiny.json", "albert_config_base.json"):
        write(tmp_path / name, {})
    with pytest.raises(BackboneError, match=r"config\.json cannot be read: No such file"):
        made(tmp_path, TENSORS["albert"])


@pytest.mark.parametrize(
    "values", [{}, {"architectures": ["BertGenerationEncoder"]}, {"architectures": "BertModel"}]
)
def test_a_family_that_nothing_says_is_asked_for(values: object, tmp_path: Path) -> None:
    write(tmp_path / "config.json", values)
    message = r'config.json names no model_type, .* "model_type": "bert" \(one of albert, bert'
    with pytest.raises(BackboneError, match=message):
        made(tmp_path, "encoder.layer.0.output.dense.bias")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": NaN}', '{"a": 1, "a": 2}'])
def test_a_damaged_config_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BackboneError, match=r"config\.json cannot be read: "):
        made(tmp_path, TENSORS["bert"])


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"config\.json cannot be read: No such file"):
        made(tmp_path, TENSORS["bert"])


# Tokenizers


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("vocab.txt",), "BertTokenizer"),
        (("spiece.model", "vocab.txt"), "AlbertTokenizer"),
        (("vocab.json", "merges.txt"), "RobertaTokenizer"),
        (("sentencepiece.bpe.model",), "XLMRobertaTokenizer"),
    ],
)
def test_the_files_say_the_class(names: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"model_type": "albert"})
    write(tmp_path / "tokenizer_config.json", {"model_max_length": 512})
    for name in names:
        (tmp_path / name).touch()
    assert fit_tokenizer(tmp_path) == [f"tokenizer_config.json has {kind} for {names[0]}"]
    written = read(tmp_path / "tokenizer_config.json")
    assert written == {"model_max_length": 512, "tokenizer_class": kind}


@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
def test_a_class_without_its_file_is_replaced(place: str, tmp_path: Path) -> None:
    write(tmp_path / "config.json", {})
    write(tmp_path / place, {"tokenizer_class": "AlbertTokenizerFast"})
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary()), encoding="utf-8")
    (note,) = fit_tokenizer(tmp_path)
    assert note.endswith(
        "BertTokenizer for vocab.txt instead of AlbertTokenizerFast, whose spiece.model is missing"
    )
    tokenizer = load_tokenizer(tmp_path, vocab_size=len(vocabulary()))
    assert type(tokenizer).__name__ == "BertTokenizer"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("vocab.txt",), "BertTokenizer"),
        (("vocab.txt",), "ElectraTokenizerFast"),
        (("tokenizer.json", "vocab.txt"), None),
        (("vocab.txt",), "CustomTokenizer"),
        ((), None),
    ],
)
def test_what_fits_stays(names: tuple[str, ...], kind: str | None, tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"tokenizer_class": kind} if kind else {})
    for name in names:
        (tmp_path / name).touch()
    assert fit_tokenizer(tmp_path) == []
    assert not (tmp_path / "tokenizer_config.json").exists()


CAPITALS = tuple(f"Paris{letter}" for letter in "abcdefghijkl")


@pytest.mark.parametrize(
    ("pieces", "settings", "lower"),
    [
        (("the", *CAPITALS, "##ing", "##s"), {}, False),
        (("the", *CAPITALS, "##ing"), {"do_lower_case": True}, True),
        (("the", "paris", "中", "[UNK]", "[unused1]"), {}, None),
        ((), {}, None),
    ],
)
def test_a_vocabulary_with_capitals_is_not_lowered(
    pieces: tuple[str, ...], settings: dict[str, bool], lower: bool | None, tmp_path: Path
) -> None:
    write(tmp_path / "config.json", {})
    write(tmp_path / "tokenizer_config.json", settings)
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    (note,) = fit_tokenizer(tmp_path)
    assert read(tmp_path / "tokenizer_config.json").get("do_lower_case") == lower
    assert ("do_lower_case false" in note) == (lower is False)


def test_documents_and_sentence_vectors_are_copied(tmp_path: Path) -> None:
    folder, out = tmp_path / "folder", tmp_path / "out"
    names = {
        "vocab.txt",
        "added_tokens.json",
        "modules.json",
        "1_Pooling/config.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "README.md",
        "LICENSE",
        "NOTICE.txt",
    }
    others = {"training_args.bin", "2_Dense/pytorch_model.bin", "run.py", "optimizer.pt"}
    for name in names | others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    out.mkdir()
    copy_files(folder, out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == names
    assert all((out / name).read_text() == name for name in names)


def test_a_link_out_of_the_folder_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "folder" / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(BackboneError, match=r"README\.md is a link out of the folder"):
        copy_files(tmp_path / "folder", tmp_path / "out")
