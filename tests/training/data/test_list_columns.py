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

from adapterhub import Hub
from adapterhub.errors import DataError
from adapterhub.rows.formats import FileFormat
from adapterhub.scoring.options import ScoringOptions
from adapterhub.scoring.writers import DelimitedText
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import training_options
from tests.training.rows import tagged_rows, topic_rows

LABELS: Sequence[Sequence[str]] = [["a", "b"], [], ["a"], ["b, c", "a"]] * 6


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
def test_predictions_train(
    name: str, hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [row["text"] for row in topic_rows(24)]
    out = tmp_path / name
    hub.score_file(texts, out, tasks=["topics", "sentiment"])
    expected = hub.score(texts, ["topics", "sentiment"]).to_columns()
    given = tuple(tuple(item["label"] for item in row) for row in expected["topics"])  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "adapterhub"):
        assert _targets(out, target="topics", kind="multi_label") == given
    assert "The labels with scores in column 'topics' are predictions" in caplog.text
    if len(set(expected["sentiment"])) > 1:
        assert _targets(out, target="sentiment") == tuple(expected["sentiment"])
    ranked = ScoringOptions(top_k=None, force=True)
    hub.score_file(texts, out, tasks=["topics", "sentiment"], options=ranked)
    for column in ("topics", "sentiment"):
        with pytest.raises(DataError, match=f"column '{column}' lists . labels with their scores"):
            _targets(out, target=column, kind="multi_label")
