"""Probabilities of labels in a tree, and the deepest label that is sure."""

from __future__ import annotations

import numpy as np
import pytest

from adapterhub.decoding import BEST, AnswerOptions
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.kinds.label_tree import LabelTree
from adapterhub.model.heads.kinds.table import DECODERS
from tests.builders import task_spec

LEAVES = ("a.b.c", "a.b.d", "a.e", "f.g", "f.h")
PARENTS = {"a.b.c": "a.b", "a.b.d": "a.b", "a.b": "a", "a.e": "a", "f.g": "f", "f.h": "f"}
TREE = LabelTree.of(LEAVES, PARENTS)


def test_a_label_is_as_probable_as_its_leaves_together() -> None:
    scores = np.array([[0.1, 0.2, 0.3, 0.15, 0.25]], np.float32)
    found = dict(zip(TREE.names, TREE.probabilities(scores)[0].tolist(), strict=True))
    assert found == pytest.approx(
        {**dict(zip(LEAVES, scores[0], strict=True)), "a.b": 0.3, "a": 0.6, "f": 0.4}
    )
    assert TREE.shared_levels == 0
    below_one = LabelTree.of(("x.y", "x.z"), {"x.y": "x", "x.z": "x"})
    assert below_one.shared_levels == 1
    assert below_one.probabilities(np.array([[0.6, 0.6]], np.float32))[0, 2] == 1


@pytest.mark.parametrize(
    ("scores", "threshold", "expected"),
    [
        ((0.1, 0.2, 0.3, 0.15, 0.25), 0.0, "a.e"),
        ((0.1, 0.2, 0.3, 0.15, 0.25), 0.25, "a.e"),
        ((0.1, 0.2, 0.3, 0.15, 0.25), 0.5, "a"),
        ((0.1, 0.2, 0.3, 0.15, 0.25), 0.7, None),
        ((0.45, 0.4, 0.05, 0.05, 0.05), 0.5, "a.b"),
        ((0.45, 0.4, 0.05, 0.05, 0.05), 0.86, "a"),
        # The most probable leaf is under a, which is too improbable, but f is not.
        ((0.35, 0.02, 0.03, 0.3, 0.3), 0.5, "f"),
        # As deep as others that are less probable.
        ((0.9, 0.02, 0.03, 0.02, 0.03), 0.89, "a.b.c"),
    ],
)
def test_the_deepest_sure_label(
    scores: tuple[float, ...], threshold: float, expected: str | None
) -> None:
    (place,), (sure,) = TREE.deepest_sure(np.array([scores], np.float32), threshold)
    assert (None if place < 0 else TREE.names[place]) == expected
    # Of none it is that of the most probable root.
    own = [s for leaf, s in zip(LEAVES, scores, strict=True) if leaf.startswith(expected or "a")]
    assert sure == pytest.approx(sum(own))


def test_predictions_have_the_path_to_the_leaf() -> None:
    spec = task_spec("label_tree")
    logits = RowLogits(np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]], np.float32)))
    decode = DECODERS["label_tree"].decode
    assert decode(logits, spec, BEST) == [
        {"label": "other", "score": pytest.approx(0.4), "path": ["other"]},
        {"label": "card.lost", "score": pytest.approx(0.7), "path": ["card", "card.lost"]},
    ]
    # Under the minimum it is a label above, or none.
    assert decode(logits, spec, AnswerOptions(min_confidence=0.75)) == [
        {"label": None, "score": pytest.approx(0.4), "path": []},
        {"label": "card", "score": pytest.approx(0.8), "path": ["card"]},
    ]
    first, _ = decode(logits, spec, AnswerOptions(top_k=2))
    assert isinstance(first, list)
    assert [one["label"] for one in first] == ["other", "transfer.late"]  # type: ignore[typeddict-item]
