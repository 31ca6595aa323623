"""Treebanks in CoNLL-U: sentences, multiword tokens, empty nodes, texts, and damaged lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from adapterhub.errors import DataError
from adapterhub.rows.conllu import conllu_rows, is_treebank
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import TrainingOptions


def _line(place: str, form: str, head: str = "_", relation: str = "_", other: str = "_") -> str:
    return f"{place}\t{form}\t{form.lower()}\tX\t_\t_\t{head}\t{relation}\t_\t{other}\n"


FRENCH = [
    "# sent_id = 1\n",
    "# text = Il parle du film.\n",
    _line("1", "Il", "2", "nsubj"),
    _line("2", "parle", "0", "root"),
    _line("2.1", "parle", "_", "_"),
    _line("3-4", "du"),
    _line("3", "de", "5", "case"),
    _line("4", "le", "5", "det"),
    _line("5", "film", "2", "obl", "SpaceAfter=No"),
    _line("6", ".", "2", "punct"),
    "\n",
]


def test_a_sentence_is_a_row_with_the_offsets_of_its_words() -> None:
    (row,) = conllu_rows(FRENCH)
    assert row.place == 1
    assert row.values["tokens"] == ["Il", "parle", "de", "le", "film", "."]
    assert row.values["head"] == ["2", "0", "5", "5", "2", "2"]
    assert row.values["deprel"] == ["nsubj", "root", "case", "det", "obl", "punct"]
    assert row.values["text"] == "Il parle du film."
    assert row.values["offsets"] == [[0, 2], [3, 8], [9, 11], [9, 11], [12, 16], [16, 17]]


def test_without_its_text_a_sentence_is_joined_by_its_spaces() -> None:
    (row,) = conllu_rows(line for line in FRENCH if "text" not in line)
    assert row.values["text"] == "Il parle du film."
    english = [_line("1-2", "don't"), _line("1", "do", "0", "root"), _line("2", "n't", "1", "neg")]
    (row,) = conllu_rows([*english[:1], *english[1:]])
    assert "text" not in row.values  # nothing says where spaces are
    (row,) = conllu_rows(["# text = Well, don't\n", *english])
    assert "text" not in row.values  # the text is another
    (row,) = conllu_rows(["# text = don't worry\n", *english])
    assert "text" not in row.values  # its end belongs to no word
    (row,) = conllu_rows(["# text = don't\n", *english])
    assert row.values["offsets"] == [[0, 2], [2, 5]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("3 de le\n", "line 2: it has 1 fields with tabs between, CoNLL-U has 10"),
        (_line("3", "de", "1", "case"), "line 2: the word 3 is the 2. of its sentence"),
        (_line("x", "de", "1", "case"), "line 2: 'x' is no number of a word"),
        (_line("1-2", "du"), "line 2: the token 1-2 stands behind word 1"),
        (_line("3-2", "du"), "line 2: the token 3-2 stands behind word 1"),
        (_line("2-3", "du"), "a token goes to word 3 of 1 words"),
    ],
)
def test_a_damaged_line_is_named(line: str, problem: str) -> None:
    good = _line("1", "Il", "0", "root")
    rows = list(conllu_rows([good, line, "\n", good]))
    assert [row.place for row in rows] == [1, 4]
    assert problem in str(rows[0].problem)
    assert rows[1].problem is None


@pytest.mark.parametrize("name", ["fr-train.conllu", "fr-train.conllu.gz", "fr-train.CONLLU"])
def test_files_train_and_errors_name_the_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert is_treebank(path)
    text = "".join(FRENCH) * 12
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    dataset = read_splits(path, TrainingOptions(validation=path)).train
    assert dataset.kind == "parsing"
    assert dataset.inputs[0] == ("Il parle du film.",)
    assert [(arc.start, arc.end, arc.head) for arc in dataset.trees()[0]][2:4] == [
        (9, 11, 5),
        (9, 11, 5),
    ]
    text = text.replace("\t2\tpunct", "\t6\tpunct", 1)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(DataError, match=r"line 1: word 6 is its own head"):
        read_splits(path, TrainingOptions(validation=path))


def test_other_columns_of_a_treebank_train_taggers(tmp_path: Path) -> None:
    path = tmp_path / "fr.conllu"
    path.write_text("".join(FRENCH) * 12, encoding="utf-8")
    options = TrainingOptions(kind="tagging", target="upos", validation=path)
    dataset = read_splits(path, options).train
    assert dataset.inputs[0] == ("Il parle de le film.",)
    assert len(dataset.spans()[0]) == 6
