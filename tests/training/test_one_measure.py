"""What `train` prints: one measure has one name and one unit, in table, notes and metrics."""

from __future__ import annotations

import re
from typing import Any

import pytest

from adapterhub.kinds import KINDS
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.specs import HeadSpec
from adapterhub.training.adapters.result import AdapterRow, AdapterTable, make_adapter_table
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions, measure_name
from adapterhub.training.train import train
from tests.training.rows import pair_rows, rating_rows, sentiment_rows, tagged_rows, topic_rows
from tests.training.test_few_rows import QUICK


def _trained(
    rows: object, backbone: Backbone, encoder: Encoder, cache: Any, **changes: Any
) -> TrainedTask:
    options = TrainingOptions(**{**QUICK, **changes}, cache_dir=cache)
    return train(rows, task="t", options=options, registry=None, backbone=backbone, encoder=encoder)


@pytest.mark.parametrize(
    ("make", "changes", "measure"),
    [
        (tagged_rows, {}, "span_f1 (argmax tags)"),
        (tagged_rows, {"folds": 0}, "span_f1 (argmax tags)"),
        (topic_rows, {"folds": 0}, "macro_f1 (best thresholds)"),
        (topic_rows, {"metric": "micro_f1"}, "micro_f1 (best thresholds)"),
        (rating_rows, {}, "spearman (unclipped)"),
        (rating_rows, {"metric": "pearson"}, "pearson (unclipped)"),
    ],
)
@pytest.mark.slow
def test_a_table_names_its_measure_and_gives_the_reported_one_beside_it(
    make: Any,
    changes: dict[str, Any],
    measure: str,
    tiny_backbone: Backbone,
    tiny_encoder: Encoder,
    tmp_path: Any,
) -> None:
    trained = _trained(make(60), tiny_backbone, tiny_encoder, tmp_path, ngrams=False, **changes)
    table, metric = trained.table, measure.partition(" ")[0]
    assert (table.measure, table.metric) == (measure, metric)
    text = table.render()
    assert measure in text.splitlines()[1]
    assert f"{table.rows[table.chosen].value:.4f} " in text
    (scored,) = (note for note in table.notes if note.startswith("The chosen head, scored with"))
    found = re.search(rf": {metric} ([\d.]+)\.$", scored)
    assert found is not None
    tuned = [note for note in table.notes if note.startswith("Tag biases")]
    if tuned:
        assert f"instead of {found[1]}" in tuned[0]
    elif trained.spec.kind != "regression":
        reported = next(one.value for one in trained.metrics if one.name == metric)
        assert f"{reported:.4f}" == found[1]


@pytest.mark.parametrize("make", [sentiment_rows, pair_rows])
@pytest.mark.slow
def test_labels_are_chosen_by_what_is_reported(
    make: Any, tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Any
) -> None:
    changes = {"folds": 0, "ngrams": False, "validation_fraction": 0.3}
    trained = _trained(make(60), tiny_backbone, tiny_encoder, tmp_path, **changes)
    table = trained.table
    assert table.measure == table.metric == "accuracy"
    assert not any("scored with" in note for note in table.notes)
    assert table.rows[table.chosen].value == pytest.approx(trained.metrics[0].value)


def test_every_metric_has_a_name_for_choosing() -> None:
    for kind, row in KINDS.items():
        for metric in row.metrics:
            name = measure_name(metric, kind)
            assert name.startswith(metric)
            assert (name == metric) == (row.compared_as is None or metric == "likelihood")


def _row(value: float, from_depth: int | None = None, depth: int = 4) -> AdapterRow:
    head = HeadSpec(depths=(depth,), pooling="mean")
    return AdapterRow(head, from_depth, 4, value, 0.1, 0.1, 1, 100, 1.0)


def _table(frozen: float, *adapters: float) -> AdapterTable:
    rows = [_row(frozen), *(_row(value, index) for index, value in enumerate(adapters))]
    return make_adapter_table(rows, metric="accuracy", tolerance=0.5, candidates=3, notes=())


@pytest.mark.parametrize(
    ("frozen", "adapters", "best", "chosen", "cheaper"),
    [
        (0.80, (0.84, 0.86), 2, 2, False),
        (0.80, (0.858, 0.86), 2, 1, False),
        (0.90, (0.84, 0.86), 0, 2, True),
        (0.90, (0.858, 0.86), 0, 1, True),
        (0.86, (0.86,), 0, 1, True),
    ],
)
def test_a_head_that_beats_the_adapters_is_marked_as_the_best(
    frozen: float, adapters: tuple[float, ...], best: int, chosen: int, cheaper: bool
) -> None:
    table = _table(frozen, *adapters)
    assert (table.best, table.chosen) == (best, chosen)
    lines = table.render().splitlines()[3:]
    assert [line for line in lines if "best" in line and "|" in line] == [lines[best]]
    assert [line for line in lines if "chosen" in line and "|" in line] == [lines[chosen]]
    assert ("without an adapter" in table.summary) == cheaper
    gained = (adapters[chosen - 1] - frozen) * 100
    assert f"scores {gained:+.2f} points against" in table.summary
    assert ("0.20 points below the best" in table.summary) == (0.858 in adapters)


def test_a_table_has_the_unit_of_the_metrics() -> None:
    assert "0.8600" in _table(0.8, 0.86).render()
    assert "86.00" not in _table(0.8, 0.86).render()


def test_the_curve_of_adapters_is_over_the_depth_where_they_start() -> None:
    curve = _table(0.8, 0.84, 0.86).curve()
    assert dict(curve.lines) == {"adapter": [(0, 0.84), (1, 0.86)]}
    assert (curve.chosen, curve.levels) == ((1, 0.86), {"head alone": 0.8})
    rows = [_row(0.8), _row(0.7, 0, 2), _row(0.9, 0)]
    found = make_adapter_table(rows, metric="f1", tolerance=0, candidates=3, notes=()).curve()
    assert list(found.lines) == ["adapter, read at depth 2", "adapter, read at depth 4"]
