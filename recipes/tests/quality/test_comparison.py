"""Heads, adapters and full fine-tuning on the same rows, as scripts/quality measures them."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from recipes.quality import comparison as measure
from recipes.quality import systems
from recipes.quality.comparison import ComparedSet, Comparison, compare_folder
from recipes.quality.comparison_table import render
from recipes.quality.page import write_section
from recipes.quality.systems import FULL, HEAD, PER_DEPTH, SYSTEMS, TIED, Budget, Outcome
from tests.training.rows import (
    Rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    write_rows,
)

pytest.importorskip("sklearn")
pytest.importorskip("seqeval")

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "quality"


def weather_rows(count: int, seed: int) -> Rows:
    words = ("今天天气很好", "这里的天气不好")
    return [
        {"text": f"{words[(row + seed) % 2]}{row}", "label": ("good", "bad")[(row + seed) % 2]}
        for row in range(count)
    ]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    makers: dict[str, Callable[[int, int], Rows]] = {"film": sentiment_rows, "sky": weather_rows}
    return write_sets(tmp_path / "data", makers)


def write_sets(
    folder: Path, makers: dict[str, Callable[[int, int], Rows]], rows_each: int = 48
) -> Path:
    for name, rows in makers.items():
        (folder / name).mkdir(parents=True)
        write_rows(folder / name / "train.jsonl.gz", rows(rows_each, 0))
        write_rows(folder / name / "validation.jsonl.gz", rows(24, 1))
    return folder


@pytest.mark.slow
def test_one_command_measures_what_is_missing_and_replaces_its_section(
    data: Path, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "quality.md"
    write_section(page, "heads", "# Heads\n\nAs they were.")

    def run(*more: str) -> str:
        given = [str(data), "--adapters", "--epochs", "1", "--max-rows", "40", "--out", str(page)]
        place = ["--backbone", str(tiny_backbone_folder)]
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [str(SCRIPT), *given, *place, *more])
            patched.setattr(sys, "path", list(sys.path))
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return page.read_text(encoding="utf-8")

    with monkeypatch.context() as patched:
        patched.setattr(measure, "fine_tune", stop)
        with pytest.raises(KeyboardInterrupt):
            run("--only", "film")
    record = tmp_path / "quality-adapters.json"
    assert list(read(record)["film"].outcomes) == [HEAD, TIED, PER_DEPTH]

    with monkeypatch.context() as patched:
        patched.setattr(systems, "train", stop)
        first = run("--only", "film")
    film = read(record)["film"]
    assert tuple(film.outcomes) == SYSTEMS
    assert (film.train, film.validation, film.metric) == (40, 24, "macro_f1")
    assert [film.outcomes[name].own_passes for name in SYSTEMS] == [0, 4, 2, 4]
    assert film.outcomes[FULL].trained > film.outcomes[PER_DEPTH].trained
    assert film.outcomes[PER_DEPTH].trained > film.outcomes[TIED].trained
    assert "| film | en |" in first
    assert "sky" not in first

    second = run()
    kept = record.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(systems, "train", stop)
        patched.setattr(measure, "fine_tune", stop)
        assert run() == second
    assert record.read_bytes() == kept
    assert second.count("## Adapters and full fine-tuning") == 1
    assert second.count("| film | en |") == second.count("| sky | zh |") == 1
    assert second.startswith("<!-- quality:heads -->\n\n# Heads\n\nAs they were.\n")
    with pytest.raises(SystemExit, match="figures of another budget"):
        run("--epochs", "2")
    with pytest.raises(SystemExit, match=r"no data set 'snow' .* known: film, sky"):
        run("--only", "snow")
    record.write_text("{}")
    with pytest.raises(SystemExit, match="is not a record of figures"):
        run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "names", "rates"),
    # Products in bfloat16 are slow on processors.
    [("float32", ("stars", "tags"), (1e-6, 2e-3)), ("bfloat16", ("stars",), (2e-3,))],
    ids=["float32", "bfloat16"],
)
def test_numbers_and_tags_are_fine_tuned_and_the_best_rate_counts(
    tiny_backbone_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Literal["float32", "bfloat16"],
    names: tuple[str, ...],
    rates: tuple[float, ...],
) -> None:
    monkeypatch.setattr(measure, "SYSTEMS", (FULL,))
    makers = {"stars": rating_rows, "tags": tagged_rows}
    data = write_sets(tmp_path / "data", {name: makers[name] for name in names}, rows_each=120)
    found = compare_folder(
        data,
        backbone=tiny_backbone_folder,
        only=None,
        budget=Budget(epochs=16, batch_size=8, full_rates=rates),
        precision=precision,
        record=tmp_path / "record.json",
    )
    assert {one.outcomes[FULL].precision for one in found.sets} == {precision}
    assert [one.metric for one in found.sets] == ["spearman", "span_f1"][: len(names)]
    values = {one.name: one.outcomes[FULL].value for one in found.sets}
    assert min(values.values()) > 0.7, values


def test_many_labels_are_fine_tuned_for_more_epochs() -> None:
    budget = Budget(epochs=8)
    assert budget.full_epochs("single_label", 44) == 8
    assert budget.full_epochs("single_label", 150) == 30
    assert budget.full_epochs("tagging", 150) == 8


def test_the_means_are_of_whole_rows_and_by_language() -> None:
    def outcomes(*values: float) -> dict[str, Outcome]:
        return {
            name: Outcome(
                value=value,
                trained=size,
                passes=6,
                own_passes=2,
                seconds=1.0,
                precision="float32" if value < 0.4 else "bfloat16",
            )
            for name, value, size in zip(SYSTEMS, values, (10, 20, 30, 1_000), strict=False)
        }

    def compared(name: str, language: str, *values: float, pair: bool = False) -> ComparedSet:
        return ComparedSet(
            name=name,
            kind="single_label",
            pair=pair,
            language=language,
            train=1_000,
            validation=100,
            metric="macro_f1",
            outcomes=outcomes(*values),
        )

    backbone = {"name": "tiny", "fingerprint": "sha256:" + "0" * 64}
    found = Comparison.model_validate(
        {
            "backbone": {**backbone, "hidden_size": 32, "num_hidden_layers": 6},
            "budget": Budget(),
            "sets": (
                compared("a", "en", 0.4, 0.8, 0.9, 1.0),
                compared("b", "en", 0.5, 0.5, 0.35, 0.5),
                compared("c", "zh", 0.4, 0.6, 0.6, 0.5),
                compared("d", "zh", 0.4, 0.6, 0.6, -0.1),
                compared("e", "zh", 0.4, 0.6),
                compared("f", "zh", 0.9, 0.8, 0.9, 0.6, pair=True),
            ),
        }
    )
    text = render(found)
    assert (
        "- `en`, 2 sets: LoRA per depth keeps 80.0% of full fine-tuning on average with 3.0% of "
        "its parameters. It is behind on 2, and least is kept on b: 70.0%; tied LoRA keeps 90.0%, "
        "head only 70.0%."
    ) in text
    assert "- `zh`, 1 sets (1 where full fine-tuning reached less than half of what a " in text
    assert "- both, 3 sets (1 where" in text
    assert (
        "- pairs, which full fine-tuning reads in one sequence, 1 sets: LoRA per depth keeps 150.0%"
        in text
    )
    assert "a LoRA for each depth from 4 on" in text
    assert "Matrix products are in bfloat16, but in float32 on b (LoRA per depth), d (full" in text
    assert "| macro_f1 | 0.500 | 0.500 | 0.350 | 0.500 | 70.0% | 10 / 20 / 30 / 1,000 |" in text
    assert "| 0.400 | 0.600 | – | – | – | 10 / 20 / – / – |" in text


def read(record: Path) -> dict[str, ComparedSet]:
    found = Comparison.model_validate_json(record.read_bytes())
    return {one.name: one for one in found.sets}


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
