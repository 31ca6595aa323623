"""The table of heads: how each line says what its head reads."""

from __future__ import annotations

from pathlib import Path

from adapterhub.training.quality import Quality, QualityRow, write_table
from tests.builders import backbone_spec


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
