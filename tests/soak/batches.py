"""The same text alone, in batches, beside other texts, with other padding."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adapterhub.hub import Hub
from tests.soak.figures import Effort, Figure, none
from tests.tiny import save_registry, vocabulary

TASKS = ("sentiment", "topics", "rating", "entities", "language")
BATCHES = (1, 7, 64)


def same_texts(folder: Path, effort: Effort) -> list[Figure]:
    """Scores texts alone and in batches of 7 and 64, in the order drawn and in another."""
    hub = Hub(save_registry(folder), device="cpu")
    pick = random.Random(0)
    texts = 0
    greatest, other_labels, other_bits = 0.0, 0, 0
    for _ in effort.steps():
        rows = [_text(pick) for _ in range(BATCHES[-1])]
        alone = _score(hub, rows, 1)
        order = pick.sample(range(len(rows)), len(rows))
        for size in BATCHES[1:]:
            batch = _score(hub, [rows[row] for row in order], size)
            again = _score(hub, [rows[row] for row in order], size)
            for place, row in enumerate(order):
                for one, many, twice in zip(alone[row], batch[place], again[place], strict=True):
                    scale = max(1.0, float(np.abs(one[0]).max(initial=0)))
                    difference = float(np.abs(one[0] - many[0]).max(initial=0)) / scale
                    greatest = max(greatest, difference)
                    other_labels += one[1] != many[1]
                    other_bits += not np.array_equal(many[0], twice[0])
        texts += len(rows)
    return [
        Figure("texts", texts, at_least=BATCHES[-1] * (effort.rounds or 1)),
        Figure(
            "greatest difference, relative to the largest logit",
            float(f"{greatest:.1e}"),
            at_most=1e-5,
        ),
        none("labels that differ", other_labels),
        none("equal batches with other bits", other_bits),
    ]


def _text(pick: random.Random) -> str:
    words = [word for word in vocabulary() if word.isalpha()]
    return " ".join(pick.choices(words, k=pick.choice([1, 2, 5, 12, 40])))


def _score(hub: Hub, rows: Sequence[str], size: int) -> list[list[tuple[np.ndarray, object]]]:
    """Returns logits and label of each row and task, computed in calls of `size` rows."""
    found: list[list[tuple[np.ndarray, object]]] = []
    for start in range(0, len(rows), size):
        scores = hub.score(rows[start : start + size], list(TASKS), logits=True)
        for row in range(len(rows[start : start + size])):
            found.append(
                [
                    (np.asarray(_logits(one)[row]), _label(one.answers[row]))
                    for one in scores.values()
                ]
            )
    return found


def _logits(scores: object) -> Sequence[np.ndarray]:
    return scores.logits  # type: ignore[attr-defined,no-any-return]


def _label(answer: object) -> object:
    """Returns the label of an answer, the types and places of entities, or nothing of a number."""
    if isinstance(answer, dict):
        return answer.get("label")
    if isinstance(answer, list):
        return [(one.get("label"), one.get("entity_group"), one.get("start")) for one in answer]
    return None
