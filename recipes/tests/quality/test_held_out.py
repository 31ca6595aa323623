"""The protocol of held-out rows: halves, figures of every kind, record, page, plot, command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.training.data.dataset import Dataset
from recipes.quality.command import main
from recipes.quality.datasets import chosen_sets
from recipes.quality.held_out.halves import (
    Halves,
    TunedTexts,
    head_options,
    read_halves,
    split_options,
)
from recipes.quality.held_out.measure import measure_held_out
from recipes.quality.held_out.page import render
from recipes.quality.held_out.plot import draw
from recipes.quality.held_out.record import HeldOut, HeldOutSet, Limits
from recipes.quality.held_out.retrieval import Searched
from recipes.quality.resampling import Figure, Figures
from tests.builders import backbone_spec
from tests.tiny import save_backbone
from tests.training.rows import (
    Rows,
    choice_rows,
    question_rows,
    sentiment_rows,
    tagged_rows,
    tree_rows,
    write_rows,
)

_MAKERS: dict[str, Callable[..., Rows]] = {
    "choices": choice_rows,
    "labels": sentiment_rows,
    "questions": question_rows,
    "tags": tagged_rows,
    "trees": tree_rows,
}
_FEW = Limits(max_rows=40, held_out_rows=12, candidates="few")


def _set(folder: Path, train: Rows, held_out: Rows) -> Path:
    folder.mkdir(parents=True)
    write_rows(folder / "train.jsonl.gz", train)
    write_rows(folder / "validation.jsonl.gz", held_out)
    return folder


def _halves(folder: Path, backbone: Backbone, limits: Limits, *listed: str) -> Halves:
    tuned = TunedTexts(folder.parent, listed)
    return read_halves(folder, limits, backbone=backbone, tuned=tuned)


def test_one_half_chooses_and_the_other_measures(tiny_backbone: Backbone, tmp_path: Path) -> None:
    folder = _set(tmp_path / "labels", sentiment_rows(64), sentiment_rows(40, seed=5))
    halves = _halves(folder, tiny_backbone, Limits())
    splits = halves.splits
    assert (len(splits.train), len(splits.validation), len(halves.measured)) == (64, 20, 20)
    assert not set(splits.validation.inputs) & set(halves.measured.inputs)
    assert halves.seen.test is None
    # Labels are spread evenly.
    assert halves.measured.targets.count("positive") == 10
    again = _halves(folder, tiny_backbone, Limits())
    assert again.measured.inputs == halves.measured.inputs
    other = _halves(folder, tiny_backbone, Limits(seed=1))
    assert other.measured.inputs != halves.measured.inputs


def test_questions_on_one_context_stay_on_one_side(tiny_backbone: Backbone, tmp_path: Path) -> None:
    rows = [row | {"question": f"{row['question']} {n}"} for row in question_rows(20) for n in "ab"]
    folder = _set(tmp_path / "questions", question_rows(40, seed=4), rows)
    halves = _halves(folder, tiny_backbone, Limits())
    choosing, measured = (
        {row[1] for row in part.inputs} for part in (halves.splits.validation, halves.measured)
    )
    assert choosing
    assert measured
    assert not choosing & measured


def test_rows_that_shaped_the_backbone_do_not_measure(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    # Shorter texts do not tell rows apart.
    held_out = [row | {"text": f"we think {row['text']}"} for row in sentiment_rows(40, seed=5)]
    _set(tmp_path / "other", held_out[:30], held_out[:2])
    folder = _set(tmp_path / "labels", sentiment_rows(64), held_out)
    halves = _halves(folder, tiny_backbone, Limits(), "other", "labels")
    seen = {(row["text"],) for row in held_out[:30]}
    assert halves.shared > 5
    assert len(halves.measured) == 20 - halves.shared
    assert not seen & set(halves.measured.inputs)
    assert _halves(folder, tiny_backbone, Limits()).shared == 0


def test_rows_and_tokens_are_limited(tiny_backbone: Backbone, tmp_path: Path) -> None:
    folder = _set(tmp_path / "labels", sentiment_rows(64), sentiment_rows(40, seed=5))
    few = _halves(folder, tiny_backbone, Limits(max_rows=30, held_out_rows=5))
    assert [len(part) for part in (few.splits.train, few.splits.validation, few.measured)] == [
        *(30, 5, 5)
    ]
    rows = [row | {"text": " ".join([row["text"]] * 10)} for row in sentiment_rows(64)]
    long = _set(tmp_path / "long", rows, sentiment_rows(64, seed=5))
    splits = _halves(long, tiny_backbone, Limits(max_tokens=1_000)).splits
    texts = [row[0] for row in splits.train.inputs]
    tokens = sum(map(len, tiny_backbone.tokenizer(texts)["input_ids"]))
    assert 800 < tokens < 1_200
    assert len(splits.validation) == max(8, len(texts) // 2)
    options = split_options(folder, few_limits := Limits(candidates="few"))
    options = head_options(options, few.splits.train, few_limits, 6)
    assert (options.depths, options.mixes, options.pairs) == ((2, 4), False, "both")


def test_sets_of_every_kind_are_found(tmp_path: Path) -> None:
    for name, make in _MAKERS.items():
        _set(tmp_path / name, make(20), make(10))
    assert chosen_sets(tmp_path, None, of_any_kind=True) == sorted(_MAKERS)
    assert chosen_sets(tmp_path, None) == ["labels", "tags"]


@pytest.mark.slow
def test_every_set_is_measured_once_and_a_bad_one_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    backbone = save_backbone(tmp_path / "small", num_hidden_layers=1)
    data, page = tmp_path / "data", tmp_path / "docs" / "quality.md"
    for name, make in _MAKERS.items():
        _set(data / name, make(60), make(40, seed=5))
    bad = _set(data / "bad", [{"text": "a", "label": "b"}], sentiment_rows(20))
    given = ["--max-rows", "40", "--held-out-rows", "12", "--few-candidates"]
    given += ["--backbone", str(backbone), "--out", str(page)]
    monkeypatch.setattr(sys, "argv", ["quality", str(data), "--held-out", *given])
    with pytest.raises(SystemExit, match="1 could not be measured: bad"):
        main()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!-- quality:held-out -->")
    assert "`bad` could not be measured: DataError: " in text
    assert f"Made by `scripts/quality DATA --held-out {' '.join(given[:5])}`." in text
    found = HeldOut.model_validate_json((page.parent / "quality-held-out.json").read_bytes())
    assert [one.name for one in found.sets] == sorted(_MAKERS)
    assert {one.kind for one in found.sets} == {
        *("multiple_choice", "single_label", "question_answering", "tagging", "parsing")
    }
    for one in found.sets:
        assert one.figures.of.keys() == {"baseline", "head"}
        assert 0 < one.measured <= 12
        assert f"| {one.name} | " in text
    labels = next(one for one in found.sets if one.name == "labels")
    assert labels.figures.of["baseline"].value > 0.9
    # A set that can be measured now is; the others are not measured again.
    for part in ("train", "validation"):
        write_rows(bad / f"{part}.jsonl.gz", sentiment_rows(60))
    capsys.readouterr()
    main()
    assert "1 of 1: bad …" in capsys.readouterr().err
    text = page.read_text(encoding="utf-8")
    assert "could not be measured" not in text
    assert (page.parent / "quality-held-out.png").stat().st_size < 60_000
    with pytest.raises(UsageError, match="has figures of other limits"):
        _measure(data, backbone, page.parent / "quality-held-out.json", Limits(max_rows=50))
    # Another backbone starts anew, here beside the first one.
    other = save_backbone(tmp_path / "other", seed=3, num_hidden_layers=1)
    record = page.parent / "quality-held-out.json"
    anew = _measure(data, other, record, _FEW, "labels", beside=("First", backbone))
    (one,) = anew.sets
    assert one.figures.of["head on the other"] == labels.figures.of["head"]
    assert {*one.figures.of} > {"baseline", "head", "vectors of the other"}
    assert "| head on First | points of the latter | it is |" in render(anew, "plot.png")
    assert _measure(data, other, record, _FEW, "labels") == anew


def _measure(
    data: Path,
    backbone: Path,
    record: Path,
    limits: Limits,
    *only: str,
    beside: tuple[str, Path] | None = None,
) -> HeldOut:
    return measure_held_out(
        data, backbone=backbone, other=beside, only=only or None, limits=limits, record=record
    )


def _measured(name: str, ahead: tuple[float, float, float], **changes: object) -> HeldOutSet:
    value, low, high = ahead
    figures = Figures(
        of={
            system: Figure(value=0.5 + own, low=0.4, high=0.9)
            for system, own in (("baseline", 0.0), ("head", value))
        },
        differences={
            "baseline": {},
            "head": {"baseline": Figure(value=value, low=low, high=high)},
        },
    )
    fields = {
        "name": name,
        "kind": "single_label",
        "pair": False,
        "language": "en",
        "tuned": False,
        "restricted": False,
        "train": 5_000,
        "choosing": 300,
        "measured": 299,
        "shared": 0,
        "metric": "macro_f1",
        "baseline": "TF-IDF + LR",
        "figures": figures,
        "reads": {"head": "depth 2 mean"},
        "seconds": {"baseline": 1.0, "head": 20.0},
    }
    return HeldOutSet.model_validate({**fields, **changes})


def test_the_page_says_who_is_ahead(tmp_path: Path) -> None:
    found = HeldOut(
        backbone=backbone_spec(),
        listed=36,
        limits=Limits(max_rows=5_000),
        names=("ahead", "behind", "level", "later"),
        sets=(
            _measured("ahead", (0.05, 0.01, 0.09), tuned=True, shared=7),
            _measured("behind", (-0.05, -0.09, -0.01), kind="parsing", restricted=True),
            _measured("level", (0.01, -0.02, 0.04), kind="question_answering", language="zh"),
        ),
    )
    text = render(found, "quality.png")
    lines = text.splitlines()
    assert "ahead on 1 of 3 data sets" in lines[2]
    assert lines[2].endswith("no difference on `level`; behind on `behind`.")
    assert "| all of these | 3 | 1 | 1 | 1 | +0.3 |" in lines
    assert "| all, backbone tuned on training rows | 1 | 1 | 0 | 0 | +5.0 |" in lines
    assert "| the answer to a question | 1 | 0 | 1 | 0 | +1.0 |" in lines
    assert (
        "| ahead | en | single_label | 5,000 + 300; 299 | yes | macro_f1 | TF-IDF + LR | 0.500 | "
        "0.550 | +5.0 (+1.0 to +9.0) | ahead | depth 2 mean |"
    ) in lines
    assert r"| behind\* | en | parsing |" in text
    assert "Left out for a text that the backbone was tuned on: 7 of `ahead`." in lines
    assert "Not measured: `later`." in lines
    assert draw(found, tmp_path / "new" / "plot.png").stat().st_size < 60_000


def test_partners_are_searched_for_among_all_texts() -> None:
    rows = (("a", "b"), ("a", "c"), ("d", "e"), ("f", "f"))
    targets = ("same", "same", "different", "same")
    dataset = Dataset("lcqmc", "single_label", ("text", "text_pair"), rows, targets, ())
    searched = Searched.read(dataset)
    assert searched.texts == ("a", "b", "c", "d", "e", "f")
    assert (searched.queries, searched.partners) == ((0,), (frozenset({1, 2}),))
    vectors = np.eye(6)
    vectors[0] = [0.5, 0.6, 0.1, 0.0, 0.0, 0.6]
    # The text itself is no result; of equal ones the first comes first.
    assert searched.found(vectors)[0][:3] == [1, 5, 2]
