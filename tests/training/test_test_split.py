"""The test set: rows that neither chose the head nor set its calibration, where rows are plenty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterhub import Hub
from adapterhub.diagnostics import Metric, rows_text
from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.store.registry import read_registry
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.evaluation.split_notes import split_notes
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.builders import task_spec
from tests.training.rows import (
    Rows,
    pair_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
    write_rows,
)
from tests.training.test_few_rows import QUICK

OFF = {"test_fraction": 0.0}


def _marked(rows: Rows, parts: str = "tttttvvxxx") -> Rows:
    names = {"t": "train", "v": "validation", "x": "test"}
    return [{**row, "part": names[parts[i % len(parts)]]} for i, row in enumerate(rows)]


@pytest.mark.parametrize("make", [sentiment_rows, pair_rows, topic_rows, rating_rows, tagged_rows])
@pytest.mark.slow
def test_plenty_of_held_out_rows_are_divided_and_training_rows_stay(make: Any) -> None:
    rows, half = make(2_020), training_options(validation_fraction=0.5)
    splits, before = read_splits(rows, half), read_splits(rows, half.model_copy(update=OFF))
    assert before.test is None
    assert splits.test is not None
    assert splits.train.digest() == before.train.digest()
    assert len(splits.validation) + len(splits.test) == len(before.validation) >= 1_000
    assert abs(len(splits.validation) - len(splits.test)) <= 2
    held_out = set(before.validation.inputs)
    assert set(splits.validation.inputs) | set(splits.test.inputs) == held_out
    assert not set(splits.validation.inputs) & set(splits.test.inputs)
    again, other = (
        read_splits(rows, half.model_copy(update={"seed": seed})).test for seed in (0, 1)
    )
    assert again is not None
    assert other is not None
    assert again.digest() == splits.test.digest() != other.digest()


@pytest.mark.slow
def test_few_held_out_rows_are_not_divided_unless_asked(tmp_path: Path) -> None:
    assert read_splits(sentiment_rows(9_000), TrainingOptions()).test is None
    held_out = write_rows(tmp_path / "v.jsonl", sentiment_rows(1_000, seed=3))
    divided = read_splits(sentiment_rows(), training_options(validation=held_out))
    assert divided.test is not None
    assert len(divided.test) == 500
    few = read_splits(sentiment_rows(200), training_options(test_fraction=0.25))
    assert few.test is not None
    assert (len(few.test), len(few.validation), few.folds) == (5, 14, ())
    assert any("a metric on 5 rows is about ±45 points" in note for note in split_notes(few))


def test_equal_inputs_are_in_one_part_and_labels_are_spread() -> None:
    rows = [{"text": f"a b {i // 3}", "label": "xyz"[i // 3 % 3]} for i in range(600)]
    splits = read_splits(rows, training_options(validation_fraction=0.5, test_fraction=0.5))
    assert splits.test is not None
    assert not set(splits.validation.inputs) & set(splits.test.inputs)
    for label in "xyz":
        counts = [part.targets.count(label) for part in (splits.validation, splits.test)]
        assert abs(counts[0] - counts[1]) <= 6


@pytest.mark.parametrize("make", [sentiment_rows, rating_rows, topic_rows, tagged_rows])
def test_rows_marked_as_test_are_the_test_set(make: Any) -> None:
    rows = _marked(make(80))
    splits = read_splits(rows, training_options(split_column="part"))
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (40, 16, 24)


@pytest.mark.parametrize(
    ("make", "column", "value"),
    [
        (sentiment_rows, "label", None),
        (sentiment_rows, "label", -1),
        (sentiment_rows, "label", ""),
        (sentiment_rows, "label", float("nan")),
        (rating_rows, "score", -1.0),
        (topic_rows, "labels", []),
        (tagged_rows, "tags", None),
    ],
)
def test_a_test_part_without_targets_is_left_out_with_a_note(
    make: Any, column: str, value: object
) -> None:
    rows = _marked(make(80))
    for row in rows:
        if row["part"] == "test":
            row[column] = value
    splits = read_splits(rows, training_options(split_column="part"))
    assert splits.test is None
    assert "24 rows marked as test are left out" in splits.notes[0]


def test_test_rows_with_unknown_labels_are_counted() -> None:
    rows = _marked(sentiment_rows(80))
    rows[9]["label"], rows[19]["label"] = "other", None
    splits = read_splits(rows, training_options(split_column="part"))
    assert splits.test is not None
    assert len(splits.test) == 22
    assert splits.notes == (
        "1 of 24 test rows have no target.",
        "1 test rows have labels that no training row has.",
    )


def test_a_test_file_is_read_and_must_fit(tmp_path: Path) -> None:
    test = write_rows(tmp_path / "test.jsonl", sentiment_rows(30, seed=9))
    crossed = read_splits(sentiment_rows(), training_options(test=test))
    assert crossed.folds
    assert crossed.test is not None
    assert len(crossed.test) == 30
    held_out = write_rows(tmp_path / "v.jsonl", sentiment_rows(1_200, seed=3))
    both = read_splits(sentiment_rows(), training_options(test=test, validation=held_out))
    assert (len(both.validation), len(both.test or ())) == (1_200, 30)
    assert (
        len(read_splits(sentiment_rows(), training_options(test=test, max_rows=9)).test or ()) == 9
    )
    unknown = write_rows(tmp_path / "u.jsonl", [{"text": "a", "label": "b"}] * 4)
    with pytest.raises(DataError, match="the label 'b'"):
        read_splits(sentiment_rows(), training_options(test=unknown))
    pairs = write_rows(tmp_path / "p.jsonl", pair_rows(20))
    with pytest.raises(DataError, match="text and text_pair"):
        read_splits(sentiment_rows(), training_options(test=pairs))
    with pytest.raises(UsageError, match="a test file or a fraction"):
        training_options(test=test, test_fraction=0.5)


@pytest.fixture
def quick(tmp_path: Path) -> TrainingOptions:
    return training_options(**{**QUICK, "epochs": 2}, cache_dir=tmp_path / "cache")


def _train(
    rows: object, backbone: Backbone, encoder: Encoder, options: TrainingOptions, **more: Any
) -> TrainedTask:
    values: dict[str, Any] = {"task": "mine", "registry": None, **more}
    return train(rows, options=options, backbone=backbone, encoder=encoder, **values)


@pytest.mark.slow
@pytest.mark.parametrize("make", [sentiment_rows, topic_rows, rating_rows, tagged_rows])
def test_metrics_are_of_both_splits_and_say_what_these_had_done(
    make: Any,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    quick: TrainingOptions,
    tmp_path: Path,
) -> None:
    options = quick.model_copy(update={"split_column": "part"})
    registry = tmp_path / "registry.yaml"
    rows = _marked(make(80))
    trained = _train(rows, tiny_backbone, tiny_encoder, options, registry=registry)
    assert {(one.split, one.rows, one.used_for) for one in trained.spec.metrics} == {
        ("test", 24, ()),
        ("validation", 16, ("selection", "calibration")),
    }
    assert {one.split for one in trained.metrics} == {"test"}
    record = read_registry(registry).resolve("mine").record
    assert record.measured_on == "test"
    assert Hub(registry, device="cpu").tasks()[0].measured_on == "test"
    assert record.metrics == {one.name: one.value for one in trained.metrics}
    if trained.spec.diagnostics is not None:
        assert (trained.spec.diagnostics.split, trained.spec.diagnostics.rows) == ("test", 24)
    # The test rows change nothing but their own figures.
    without = [row for row in rows if row["part"] != "test"]
    alone = _train(without, tiny_backbone, tiny_encoder, options)
    assert alone.metrics == trained.spec.metrics[len(trained.metrics) :]
    assert alone.spec.calibration == trained.spec.calibration
    assert all((alone.tensors[name] == tensor).all() for name, tensor in trained.tensors.items())


def test_cross_validated_heads_are_measured_on_a_test_file(
    tiny_backbone: Backbone, tiny_encoder: Encoder, quick: TrainingOptions, tmp_path: Path
) -> None:
    test = write_rows(tmp_path / "test.jsonl", sentiment_rows(30, seed=9))
    options = quick.model_copy(update={"test": test})
    trained = _train(sentiment_rows(40), tiny_backbone, tiny_encoder, options)
    assert {(one.split, one.rows, one.used_for) for one in trained.spec.metrics} == {
        ("test", 30, ()),
        ("cross-validation", 40, ("selection", "calibration")),
    }


@pytest.mark.parametrize(
    ("split", "has_record", "used"),
    [
        ("validation", True, ("selection", "calibration")),
        ("cross-validation", True, ("selection", "calibration")),
        ("validation", False, None),
        ("eval set of its authors", True, None),
    ],
)
def test_files_from_before_say_what_is_known(
    split: str, has_record: bool, used: tuple[str, ...] | None
) -> None:
    metric = Metric(name="accuracy", value=0.5, split=split, rows=7)
    assert "used_for" not in metric.model_dump_json()
    record = {"dataset": "d", "data_digest": "0" * 64, "rows": 9, "seed": 0, "candidates": 1}
    record = {**record, "epochs": 1, "learning_rate": 0.1, "weight_decay": 0.1}
    spec = task_spec(metrics=(metric,), training=record if has_record else None)
    assert spec.used_for(metric) == used
    text = rows_text(metric, used)
    assert text.startswith(f"7 {split} rows")
    assert ("not recorded" in text) == (used is None)
    assert "validation_digest" not in spec.model_dump_json()
