"""Index: the nearest texts, saved and opened again, and refused where anything differs."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub import Hub, Index
from adapterhub.errors import (
    AdapterHubError,
    BackboneMismatchError,
    DataError,
    InputError,
    MissingExtraError,
    UsageError,
)
from adapterhub.retrieval import build, graph, saved
from tests.encoders import save_encoder
from tests.sentence_files import write_old, write_prompts
from tests.tiny import save_backbone

TEXTS = ["a good day", "a bad day", "the film was late", "他们在学校里学习", "a good day", "he"]
FAQ = [
    {"id": number, "text": text, "answer": {"to": text.upper()}}
    for number, text in enumerate(TEXTS)
]
needs_usearch = pytest.mark.skipif(not graph.is_installed(), reason="usearch: extra `nearest`")


def by_hand(hub: Hub, query: str, texts: list[str], **options: Any) -> list[int]:
    vectors = hub.encode(texts, normalize=True, **options)
    own = hub.encode(query, normalize=True, **options)
    return np.argsort(-(vectors @ own[0]).round(5), kind="stable").tolist()


def test_the_nearest_texts_come_first_with_their_records(encoding_hub: Hub) -> None:
    index = Index.build(encoding_hub, FAQ)
    assert len(index) == len(TEXTS)
    found = index.query(["a good day", "she was late"], top_k=3)
    assert len(found) == 2
    for query, own in zip(found.queries, found, strict=True):
        assert [hit.row for hit in own] == by_hand(encoding_hub, query, TEXTS)[:3]
        assert [hit.score for hit in own] == sorted((hit.score for hit in own), reverse=True)
    best, second = found[0][:2]
    assert (best.row, second.row) == (0, 4)  # equal texts in their order
    assert best.score == second.score == pytest.approx(1, abs=1e-6)
    assert (best.text, best.record) == ("a good day", {"id": 0, "answer": {"to": "A GOOD DAY"}})
    assert found.as_dicts()[0]["neighbours"][1] == second.as_dict()
    assert json.dumps(found.as_dicts())


def test_vectors_that_are_there_find_what_their_texts_find(encoding_hub: Hub) -> None:
    index = Index.build(encoding_hub, FAQ)
    texts = ["a good day", "she was late"]
    expected = index.query(texts, top_k=3)
    vectors = 5 * encoding_hub.encode(texts)  # of any length
    found = index.query_vectors(vectors.tolist(), top_k=3)
    assert found.rows == expected.rows
    for own, right in zip(found, expected, strict=True):
        assert [hit.score for hit in own] == pytest.approx([hit.score for hit in right], abs=1e-6)
    assert len(index.query_vectors(np.zeros((0, index.vectors.shape[1])))) == 0


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        ([[1.0, 2.0]], "the shape \\(1, 2\\)"),
        ([1.0] * 32, "the shape \\(32,\\)"),
        ([[0.0] * 32], "Vector 0 has no direction"),
        ([[1.0] * 32, [float("nan")] * 32], "Vector 1 has no direction"),
        (["a good day"], "no rows of numbers"),
        ([[1.0] * 32, [1.0]], "no rows of numbers"),
    ],
)
def test_other_vectors_are_refused(encoding_hub: Hub, vectors: object, problem: str) -> None:
    index = Index.build(encoding_hub, FAQ)
    assert index.vectors.shape[1] == 32
    with pytest.raises(InputError, match=problem):
        index.query_vectors(vectors)


def test_options_say_how_vectors_are_made(encoding_hub: Hub) -> None:
    options: dict[str, Any] = {"pooling": "cls", "depth": 2, "truncate_dim": 7}
    index = Index.build(encoding_hub, TEXTS, **options)
    assert index.vectors.shape == (len(TEXTS), 7)
    found = index.query("the city was late", 99)
    assert found.rows == [by_hand(encoding_hub, "the city was late", TEXTS, **options)]
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0, 0] = 1


def test_each_text_is_encoded_once(encoding_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "AHEAD_ROWS", 2)
    encoded: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(encoding_hub, name)

        def encode(self, texts: list[str], **options: Any) -> Any:
            encoded.extend(texts)
            return encoding_hub.encode(texts, **options)

    index = Index.build(Counting(), TEXTS)
    assert sorted(encoded) == sorted(set(TEXTS))
    np.testing.assert_allclose(index.vectors, encoding_hub.encode(TEXTS, normalize=True), atol=1e-6)


@pytest.mark.slow
def test_prompts_of_texts_and_queries(tmp_path: Path) -> None:
    folder = write_old(save_encoder(tmp_path / "bert", "bert"))
    write_prompts(folder, {"query": "he: ", "passage": "the city: "})
    hub = Hub(backbone=folder, device="cpu")
    texts = hub.encode(TEXTS, prompt="the city: ")
    query = hub.encode("a day", prompt="he: ")[0]
    index = Index.build(hub, TEXTS)
    np.testing.assert_allclose(index.vectors, texts, atol=1e-6)
    (own,) = index.query("a day", 1)
    assert own[0].score == pytest.approx(float((texts @ query).max()), abs=1e-5)
    plain = Index.build(hub, TEXTS, prompt="", query_prompt="a: ")
    np.testing.assert_allclose(plain.vectors, hub.encode(TEXTS), atol=1e-6)


def test_a_saved_index_finds_the_same(encoding_hub: Hub, tmp_path: Path) -> None:
    index = Index.build(encoding_hub, FAQ, keep_columns=["answer"])
    index.save(tmp_path / "faq")
    opened = Index.open(tmp_path / "faq", encoding_hub)
    assert np.array_equal(opened.vectors, index.vectors)
    for top_k in (1, 4):
        assert opened.query(TEXTS, top_k) == index.query(TEXTS, top_k)
    assert opened.query("he", 1)[0][0].record == {"answer": {"to": "HE"}}
    with pytest.raises(DataError, match="holds an index already"):
        index.save(tmp_path / "faq")
    Index.build(encoding_hub, TEXTS[:2]).save(tmp_path / "faq", force=True)
    assert len(Index.open(tmp_path / "faq", encoding_hub)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["faq"]


def test_an_index_is_made_once_and_refused_for_anything_else(
    encoding_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "index"
    first = Index.build(encoding_hub, FAQ, folder=place)
    with monkeypatch.context() as patched:
        patched.setattr(build, "encode_unit", lambda *_, **__: pytest.fail("encoded again"))
        again = Index.build(encoding_hub, FAQ, folder=place)
    assert np.array_equal(again.vectors, first.vectors)
    other = [*FAQ[:-1], {**FAQ[-1], "answer": "another"}]
    cases: list[tuple[object, dict[str, Any], str]] = [
        (TEXTS, {}, "texts (sha256) was"),
        (other, {}, "texts (sha256) was"),
        (FAQ, {"pooling": "cls"}, "pooling was None, is cls"),
        (FAQ, {"prompt": "a: "}, "prompt was None, is a: "),
    ]
    for texts, options, expected in cases:
        with pytest.raises(DataError) as refused:
            Index.build(encoding_hub, texts, folder=place, **options)
        assert expected in str(refused.value)
        assert "--force" in str(refused.value)
    replaced = Index.build(encoding_hub, FAQ, folder=place, pooling="cls", force=True)
    assert not np.allclose(replaced.vectors, first.vectors)
    assert Index.open(place, encoding_hub).record.vectors.pooling == "cls"


@pytest.mark.slow
def test_another_backbone_is_refused(encoding_hub: Hub, tmp_path: Path) -> None:
    Index.build(encoding_hub, TEXTS, folder=tmp_path / "index")
    other = Hub(backbone=save_backbone(tmp_path / "other", seed=1), device="cpu")
    with pytest.raises(BackboneMismatchError, match="was made with the backbone"):
        Index.open(tmp_path / "index", other)
    with pytest.raises(DataError, match="fingerprint was sha256:"):
        Index.build(other, TEXTS, folder=tmp_path / "index")
    coarse = Hub(backbone=tmp_path / "other", device="cpu", dtype="bfloat16")
    Index.build(other, TEXTS, folder=tmp_path / "index", force=True)
    with pytest.raises(DataError, match="dtype was float32, is bfloat16"):
        Index.build(coarse, TEXTS, folder=tmp_path / "index")
    assert len(Index.open(tmp_path / "index", coarse).query("he", 2)[0]) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def other_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def change(**values: object) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return apply


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "cut vectors": ("vectors.safetensors", cut, "not those that were written"),
    "a bit of the texts": ("texts.arrow", other_byte, "not those that were written"),
    "no vectors": ("vectors.safetensors", Path.unlink, "cannot be read"),
    "no record": ("index.json", Path.unlink, "it holds no index"),
    "half a record": ("index.json", cut, "it is damaged"),
    "a newer one": ("index.json", change(format=2), "newer adapterhub"),
    "another number": ("index.json", change(texts=5), "do not fit each other"),
    "no files": ("index.json", change(files={}), "it names the files none"),
    "a foreign file": (
        "index.json",
        change(files={"../x": {"sha256": "0" * 64, "bytes": 1}}),
        "it names the files ../x",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_index_is_refused(encoding_hub: Hub, tmp_path: Path, name: str) -> None:
    Index.build(encoding_hub, TEXTS, folder=tmp_path / "index")
    file, damage, expected = DAMAGE[name]
    damage(tmp_path / "index" / file)
    with pytest.raises(DataError) as refused:
        Index.open(tmp_path / "index", encoding_hub)
    assert expected in str(refused.value)


def test_a_save_that_fails_leaves_what_was_there(
    encoding_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "index"
    index = Index.build(encoding_hub, TEXTS, folder=place)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(saved, "_described", fail)
        with pytest.raises(DataError, match="No space left"):
            Index.build(encoding_hub, TEXTS[:1], folder=place, force=True)
    assert Index.open(place, encoding_hub).query("he", 9) == index.query("he", 9)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(DataError, match="it holds other files"):
            index.save(tmp_path / "own", force=force)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"it holds notes\.txt beside an index"):
        index.save(place, force=True)


BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no texts": ([], {}, "it has no texts"),
    "an empty one": (["a", " "], {}, "text 2: its column 'text' is empty"),
    "a number": ([{"text": 3}], {}, "of type int"),
    "another column": ([{"body": "a"}], {}, "there is no column 'text'; columns are body"),
    "a kept one": (FAQ, {"keep_columns": ["anser"]}, "Did you mean 'answer'?"),
    "only bad ones": ([" ", ""], {"on_error": "skip"}, "it has no texts"),
}


@pytest.mark.parametrize("name", BAD)
def test_texts_that_cannot_be_used_are_named(encoding_hub: Hub, name: str) -> None:
    texts, options, expected = BAD[name]
    with pytest.raises(DataError) as refused:
        Index.build(encoding_hub, texts, **options)
    assert expected in str(refused.value)


def test_bad_texts_are_skipped_and_the_others_keep_their_rows(encoding_hub: Hub) -> None:
    index = Index.build(encoding_hub, ["a bad day", "", "he"], on_error="skip")
    assert index.query("he", 9).rows[0][0] == 2
    assert len(index) == 2


def test_wrong_queries_and_options(encoding_hub: Hub) -> None:
    index = Index.build(encoding_hub, TEXTS)
    with pytest.raises(InputError) as refused:
        index.query(["he", ""])
    assert refused.value.row == 1
    for options in ({"top_k": 0}, {"min_score": 2}, {"topk": 3}, {"exact": "yes"}):
        with pytest.raises(UsageError):
            index.query("he", **options)
    with pytest.raises(UsageError, match="Did you mean 'pooling'"):
        Index.build(encoding_hub, TEXTS, poling="cls")
    assert index.query([], 3).rows == []
    assert index.query({"text": "he"}, 1).rows == [[5]]
    assert index.query("he", min_score=0.999).rows == [[5]]


def test_the_nearest_other_texts_of_each_text(encoding_hub: Hub) -> None:
    index = Index.build(encoding_hub, TEXTS)
    (found,) = index.neighbours(2)
    assert found.queries == tuple(TEXTS)
    assert [own[0].row for own in found][:5:4] == [4, 0]
    for row, own in enumerate(found):
        assert row not in [hit.row for hit in own]
        assert len(own) == 2


def test_hub_nearest_takes_texts_an_index_and_its_folder(encoding_hub: Hub, tmp_path: Path) -> None:
    index = Index.build(encoding_hub, TEXTS, folder=tmp_path / "index")
    expected = index.query("a day", 2)
    assert encoding_hub.nearest("a day", TEXTS, top_k=2) == expected
    assert encoding_hub.nearest("a day", index, top_k=2) == expected
    assert encoding_hub.nearest("a day", str(tmp_path / "index"), top_k=2) == expected
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    assert encoding_hub.nearest("a day", tmp_path / "texts.txt", top_k=2) == expected
    with pytest.raises(UsageError, match="pooling belong to making one"):
        encoding_hub.nearest("a day", index, pooling="cls")


@pytest.mark.slow
def test_threads_search_one_index(encoding_hub: Hub) -> None:
    index = Index.build(encoding_hub, TEXTS)
    expected = [index.query(text, 3) for text in TEXTS]
    found: list[object] = [None] * len(TEXTS)

    def search(number: int) -> None:
        found[number] = index.query(TEXTS[number], 3)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_without_the_extra_a_graph_is_refused_and_all_else_works(
    encoding_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "usearch", None)
    with pytest.raises(MissingExtraError, match=r"adapterhub\[nearest\]"):
        Index.build(encoding_hub, TEXTS, graph=True)
    monkeypatch.setattr(build, "GRAPH_TEXTS", 1)
    index = Index.build(encoding_hub, TEXTS)
    assert not index.has_graph
    assert index.query("he", 1).rows == [[5]]


@needs_usearch
def test_a_graph_finds_the_nearest_and_scores_them_as_exactly(
    encoding_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{a} {b} day {n}" for n in range(40) for a in ("a", "the") for b in ("good", "bad")]
    index = Index.build(encoding_hub, texts, graph=True, folder=tmp_path / "index")
    assert index.has_graph
    exact = index.query(texts[:20], 5, exact=True)
    assert index.query(texts[:20], 5) == exact
    opened = Index.open(tmp_path / "index", encoding_hub)
    assert opened.has_graph
    assert opened.query(texts[:20], 5) == exact
    monkeypatch.setitem(sys.modules, "usearch", None)
    without = Index.open(tmp_path / "index", encoding_hub)
    assert not without.has_graph
    assert without.query(texts[:20], 5) == exact
    (each,) = index.neighbours(3)
    assert [own[0].row == row for row, own in enumerate(each)] == [False] * len(texts)


@needs_usearch
def test_a_saved_index_gets_a_graph_without_encoding_and_is_searched_without(
    encoding_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "index"
    assert not Index.build(encoding_hub, TEXTS, graph=False, folder=place).has_graph
    monkeypatch.setattr(build, "encode_unit", lambda *_, **__: pytest.fail("encoded again"))
    assert Index.build(encoding_hub, TEXTS, graph=True, folder=place).has_graph
    assert Index.open(place, encoding_hub).has_graph
    assert not Index.build(encoding_hub, TEXTS, graph=False, folder=place).has_graph
    assert Index.open(place, encoding_hub).has_graph


@pytest.mark.parametrize("name", ["index.json", "texts.arrow", "vectors.safetensors"])
def test_force_makes_a_damaged_index_anew(encoding_hub: Hub, tmp_path: Path, name: str) -> None:
    place = tmp_path / "index"
    first = Index.build(encoding_hub, TEXTS, folder=place)
    (place / name).write_bytes((place / name).read_bytes()[:-9])
    with pytest.raises(DataError):
        Index.build(encoding_hub, TEXTS, folder=place)
    again = Index.build(encoding_hub, TEXTS, folder=place, force=True)
    assert np.array_equal(again.vectors, first.vectors)
    assert np.array_equal(Index.open(place, encoding_hub).vectors, first.vectors)


@needs_usearch
def test_a_graph_of_other_vectors_is_refused(encoding_hub: Hub, tmp_path: Path) -> None:
    Index.build(encoding_hub, TEXTS, graph=True, folder=tmp_path / "index")
    Index.build(encoding_hub, TEXTS[:2], graph=True, folder=tmp_path / "other")
    path = tmp_path / "index" / "graph.usearch"
    path.write_bytes((tmp_path / "other" / "graph.usearch").read_bytes())
    with pytest.raises(DataError, match="not those that were written"):
        Index.open(tmp_path / "index", encoding_hub)
    with pytest.raises(DataError, match="a graph of 2 vectors"):
        graph.Graph.open(path, texts=6, dimensions=32)


def test_errors_are_ours_for_wrong_folders(encoding_hub: Hub, tmp_path: Path) -> None:
    for wrong in (3, None, "a\0b", tmp_path / "absent"):
        with pytest.raises(AdapterHubError):
            Index.open(wrong, encoding_hub)  # type: ignore[arg-type]


def test_an_index_among_its_texts_is_refused(encoding_hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("he\n", encoding="utf-8")
    with pytest.raises(UsageError, match="would be read as a part of the texts"):
        Index.build(encoding_hub, tmp_path, folder=tmp_path / "index")
    assert len(Index.build(encoding_hub, tmp_path, folder=tmp_path / "_index")) == 1
    assert len(Index.build(encoding_hub, tmp_path, folder=tmp_path / "_index")) == 1
