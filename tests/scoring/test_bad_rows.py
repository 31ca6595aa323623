"""Every kind of bad row: the run stops at it with file, line and reason, or goes on without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from adapterhub import Hub
from adapterhub.errors import DataError, UsageError

GOOD = b"a good day"
CSV: list[tuple[bytes, str]] = [
    (b"1,caf\xe9", "it is not UTF-8: byte 0xE9"),
    (b"1,a,b", "it has 3 cells, the first line has 2"),
    (b"1", "it has 1 cells"),
    (b'1,"a" b', "it cannot be read as CSV"),
    (b"1,a\0b", "it has a NUL byte"),
    (b"1,", "is empty"),
    (b"1,   ", "is empty"),
    ("1,\ufeff".encode(), "no token is left of U+FEFF"),
]
JSON: list[tuple[bytes, str]] = [
    (b'{"text": "a"', "it is no JSON record: Expecting ',' delimiter at character 14"),
    (b'{"id": 1}', "has no field 'text'; it has id"),
    (b'{"text": null}', "is None; expected a string"),
    (b'{"text": 5}', "is of type int (5); expected a string"),
    (b'{"text": "\\ud800"}', "lone surrogate"),
    (b'{"text": "caf\xe9"}', "it is not UTF-8"),
    ('\ufeff{"text": "a"}'.encode(), "byte order mark"),
    (b'{"text": "a", "text": "b"}', "occurs twice"),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, bad: list[tuple[bytes, str]]) -> int:
    """Writes good rows and bad ones in turn, after a byte order mark; returns the first line."""
    good = b"0," + GOOD if name.endswith("csv") else b'{"text": "' + GOOD + b'"}'
    lines = [b"id,text"] if name.endswith("csv") else []
    for line, _ in bad:
        lines += [good, line]
    Path(name).write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines) + b"\n")
    return 3 if name.endswith("csv") else 2


def read(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


@pytest.mark.parametrize(("name", "bad"), [("in.csv", CSV), ("in.jsonl", JSON)])
def test_bad_rows_are_named_and_counted(hub: Hub, name: str, bad: Any) -> None:
    first = write(name, bad)
    with pytest.raises(DataError, match=rf"^{name}, line {first}: .*on_error='skip'") as caught:
        hub.score_file(name, "out.jsonl", tasks="sentiment")
    assert caught.value.line == first
    assert not Path("out.jsonl").exists()
    done = hub.score_file(name, "out.jsonl", tasks="sentiment", options={"on_error": "skip"})
    assert (done.rows, done.scored, done.bad) == (2 * len(bad), len(bad), len(bad))
    assert [row["text"] for row in read("out.jsonl")] == [GOOD.decode()] * len(bad)
    found = read("out.jsonl.errors.jsonl")
    assert [one["line"] for one in found] == [first + 2 * index for index in range(len(bad))]
    assert {one["file"] for one in found} == {name}
    for one, (_, part) in zip(found, bad, strict=True):
        assert part in one["reason"]


def test_a_quote_that_is_not_closed_is_one_bad_row_with_its_lines(hub: Hub) -> None:
    Path("in.csv").write_text('id,text\n1,good\n2,"never\n3,closed\n')
    done = hub.score_file("in.csv", "o.csv", tasks="sentiment", options={"on_error": "skip"})
    assert (done.rows, done.scored, done.bad) == (2, 1, 1)
    assert "goes on to line 4" in read("o.csv.errors.jsonl")[0]["reason"]


def test_bad_rows_of_several_files_are_named_with_their_own(hub: Hub) -> None:
    Path("data").mkdir()
    Path("data/a.csv").write_text("text\na\n")
    Path("data/b.csv").write_text("text\nb\n\x00\n")
    with pytest.raises(DataError, match=r"^data/b\.csv, line 3: it has a NUL"):
        hub.score_file("data", "out.csv", tasks="sentiment")
    hub.score_file("data", "out/", tasks="sentiment", options={"on_error": "skip"})
    [bad] = read("out/_errors.jsonl")
    assert (bad["file"], bad["line"]) == ("data/b.csv", 3)
    # The parts of an output are an input, and what stands beside them is none.
    again = hub.score_file("out", "again.csv", tasks="rating")
    assert (again.rows, again.bad) == (2, 0)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.arrow"])
def test_texts_that_look_like_nothing_are_texts(hub: Hub, name: str) -> None:
    texts = ["NA", "null", "None", "nan", "N/A", "<NA>", "-", "0", "TRUE"]
    lines = {"a.csv": texts, "a.jsonl": [json.dumps({"text": text}) for text in texts]}
    if name == "a.arrow":
        with pa.ipc.new_file(name, pa.schema([("text", pa.string())])) as writer:
            writer.write_table(pa.table({"text": texts}))
    else:
        head = ["text"] if name == "a.csv" else []
        Path(name).write_text("\n".join([*head, *lines[name]]) + "\n")
    done = hub.score_file(name, "out.jsonl", tasks="sentiment")
    assert (done.scored, [row["text"] for row in read("out.jsonl")]) == (len(texts), texts)


@pytest.mark.parametrize("bad", [None, "\ud800", 5, b"text", float("nan")])
def test_a_bad_text_of_a_list_costs_one_row(hub: Hub, bad: Any) -> None:
    for texts, line in (["good", bad, "fine"], 2), ([bad, "good", "fine"], 1):
        options = {"on_error": "skip", "force": True}
        done = hub.score_file(texts, "out.jsonl", tasks="sentiment", options=options)
        assert (done.rows, done.scored, done.bad) == (3, 2, 1)
        assert read("out.jsonl.errors.jsonl")[0]["line"] == line


@pytest.mark.parametrize("content", ["", "id,text\n"])
def test_no_rows_are_a_table_with_a_schema(hub: Hub, content: str) -> None:
    Path("data").mkdir()
    Path("data/a.csv").write_text(content)
    done = hub.score_file("data", "out.arrow", tasks="sentiment")
    table = pa.ipc.open_file("out.arrow").read_all()
    assert (done.rows, table.num_rows) == (0, 0)
    own = ["id", "text"] if content else []
    assert table.column_names == [*own, "sentiment.label", "sentiment.score"]
    Path("data/a.csv").unlink()
    with pytest.raises(DataError, match=r"^data: the folder holds no files"):
        hub.score_file("data", "no.arrow", tasks="sentiment")


@pytest.mark.slow
def test_force_takes_away_the_bad_rows_of_the_run_before(hub: Hub) -> None:
    bad = {"on_error": "skip"}
    for part_rows in 1, 9:
        hub.score_file(
            [None, "good", "bad"], "out.csv", tasks="sentiment", options=bad | {"force": True}
        )
        assert Path("out.csv.errors.jsonl").exists()
        options = {"force": True, "part_rows": part_rows}
        hub.score_file(["good", "bad"], "out.csv", tasks="sentiment", options=options)
        assert not Path("out.csv.errors.jsonl").exists()
    Path("out.csv.errors.jsonl").write_text('{"text": "good"}\n')
    with pytest.raises(UsageError, match="The input itself would be written"):
        hub.score_file(
            "out.csv.errors.jsonl", "out.csv", tasks="sentiment", options={"force": True}
        )


def test_a_name_of_a_column_that_is_no_text_is_said(hub: Hub) -> None:
    records: list[Any] = [{"text": "good"}, {1: "bad"}]
    with pytest.raises(DataError, match=r"record 2: its column 1 has a name of type int"):
        hub.score_file(records, "out.jsonl", tasks="sentiment")


def test_cells_between_other_signs_are_said(hub: Hub) -> None:
    Path("in.csv").write_text("id;text\n1;good\n")
    with pytest.raises(DataError, match=r"columns are id;text\. Its cells stand between ';'"):
        hub.score_file("in.csv", "out.csv", tasks="sentiment")
