"""States below an adapter: from disk as computed, within the bound, and computed once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from adapterhub.model.encoder.encoder import Encoder
from adapterhub.plan import Reading
from adapterhub.training.adapters.examples import Examples, make_batch, read_examples
from adapterhub.training.adapters.trunk import CachedTrunk, ComputedTrunk, TrunkLayout, open_trunk
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.shards import open_shards

TEXTS = [("good day",), ("a bad film late and early was the food",), ("she",), ("it is late",)]
READING = Reading(("text",), 8, 2)


@pytest.fixture
def examples(source: FeatureSource) -> Examples:
    return read_examples(
        TEXTS, kind="single_label", tokenizer=source.tokenizer, reading=READING, max_windows=3
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("float32", 0.0)])
def test_states_from_disk_are_those_of_the_encoder(
    source: FeatureSource,
    examples: Examples,
    monkeypatch: pytest.MonkeyPatch,
    dtype: str,
    tolerance: float,
) -> None:
    level = TrunkLayout(2, READING, 3, dtype)  # type: ignore[arg-type]
    opened = open_trunk((examples,), level, source)
    assert opened.note is None
    monkeypatch.setattr(Encoder, "run", None)  # From here on nothing may be computed.
    again = open_trunk((examples,), level, source)
    monkeypatch.undo()
    for rows in ([3, 1, 0], [2]):
        batch = make_batch(examples, rows, device=source.encoder.device)
        expected = ComputedTrunk(source.encoder, 2).read(examples, rows, batch)
        for found in (opened.trunk, again.trunk):
            assert isinstance(found, CachedTrunk)
            states = found.read(examples, rows, batch)
            assert states.dtype == torch.float32
            assert not states.is_inference()
            # Another batch has other sums, in the last digits.
            assert torch.allclose(states, expected, atol=max(tolerance, 1e-5))


def test_only_new_texts_are_computed(source: FeatureSource, examples: Examples) -> None:
    level = TrunkLayout(1, READING, 3, "float16")
    open_trunk((examples,), level, source)
    folder = source.folder / level.folder
    assert len(list(folder.iterdir())) == 1
    more = read_examples(
        [*TEXTS, ("early",)],
        kind="single_label",
        tokenizer=source.tokenizer,
        reading=READING,
        max_windows=3,
    )
    opened = open_trunk((more, examples), level, source)
    assert sorted(len(shard.keys) for shard in open_shards(folder)) == [1, 4]
    batch = make_batch(more, [4, 0], device=source.encoder.device)
    expected = ComputedTrunk(source.encoder, 1).read(more, [4, 0], batch)
    found = opened.trunk.read(more, [4, 0], batch)
    assert np.allclose(found.numpy(), expected.numpy(), atol=2e-3)


def test_what_does_not_fit_is_computed_again_and_said(
    source: FeatureSource, examples: Examples
) -> None:
    tokens = int(examples.tokens[-1])
    needed = tokens * source.encoder.hidden_size * 2
    level = TrunkLayout(2, READING, 3, "float16")
    fits = open_trunk((examples, examples), level, replace(source, max_bytes=needed))
    assert isinstance(fits.trunk, CachedTrunk)
    opened = open_trunk((examples,), level, replace(source, max_bytes=needed - 1))
    assert isinstance(opened.trunk, ComputedTrunk)
    assert opened.note is not None
    assert f"would take {needed} bytes, more than cache_max_bytes ({needed - 1})" in opened.note


def test_nothing_is_kept_at_depth_0(source: FeatureSource, examples: Examples) -> None:
    opened = open_trunk((examples,), TrunkLayout(0, READING, 3, "float16"), source)
    assert isinstance(opened.trunk, ComputedTrunk)
    assert opened.note is None
    assert not source.cache.exists()
