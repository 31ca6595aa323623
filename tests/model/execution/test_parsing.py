"""A parsing task in calls: beside others, over windows, in half precision, and where it fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from adapterhub import Hub, ScoringOptions
from adapterhub.errors import NonFiniteError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.heads.heads import read_weights
from adapterhub.model.heads.parses import parse_units, parsed_words
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.store.headfile import write_head
from tests.builders import head_tensors
from tests.model.heads.test_trees import is_walked
from tests.tiny import tiny_task

TEXTS = [
    "the film was good",
    "!!! ... ?",
    "😀 is 👨‍👩‍👧 the 🇩🇪 city",
    "中国的 good 天气，很好。   ",
    "  not a bad day\n",
    "he",
    "she was late, very late! " * 12,
]
OTHERS = ["sentiment", "topics", "rating", "entities", "language"]


def trees_of(hub: Hub, texts: list[str], name: str = "trees") -> list[list[dict[str, Any]]]:
    return list(hub.score(texts, name)[name])  # type: ignore[arg-type]


def test_every_tree_is_of_the_words_of_its_text(hub: Hub) -> None:
    for text, words in zip(TEXTS, trees_of(hub, TEXTS), strict=True):
        assert words
        assert is_walked(np.array([word["head"] for word in words]))
        assert all(text[word["start"] : word["end"]] == word["word"] for word in words)
        assert all(word["word"].strip() == word["word"] for word in words)
        starts = [word["start"] for word in words]
        assert starts == sorted(set(starts))
        # No letter, digit or sign is lost.
        spaced = "".join(word["word"] for word in words).replace(" ", "")
        assert spaced == "".join(text.split())
        assert all(0 <= word["score"] <= 1 for word in words)


@pytest.mark.slow
def test_other_tasks_have_the_same_bits_beside_it(hub: Hub) -> None:
    alone = hub.score(TEXTS, OTHERS, logits=True)
    beside = hub.score(TEXTS, ["trees", *OTHERS], logits=True)
    hub.unload("trees")
    after = hub.score(TEXTS, OTHERS, logits=True)
    for name in OTHERS:
        for one in (beside, after):
            pairs = zip(alone[name].logits, one[name].logits, strict=True)  # type: ignore[arg-type]
            assert all(np.array_equal(a, b) for a, b in pairs)


def test_arcs_cross_windows(hub: Hub, tiny_registry: Path) -> None:
    """A text in several windows is one tree: the features of its tokens are merged before."""
    backbone = open_backbone(tiny_registry.parent / "backbone")
    spec = tiny_task(backbone, "parsing", task="long", depths=(2,), max_length=16)
    tensors = head_tensors(spec)
    path = str(tiny_registry.parent / "long.safetensors")
    write_head(Path(path), spec, tensors)
    text = TEXTS[-1]
    found = hub.score([text], path)[path]
    assert found.windows[0] > 3
    # The same from the features of tokens, which `encode` merges as well.
    (features,) = hub.encode([text], depth=2, pooling="tokens", max_length=16)
    weights = read_weights(spec, tensors, device=torch.device("cpu"))
    assert weights.biaffine is not None
    hidden = weights.forward(torch.from_numpy(features)).numpy()
    (row,) = hub.tokenizer.rows(
        [(text,)], reading=hub.explain(path).trunks[0].reading, max_windows=99, offsets=True
    )
    tagged = TaggedText(text, row.offsets)
    words = parsed_words(*parse_units(hidden, tagged, weights.biaffine), tagged, spec.labels)
    assert [(w["head"], w["relation"]) for w in found[0]] == [  # type: ignore[union-attr, index]
        (w["head"], w["relation"]) for w in words
    ]
    reach = [abs(w["head"] - place) for place, w in enumerate(words, start=1) if w["head"]]
    assert max(reach) > 16


def test_a_cut_text_is_parsed_as_far_as_it_was_read(tiny_registry: Path) -> None:
    hub = Hub(tiny_registry, device="cpu", max_windows=1)
    scores = hub.score(["she was late " * 60], "trees")["trees"]
    assert scores.truncated == (True,)
    (words,) = scores
    assert len(words) == 62  # type: ignore[arg-type]
    assert is_walked(np.array([word["head"] for word in words]))  # type: ignore[union-attr, index]


@pytest.mark.parametrize("tensor", ["head.arcs", "head.relations", "head.root"])
def test_a_score_that_is_no_number_is_named_with_its_row(
    hub: Hub, tiny_registry: Path, tensor: str
) -> None:
    spec = tiny_task(open_backbone(tiny_registry.parent / "backbone"), "parsing", task="wild")
    tensors = head_tensors(spec)
    tensors[tensor] = tensors[tensor] * 3e37
    tensors["head.hidden.weight"] *= 1e3
    path = tiny_registry.parent / "wild.safetensors"
    write_head(path, spec, tensors)
    with pytest.raises(NonFiniteError) as refused:
        hub.score([None, "good"], str(path), on_error="skip")  # type: ignore[list-item]
    assert refused.value.row == 1


@pytest.mark.slow
def test_files_of_all_formats_hold_the_words(hub: Hub, tmp_path: Path) -> None:
    expected = trees_of(hub, TEXTS)
    rows = [{"text": text} for text in TEXTS]
    for form in ("jsonl", "csv", "parquet"):
        out = tmp_path / f"out.{form}"
        hub.score_file(rows, out, tasks=["trees"], options=ScoringOptions(keep_columns=("text",)))
        if form == "csv":
            with out.open(encoding="utf-8", newline="") as file:
                found = [json.loads(row["trees.words"]) for row in csv.DictReader(file)]
        elif form == "jsonl":
            with out.open(encoding="utf-8") as lines:
                found = [json.loads(line)["trees.words"] for line in lines]
        else:
            found = pq.read_table(out)["trees.words"].to_pylist()
        assert found == expected


@pytest.mark.slow
def test_rows_with_tasks_of_their_own_and_streams_give_the_same_trees(hub: Hub) -> None:
    expected = trees_of(hub, TEXTS)
    rows = [(text, ("trees", "rating") if n % 2 else ("trees",)) for n, text in enumerate(TEXTS)]
    by_row = hub.score_rows(rows)["trees"]
    streamed = [row["trees"] for row in hub.stream(TEXTS, ["trees"])]
    for found in (by_row, streamed):
        for one, other in zip(found, expected, strict=True):
            assert [(w["word"], w["head"], w["relation"]) for w in one] == [
                (w["word"], w["head"], w["relation"]) for w in other
            ]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.slow
def test_it_loads_in_half_precision(tiny_registry: Path, dtype: str) -> None:
    hub = Hub(tiny_registry, device="cpu", dtype=dtype)
    for words in trees_of(hub, TEXTS):
        assert is_walked(np.array([word["head"] for word in words]))


def test_words_are_those_of_tagging(hub: Hub) -> None:
    """With no relation `_` in the labels every unit is a word."""
    backbone = open_backbone(hub.registry_path.parent / "backbone")
    spec = tiny_task(backbone, "parsing", task="plain", labels=("root", "dep"))
    path = hub.registry_path.parent / "plain.safetensors"
    write_head(path, spec, head_tensors(spec))
    for text, words in zip(TEXTS[:-1], trees_of(hub, TEXTS[:-1], str(path)), strict=True):
        reading = hub.explain(str(path)).trunks[0].reading
        (row,) = hub.tokenizer.rows([(text,)], reading=reading, max_windows=1, offsets=True)
        units = words_of(TaggedText(text, row.offsets))
        assert [(unit.start, unit.end) for unit in units] == [(w["start"], w["end"]) for w in words]
