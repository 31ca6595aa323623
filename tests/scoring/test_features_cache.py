"""The features cache: a task that is added later needs no pass, and no wrong file is used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapterhub import Hub
from adapterhub.errors import DataError
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.rows.source_row import SourceRow
from adapterhub.scoring.chunks import Request, RowStages, ScoredChunk
from adapterhub.scoring.features_cache import FeaturesCache
from adapterhub.scoring.pipeline import RowWindow, score_windows

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
    request = Request({n: f"p.{n}" for n in names}, {n: n for n in names}, (), fields, 1)
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
