"""Labels in a tree from labelled rows to predictions in files, as users do it."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from adapterhub import Hub
from adapterhub.commands.score import prediction_text
from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.publishing.card import task_section
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.option_files import read_parents
from adapterhub.training.options import TrainingOptions
from adapterhub.training.prepare import summary_of
from tests.training.rows import Rows, queue_rows, write_rows
from tests.training.run import train_in

QUICK: dict[str, Any] = {
    "tree": ".",
    "depths": (0, 2),
    "poolings": ("mean",),
    "hidden_widths": (),
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "validation_fraction": 0.25,
    "examples": ("the film was late",),
}
HELD_OUT = queue_rows(30, seed=9)
MAPPING = {"mail.late": "mail", "mail.early": "mail", "mail": None, "food": None}


trained_on = partial(train_in, task="queue", **QUICK)


@pytest.mark.slow
def test_a_task_is_trained_scored_and_shown(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    task = trained_on(queue_rows(), tmp_path, tiny_backbone, tiny_encoder)
    spec, figures = task.spec, {metric.name: metric.value for metric in task.metrics}
    assert (spec.labels, spec.names[3:]) == (("food", "mail.early", "mail.late"), ("mail",))
    assert spec.parents == {"mail.early": "mail", "mail.late": "mail"}
    assert figures.keys() == {"hierarchical_f1", "accuracy", "macro_f1", "ece"}
    chosen = task.table.rows[task.table.chosen]
    assert (task.table.metric, figures["accuracy"]) == ("hierarchical_f1", 1)
    assert chosen.value == pytest.approx(figures["hierarchical_f1"])
    assert [one.label for one in spec.examples[0].labels] == ["mail.late"]
    hub = Hub(tmp_path / "registry.yaml", device="cpu")
    found = hub.score(HELD_OUT, ["queue"]).to_columns()
    for row, label, path in zip(HELD_OUT, found["queue.label"], found["queue.path"], strict=True):
        assert row["label"] in path  # type: ignore[operator]
        assert path[-1] == label  # type: ignore[index]
        assert path == (["mail", label] if label != "food" else ["food"])
    evaluated = hub.evaluate(HELD_OUT, "queue")["queue"]
    assert {one.name: one.value for one in evaluated.metrics}["hierarchical_f1"] == 1
    assert evaluated.comparison.names == spec.labels
    section = task_section("me/repo", "queue", spec, ())
    assert "| 2 | mail.early | mail |" in section
    unsure = hub.score(HELD_OUT, ["queue"], min_confidence=1).to_columns()["queue.label"]
    assert set(unsure) <= {"mail", None}
    with pytest.raises(DataError, match=r"row 2 .*label 'mail\.latee'.* mean 'mail\.late'"):
        hub.evaluate([HELD_OUT[0], {"text": "a", "label": "mail.latee"}], "queue")


@pytest.mark.slow
def test_predictions_go_to_files(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    trained_on(queue_rows(), tmp_path, tiny_backbone, tiny_encoder, tree=None, parents=MAPPING)
    hub = Hub(tmp_path / "registry.yaml", device="cpu")
    expected = hub.score(HELD_OUT, ["queue"])
    assert expected.to_arrow()["queue.path"].to_pylist() == expected.to_columns()["queue.path"]
    rows = write_rows(tmp_path / "rows.jsonl", HELD_OUT)
    hub.score_file(rows, tmp_path / "out.parquet", tasks="queue")
    assert (
        pq.read_table(tmp_path / "out.parquet")["queue.path"].to_pylist()
        == (expected.to_columns()["queue.path"])
    )
    hub.score_file(rows, tmp_path / "out.csv", tasks="queue")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        written = [json.loads(row["queue.path"]) for row in csv.DictReader(file)]
    assert written == expected.to_columns()["queue.path"]
    hub.score_file(rows, tmp_path / "top.parquet", tasks="queue", options={"top_k": 2})
    ranked = pq.read_table(tmp_path / "top.parquet")["queue.labels"].to_pylist()
    assert ranked == hub.score(HELD_OUT, ["queue"], top_k=2).to_columns()["queue.labels"]
    assert [one["path"][-1] for one in ranked[0]] == [one["label"] for one in ranked[0]]
    assert prediction_text({"label": "a.b", "score": 0.5, "path": ["a", "a.b"]}) == "a.b 0.50"


@pytest.mark.slow
def test_an_unsure_leaf_gives_way_to_the_label_above(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    # Whether a film is late or early cannot be known, but that it is about the mail.
    words = ("late", "early")
    rows = [
        {"text": f"film {n}", "label": f"mail.{words[n // 3 % 2]}"}
        if n % 3
        else {"text": f"the food was good {n}", "label": "food"}
        for n in range(60)
    ]
    options = {"min_accuracy": 0.9, "ngrams": False}
    task = trained_on(rows, tmp_path, tiny_backbone, tiny_encoder, **options)
    found = task.spec.abstention
    assert found is not None
    hub = Hub(tmp_path / "registry.yaml", device="cpu")
    texts = [row["text"] for row in rows]
    always = hub.score(texts, "queue", min_confidence=0)["queue"].answers
    by_file = hub.score(texts, "queue")["queue"].answers
    for leaf, own in zip(always, by_file, strict=True):
        assert isinstance(leaf, dict)
        assert isinstance(own, dict)
        assert (leaf == own) == (leaf["score"] >= found.min_confidence)  # type: ignore[typeddict-item]
    ranked = hub.score(texts, "queue", top_k=None).to_columns()["queue.labels"]
    expected = []
    for row in ranked:
        scores = {one["label"]: one["score"] for one in row}  # type: ignore[attr-defined]
        mail = scores["mail.late"] + scores["mail.early"]
        leaf = [["mail", one] if "." in one else [one] for one, p in scores.items() if p >= 0.6]
        expected.append(leaf[0] if leaf else ["mail"] if mail >= 0.6 else [])
    assert ["mail"] in expected
    sure = hub.score(texts, "queue", min_confidence=0.6).to_columns()
    assert sure["queue.path"] == expected
    assert sure["queue.label"] == [path[-1] if path else None for path in expected]
    evaluated = hub.evaluate(rows, "queue", min_confidence=0.6)["queue"].abstention
    assert evaluated is not None
    # What is withheld are leaves.
    leaves = [path for path in expected if path not in (["mail"], [])]
    assert evaluated.coverage == pytest.approx(len(leaves) / len(rows), abs=1e-5)


@pytest.mark.slow
def test_an_adapter_and_few_rows(
    tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options: dict[str, Any] = {"validation_fraction": None, "folds": 3}
    crossed = trained_on(queue_rows(), tmp_path, tiny_backbone, tiny_encoder, **options)
    assert {metric.split for metric in crossed.metrics} == {"cross-validation"}
    assert crossed.table.metric == "likelihood"
    adapter = {"method": "lora", "rank": 4, "epochs": 6, "from_depth": 2}
    options = {"adapter": adapter, "depths": (4,), "ngrams": False, "task": "tuned"}
    tuned = trained_on(queue_rows(), tmp_path, tiny_backbone, tiny_encoder, **options)
    assert tuned.spec.adapter is not None
    # What the training loop computed of the validation rows is what scoring computes.
    chosen = tuned.table.rows[tuned.table.chosen]
    assert chosen.value == pytest.approx(tuned.metrics[0].value, abs=1e-5)


def splits_of(rows: Rows, **options: Any) -> Any:
    return read_splits(rows, TrainingOptions(validation_fraction=0.25, **options))


def test_leaves_and_the_tree_follow_from_the_rows() -> None:
    rows = [{"text": f"t {n}", "label": f"a:{'xyz'[n % 3]}" if n % 4 else "b"} for n in range(24)]
    rows += [{"text": f"u {n}", "label": "a"} for n in range(4)]
    splits = splits_of(rows, tree=":")
    assert splits.train.kind == "label_tree"
    assert splits.train.labels == ("a:x", "a:y", "a:z", "b")
    assert splits.validation.parents == splits.train.parents == {f"a:{x}": "a" for x in "xyz"}
    lines = list(summary_of(splits).lines())
    assert "They stand in a tree, with so many leaves under each root: a (3), b (1)." in lines
    # A mapping may have more than the rows do.
    mapping = {"a:x": "a", "a:y": "a", "a:z": "a", "a": None, "b": None, "c:d": "c", "c": None}
    assert splits_of(rows, parents=mapping).train.parents == splits.train.parents
    fewer = splits_of([row for row in rows if row["label"] != "a:z"], parents=mapping)
    assert fewer.train.labels == ("a:x", "a:y", "b")


@pytest.mark.parametrize(
    ("label", "options", "problem"),
    [
        ("mail..late", {"tree": "."}, r"row 3: column 'label' is .*nothing stands beside a"),
        ("mail.", {"tree": "."}, r"row 3: .*nothing stands beside a"),
        ("mail . late", {"tree": "."}, r"row 3: .*with spaces around"),
        ("mail.latee", {"parents": MAPPING}, r"row 3: .*did you mean 'mail\.late'\?"),
        (None, {"tree": "."}, "row 3: column 'label' is None"),
    ],
)
def test_a_bad_label_is_named_with_its_line(
    label: str | None, options: dict[str, Any], problem: str
) -> None:
    rows = queue_rows(24)
    rows[2] = {**rows[2], "label": label}
    with pytest.raises(DataError, match=problem):
        splits_of(rows, **options)


def test_rows_without_a_tree_are_refused() -> None:
    rows = queue_rows(24)
    with pytest.raises(DataError, match=r"no label has '/' in it.*single_label"):
        splits_of(rows, tree="/")
    with pytest.raises(DataError, match="no label of the rows stands under another"):
        splits_of(rows, parents={**dict.fromkeys(MAPPING), "x": "food"})
    with pytest.raises(UsageError, match=r"needs the tree of its labels.*--tree \."):
        splits_of(rows, kind="label_tree")
    one = [row for row in rows if row["label"] in ("mail", "mail.late")]
    with pytest.raises(DataError, match=r"all training rows are about 'mail\.late'"):
        splits_of(one, tree=".")
    with pytest.raises(UsageError, match="tree is for label_tree, but the data make a single"):
        splits_of(rows, tree=".", kind="single_label")
    with pytest.raises(UsageError, match=r"give tree, .* or parents"):
        TrainingOptions(tree=".", parents=MAPPING)
    with pytest.raises(UsageError, match="cycle: a → b → a"):
        TrainingOptions(parents={"a": "b", "b": "a"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lost: card\ncard: null\n'1': card\n2: card\n", {"lost": "card", "card": None}),
        ('{"lost": "card", "card": null, "1": "card", "2": "card"}', {"lost": "card"}),
        ("lost: card\nlost: other\n", "occurs twice"),
        ("lost: 1.0\n", "write a label, in quotes if it is a number"),
        ("lost: no\nother: true\n", "write a label, in quotes"),
        ("card: [lost]\n", "write a label"),
        ("- lost\n", "it is no mapping of labels"),
        ("", "it is no mapping of labels"),
    ],
)
def test_the_file_of_a_tree(tmp_path: Path, text: str, expected: object) -> None:
    path = tmp_path / "tree.yaml"
    path.write_text(text, "utf-8")
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            read_parents(path)
        return
    assert read_parents(path) == {"lost": "card", "card": None, "1": "card", "2": "card"}
    with pytest.raises(DataError, match="it cannot be read"):
        read_parents(tmp_path / "none.yaml")
