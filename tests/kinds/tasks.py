"""One trained task of every kind in one registry, for tests that run for each row of KINDS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub import Hub
from adapterhub.choices.rows import record_of
from adapterhub.inputs import Record
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.results import TaskScores
from adapterhub.specs import TaskSpec
from adapterhub.store.registry import read_registry
from adapterhub.training.data.dataset import read_for_task
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.training.rows import ROWS, Rows

OPTIONS: dict[str, Any] = {
    "depths": (2,),
    "poolings": ("mean",),
    "hidden_widths": (),
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "epochs": 3,
    "max_length": 48,
    "validation_fraction": 0.25,
    "ngrams": False,
    "pairs": "together",
}
"""One candidate, whatever the kind."""
OWN_OPTIONS: Mapping[str, dict[str, Any]] = {
    "parsing": {"parser_widths": (16, 8)},
    "embedding": {"dimensions": 8},
    # No weights of its head are fitted.
    "prototype": dict.fromkeys(
        ("hidden_widths", "learning_rates", "weight_decays", "epochs", "ngrams")
    ),
}
"""Options that a kind needs beside these, or in their place; None for one that it does not take."""
TRAINING_ROWS, SCORED_ROWS = 40, 6


def labelled_rows(kind: Kind, count: int = TRAINING_ROWS, seed: int = 0) -> Rows:
    """Returns labelled rows of a kind.

    A kind without such rows fails the test that asks for them: it is not tested yet.
    """
    if kind not in ROWS:
        pytest.fail(
            f"kind '{kind}' has no labelled rows: write a function that makes them, and enter it "
            f"in ROWS of tests/training/rows.py"
        )
    return ROWS[kind](count, seed)


def assert_same_scores(found: TaskScores, expected: TaskScores) -> None:
    """Checks that two calls gave the same predictions, windows and logits, bit by bit."""
    assert list(found) == list(expected)
    assert (found.windows, found.truncated) == (expected.windows, expected.truncated)
    assert found.logits is not None
    assert expected.logits is not None
    assert all(map(np.array_equal, found.logits, expected.logits))


def rounded(value: object) -> object:
    """Returns a prediction with its numbers rounded to four digits."""
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


class TrainedTasks:
    """A registry to which the task of a kind is added when it is first asked for.

    Attributes:
        registry: Its file; a task has the name of its kind.
        backbone: That of all of them.
    """

    def __init__(self, folder: Path, backbone: Backbone, encoder: Encoder) -> None:
        self.registry = folder / "registry.yaml"
        self.backbone = backbone
        self._place = {"registry": self.registry, "backbone": backbone, "encoder": encoder}
        self._cache = folder / "cache"
        self._specs: dict[Kind, TaskSpec] = {}
        self._records: dict[Kind, list[Record]] = {}

    def spec(self, kind: Kind) -> TaskSpec:
        """Returns the task of a kind, which it trains if it is not there yet."""
        if kind not in self._specs:
            options = {**OPTIONS, **OWN_OPTIONS.get(kind, {})}
            options = {name: value for name, value in options.items() if value is not None}
            trained = train(
                labelled_rows(kind),
                task=kind,
                options={**options, "kind": kind, "cache_dir": self._cache},
                **self._place,  # type: ignore[arg-type]
            )
            self._specs[kind] = trained.spec
        return self._specs[kind]

    def head_file(self, kind: Kind) -> Path:
        """Returns the path of the head file of a kind."""
        self.spec(kind)
        return read_registry(self.registry).resolve(kind).path

    def records(self, kind: Kind) -> list[Record]:
        """Returns rows that its task scores, without their labels."""
        if kind not in self._records:
            self._records[kind] = self.records_of(kind, labelled_rows(kind, SCORED_ROWS, seed=5))
        return self._records[kind]

    def records_of(self, kind: Kind, rows: Rows) -> list[Record]:
        """Returns labelled rows as its task scores them, without their labels."""
        spec = self.spec(kind)
        inputs = read_for_task(rows, spec, training_options()).scored
        has_choices = spec.row.of_choices
        return [record_of(texts, spec.fields, has_choices=has_choices) for texts in inputs]

    def hub(self, *kinds: Kind) -> Hub:
        """Returns a hub that has the tasks of some kinds."""
        for kind in kinds:
            self.spec(kind)
        return self._hub

    @cached_property
    def _hub(self) -> Hub:
        return Hub(self.registry, device="cpu")

    def mixed_records(self) -> list[dict[str, object]]:
        """Returns rows that have the fields of all tasks."""
        rows: list[dict[str, object]] = [{} for _ in range(SCORED_ROWS)]
        for kind in KINDS:
            # Of pairs whose texts are scored each for itself there are more.
            for row, record in zip(rows, self.records(kind), strict=False):
                assert isinstance(record, Mapping)
                row.update(record)
        return rows
