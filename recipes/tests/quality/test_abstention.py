"""The rows of the page of abstention: what is out of scope, and what only measures."""

from __future__ import annotations

from recipes.quality.abstention import NONE, Measured, Row, render, scope_rows
from tests.builders import abstention


def rows(labels: int, each: int, part: str) -> list[Row]:
    return [
        {"text": f"{part} {label} {n}", "label": f"label-{label}"}
        for label in range(labels)
        for n in range(each)
    ]


def test_labels_that_choose_are_not_those_that_measure() -> None:
    training, held_out = rows(20, 6, "a"), rows(20, 4, "b")
    found = scope_rows(training, held_out)
    label_of = {row["text"]: row["label"] for row in (*training, *held_out)}
    known = {label_of[row["text"]] for row in found.training if row["label"] == NONE}
    unknown = {label_of[row["text"]] for row in found.fresh if row["label"] == NONE}
    assert (len(known), len(unknown), found.labels) == (2, 2, 16)
    assert not known & unknown
    assert not {row["text"] for row in found.training} & {row["text"] for row in found.fresh}
    in_scope = {row["label"] for row in found.training} - {NONE}
    assert len(in_scope) == 16
    assert {row["label"] for row in found.fresh} - {NONE} <= in_scope
    # Half of the held-out rows in scope choose, the other half measure.
    assert sum(row["part"] == "validation" for row in found.training) in range(28, 41)
    assert sum(row["label"] != NONE for row in found.fresh) in range(24, 41)


def test_rows_that_are_out_of_scope_stay_so() -> None:
    own = [{"text": f"none {n}", "label": NONE} for n in range(10)]
    found = scope_rows([*rows(4, 5, "a"), *own[:5]], [*rows(4, 4, "b"), *own[5:]])
    assert found.labels == 4
    assert sum(row["label"] == NONE for row in (*found.training, *found.fresh)) == 10


def test_the_table_has_what_is_stated_and_what_fresh_rows_say() -> None:
    stated = abstention(none_label=NONE)
    one = Measured("rejecting oos", stated, stated.table[1], 30, 10)
    lines = render("intents", scope_rows(rows(20, 6, "a"), rows(20, 4, "b")), [one]).splitlines()
    assert lines[-2] == (
        "| rejecting oos | stated | 0.7000 | 65.0 % ± 2.0 | 87.0 % ± 3.0 | 50.0 % ± 10.0 |"
    )
    assert lines[-1].startswith("| rejecting oos | fresh | 0.5000 | 75.0 % ± 2.0 |")
