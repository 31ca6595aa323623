"""Texts that several layouts need are encoded once, and are the same for each of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adapterhub.plan import Reading
from adapterhub.training.features import encoding
from adapterhub.training.features.encode_ahead import encode_ahead
from adapterhub.training.features.encoding import FeatureSource, Layout, read_features

ONE = Reading(("text",), 16, 0)
POOLED = Layout("pooled", ONE, 4, (0, 1, 2, 3, 4))
WORDS = Layout("words", ONE, 4, (1, 3))
TEXTS = [(text,) for text in ("she is early", "the food was not very good", "film " * 40, "中国")]


@pytest.mark.slow
def test_one_run_serves_all_layouts(source: FeatureSource, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[set[str], set[str]]] = []
    encode = encoding.encode

    def counted(inputs, layouts, source):  # type: ignore[no-untyped-def]
        runs.append(({text for (text,) in inputs}, {one.content for one in layouts}))
        return encode(inputs, layouts, source)

    monkeypatch.setattr(encoding, "encode", counted)
    short = replace(POOLED, reading=replace(ONE, max_length=8))
    read_features(TEXTS[:1], layout=POOLED, source=source)
    wanted = {POOLED: TEXTS, WORDS: TEXTS[:3], short: TEXTS[:1]}
    encode_ahead(wanted, source)
    first, second, third, fourth = (text for (text,) in TEXTS)
    assert len(runs) == 5
    assert ({second, third}, {"pooled", "words"}) in runs
    assert ({first}, {"words"}) in runs
    assert ({fourth}, {"pooled"}) in runs
    runs.clear()
    encode_ahead(wanted, source)
    found = {one: read_features(texts, layout=one, source=source) for one, texts in wanted.items()}
    assert runs == []
    alone = replace(source, cache=source.cache / "alone")
    for layout, depth, pooling in ((POOLED, 2, "mean"), (POOLED, 0, "cls"), (WORDS, 3, "tokens")):
        expected = read_features(wanted[layout], layout=layout, source=alone)
        assert found[layout].counts.tolist() == expected.counts.tolist()
        np.testing.assert_allclose(
            found[layout].tap(depth, pooling),  # type: ignore[arg-type]
            expected.tap(depth, pooling),  # type: ignore[arg-type]
            rtol=1e-3,
            atol=2e-3,
        )
