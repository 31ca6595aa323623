"""Each kind of task is one row of facts and one class per step; nothing else asks for its name."""

from __future__ import annotations

import ast
from typing import get_args

import pyarrow as pa
import pytest

from adapterhub.kinds import KINDS, USUAL_TARGETS, Kind, MetricName, Role, What
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.results import column_types, prediction_columns
from adapterhub.training.data.kinds.table import READERS
from adapterhub.training.kinds.table import TRAINED
from tests.builders import LABELS, task_spec
from tests.test_structure import MODULES

NAMED = {
    "probing/source.py": 2,  # a probe predicts one label
    "training/data/dataset.py": 1,  # the option `mentions`
    "training/data/find_columns.py": 1,  # tags beside words
    "training/data/records.py": 2,  # cells of words with spaces between
}
"""How often a module compares a kind with a name; what follows from a kind is a fact of its row."""


def test_every_kind_has_a_row_and_its_classes() -> None:
    kinds = get_args(Kind)
    assert tuple(KINDS) == tuple(READERS) == tuple(TRAINED) == tuple(DECODERS) == kinds
    assert [row.name for row in KINDS.values()] == list(kinds)
    assert set(LABELS) == set(kinds)


def test_every_name_in_a_row_is_known_and_used() -> None:
    rows = KINDS.values()
    assert {metric for row in rows for metric in row.metrics} == set(get_args(MetricName))
    columns = [
        what for row in rows for part in (row.columns, row.best_columns or {}) for what in part
    ]
    assert set(columns) == set(get_args(What))
    assert {role for row in rows for role in row.reads} <= set(get_args(Role))
    assert len(USUAL_TARGETS) == sum(bool(row.target) for row in rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top_k", [1, 3, None])
def test_columns_have_types(kind: Kind, top_k: int | None) -> None:
    types = column_types("t", kind, top_k=top_k)
    assert list(types) == list(prediction_columns("t", kind, top_k=top_k))
    assert all(isinstance(held, pa.DataType) for held in types.values())


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_checked_by_the_row(kind: Kind) -> None:
    row, spec = KINDS[kind], task_spec(kind)
    row.check_labels(spec.labels)
    assert bool(row.label_names(spec.labels)) == row.has_labels
    with pytest.raises(ValueError, match=row.a_task):
        row.check_labels(() if row.has_labels else ("one",))


@pytest.mark.slow
def test_no_fact_is_asked_by_the_name_of_a_kind() -> None:
    found = {
        module.path: sum(_names_a_kind(node) for node in ast.walk(module.tree))
        for module in MODULES
    }
    assert {path: count for path, count in found.items() if count} == NAMED


def _names_a_kind(node: ast.AST) -> bool:
    if not isinstance(node, ast.Compare):
        return False
    parts = [node.left, *node.comparators]
    names = {part.id if isinstance(part, ast.Name) else getattr(part, "attr", "") for part in parts}
    held = {one.value for part in parts for one in ast.walk(part) if isinstance(one, ast.Constant)}
    return "kind" in names and bool(held & set(KINDS))
