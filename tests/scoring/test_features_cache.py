"""The features cache: a task that is added later needs no pass, and no wrong file is used."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from adapterhub import Hub
from adapterhub.decoding import BEST
from adapterhub.errors import DataError
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.execution.known_answers import make_known_answers
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.pipeline import windows
from adapterhub.scoring.pipeline.chunks import Request, RowStages, ScoredChunk
from adapterhub.scoring.pipeline.features_cache import FeaturesCache
from adapterhub.scoring.pipeline.stages import RowWindow, score_windows
from adapterhub.store.headfile import write_head

TEXTS = ["the film was good", "a bad day", "中国的天气很好", "", "she was late " * 30, "he"]
FIRST = ("sentiment", "topics", "rating", "entails")


def rows(column: str, texts: Sequence[str] = TEXTS) -> list[SourceRow]:
    return [
        SourceRow(place, {column: text, "other": text[::-1]})
        for place, text in enumerate(texts, start=1)
    ]


def scored(
    hub: Hub, folder: Path | None, *names: str, column: str = "text", texts: Sequence[str] = TEXTS
) -> list[ScoredChunk]:
    fields = {
        name: dict(zip(hub.spec(name).fields, (column, "other"), strict=False)) for name in names
    }
    request = Request({n: f"p.{n}" for n in names}, {n: n for n in names}, (), fields, BEST)
    stages = RowStages.open(hub, request)
    cache = None if folder is None else FeaturesCache.open(folder, stages.call)
    windows = [
        RowWindow(rows(column, texts)[part], features=cache and cache.window())
        for part in (slice(3), slice(3, None))
    ]
    return list(score_windows(stages, windows))


def predictions(chunks: list[ScoredChunk]) -> list[list[object]]:
    return [
        [value for name, value in row.items() if name.startswith("p.")]
        for chunk in chunks
        for row in chunk.rows
    ]


def used(chunks: list[ScoredChunk]) -> tuple[set[str], set[str]]:
    replayed = {name for chunk in chunks for name in chunk.replayed}
    return replayed, {name for chunk in chunks for name in chunk.encoded}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "features"


@pytest.mark.slow
def test_later_tasks_need_no_pass(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {name: scored(hub, None, name) for name in (*FIRST, "entities")}
    first = scored(hub, folder, *FIRST)
    assert used(first) == (set(), set(FIRST))
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "embed", None)
        patch.setattr(Encoder, "run", None)
        for name in FIRST:
            again = scored(hub, folder, name)
            assert used(again) == ({name}, set())
            assert predictions(again) == predictions(plain[name])
            assert [len(chunk.bad) for chunk in again] == [0, 1]
            assert [chunk.truncated for chunk in again] == [c.truncated for c in plain[name]]
        # The same texts in a column of another name.
        assert used(scored(hub, folder, "rating", column="review")) == ({"rating"}, set())
    # A task on tokens runs its own passes, beside one that does not.
    both = scored(hub, folder, "rating", "entities")
    assert used(both) == ({"rating"}, {"entities"})
    found = [[row["p.entities.entities"]] for chunk in both for row in chunk.rows]
    assert found == predictions(plain["entities"])


@pytest.mark.slow
def test_other_texts_windows_and_dtypes_are_not_taken_for_these(hub: Hub, folder: Path) -> None:
    scored(hub, folder, "sentiment")
    assert used(scored(hub, folder, "sentiment"))[1] == set()
    assert used(scored(hub, folder, "topics"))[0] == set(), "another tap"
    assert used(scored(hub, folder, "sentiment", texts=[*TEXTS[:-1], "she"]))[1] == {"sentiment"}
    for options in ({"max_windows": 1}, {"dtype": "bfloat16"}):
        other = Hub(hub.registry_path, device="cpu", **options)  # type: ignore[arg-type]
        assert used(scored(other, folder, "sentiment"))[0] == set()


@pytest.mark.parametrize("damage", ["a bit", "the end", "all"])
def test_a_damaged_file_is_named_and_computed_anew(
    hub: Hub, folder: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = predictions(scored(hub, folder, "sentiment"))
    paths = sorted(folder.glob("*/*.safetensors"))
    assert len(paths) == 2
    data = bytearray(paths[0].read_bytes())
    if damage == "a bit":
        data[-9] ^= 1
    paths[0].write_bytes({"a bit": data, "the end": data[:-8], "all": b""}[damage])
    with caplog.at_level(logging.WARNING):
        again = scored(hub, folder, "sentiment")
    assert predictions(again) == expected
    assert used(again) == ({"sentiment"}, {"sentiment"})
    assert f"{paths[0]} is damaged" in caplog.text
    assert used(scored(hub, folder, "sentiment")) == ({"sentiment"}, set())


def test_a_foreign_folder_is_refused(hub: Hub, folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="it holds other files; name a new or empty folder"):
        scored(hub, folder, "sentiment")
    (folder / "about.json").write_text('{"format": "adapterhub features", "format_version": 2}')
    with pytest.raises(DataError, match="no features cache of this version"):
        scored(hub, folder, "sentiment")
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "thesis.txt"]
    with pytest.raises(DataError, match="it is a file; name a folder for the features cache"):
        scored(hub, folder / "thesis.txt", "sentiment")


@pytest.mark.slow
@pytest.mark.parametrize("out", ["out", "out.jsonl"])
def test_a_task_that_is_added_to_a_job_fills_its_columns_without_a_pass(
    hub: Hub, tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that lacks the column of another task is in the batches all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(windows, "WINDOW_ROWS", 3)
    given: list[object] = [{"text": text, "text_pair": "it is late"} for text in TEXTS]
    given[1] = {"text": "no pair"}
    Path("in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*given, *given]))
    options = {"on_error": "skip", "part_rows": 4, "features_cache": "features"}
    spec = hub.spec("sentiment")
    tensors = {"head.weight": torch.ones(2, 32), "head.bias": torch.zeros(2)}
    encoder, tokenizer = hub.encoder, hub.tokenizer
    known = make_known_answers(spec, tensors, [("a day",)], encoder=encoder, tokenizer=tokenizer)
    late = spec.model_copy(update={"task": "late", "known_answers": known})
    write_head(Path("late.safetensors"), late, tensors)
    everything = ["sentiment", "entails", "./late.safetensors"]
    whole = hub.score_file(
        "in.jsonl", f"whole-{out}", tasks=everything, options={**options, "features_cache": None}
    )
    first = hub.score_file("in.jsonl", out, tasks=everything[:2], options=options)
    assert (whole.from_cache, first.from_cache, first.bad) == ((), (), 4)
    hub.load("./late.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "embed", None)
        patch.setattr(Encoder, "run", None)
        if out == "out":
            done = hub.score_file("in.jsonl", out, tasks=["./late.safetensors"], options=options)
        else:
            again = {**options, "force": True}
            done = hub.score_file("in.jsonl", out, tasks=everything, options=again)
    assert "late" in done.from_cache
    assert (done.passes, done.new_rows) == (0, 12)
    if out == "out":
        assert json.loads(Path("out/_SUCCESS").read_text())["plan"]["passes"] == 0
        names = [path.name for path in Path("out").glob("part-*")]
        assert len(names) == 3
        for name in names:
            assert pq.read_table(f"out/{name}").equals(pq.read_table(f"whole-out/{name}"))
    else:
        assert Path(out).read_bytes() == Path(f"whole-{out}").read_bytes()
