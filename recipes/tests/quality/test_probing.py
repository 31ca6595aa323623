"""Probes of the page: record, resuming, sections, figures, command."""

from __future__ import annotations

import gzip
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import pytest

from adapterhub.errors import UsageError
from recipes.quality import probing
from recipes.quality.command import main
from recipes.quality.probing import ProbedResults, probe_sets, read_record, write_record
from recipes.quality.probing_page import write_page
from tests.builders import backbone_spec
from tests.probing.test_probe import RESULT, TREES, fit

DECISIVE = RESULT.model_copy(
    update={"fits": (*RESULT.fits, fit(None, 1.9, probe="attention")), "seconds": 60.0}
)


def results(**changes: Any) -> ProbedResults:
    fields = {"backbone": backbone_spec(), "listed": ("sst2",), "max_rows": (400, 500)}
    found = ProbedResults.model_validate({**fields, **changes})
    for key in ("sentiment, en", "part of speech, en", "part of speech, zh"):
        found = found.with_result(key, DECISIVE)
    return found


@pytest.mark.slow
def test_the_page_says_which_depth_to_read(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "probing.md"
    page.write_text("# Probing\n\n## References\n")
    write_page(page, results())
    text = page.read_text()
    assert "drawn by a fixed seed" in text
    assert (
        "| part of speech | Chinese | `ud_chinese_gsd` | 2.00 | depth 2 (70%), 1 | – "
        "| depth 0 (–), 0 | depth 1 |"
    ) in text
    assert "| sentiment | English | `sst2`\\* |" in text
    assert (
        "- part of speech: English: read depth 1 (linear 68%, at most 70%). Chinese: read" in text
    )
    assert "| part of speech | 0.50 (25%) | **1.35 (68%)** | **1.40 (70%)** | 1.20 (60%) |" in text
    assert "| sentiment | English | -0.01, 0.90, 0.70, 1.40 | – |" in text
    for language in ("en", "zh"):
        assert (tmp_path / "probing" / f"probing-{language}.png").stat().st_size < 120_000
        assert f"](probing/probing-{language}.png)" in text
    write_page(page, results())
    assert page.read_text() == text


def test_a_record_is_read_back_and_refused_where_it_cannot_be(tmp_path: Path) -> None:
    found, path = results(), tmp_path / "probing.json.gz"
    write_record(path, found)
    known = read_record(path, results())
    assert known.results.keys() == found.results.keys()
    for name, one in known.results.items():
        fits = found.results[name].fits
        assert [fit.bits for fit in one.fits] == pytest.approx([fit.bits for fit in fits])
        assert one.conclusions[0].enough.depth == 1
    before = path.read_bytes()
    write_record(path, known)
    assert path.read_bytes() == before
    other = results(max_rows=(10, 10)).model_copy(update={"results": {}})
    assert read_record(path, other) == other
    assert read_record(tmp_path / "absent.json", other) == other
    path.write_text('{"results": {"x": {}}}')
    with pytest.raises(UsageError, match="remove it to measure anew"):
        read_record(path, other)


@pytest.mark.slow
def test_the_command_probes_sets_once(
    tmp_path: Path, tiny_backbone_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    data, out = tmp_path / "data", tmp_path / "docs" / "probing.md"
    for name in ("train", "validation"):
        file = data / "ud_english_ewt" / f"{name}.jsonl.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(file, "wt") as lines:
            lines.writelines(f"{json.dumps(row)}\n" for row in TREES)
    shard = tmp_path / "corpus" / "en" / "part.txt.xz"
    shard.parent.mkdir(parents=True)
    with lzma.open(shard, "wt") as text:
        for n in range(9_000):
            text.write(f"The first of {n} was long ago. The second of {n} came later.\n\n")
    words = [data, "--probing", "--only", "ud_english_ewt", probing.ORDER, "--max-rows", 12]
    words += ["--backbone", tiny_backbone_folder, "--corpus", tmp_path / "corpus", "--out", out]
    monkeypatch.setattr(
        probing, "PROBED_SETS", (*probing.PROBED_SETS[::2][:3], probing.PROBED_SETS[-2])
    )
    monkeypatch.setattr(sys, "argv", ["quality", *map(str, words)])
    linear = {"probes": ("linear",), "epochs": 1, "depths": (0, 4)}
    monkeypatch.setattr(probing, "_runs", lambda depths: (linear,))
    main()
    text = out.read_text()
    assert "| relation to the head | English | `ud_english_ewt` |" in text
    assert "| sentence order | English | corpus |" in text
    record = out.with_suffix(".json.gz").read_bytes()
    main()
    assert out.with_suffix(".json.gz").read_bytes() == record
    assert out.read_text() == text


def test_rows_that_the_backbone_was_tuned_on_train_no_probe() -> None:
    one, folder = probing.PROBED_SETS[0], Path("data")
    validation = folder / one.name / "validation.jsonl.gz"
    assert probing._rows(one, folder, None, is_tuned=True) == (
        validation,
        {"what": "tag", "target": "upos"},
    )
    rows, options = probing._rows(one, folder, None, is_tuned=False)
    assert (rows, options["validation"]) == (folder / one.name / "train.jsonl.gz", validation)


def test_a_set_that_is_not_probed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No probe is made of 'sst'"):
        probe_sets(
            tmp_path,
            corpus=None,
            backbone="package:small-bilingual",
            only=["sst"],
            max_rows=(9, 9),
            record=tmp_path / "record.json",
        )
