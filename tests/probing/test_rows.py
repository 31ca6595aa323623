"""Rows of every target, in three splits, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.probing.options import ProbeOptions
from adapterhub.probing.rows import ProbeRows, read_rows

WORDS = ["Ann", "lives", "in", "Oslo", "."]
TREE = {
    "tokens": WORDS,
    "tags": ["B-PER", "O", "O", "B-LOC", "O"],
    "upos": ["PROPN", "VERB", "ADP", "PROPN", "PUNCT"],
    "head": [2, 0, 4, 2, 2],
    "deprel": ["nsubj", "root", "case", "obl", "punct"],
}
TREES = [{**TREE, "tokens": [f"Ann{n}", *WORDS[1:]]} for n in range(30)]
TEXTS = [{"text": f"text {n}", "label": ("good", "bad")[n % 2]} for n in range(40)]
PARTS = (("train", 0, 20), ("validation", 20, 32), ("test", 32, 40))


def read(data: object, **options: Any) -> ProbeRows:
    return read_rows(data, ProbeOptions(**options))


def sizes(rows: ProbeRows) -> tuple[int, ...]:
    return tuple(len(part) for part in rows.splits.values())


@pytest.mark.parametrize(
    ("options", "what", "target", "labels", "of_row"),
    [
        ({}, "tag", "tags", ("LOC", "O", "PER"), ("PER", "O", "O", "LOC", "O")),
        ({"target": "upos"}, "tag", "upos", ("ADP", "PROPN", "PUNCT", "VERB"), None),
        (
            {"what": "relation"},
            "relation",
            "deprel",
            ("case", "nsubj", "obl", "punct"),
            ("nsubj", "", "case", "obl", "punct"),
        ),
        ({"target": "deprel"}, "relation", "deprel", ("case", "nsubj", "obl", "punct"), None),
        ({"what": "head"}, "head", "head", (), ("nsubj", "root", "case", "obl", "punct")),
        ({"target": "head"}, "head", "head", (), None),
    ],
)
def test_words_have_the_labels_of_their_target(
    options: dict[str, Any], what: str, target: str, labels: tuple[str, ...], of_row: Any
) -> None:
    rows = read(TREES, **options)
    assert (rows.what, rows.target, rows.labels) == (what, target, labels)
    assert sizes(rows) == (18, 6, 6)
    row = rows.splits["measuring"][0]
    text = row.inputs[0]
    assert text.endswith(" lives in Oslo.")
    assert [text[start:end] for start, end in row.words][1:] == WORDS[1:]
    assert of_row in (None, row.labels)
    assert row.heads == ((2, 0, 4, 2, 2) if what in ("relation", "head") else ())


def test_heads_need_no_relations() -> None:
    plain = [{"tokens": row["tokens"], "head": row["head"]} for row in TREES]
    rows = read(plain, what="head", validation=plain)
    assert sizes(rows) == (30, 15, 15)
    assert rows.splits["measuring"][0].heads == (2, 0, 4, 2, 2)


def test_texts_and_pairs_have_one_label() -> None:
    rows = read(TEXTS)
    assert (rows.what, rows.labels, rows.fields) == ("label", ("bad", "good"), ("text",))
    assert sizes(rows) == (24, 8, 8)
    texts = [row.inputs for part in rows.splits.values() for row in part]
    assert len(set(texts)) == 40
    paired = read([{**row, "text_pair": "other"} for row in TEXTS])
    assert paired.fields == ("text", "text_pair")
    assert {row.inputs[1] for row in paired.splits["training"]} == {"other"}


def test_equal_texts_are_in_one_split() -> None:
    rows = read([*TEXTS, *({**row, "text": row["text"].upper()} for row in TEXTS)])
    known = [{row.inputs[0].lower() for row in part} for part in rows.splits.values()]
    assert sum(map(len, known)) == len(set().union(*known)) == 40


def test_splits_that_are_given_are_taken(tmp_path: Path) -> None:
    other = [{"text": f"other {n}", "label": ("good", "bad")[n % 2]} for n in range(20)]
    rows = read(TEXTS, validation=other)
    assert sizes(rows) == (40, 10, 10)
    assert sizes(read(TEXTS, validation=other, test=other[:6])) == (40, 20, 6)
    parts = ["train"] * 20 + ["validation"] * 12 + ["test"] * 8
    marked = [{**row, "part": part} for row, part in zip(TEXTS, parts, strict=True)]
    assert sizes(read(marked, split_column="part")) == (20, 12, 8)
    assert sizes(read(marked[:32], split_column="part")) == (20, 6, 6)
    assert sizes(read(TEXTS, max_rows=9, validation=other)) == (9, 9, 9)
    parts = datasets.DatasetDict(
        {name: datasets.Dataset.from_list(marked[a:b]) for name, a, b in PARTS}
    )
    assert sizes(read(parts)) == (20, 12, 8)
    again = read(TEXTS, validation=TEXTS[:20])
    assert "measuring rows are also training or choosing rows" in again.notes[0]


def test_no_more_rows_than_asked_for_and_the_same_by_the_same_seed() -> None:
    first, same = (read(TREES, max_rows=9, target="upos") for _ in range(2))
    assert sizes(first) == (9, 6, 6)
    assert first.splits == same.splits
    assert first.splits != read(TREES, max_rows=9, target="upos", seed=1).splits


def test_labels_of_no_training_row_are_left_out_and_named() -> None:
    odd = {"text": "odd one", "label": "odd"}
    rows = read(TEXTS, validation=[*TEXTS[:10], odd], test=[*TEXTS[:4], odd])
    assert rows.labels == ("bad", "good")
    assert sizes(rows) == (40, 10, 4)
    assert any(
        "2 items are left out, whose labels no training row has: odd" in n for n in rows.notes
    )


def test_order_is_read_from_paragraphs_of_files_and_columns(tmp_path: Path) -> None:
    paragraphs = [
        f"The first of {n} was long ago. The second of {n} came much later. Then came {n}."
        for n in range(40)
    ]
    file = tmp_path / "book.txt"
    file.write_text("\n\n".join([*paragraphs, "A heading"]))
    rows = read(file)
    assert (rows.name, rows.what, rows.target) == ("book", "order", "order")
    assert rows.fields == ("text", "text_pair")
    assert rows.labels == ("in order", "swapped")
    assert sizes(rows) == (24, 8, 8)
    table = read([{"prose": text} for text in paragraphs], what="order", text="prose")
    assert table.splits == rows.splits
    halves = read(file, validation=file, max_rows=10)
    assert sizes(halves) == (10, 10, 10)


def test_treebanks_are_read_with_their_text(tmp_path: Path) -> None:
    lines = "1\tAnn\t_\tPROPN\t_\t_\t2\tnsubj\t_\t_\n2-3\tcannot\t_\t_\t_\t_\t_\t_\t_\t_\n"
    lines += "2\tcan\t_\tAUX\t_\t_\t0\troot\t_\t_\n3\tnot\t_\tPART\t_\t_\t2\tadvmod\t_\t_\n\n"
    file = tmp_path / "small.conllu"
    file.write_text(
        "".join(f"# text = Ann{n}  cannot\n{lines.replace('Ann', f'Ann{n}')}" for n in range(20))
    )
    row = read(file, what="head").splits["measuring"][0]
    text = row.inputs[0]
    assert [text[start:end] for start, end in row.words] == [text.split()[0], "can", "not"]
    assert row.heads == (2, 0, 2)
    assert read(file, target="upos").labels == ("AUX", "PART", "PROPN")
    with pytest.raises(UsageError, match="--what relation"):
        read(file)


@pytest.mark.parametrize(
    ("data", "options", "problem"),
    [
        ([{**TREE, "head": [1, 0, 4, 2, 2]}] * 9, {"what": "head"}, "its own head"),
        (TEXTS, {"what": "head"}, "there is no column 'head'; columns are text, label"),
        (TEXTS[:6], {}, "8 or more are needed"),
        (TEXTS, {"validation": [{"text": "x", "label": "odd"}] * 4}, "no training row has: odd"),
        ([{**row, "label": "good"} for row in TEXTS], {}, "only the label 'good'"),
        ([{"text": 3}] * 9, {"what": "order"}, "expected a text"),
        ([{"text": "One. "}] * 9, {"what": "order"}, "no text of column 'text' has two sentences"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(
    data: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        read(data, **options)


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        ([{"text": "a", "score": 0.5 + n} for n in range(9)], {}, "the ranges"),
        ([{"text": "a", "label": 0.5 + n} for n in range(9)], {"what": "label"}, "the ranges"),
        ([{"text": "a", "labels": ["x", "y"]}] * 9, {}, "one at a time"),
        ([{"text": "a", "label": n} for n in range(50)], {}, "--what label"),
        ([{k: v for k, v in TREE.items() if k != "tags"}] * 9, {}, "--what relation, --what head"),
        ([{**TEXTS[0], "tokens": ["a"], "tags": ["X"]}] * 9, {}, "words beside its texts"),
    ],
)
def test_what_cannot_be_probed_says_what_to_do(
    rows: Any, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        read(rows, **options)
