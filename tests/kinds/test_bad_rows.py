"""A bad row of each kind gets one error that says where it is, what is there and what is wanted."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adapterhub.errors import DataError, InputError
from adapterhub.kinds import KINDS, Kind
from adapterhub.training.data.dataset import Dataset, read_splits
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.builders import task_spec
from tests.kinds.tasks import READ_BY, TrainedTasks, labelled_rows
from tests.training.rows import Rows

NAN, INF = float("nan"), float("inf")
TWO, THREE = ["a", "b"], ["a", "b", "c"]
CONTEXT = "Oslo is in Norway. Oslo is a city."


def answers(text: object, start: object) -> list[dict[str, object]]:
    return [{"text": text, "start": start}]


BAD_ROWS: tuple[tuple[Kind, dict[str, Any], str], ...] = (
    ("single_label", {"text": ""}, "column 'text' is empty"),
    ("single_label", {"text": "\u200b"}, r"column 'text' is empty: no token is left of U\+200B"),
    ("single_label", {"text": None}, "column 'text' is None; expected a string"),
    ("single_label", {"text": 5}, r"column 'text' is of type int \(5\); expected a string"),
    ("single_label", {"label": None}, "column 'label' is None; expected a string"),
    ("single_label", {"label": " "}, "column 'label' is empty"),
    ("single_label", {"label": NAN}, "column 'label' is nan, a missing value"),
    ("single_label", {"label": TWO}, "column 'label' is of type list .*; expected a string"),
    ("multi_label", {"text": ""}, "column 'text' is empty"),
    ("multi_label", {"labels": None}, "column 'labels' is None; expected a list of labels"),
    ("multi_label", {"labels": 5}, "column 'labels' is 5; expected a list of labels"),
    ("multi_label", {"labels": ["a", ""]}, "column 'labels' is empty"),
    ("multi_label", {"labels": [["a"]]}, "column 'labels' is of type list .*; expected a string"),
    ("regression", {"score": NAN}, "column 'score' is nan; expected a finite number"),
    ("regression", {"score": -INF}, "column 'score' is -inf; expected a finite number"),
    ("regression", {"score": "nan"}, "column 'score' is nan; expected a finite number"),
    ("regression", {"score": None}, "column 'score' is None; expected a number"),
    ("regression", {"score": "much"}, "column 'score' is 'much'; expected a number"),
    ("regression", {"score": True}, "column 'score' is True; expected a number"),
    ("regression", {"score": 1e16}, r"column 'score' is 1e\+16; the largest absolute value is"),
    ("regression", {"score": 10**400}, "column 'score' is 10.*; the largest absolute value is"),
    ("tagging", {"tokens": TWO, "tags": ["O"]}, "there are 2 tokens, but 1 tags"),
    ("tagging", {"tokens": [], "tags": []}, "there are no tokens"),
    ("tagging", {"tokens": ["a", ""], "tags": ["O", "O"]}, "token 1 is empty"),
    ("tagging", {"tokens": TWO, "tags": None}, "tokens and tags must be lists, such as"),
    ("tagging", {"tokens": TWO, "tags": ["O", None]}, "the tag None is no text"),
    ("tagging", {"tokens": TWO, "tags": ["X-a", "O"]}, "the tag 'X-a' is not BIO: expected 'O',"),
    ("tagging", {"tokens": TWO, "tags": ["B-", "O"]}, "the tag 'B-' is not BIO: expected 'O',"),
    ("parsing", {"tokens": THREE, "head": [0, 3, 2], "deprel": THREE}, "word 2 -> 3 -> 2"),
    ("parsing", {"tokens": TWO, "head": [0, 2], "deprel": TWO}, "word 2 is its own head"),
    ("parsing", {"tokens": TWO, "head": [2, 1], "deprel": TWO}, "no word has the head 0"),
    ("parsing", {"tokens": TWO, "head": [0, 0], "deprel": TWO}, r"2 words have the head 0 \(1, 2"),
    ("parsing", {"tokens": TWO, "head": [0, 9], "deprel": TWO}, "word 2 has the head 9; heads are"),
    ("parsing", {"tokens": TWO, "head": [0, "x"], "deprel": TWO}, "head of word 2 is 'x'; expect"),
    ("parsing", {"tokens": TWO, "head": [0], "deprel": TWO}, "2 tokens, but 1 values in .*'head'"),
    ("parsing", {"tokens": TWO, "head": [0, 1], "deprel": ["a"]}, "1 values in column 'deprel'"),
    ("parsing", {"tokens": TWO, "head": [0, 1], "deprel": ["a", ""]}, "relation of word 2 is empt"),
    ("parsing", {"deprel": None}, "tokens, heads and relations must be lists, such as"),
    ("multiple_choice", {"choices": ["a"]}, "field 'choices' has one choice; two or more are"),
    ("multiple_choice", {"choices": []}, "field 'choices' has no choices; two or more are needed"),
    ("multiple_choice", {"choices": ["a", ""]}, r"choice 1 \(from 0\) of field 'choices' is empty"),
    ("multiple_choice", {"choices": "a"}, r"field 'choices' is of type str .*a list of texts"),
    ("multiple_choice", {"choices": TWO, "label": 2}, "'label' is 2, but there are 2 choices, and"),
    ("multiple_choice", {"choices": TWO, "label": -1}, "'label' is -1; expected the place of a ch"),
    ("multiple_choice", {"label": None}, "column 'label' is missing; it says which choice is righ"),
    ("multiple_choice", {"label": NAN}, "column 'label' is missing; it says which choice is right"),
    ("multiple_choice", {"label": pd.NA}, "column 'label' is <NA>; expected the place of a choice"),
    ("multiple_choice", {"label": np.array([1, 2])}, "'label' is array.*; expected the place"),
    (
        "multiple_choice",
        {"choices": ["a", "a"], "label": "a"},
        "column 'label' is 'a', which is the text of more than one choice; write its place",
    ),
    ("multiple_choice", {"prompt": " "}, "field 'prompt' is empty"),
    ("question_answering", {"context": "  "}, "column 'context' is empty"),
    ("question_answering", {"question": ""}, "column 'question' is empty"),
    ("question_answering", {"answers": answers("Rome", 0)}, "it stands nowhere in the context"),
    ("question_answering", {"answers": answers("Norway", 3)}, "with the start 3, .*stands at 11"),
    ("question_answering", {"answers": answers("Norway", 99)}, "starts at 99, outside the context"),
    ("question_answering", {"answers": answers("Norway", -1)}, "starts at -1, outside the context"),
    ("question_answering", {"answers": answers("Oslo", None)}, "without a start; it stands at 0, "),
    ("question_answering", {"answers": answers("Oslo", "x")}, "with the start 'x'; expected its p"),
    ("question_answering", {"answers": 5.5}, "the answer '5.5' without a start"),
    ("ordinal", {"stars": None}, "column 'stars' is None; expected a string"),
    ("ordinal", {"text": ""}, "column 'text' is empty"),
    ("numbers", {"values": None}, "column 'values' is None; expected numbers with their names"),
    ("numbers", {"values": {"valence": True}}, "has 'valence', which is True; expected a number"),
    ("numbers", {"values": {"valence": 10**400}}, "has 'valence', which is 10.*; the largest"),
    ("numbers", {"values": np.array(1.5)}, "expected numbers with their names"),
    ("numbers", {"values": pd.NA}, "column 'values' is <NA>; expected numbers with their names"),
)


def with_bad(kind: Kind, change: Mapping[str, Any]) -> Rows:
    """Returns labelled rows of which the third is changed."""
    rows = labelled_rows(kind, 24)
    own = {"context": CONTEXT} if "answers" in change else {}
    rows[2] = {**rows[2], **own, **change}
    return rows


def read(kind: Kind, rows: Rows) -> Dataset:
    return read_splits(rows, training_options(kind=kind, validation_fraction=0.25)).train


@pytest.mark.parametrize(("kind", "change", "problem"), BAD_ROWS)
def test_a_bad_row_is_named(kind: Kind, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=f"^data: row 3: .*{problem}"):
        read(kind, with_bad(kind, change))


GOOD_ROWS: tuple[tuple[Kind, dict[str, Any]], ...] = (
    ("multi_label", {"labels": []}),
    ("multi_label", {"labels": ["has-film", "has-film"]}),
    ("tagging", {"tokens": TWO, "tags": ["O", "I-place"]}),
    ("multiple_choice", {"choices": list("abcdefgh"), "label": 7}),
    ("multiple_choice", {"choices": ["a", "a", "b"], "label": 2}),
    ("question_answering", {"answers": None}),
)


@pytest.mark.parametrize(("kind", "change"), GOOD_ROWS)
def test_what_a_data_set_may_hold_is_read(kind: Kind, change: dict[str, Any]) -> None:
    read(kind, with_bad(kind, change))


CELLS: tuple[Any, ...] = (
    *(None, "", " ", "x", "\u200b", "\ud800", "\0a\0b", "[]", "[1", "{'a'", "1e999", "9" * 400),
    *(0, -1, 7, 1.5, 10**400, -(10**400), NAN, INF, True, 1j, Decimal("NaN"), Decimal(1)),
    *([], [[]], [None], ["x"], [1], [NAN], [INF], [10**400], (), {}, set(), {"x"}, range(2)),
    *({"a": 1}, {"text": "x"}, {"text": ["x"], "label": TWO}, [{"text": "x"}]),
    *([{"text": 1, "start": "a"}], b"x", object(), pd.NA, pd.NaT, datetime.date(2020, 1, 1)),
    *(np.float32(1), np.int64(3), np.array([1, 2]), np.array("x"), np.nan),
)
"""What may stand in a cell of a table, of a file of JSON or of a data frame, valid or not."""


@pytest.mark.parametrize("given", ["kind given", "kind found"])
def test_whatever_a_cell_holds_is_read_or_named(kind: Kind, given: str) -> None:
    rows = labelled_rows(kind, 24)
    options: dict[str, Any] = {}
    if given == "kind given":
        options = {"kind": kind, **READ_BY.get(kind, {})}
    try:
        read_splits(rows, training_options(**options, validation_fraction=0.25))
    except DataError:
        assert not options, "good rows are refused"
        return  # columns alone do not say that they are of this kind
    for column in rows[0]:
        for cell in CELLS:
            changed = [*rows[:2], {**rows[2], column: cell}, *rows[3:]]
            try:
                read_splits(changed, training_options(**options, validation_fraction=0.25))
            except DataError as error:
                assert "row 3" in str(error), (column, cell)  # noqa: PT017


def test_a_row_without_a_column_is_named(kind: Kind) -> None:
    for column in labelled_rows(kind, 24)[0]:
        rows = labelled_rows(kind, 24)
        del rows[2][column]
        try:
            read(kind, rows)
        except DataError as error:
            assert "row 3" in str(error)  # noqa: PT017
            assert f"'{column}'" in str(error)  # noqa: PT017
        else:
            pytest.fail(f"a row without '{column}' was read")


@pytest.mark.slow
def test_a_bad_row_changes_no_registry(trained: TrainedTasks, kind: Kind) -> None:
    trained.spec(kind)
    before = trained.registry.read_bytes()
    rows = labelled_rows(kind, 24)
    rows[2] = dict.fromkeys(rows[2], "")
    with pytest.raises(DataError, match="row 3: "):
        train(
            rows,
            task=kind,
            options={"kind": kind, "validation_fraction": 0.25},
            registry=trained.registry,
            backbone=trained.backbone,
        )
    assert trained.registry.read_bytes() == before


@pytest.mark.slow
def test_a_bad_row_of_a_call_costs_only_itself(trained: TrainedTasks, kind: Kind) -> None:
    hub, records, spec = trained.hub(kind), trained.records(kind), trained.spec(kind)
    expected = hub.score(records, kind)[kind]
    for field in spec.fields:
        for cell in (None, "", "\u200b", 5, b"x", "\ud800", NAN, [], [""]):
            bad = {**records[0], field: cell}  # type: ignore[dict-item]
            rows = [records[0], bad, *records[1:]]
            with pytest.raises(InputError, match=rf"^Row 1: .*'{field}'") as refused:
                hub.score(rows, kind)
            assert refused.value.row == 1
            scores = hub.score(rows, kind, on_error="skip")
            assert [(one.row, one.tasks) for one in scores.errors] == [(1, (kind,))]
            assert scores[kind].answers[1] is None
            assert [scores[kind][0], *scores[kind][2:]] == list(expected)


@pytest.mark.parametrize("kind", [name for name, row in KINDS.items() if row.has_labels])
def test_labels_of_a_task_are_there_once(kind: Kind) -> None:
    labels = task_spec(kind).labels
    with pytest.raises(ValueError, match=f"label '{labels[-1]}' occurs twice"):
        task_spec(kind, labels=(*labels, labels[-1]))
