"""The table of heads: how each line says what its head reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.training.adapter_options import adapter_options
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from recipes.quality.heads import Quality, QualityRow, measure_folder, measure_tasks
from recipes.quality.heads_table import write_table, write_tasks
from tests.builders import backbone_spec
from tests.tiny import save_backbone
from tests.training.rows import choice_rows, sentiment_rows, write_rows


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
    figures = Quality(backbone=backbone_spec(), max_rows=5_000, rows=(row, together))
    page = tmp_path / "quality.md"
    write_table(figures, page)
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
    write_table(Quality(backbone=backbone_spec(), max_rows=10, rows=rows), page)
    text = page.read_text(encoding="utf-8")
    assert "| label or labels of one text | both | 2 | 1 (50%) | +0.0 |" in text
    assert "| a label or number for two texts | English | 1 | 1 (100%) | +20.0 |" in text
    assert "| any of these | Chinese | 1 | 0 (0%) | -10.0 |" in text
    assert "| any of these | both | 3 | 2 (67%) | +6.7 |" in text
    assert "| entities | both | 1 | 1 (100%) | +40.0 |" in text
    assert "1,200 n-grams |" in text


@pytest.mark.slow
def test_a_new_backbone_keeps_what_the_baseline_reached(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "reviews"
    folder.mkdir(parents=True)
    write_rows(folder / "train.jsonl.gz", sentiment_rows(96))
    write_rows(folder / "validation.jsonl.gz", sentiment_rows(40, seed=5))
    record = tmp_path / "quality.json"

    def measure(backbone: Path) -> Quality:
        return measure_folder(
            folder.parent,
            backbone=backbone,
            registry=None,
            only=None,
            max_rows=96,
            record=record,
        )

    first = measure(tiny_backbone.folder)
    assert list(first.baselines.values()) == [first.rows[0].baseline]
    assert 0.9 < first.rows[0].baseline <= 1.0
    key = next(iter(first.baselines))
    marked = first.model_copy(update={"baselines": {key: 0.125}})
    record.write_text(marked.model_dump_json(), encoding="utf-8")
    assert measure(tiny_backbone.folder) == marked  # nothing is measured again
    other = save_backbone(tmp_path / "other", seed=3)
    second = measure(other)
    assert second.backbone.fingerprint != first.backbone.fingerprint
    assert second.rows[0].baseline == 0.125


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
    write_table(Quality(backbone=backbone_spec(), max_rows=10, rows=(row,)), page)
    write_tasks(figures, page)
    text = page.read_text(encoding="utf-8")
    assert "## Shipped tasks" in text
    assert "| predicted | language | tasks | ahead |" in text
    assert f"| {row.baseline:.3f} | {row.head:.3f} |" in text
    assert f"| adapter from depth 2, depth 4 {row.pooling}" in text


@pytest.mark.slow
def test_choices_are_measured_beside_their_likeness_to_the_prompt(
    tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "choices"
    folder.mkdir(parents=True)
    write_rows(folder / "train.jsonl.gz", choice_rows(60))
    write_rows(folder / "validation.jsonl.gz", choice_rows(20, seed=5))
    (row,) = measure_folder(
        folder.parent,
        backbone=tiny_backbone.folder,
        registry=None,
        only=None,
        max_rows=60,
        record=tmp_path / "quality.json",
    ).rows
    assert (row.kind, row.metric, row.pair) == ("multiple_choice", "accuracy", False)
    # One word says which choice is right, whatever the prompt.
    assert row.baseline > 0.9
    assert row.head > 0.9
    page = tmp_path / "quality.md"
    write_table(Quality(backbone=backbone_spec(), max_rows=60, rows=(row,)), page)
    assert "| one of a row's choices | English | 1 |" in page.read_text(encoding="utf-8")
