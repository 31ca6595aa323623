"""Lists in cells: what scoring, pandas and people write is read or refused, texts stay texts."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from adapterhub import Hub
from adapterhub.errors import DataError, UsageError
from adapterhub.rows.formats import FileFormat
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.output.writers import DelimitedText
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import training_options
from tests.training.rows import tagged_rows, topic_rows

LABELS: Sequence[Sequence[str]] = [["a", "b"], [], ["a"], ["b, c", "a"]] * 6
PLAIN: Sequence[Sequence[str]] = [["a", "b"], [], ["a"], ["b", "c"], ["a", "c"], ["b"]] * 4


def _targets(data: object, **options: Any) -> tuple[Any, ...]:
    return read_splits(data, training_options(**options)).train.targets


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    writer = DelimitedText(path, FileFormat(path.suffix[1:]), tuple(rows[0]))  # type: ignore[arg-type]
    writer.write(rows)
    writer.close()
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("carrier", [list, tuple, np.array, json.dumps, "|".join])
def test_lists_of_labels_come_back(name: str, carrier: Any, tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "labels": carrier(row)} for i, row in enumerate(LABELS)]
    path, sep = tmp_path / name, "," if name == "a.csv" else "\t"
    pd.DataFrame(rows).to_csv(path, sep=sep, index=False)
    assert _targets(path) == tuple(map(tuple, LABELS))
    if carrier is list:
        assert _targets(_write(path, rows)) == tuple(map(tuple, LABELS))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("carrier", [list, np.array, " ".join])
def test_tagged_words_come_back(name: str, carrier: Any, tmp_path: Path) -> None:
    rows = tagged_rows(20)
    path, sep = tmp_path / name, "," if name == "a.csv" else "\t"
    cells = [{column: carrier(row[column]) for column in row} for row in rows]
    pd.DataFrame(cells).to_csv(path, sep=sep, index=False)
    assert _targets(path) == _targets(rows)
    if carrier is list:
        assert _targets(_write(path, rows)) == _targets(rows)


def test_texts_that_look_like_lists_stay_texts(tmp_path: Path) -> None:
    rows = [
        {"text": f'["a", {i}]', "text_pair": "[1]", "label": "xy"[i % 2], "id": f"[{i}"}
        for i in range(20)
    ]
    found = read_splits(_write(tmp_path / "a.csv", rows), training_options())
    assert found.train.inputs == tuple((row["text"], row["text_pair"]) for row in rows)


@pytest.mark.parametrize("cell", ["[a, b]", "['a' ... 'b']", '["a" "b", "c"]', '["a", "b]'])
def test_an_incomplete_list_is_refused(cell: str, tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "labels": ["a", "b"]} for i in range(20)]
    path = _write(tmp_path / "a.csv", [*rows, {"text": "last", "labels": cell}])
    with pytest.raises(DataError, match=r'line 22: .*no complete list; write \["a", "b"\]'):
        _targets(path)


def test_a_list_is_not_one_label(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": ["a", "b"][: 1 + i % 2]} for i in range(20)]
    with pytest.raises(DataError, match="line 2: column 'label'"):
        _targets(_write(tmp_path / "a.csv", rows), kind="single_label")
    # A text in brackets is a label.
    rows = [{"text": f"text {i}", "label": ["[Music]", "talk"][i % 2]} for i in range(20)]
    assert _targets(_write(tmp_path / "a.csv", rows))[0] == "[Music]"


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.jsonl", "out.parquet"])
@pytest.mark.slow
def test_predictions_train(
    name: str, hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [row["text"] for row in topic_rows(24)]
    out = tmp_path / name
    hub.score_file(texts, out, tasks=["topics", "sentiment"])
    expected = hub.score(texts, ["topics", "sentiment"]).to_columns()
    given = tuple(tuple(item["label"] for item in row) for row in expected["topics.labels"])  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "adapterhub"):
        assert _targets(out, target="topics.labels", kind="multi_label") == given
    assert "The labels with scores in column 'topics.labels' are predictions" in caplog.text
    labels = expected["sentiment.label"]
    if len(set(labels)) > 1:
        assert _targets(out, target="sentiment.label") == tuple(labels)
    ranked = ScoringOptions(top_k=None, force=True)
    hub.score_file(texts, out, tasks=["topics", "sentiment"], options=ranked)
    for column in ("topics.labels", "sentiment.labels"):
        with pytest.raises(DataError, match=f"column '{column}' lists . labels with their scores"):
            _targets(out, target=column, kind="multi_label")


@pytest.mark.parametrize("mark", [";", ", ", "\n", "/"])
def test_an_empty_cell_hides_no_other_separator(mark: str, tmp_path: Path) -> None:
    rows = [{"text": f"t {i}", "labels": mark.join(row)} for i, row in enumerate(PLAIN)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UsageError, match="between them"):
        _targets(tmp_path / "a.csv")


@pytest.mark.parametrize("options", [{}, {"kind": "multi_label"}])
@pytest.mark.parametrize(
    "form",
    [
        "tensor(['{}'])",
        "Index(['{}'], dtype='object')",
        '["{}"',
        "['{}',",
        '"{}"]',
        "deque(['{}'])",
    ],
)
def test_a_list_in_another_form_is_no_label(
    form: str, options: dict[str, Any], tmp_path: Path
) -> None:
    for column in ("label", "labels"):
        rows = [{"text": f"t {i}", column: form.format("ab"[i % 2])} for i in range(24)]
        pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
        with pytest.raises((DataError, UsageError), match=r"list|one label per row"):
            _targets(tmp_path / "a.csv", target=column, **options)


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "NA", "<NA>", "null"])
def test_a_missing_value_among_lists_is_no_label(word: str, tmp_path: Path) -> None:
    cells = ["['a', 'b']", "['a']", word] * 8
    rows = pd.DataFrame({"text": [f"t {i}" for i in range(24)], "labels": cells})
    rows.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=rf"line 4.*'{word}'.*\[\] for no label"):
        _targets(tmp_path / "a.csv")


def test_ordinary_labels_with_brackets_stay() -> None:
    for pair in (
        ("[pos]", "[neg]"),
        ("f(x)", "a[0]"),
        ("(none)", "NA"),
        ("sum([id])", "f([x])"),
        ('"a"', "b [c]"),
    ):
        rows = [{"text": f"t {i}", "label": pair[i % 2]} for i in range(24)]
        assert set(_targets(rows)) == set(pair)


@pytest.mark.parametrize(
    "carrier", [set, frozenset, pd.Series, lambda row: pd.array(row, dtype=object)]
)
def test_sets_and_series_are_lists(carrier: Any) -> None:
    rows = [{"text": f"t {i}", "labels": carrier(list(row))} for i, row in enumerate(PLAIN)]
    assert _targets(rows) == tuple(map(tuple, PLAIN))
    flags = [{"text": f"t {i}", "labels": torch.tensor([1, i % 2, 1])} for i in range(24)]
    with pytest.raises(DataError, match="one value per label"):
        _targets(flags)
