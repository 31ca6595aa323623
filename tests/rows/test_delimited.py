"""CSV and TSV: no line is lost in silence, and what is written is read."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.errors import DataError
from adapterhub.rows.delimited import tsv_cell
from adapterhub.rows.formats import FileFormat
from adapterhub.rows.reading import read_file
from adapterhub.scoring.output.writers import DelimitedText
from adapterhub.training.data.records import read_records
from tests.rows.texts import read, values

TEXT = st.text(st.sampled_from('ab"\t\n\r\\u0009a ,中'), max_size=12) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
)


@pytest.mark.parametrize(
    "text",
    [
        '"Hello," she said',
        'He said "no"',
        '"Great film."',
        '"',
        'a "b" c',
        '""Twice""',
        "'single'",
        '"open, never closed',
        "C:\\new\\u000a",
        '"C:\\new"',
    ],
)
def test_a_line_of_tsv_is_a_row(text: str) -> None:
    lines = [f"{text}\tpositive", "plain\tnegative", 'ends with one"\tpositive', "last\tnegative"]
    rows = read("text\tlabel\n" + "\n".join(lines) + "\n", "tsv")
    assert [row.place for row in rows] == [2, 3, 4, 5]
    assert values(rows) == [dict(zip(("text", "label"), x.split("\t"), strict=True)) for x in lines]


def test_no_row_of_a_tsv_is_lost_in_training(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    texts = ['"Open ' if index == 5 else 'shut"' if index == 12 else "plain" for index in range(40)]
    path.write_text("text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts))
    assert [row.values["text"] for row in read_records(path).rows] == texts


def test_what_pandas_writes_as_tsv_is_read(tmp_path: Path) -> None:
    texts = ["a\tb", 'say "a\tb"', '"Hello," she said', "plain", '"']
    frame = pd.DataFrame({"text": texts, "label": list("xyxyx")})
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False, quoting=quoting)
        rows = read_file(tmp_path / "a.tsv", FileFormat("tsv"))
        assert values(rows) == frame.to_dict("records")


def test_a_line_break_within_a_cell_of_tsv_is_named_and_costs_its_lines_only() -> None:
    rows = read('text\tlabel\n"one\ntwo"\tx\ngood\ty\n', "tsv")
    assert rows[0].place == 2
    assert "a line of a TSV file is a row" in str(rows[0].problem)
    assert values(rows)[1:] == [{"text": 'two"', "label": "x"}, {"text": "good", "label": "y"}]
    ragged = read("a\tb\n1\n1\t2\t3\n\n1\t2\n", "tsv")
    assert [row.place for row in ragged] == [2, 3, 5]
    assert "it has 3 cells, the first line has 2" in str(ragged[1].problem)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1))
def test_tsv_comes_back(rows: list[tuple[str, str]]) -> None:
    lines = "".join(f"{tsv_cell(a)}\t{tsv_cell(b)}\n" for a, b in rows)
    assert lines.count("\n") == len(rows)
    found = values(read("a\tb\n" + lines, "tsv"))
    # A line of two empty cells is a tab, so no row is an empty line.
    assert found == [{"a": a, "b": b} for a, b in rows]


@given(st.lists(TEXT, min_size=1))
def test_tsv_of_one_column_comes_back(texts: list[str]) -> None:
    lines = "".join(f"{tsv_cell(text, alone=True)}\n" for text in texts)
    assert values(read("a\n" + lines, "tsv")) == [{"a": text} for text in texts]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_the_writer_agrees_with_the_reader(form: Any, tmp_path: Path) -> None:
    texts = ["", '"', '"a', 'a"', "a\tb", "a\nb", "\r", '"\n"', '"a" b', "\\u000a", '"\\u000a"']
    rows = [{"text": text, "n": str(index), '"': text} for index, text in enumerate(texts)]
    for columns in (("text", "n", '"'), ("n", "text"), ("text",), ('"',)):
        writer = DelimitedText(tmp_path / "a", FileFormat(form), columns)
        writer.write(rows)
        writer.close()
        found = read_file(tmp_path / "a", FileFormat(form))
        assert found.columns == columns
        assert values(found) == [{name: row[name] for name in columns} for row in rows]


def test_a_quote_that_a_later_row_closes_is_named_with_its_lines(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"good film,pos\nbad film,neg\nso so",neg\nplain,pos\n')
    with caplog.at_level(logging.WARNING, "adapterhub"):
        assert len(read_records(path).rows) == 2
    assert f"{path}: lines 2 to 4 are one row" in caplog.text
    caplog.clear()
    # Lines that cannot be rows are text.
    path.write_text('text,label\n"Dear all,\nthe film, the food,\nand so on",neg\nplain,pos\n')
    with caplog.at_level(logging.WARNING, "adapterhub"):
        assert len(read_records(path).rows) == 2
    assert caplog.text == ""


def test_csv_that_python_writes_is_read() -> None:
    text = io.StringIO()
    rows = [("a\nb", '"x"'), ("a,b\n\nc", "")]
    csv.writer(text, lineterminator="\n").writerows([("a", "b"), *rows])
    assert values(read(text.getvalue(), "csv")) == [{"a": a, "b": b} for a, b in rows]


@pytest.mark.parametrize("form", ["csv", "tsv"])
def test_lines_that_end_in_carriage_returns_alone_are_refused(form: Any) -> None:
    text = "text,label\ra,b\rc,d\r".replace(",", "," if form == "csv" else "\t")
    with pytest.raises(DataError, match=r"line 1.*lines end in carriage returns.*tr"):
        read(text, form)
    # A header that ends in CR LF, and a carriage return in a text, are none.
    assert values(read('text\r\n"a\rb"\r\n', form)) == [
        {"text": "a\rb" if form == "csv" else '"a\rb"'}
    ]
