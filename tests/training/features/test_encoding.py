from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub.errors import UsageError
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.text_features import encode_rows
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.plan import Reading, Tap
from adapterhub.specs import Pooling
from adapterhub.training.features import encoding as features_module
from adapterhub.training.features.encoding import (
    POOLED,
    FeatureSource,
    Layout,
    encode,
    read_features,
)

ONE = Reading(("text",), 16, 0)
PAIR = Reading(("text", "text_pair"), 24, 0)
LAYOUT = Layout("pooled", ONE, 4, (0, 1, 2, 3, 4))
TEXTS = [
    ("the film was good",),
    ("a bad day",),
    ("the city was early and late, " * 5,),
    ("中国的天气很好",),
    ("he",),
]


def _exact(
    source: FeatureSource, inputs: Sequence[tuple[str, ...]], layout: Layout, tap: Tap
) -> object:
    return encode_rows(
        inputs,
        tap=tap,
        reading=layout.reading,
        context=ExecutionContext(source.encoder, source.tokenizer, layout.max_windows),
    )


@pytest.mark.parametrize("pooling", POOLED)
@pytest.mark.parametrize("depth", [0, 1, 4])
def test_cached_features_are_those_of_scoring(
    source: FeatureSource, pooling: Pooling, depth: int
) -> None:
    pairs = [(one[0], two[0]) for one, two in zip(TEXTS, reversed(TEXTS), strict=True)]
    for inputs, reading in ((TEXTS, ONE), (pairs, PAIR)):
        layout = replace(LAYOUT, reading=reading)
        found = read_features(inputs, layout=layout, source=source).tap(depth, pooling)
        expected = _exact(source, inputs, layout, Tap(depth, pooling, ()))
        np.testing.assert_allclose(found.float().numpy(), expected, rtol=1e-3, atol=2e-3)


def test_words_are_the_tokens_that_tagging_reads(source: FeatureSource) -> None:
    layout = Layout("words", ONE, 4, (1, 3))
    features = read_features(TEXTS, layout=layout, source=source)
    states = _exact(source, TEXTS, layout, Tap(3, "tokens", ()))
    rows = source.tokenizer.rows(TEXTS, reading=ONE, max_windows=4)
    expected = []
    for (text,), row, own in zip(TEXTS, rows, states, strict=True):  # type: ignore[call-overload]
        words = words_of(TaggedText(text, row.offsets))
        expected.append(own[[word.token for word in words]])
    assert features.counts.tolist() == [len(row) for row in expected]
    found = features.tap(3, "tokens").float().numpy()
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-3, atol=2e-3)


def test_tokens_are_the_whole_first_window(source: FeatureSource) -> None:
    layout = Layout("tokens", ONE, 1, (2,))
    features = read_features(TEXTS, layout=layout, source=source)
    assert features.counts.max() == ONE.max_length
    states = torch.split(features.tap(2, "attentive").float(), features.counts.tolist())
    means = torch.stack([row.mean(0) for row in states])
    short = [0, 1, 3, 4]
    expected = _exact(source, TEXTS, layout, Tap(2, "mean", ()))
    np.testing.assert_allclose(means[short], expected[short], rtol=1e-3, atol=2e-3)  # type: ignore[index]


def _counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    encoded: list[tuple[str, ...]] = []

    def count(inputs, layout, source):  # type: ignore[no-untyped-def]
        encoded.extend(inputs)
        return encode(inputs, layout, source)

    monkeypatch.setattr(features_module, "encode", count)
    return encoded


def test_a_text_is_encoded_once(source: FeatureSource, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = _counted(monkeypatch)
    first = read_features([*TEXTS[:3], TEXTS[0]], layout=LAYOUT, source=source)
    assert sorted(encoded) == sorted(TEXTS[:3])
    again = read_features(list(reversed(TEXTS)), layout=LAYOUT, source=source)
    assert sorted(encoded) == sorted(TEXTS)
    one, other = first.tap(2, "max"), again.tap(2, "max")
    assert torch.equal(one[0], one[3])
    assert torch.equal(one[1], other[3])
    # Another window is another feature.
    read_features(TEXTS, layout=replace(LAYOUT, reading=Reading(("text",), 12, 0)), source=source)
    assert len(encoded) == 2 * len(TEXTS)


def test_a_stopped_run_goes_on_from_its_shards(
    source: FeatureSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "_SHARD_ROWS", 2)
    calls = 0

    def stop(inputs, layout, source):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return encode(inputs, layout, source)

    monkeypatch.setattr(features_module, "encode", stop)
    with pytest.raises(KeyboardInterrupt):
        read_features(TEXTS, layout=LAYOUT, source=source)
    files = [path for path in source.cache.rglob("*") if path.is_file()]
    assert [path.suffix for path in files] == [".safetensors"]
    encoded = _counted(monkeypatch)
    read_features(TEXTS, layout=LAYOUT, source=source)
    assert len(encoded) == len(TEXTS) - 2


def test_damaged_shards_are_encoded_again(
    source: FeatureSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = read_features(TEXTS, layout=LAYOUT, source=source).tap(4, "mean").clone()
    for path in source.cache.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])
    encoded = _counted(monkeypatch)
    assert torch.equal(read_features(TEXTS, layout=LAYOUT, source=source).tap(4, "mean"), good)
    assert len(encoded) == len(TEXTS)


def test_old_shards_are_dropped_over_the_limit(source: FeatureSource) -> None:
    small = replace(source, max_bytes=1)
    features = read_features(TEXTS, layout=LAYOUT, source=small)
    assert not list(source.cache.rglob("*.safetensors"))
    # Whoever has a dropped shard open keeps it.
    assert features.tap(1, "cls").shape == (len(TEXTS), source.encoder.hidden_size)


def test_a_cache_that_cannot_be_written_is_named(source: FeatureSource, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"feature cache .* cannot be written.*cache_dir"):
        read_features(TEXTS, layout=LAYOUT, source=replace(source, cache=tmp_path / "file"))
