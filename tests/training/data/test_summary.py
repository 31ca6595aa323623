"""What is said of a data set before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unicodedata import normalize

import pytest

from adapterhub.errors import UsageError
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.data.labels import near_equal
from adapterhub.training.data.summary import DataSummary
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.prepare import summary_of
from tests.training.rows import (
    Rows,
    pair_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
)

DEFAULTS = TrainingOptions()


def _summary(rows: Rows, **options: Any) -> DataSummary:
    return summary_of(read_splits(rows, training_options(**options)))


def test_kind_labels_rows_and_columns_are_said() -> None:
    rows = [
        {**row, "id": i, "split": "dev" if i % 8 == 0 else "train"}
        for i, row in enumerate(sentiment_rows())
    ]
    summary = _summary(rows, split_column="split")
    assert list(summary.lines()) == [
        "Read as single_label: columns text, label; not read: id.",
        "42 training rows, 6 validation rows.",
        "2 labels (rows): positive (24), negative (18).",
    ]
    assert summary.as_dict()["labels"] == {"positive": 24, "negative": 18}
    assert summary.warnings == ()


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            pair_rows(),
            ["columns text, text_pair, label.", "48 rows, for training and cross-val", "2 labels"],
        ),
        (topic_rows(), ["Read as multi_label", "48 rows", "2 labels (rows): has-f"]),
        (rating_rows(), ["Read as regression", "48 rows", "Values from 1 to 4.5, mean 2.75."]),
        (
            tagged_rows(),
            ["columns tokens, tags.", "48 rows", "1 entity types (entities): place (32)."],
        ),
    ],
)
def test_every_kind_is_said(rows: Rows, lines: Sequence[str]) -> None:
    summary = _summary(rows)
    assert not summary.warnings
    for line, expected in zip(summary.lines(), lines, strict=True):
        assert expected in line


def test_many_labels_are_shortened() -> None:
    rows = [{"text": f"text {i}", "label": f"label {i % 30}" + "x" * 99} for i in range(90)]
    summary = _summary(rows)
    last = list(summary.lines())[-1]
    assert last.startswith("30 labels (rows): label 0")
    assert last.endswith("…, and 18 more.") or last.endswith("… (3), and 18 more.")
    assert len(last) < 700
    assert any("3 rows per label are few" in warning for warning in summary.warnings)


NEAR = [
    ("DOG", "dog"),
    ("new york", "new  york"),
    ("part-time", "part_time", "part time"),
    ("\uff39\uff45\uff53", "Yes"),
    ("caf\u00e9", "cafe"),
    ("ham", "ham\u200b"),
    ("stra\u00dfe", "STRASSE"),
    ("\u0439\u043e\u0434", "\u0419\u041e\u0414"),
    ("a\u2013b", "a-b"),
    ("Yes.", "Yes"),
    ("don\u2019t", "don't"),
    ("'pos'", "pos"),
    ("01", "1"),
]


@pytest.mark.parametrize("labels", NEAR)
def test_labels_that_are_nearly_equal_are_warned_of(labels: tuple[str, ...]) -> None:
    rows = [
        {"text": f"text {i}", "label": (*labels, "other")[i % (len(labels) + 1)]} for i in range(60)
    ]
    (warning,) = _summary(rows).warnings
    assert warning.startswith("Labels ")
    for label in labels:
        assert repr(label) in warning
    sets = [{"text": row["text"], "labels": [row["label"]]} for row in rows]
    assert len(_summary(sets).warnings) == 1
    words = [
        {"tokens": ["a", f"{i}"], "tags": [f"B-{row['label']}", "O"]} for i, row in enumerate(rows)
    ]
    assert len(_summary(words).warnings) == 1


@pytest.mark.parametrize(
    "labels",
    [
        ("C", "C++", "C#"),
        ("1", "-1", "\u22121"[1:] + "0"),
        ("11", "1-1"),
        ("yes", "no"),
        ("\u306f", "\u3070"),
        ("\u0915\u093f", "\u0915\u0940"),
        ("A", "A+"),
        ("!", "?"),
        ("0", "00.5", "10", "100"),
        ("U.S", "us"),
        ("Node.js", "node"),
    ],
)
def test_other_labels_are_not(labels: tuple[str, ...]) -> None:
    assert not list(near_equal(labels))


def test_one_label_in_two_forms_of_accents_is_one() -> None:
    names = ["caf\u00e9", normalize("NFD", "caf\u00e9"), "tea"]
    rows = [{"text": f"text {i}", "label": names[i % 3]} for i in range(60)]
    assert _summary(rows).labels == {"caf\u00e9": 40, "tea": 20}


@pytest.mark.parametrize(
    ("column", "value", "hint"),
    [
        ("text2", "another {} of them", "--pair text2"),
        ("sentence2", "another {} of them", "--pair sentence2"),
        ("context", "the {} of all days", "--pair context"),
        ("score", 3, "--target score"),
        ("labels", ["a"], "--target labels"),
        ("tags", ["a"], "--target tags"),
        ("keywords", ["a", "b"], "holds lists"),
    ],
)
def test_a_column_that_looks_like_something_is_pointed_at(
    column: str, value: object, hint: str
) -> None:
    rows: Rows = [
        {**row, column: value.format(i) if isinstance(value, str) else value}
        for i, row in enumerate(sentiment_rows())
    ]
    (warning,) = _summary(rows).warnings
    assert column in warning
    assert hint in warning
    # In any row, not only in the first one.
    del rows[0][column]
    assert column in _summary(rows).unread


def test_minus_one_and_one_are_two_labels() -> None:
    rows = [{"text": f"text {i}", "label": (-1, 1)[i % 2]} for i in range(60)]
    assert not _summary(rows).warnings


@pytest.mark.parametrize("label", [-1, "nan", "<NA>", "N/A"])
def test_a_label_that_is_none_is_pointed_at(label: object) -> None:
    rows = [{"text": f"text {i}", "label": [label, 0, 1][i % 3]} for i in range(60)]
    (warning,) = _summary(rows).warnings
    assert warning.startswith(f"The label '{label}' (20) is how empty cells")


def test_columns_of_zeros_and_ones_are_pointed_at() -> None:
    rows = [
        {**row, "toxic": i % 2, "rude": i % 3 == 0, "one": 1}
        for i, row in enumerate(sentiment_rows())
    ]
    (warning,) = _summary(rows).warnings
    assert warning.startswith("Columns toxic, rude hold only 0 and 1")


def _choice_rows(**columns: Any) -> Rows:
    return [
        {"text": f"text {i}", **{name: make(i) for name, make in columns.items()}}
        for i in range(40)
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"choices": lambda i: [f"{i} a", f"{i} b", f"{i} c"], "label": lambda i: i % 3},
        {"choices": lambda _: ["no", "yes"], "label": lambda i: i % 2},
        {"choices": lambda i: [f"{i} a", f"{i} b", f"{i} c"], "label": lambda i: i % 2},
        {"options": lambda i: [f"{i} a", f"{i} b"], "label": lambda i: "AB"[i % 2]},
        {"endings": lambda i: [f"{i} a", f"{i} b"], "label": lambda i: str(i % 2)},
        {"parts": lambda i: [f"{i} a", f"{i} b"], "label": lambda i: i % 2 + 1},
        {
            "choices": lambda i: {"text": [f"{i} a", "b"], "label": ["A", "B"]},
            "label": lambda i: "AB"[i % 2],
        },
        {"ending0": lambda i: f"{i} a", "ending1": lambda i: f"{i} b", "label": lambda i: i % 2},
        {"sol1": lambda i: f"{i} a", "sol2": lambda i: f"{i} b", "label": lambda i: i % 2},
        {
            "option_a": lambda i: f"{i}",
            "option_b": lambda i: f"-{i}",
            "label": lambda i: "AB"[i % 2],
        },
        {"candidates": lambda i: ["x", "y", f"{i}"], "label": lambda i: "xy"[i % 2]},
        {"A": lambda i: f"{i} a", "B": lambda i: f"{i} b", "label": lambda i: "AB"[i % 2]},
        {"opa": lambda i: f"{i} a", "opb": lambda i: f"{i} b", "label": lambda i: i % 2},
    ],
)
def test_multiple_choice_is_refused(columns: dict[str, Any]) -> None:
    rows = _choice_rows(**columns)
    with pytest.raises(UsageError, match=r"looks like multiple choice.*--kind single_label"):
        read_splits(rows, DEFAULTS)
    assert read_splits(rows, training_options(kind="single_label")).train.kind == "single_label"


@pytest.mark.parametrize(
    "columns",
    [
        {"words": lambda i: ["a"] * (i % 9 + 2), "label": lambda i: i % 2},
        {"words": lambda i: [f"{i}", "b", "c"], "label": lambda i: i % 2},
        {"sentence1": lambda i: f"{i}", "sentence2": lambda i: f"{i}", "label": lambda i: i % 2},
        {"answer": lambda i: f"{i}", "label": lambda i: i % 2},
        {"a": lambda i: f"{i}", "label": lambda i: i % 2},
        {"a": lambda i: i, "b": lambda i: i + 1, "label": lambda i: i % 2},
    ],
)
def test_other_columns_are_no_choices(columns: dict[str, Any]) -> None:
    assert read_splits(_choice_rows(**columns), DEFAULTS).train.labels == ("0", "1")
