"""A call in stages: as `Hub.score`, watched, and computed again from kept features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterhub import Hub
from adapterhub.errors import UnknownTaskError, UsageError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.execution.passes import TapFeatures
from adapterhub.model.execution.stages import ResidentCall
from adapterhub.plan import Reading, TapName, Trunk
from adapterhub.results import Scores
from adapterhub.specs import HeadSpec
from adapterhub.store.headfile import write_head
from tests.adapters import adapter_task, config_of, make_adapter
from tests.builders import head_tensors
from tests.tiny import tiny_task

PAIR = ("text", "text_pair")
LONG = "she was early, he was late! the food: very good " * 12
TEXTS = ("the film was good", "a bad day, it is late", "中国的天气很好", "he", LONG, "a good day")
ROWS: list[Any] = [
    {"text": text, "text_pair": other}
    for text, other in zip(TEXTS * 8, TEXTS[1:] * 8 + TEXTS[:1] * 8, strict=False)
]
ROWS.insert(3, {"text": "", "text_pair": "a"})
TASKS: dict[str, dict[str, Any]] = {
    "line": {"depths": (2,)},
    "wide": {"depths": (3,), "pooling": "cls", "hidden_width": 8},
    "mix": {"kind": "regression", "depths": (0, 2, 3), "pooling": "max"},
    "grams": {"head": HeadSpec(depths=(2,), pooling="mean", ngrams=40)},
    "together": {"fields": PAIR, "depths": (4,)},
    "apart": {"fields": PAIR, "apart": True, "depths": (1, 3)},
    "tags": {"kind": "tagging", "depths": (2,)},
    "asks": {"depths": (2,), "pooling": "attentive"},
}
OWN_PASSES = ("tags", "asks", "adapted")


class Taken(dict[tuple[Reading, TapName], TapFeatures]):
    """Features as `keep` receives them and `find` returns them."""

    def keep(self, reading: Reading, tap: TapName, features: TapFeatures) -> None:
        assert (reading, tap) not in self
        self[reading, tap] = features

    def find(self, trunk: Trunk, _: object) -> dict[TapName, TapFeatures]:
        return {tap: found for (own, tap), found in self.items() if own == trunk.reading}


@pytest.fixture
def names(tiny_registry: Path, tmp_path: Path) -> dict[str, str]:
    """Returns head files of every kind, by the names in TASKS."""
    backbone = open_backbone(tiny_registry.parent / "backbone")
    found = {}
    for seed, (name, changes) in enumerate(TASKS.items()):
        settings = {"kind": "single_label", "max_length": 24, "overlap": 4, **changes}
        spec = tiny_task(backbone, task=name, **settings)
        tensors = head_tensors(spec, seed)
        if name == "grams":
            tensors["ngrams.keys"] = torch.arange(1, 41)
        found[name] = str(tmp_path / f"{name}.safetensors")
        write_head(Path(found[name]), spec, tensors)
    _, adapter = make_adapter(backbone, config_of("Lora", (2, 3), r=2))
    spec, tensors = adapter_task(backbone, adapter, task="adapted", max_length=24, overlap=4)
    found["adapted"] = str(tmp_path / "adapted.safetensors")
    write_head(Path(found["adapted"]), spec, tensors)
    return found


def assert_equal(one: Scores, other: Scores) -> None:
    assert list(one) == list(other)
    assert one.errors == other.errors
    for name in one:
        assert one[name].answers == other[name].answers, name
        assert one[name].windows == other[name].windows, name
        assert one[name].truncated == other[name].truncated, name


def staged(call: ResidentCall, rows: Sequence[object], taken: Taken | None = None) -> Scores:
    computed = call.compute(call.prepare(rows), keep=None if taken is None else taken.keep)
    return call.decode(computed)


@pytest.mark.slow
def test_stages_are_the_call_and_kept_features_are_as_good(
    hub: Hub, names: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several batches.
    monkeypatch.setattr(hub.encoder, "batch_tokens", 100)
    own = {name: path for name, path in names.items() if name not in OWN_PASSES}
    everything, call = hub.open_call(list(names.values())), hub.open_call(list(own.values()))
    expected = hub.score(ROWS, list(names.values()), on_error="skip")
    taken = Taken()
    assert_equal(staged(everything, ROWS, taken), expected)
    # (0, 2, 3) max, 2 mean, 3 cls; 4 mean of pairs; 1 and 3 mean of each text
    assert len(taken) == 5 + 1 + 2
    assert all(len(found.sizes) > 2 for found in taken.values())
    passes: list[int] = []
    run = Encoder.run

    def counting(self: Encoder, *args: Any) -> torch.Tensor:
        passes.append(1)
        return run(self, *args)

    monkeypatch.setattr(Encoder, "run", counting)
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "embed", None)  # nothing of the encoder is called
        prepared = call.prepare(ROWS, find=taken.find)
        assert prepared.replayed == frozenset(own.values())
        assert prepared.tokens == 0
        with ThreadPoolExecutor(3) as threads:
            replayed = list(threads.map(lambda _: call.decode(call.compute(prepared)), range(3)))
    assert passes == []
    for found in replayed:
        for path in own.values():
            assert found[path].answers == expected[path].answers, path
            assert found[path].windows == expected[path].windows
            assert found[path].truncated == expected[path].truncated
    assert [error.row for error in found.errors] == [3, 3, 3]
    # Beside tasks that need passes, on the same trunk.
    partly = everything.prepare(ROWS, find=taken.find)
    assert partly.replayed == frozenset(own.values())
    assert_equal(everything.decode(everything.compute(partly)), expected)
    assert passes


@pytest.mark.slow
def test_a_tap_that_is_not_kept_needs_its_passes(hub: Hub, names: Mapping[str, str]) -> None:
    line, wide = names["line"], names["wide"]
    taken, more = Taken(), Taken()
    expected = staged(hub.open_call([line, wide]), TEXTS)
    staged(hub.open_call(line), TEXTS, taken)
    both = hub.open_call([line, wide])
    prepared = both.prepare(TEXTS, find=taken.find)
    assert (prepared.replayed, prepared.encoded) == ({line}, {wide})
    assert_equal(both.decode(both.compute(prepared, keep=more.keep)), expected)
    assert [tap for _, tap in more] == [(3, "cls")]


@pytest.mark.slow
def test_rows_are_watched_and_can_be_stopped(hub: Hub, names: Mapping[str, str]) -> None:
    call = hub.open_call([names["line"], names["together"], names["adapted"]])
    prepared = call.prepare(ROWS)
    watched: list[tuple[int, int]] = []
    call.compute(prepared, watch=lambda rows, tokens: watched.append((rows, tokens)))
    assert sum(rows for rows, _ in watched) == len(ROWS)
    assert min(rows for rows, _ in watched) >= 0
    assert sum(tokens for _, tokens in watched) == prepared.tokens

    def stop(rows: int, tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call.compute(prepared, watch=stop)
    watched.clear()
    call.compute(call.prepare([""]), watch=lambda rows, tokens: watched.append((rows, tokens)))
    assert watched == [(1, 0)]


def test_columns_of_other_names(hub: Hub) -> None:
    fields = {"sentiment": {"text": "title"}, "entails": {"text": "title", "text_pair": "body"}}
    call = hub.open_call(["sentiment", "entails", "rating"], fields=fields)
    rows = [{"title": a, "body": b, "text": "x"} for a, b in pairwise(TEXTS)]
    found = staged(call, rows)
    assert found["sentiment"].answers == hub.score(TEXTS[:-1], "sentiment")["sentiment"].answers
    assert [trunk.reading.fields for trunk in call.plan.trunks] == [
        ("title",),
        ("title", "body"),
        ("text",),
    ]
    assert call.specs["sentiment"].fields == ("text",)
    assert call.made_by["sentiment"].version == 1
    same = {"sentiment": {"text": "body"}, "rating": {"text": "body"}}
    assert len(hub.open_call(["sentiment", "rating"], fields=same).plan.trunks) == 1
    with pytest.raises(UsageError, match="has no field 'txt'; it reads text"):
        hub.open_call("sentiment", fields={"sentiment": {"txt": "title"}})
    with pytest.raises(UnknownTaskError, match="stars"):
        hub.open_call("sentiment", fields={"stars": {"text": "title"}})


def test_a_call_keeps_its_versions(hub: Hub) -> None:
    call = hub.open_call("sentiment")
    expected = hub.score(TEXTS, "sentiment")
    hub.unload("sentiment")
    assert_equal(staged(call, TEXTS), expected)
    assert np.isfinite([answer["score"] for answer in expected["sentiment"].answers]).all()  # type: ignore[index, call-overload]
