"""Trees of labels: where labels stand, and what is no tree."""

from __future__ import annotations

import re

import pytest

from adapterhub.label_trees import (
    MAX_LEVELS,
    check_parents,
    check_tree,
    leaves_below,
    outline,
    parents_above,
    parents_by,
    path_of,
)
from adapterhub.specs import TaskSpec
from tests.builders import LABELS, PARENTS, task_spec

LEAVES = LABELS["label_tree"]


def test_labels_stand_below_their_beginnings() -> None:
    found = parents_by(".", ["a.b.c", "a.d", "a", "e"])
    assert found == {"a.b.c": "a.b", "a.b": "a", "a.d": "a"}
    assert path_of("a.b.c", found) == ("a", "a.b", "a.b.c")
    assert path_of("e", found) == ("e",)
    assert leaves_below(["a.b.c", "a.d", "e"], found)["a"] == ("a.b.c", "a.d")
    assert outline(["a.b.c", "a.d", "e"], found, most=1) == "a (2), and 1 more"


def test_only_what_stands_above_the_labels_is_kept() -> None:
    whole = {"a": None, "b": "a", "c": "b", "d": "a", "e": None}
    assert parents_above(["c", "e"], whole) == {"c": "b", "b": "a"}


@pytest.mark.parametrize(
    ("parents", "problem"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "labels form a cycle: a → b → c → a"),
        ({"z": "a", "a": "b", "b": "a"}, "labels form a cycle: a → b → a"),
        ({"a": "a"}, "label 'a' is its own parent"),
        ({"a": None, "b": "a", "c": "aa"}, "'aa', the parent of 'c', is not in the tree"),
        ({str(n): str(n + 1) for n in range(MAX_LEVELS)}, "stands below 32 others or more"),
        ({str(n): str(n + 1) for n in reversed(range(3))}, None),
        ({"a": "b"}, None),
    ],
)
def test_a_mapping_that_is_no_tree_is_refused(
    parents: dict[str, str | None], problem: str | None
) -> None:
    if problem is None:
        check_parents(parents)
        return
    with pytest.raises(ValueError, match=re.escape(problem)):
        check_parents(parents)


@pytest.mark.parametrize(
    ("labels", "parents", "problem"),
    [
        (("card", *LEAVES), PARENTS, "'card' is a leaf and the parent of 'card.lost'"),
        (LEAVES, {**PARENTS, "x": "y"}, "'x' has a parent, but is no label"),
        (LEAVES, {**PARENTS, "card": "card.lost"}, "cycle: card.lost → card → card.lost"),
        (LEAVES, {}, "belong to label_tree tasks only"),
        (("card.lost",), {"card.lost": "card"}, "a label_tree task needs two labels or more"),
    ],
)
def test_a_spec_has_a_whole_tree(
    labels: tuple[str, ...], parents: dict[str, str], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        task_spec("label_tree", labels=labels, parents=parents)


@pytest.mark.parametrize("order", [1, -1])
def test_levels_are_limited_for_labels_of_any_order(order: int) -> None:
    steps = range(MAX_LEVELS - 1)[::order]
    check_tree(["0"], {str(n): str(n + 1) for n in steps})
    steps = range(20_000)[::order]
    with pytest.raises(ValueError, match="stands below 32 others or more"):
        check_tree(["0", "other"], {str(n): str(n + 1) for n in steps})


def test_other_kinds_have_no_tree_and_their_files_no_field() -> None:
    assert "parents" not in task_spec().model_dump()
    with pytest.raises(ValueError, match="belong to label_tree tasks only"):
        task_spec(parents={"negative": "all", "positive": "all"})
    spec = task_spec("label_tree")
    assert TaskSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.names == (*LEAVES, "card", "transfer")
    assert (spec.outputs, spec.labels) == (4, LEAVES)
