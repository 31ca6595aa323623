"""The table of shipped tasks: how each line says what its head reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.training.adapter_options import adapter_options
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from recipes.quality.shipped import Quality, QualityRow, measure_tasks
from recipes.quality.shipped_table import write_tasks
from tests.builders import backbone_spec
from tests.training.rows import sentiment_rows, write_rows


def test_the_table_says_how_pairs_are_read(tmp_path: Path) -> None:
    row = QualityRow(
        name="lcqmc",
        kind="single_label",
        pair=True,
        language="zh",
        train=5_000,
        validation=896,
        metric="macro_f1",
        head=0.821,
        baseline=0.773,
        depths=(0, 3),
        pooling="mean",
        hidden_width=128,
        apart=True,
    )
    together = row.model_copy(update={"name": "mrpc", "apart": False, "hidden_width": None})
    figures = Quality(backbone=backbone_spec(), rows=(row, together))
    page = tmp_path / "quality.md"
    write_tasks(figures, page)
    lines = page.read_text(encoding="utf-8").splitlines()
    cells = {line.split(" | ")[0]: line for line in lines}
    assert cells["| lcqmc"].endswith("| apart, depth 0+3 mean, hidden layer 128 |")
    assert cells["| mrpc"].endswith("| depth 0+3 mean |")
    # Figures from before there was a choice are still read.
    old = {name: value for name, value in together.model_dump().items() if name != "apart"}
    assert QualityRow.model_validate(old) == together


def test_the_summary_counts_by_what_is_asked(tmp_path: Path) -> None:
    def row(name: str, head: float, **changes: object) -> QualityRow:
        fields = {
            "name": name,
            "kind": "single_label",
            "pair": False,
            "language": "en",
            "train": 10,
            "validation": 10,
            "metric": "macro_f1",
            "head": head,
            "baseline": 0.5,
            "depths": (1,),
            "pooling": "mean",
            "hidden_width": None,
            "ngrams": 1_200,
        }
        return QualityRow.model_validate({**fields, **changes})

    rows = (
        row("a", 0.6),
        row("b", 0.4, language="zh", kind="multi_label"),
        row("c", 0.7, pair=True, kind="regression", metric="spearman"),
        row("d", 0.9, kind="tagging", metric="span_f1"),
    )
    page = tmp_path / "quality.md"
    write_tasks(Quality(backbone=backbone_spec(), rows=rows), page)
    text = page.read_text(encoding="utf-8")
    assert "| label or labels of one text | both | 2 | 1 (50%) | +0.0 |" in text
    assert "| a label or number for two texts | English | 1 | 1 (100%) | +20.0 |" in text
    assert "| any of these | Chinese | 1 | 0 (0%) | -10.0 |" in text
    assert "| any of these | both | 3 | 2 (67%) | +6.7 |" in text
    assert "| entities | both | 1 | 1 (100%) | +40.0 |" in text
    assert "1,200 n-grams |" in text


@pytest.mark.slow
def test_tasks_are_measured_as_they_are(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a baseline on the rows of the data set, which may be fewer than a task learned."""
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    own, more = tmp_path / "own.jsonl", tmp_path / "more.jsonl"
    write_rows(own, sentiment_rows(64))
    write_rows(more, sentiment_rows(96))
    held_out = tmp_path / "held_out.jsonl"
    write_rows(held_out, sentiment_rows(40, seed=5))
    adapter = adapter_options(from_depth=2, rank=2, epochs=1)
    options = training_options(
        validation=held_out, epochs=2, learning_rates=(0.01,), weight_decays=(0.01,)
    )
    registry = tmp_path / "registry.yaml"
    tuned = options.model_copy(update={"adapter": adapter})
    shipped = train(more, task="mine", options=tuned, registry=registry, backbone=tiny_backbone)
    figures = measure_tasks(
        {"mine": (own, options)}, registry=registry, record=tmp_path / "quality.json"
    )
    row = figures.rows[0]
    metrics = {metric.name: metric.value for metric in shipped.spec.metrics}
    assert (row.name, row.train, row.head) == ("mine", 64, metrics["macro_f1"])
    assert (row.from_depth, row.validation) == (2, 40)
    train(own, task="other", options=options, registry=registry, backbone=tiny_backbone)
    both = measure_tasks(
        {"other": (own, options)}, registry=registry, record=tmp_path / "quality.json"
    )
    assert both.rows[0] == row
    assert [one.name for one in both.rows] == ["mine", "other"]
    assert len(both.baselines) == 1
    page = tmp_path / "quality.md"
    write_tasks(figures.model_copy(update={"rows": (row,)}), page)
    text = page.read_text(encoding="utf-8")
    assert "## Shipped tasks" in text
    assert "| predicted | language | tasks | ahead |" in text
    assert f"| {row.baseline:.3f} | {row.head:.3f} |" in text
    assert f"| adapter from depth 2, depth 4 {row.pooling}" in text
