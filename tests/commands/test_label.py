"""`train --kind prototype` and `label`: few examples in, labels added without training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.conftest import Run

pytest.importorskip("sklearn")

ROWS = "text,label\n" + "".join(
    f"{words} {number},{label}\n"
    for label, words in (("food", "good food"), ("place", "the city"))
    for number in range(3)
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))


def trained(run: Run, backbone: Path, *words: object) -> None:
    Path("few.csv").write_text(ROWS, encoding="utf-8")
    Path("labels.yaml").write_text("time: a late day\n", encoding="utf-8")
    first = ("train", "few.csv", "-t", "topics", "--kind", "prototype", "--backbone", backbone)
    ran = run(*first, "--describe", "labels.yaml", *words)
    assert ran.code == 0, ran.err
    assert "7 examples, 6 of them measured by leaving each out." in ran.err
    assert "Measured on 6 leave-one-out rows" in ran.out


def labels_of(run: Run) -> list[str]:
    return list(run("show", "topics", "--json").value["spec"]["labels"])


def test_labels_are_added_renamed_and_dropped(run: Run, tiny_backbone_folder: Path) -> None:
    trained(run, tiny_backbone_folder)
    assert labels_of(run) == ["food", "place", "time"]
    ran = run("label", "add", "topics", "film", "--text", "a film", "--text", "the film")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("topics:2 has the new label 'film', in ")
    scored = run("score", "a film", "--task", "topics")
    assert scored.value["topics.label"] == "film"
    ran = run("label", "rename", "topics", "film", "cinema", "--json")
    assert (ran.value["task"], ran.value["version"]) == ("topics", 3)
    assert run("label", "drop", "topics", "food", "place").code == 0
    assert labels_of(run) == ["time", "cinema"]
    assert [run("show", f"topics:{number}").code for number in (1, 2, 3, 4)] == [0] * 4


def test_several_labels_of_a_file_are_one_version(run: Run, tiny_backbone_folder: Path) -> None:
    trained(run, tiny_backbone_folder)
    rows = [{"text": "a film", "label": "film"}, {"text": "she was", "label": "she"}]
    Path("more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ran = run("label", "add", "topics", "--examples", "more.jsonl")
    assert ran.out.startswith("topics:2 has the new labels 'film', 'she', in ")
    Path("own.csv").write_text("text\nit was the film\n")
    ran = run("label", "add", "topics", "film", "--examples", "own.csv", "--extend")
    assert ran.out.startswith("topics:3 has more examples of 'film', in ")
    assert labels_of(run) == ["food", "place", "time", "film", "she"]


WRONG = (
    (("lose", "topics", "food"), 2, "ACTION is 'lose'; expected add, rename, drop"),
    (("add", "topics", "food", "--text", "x"), 2, "has a label 'food' already"),
    (("add", "topics", "film"), 2, "no example and no description"),
    (("add", "topics"), 2, "Name the label to add"),
    (("add", "topics", "a", "b", "--text", "x"), 2, "takes one label"),
    (("add", "topics", "film", "--examples", "few.csv"), 3, "labelled 'food', not 'film'"),
    (("add", "topics", "film", "--examples", "none.csv"), 3, "none.csv"),
    (("add", "topics", "film", "--examples", "gap.csv"), 3, "column 'text' is empty"),
    (("add", "topics", "--examples", "own.csv"), 3, "no column 'label'"),
    (("rename", "topics", "food"), 2, "the label and its new name"),
    (("rename", "topics", "food", "x", "--text", "y"), 2, "--text is for label add"),
    (("drop", "topics"), 2, "name one or more"),
    (("drop", "topics", "food", "place"), 2, "would have 1 label"),
    (("drop", "topcis", "food"), 2, "Did you mean 'topics'"),
)


def test_wrong_words_change_nothing(run: Run, tiny_backbone_folder: Path) -> None:
    trained(run, tiny_backbone_folder)
    Path("gap.csv").write_text("text,label\na film,film\n ,film\n")
    Path("own.csv").write_text("text\nit was the film\n")
    before = Path("registry.yaml").read_bytes()
    for words, code, problem in WRONG:
        ran = run("label", *words)
        assert ran.code == code, (words, ran.err)
        assert problem in ran.err
        assert Path("registry.yaml").read_bytes() == before
