"""Probes, their comparison and the pictures, on made-up sets that words or order decide."""

from __future__ import annotations

import gzip
import json
import random

import pytest
from transformers import AlbertModel, AlbertTokenizer

from recipes.backbone import steering
from recipes.backbone.curves import draw_depths, draw_training, draw_tuning
from recipes.backbone.probes import SteeringSet, probe_depths, probe_words, read_probe_rows
from recipes.backbone.shards import read_manifest
from recipes.backbone.steering import (
    Contender,
    SetResult,
    Steering,
    best_table,
    compare,
    depth_table,
    read_steering,
)
from recipes.backbone.train import make_config

PLACES, TIMES = ("river", "town", "bridge"), ("while", "under", "through")


def topic_row(chance):
    label = chance.choice(("place", "time"))
    words = PLACES if label == "place" else TIMES
    return {
        "text": f"the {chance.choice(words)} people watch {chance.choice(words)}",
        "label": label,
    }


def pair_row(chance):
    one, two = (chance.choice(PLACES) for _ in range(2))
    return {"text": f"the {one}", "text_pair": f"a {two}", "label": str(one == two)}


def tag_row(chance):
    tokens = [chance.choice(PLACES + TIMES) for _ in range(6)]
    return {"tokens": tokens, "upos": ["N" if token in PLACES else "X" for token in tokens]}


SETS = {"topics": topic_row, "pairs": pair_row, "tags": tag_row}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe-data")
    for name, make in SETS.items():
        (folder / name).mkdir()
        chance = random.Random(1)
        for split, count in (("train", 120), ("validation", 60)):
            with gzip.open(folder / name / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
                file.writelines(json.dumps(make(chance)) + "\n" for _ in range(count))
    return folder


@pytest.fixture(scope="module")
def contender(shards, tokenizer_folder):
    config = make_config(
        vocab_size=read_manifest(shards).vocab_size, hidden_size=32, depth=2, head_size=16
    )
    return Contender(AlbertModel(config).eval(), AlbertTokenizer.from_pretrained(tokenizer_folder))


@pytest.mark.parametrize("name", ["topics", "tags"])
@pytest.mark.slow
def test_what_words_decide_is_found_by_both(data, contender, name):
    rows = read_probe_rows(data, SteeringSet(name, "en", "topic"), train=120, validation=60)
    assert probe_words(rows) > 0.95
    depths = probe_depths(rows, contender.model, contender.tokenizer)
    assert len(depths) == 3
    assert max(depths) > 0.9


def test_a_pair_is_compared_by_its_words(data):
    rows = read_probe_rows(data, SteeringSet("pairs", "en", "topic"), train=120, validation=60)
    assert probe_words(rows) > 0.9


def test_surface_is_the_quarter_of_the_length(data):
    rows = read_probe_rows(data, SteeringSet("topics", "en", "surface"), train=100, validation=50)
    assert {row["label"] for row in rows.train} <= set("0123")
    by_label = sorted((row["label"], len(row["text"])) for row in (*rows.train, *rows.validation))
    assert [length for _, length in by_label] == sorted(length for _, length in by_label)
    assert by_label[-1][0] > by_label[0][0]


def test_fewer_rows_can_be_asked_for(data):
    rows = read_probe_rows(data, SteeringSet("topics", "en", "topic"), train=7, validation=3)
    assert (len(rows.train), len(rows.validation)) == (7, 3)


@pytest.mark.slow
def test_a_comparison_is_written_read_and_shown(data, contender, tmp_path, monkeypatch):
    sets = (SteeringSet("topics", "en", "topic"), SteeringSet("tags", "en", "syntax"))
    monkeypatch.setattr(steering, "STEERING_SETS", sets)
    monkeypatch.setattr(steering, "SURFACE_SETS", (SteeringSet("topics", "en", "surface"),))
    found = compare(data, {"this": contender}, train=60, validation=30)
    found.save(tmp_path / "steering.json")
    assert read_steering(tmp_path / "steering.json") == found
    table = best_table(found).splitlines()
    assert len(table) == 5
    assert table[4].startswith("| topics, length | en | surface |")
    assert table[2].startswith("| topics | en | topic |")
    assert depth_table(found, "this").splitlines()[2].startswith("| topic |")


def test_the_best_depth_of_what_is_asked_is_bold():
    found = Steering(
        [
            SetResult("one", "en", "pair", 0.5, {"this": [0.1, 0.9]}),
            SetResult("two", "zh", "pair", 0.5, {"this": [0.3, 0.5]}),
        ]
    )
    assert depth_table(found, "this").splitlines()[2] == "| pair | 20.0% | **70.0%** |"
    assert "90.0% (depth 1)" in best_table(found)


@pytest.mark.slow
def test_the_pictures_are_drawn(tmp_path):
    train, tuned = tmp_path / "train.jsonl", tmp_path / "tune.jsonl"
    train.write_text(
        "".join(
            json.dumps({"tokens": n * 1e6, "mlm_loss": 7.0 - n, "sop_loss": 0.7}) + "\n"
            for n in range(3)
        )
    )
    tuned.write_text(
        "".join(
            json.dumps({"tokens": n * 1e6, "sets": {"topics": [1.0, 0.5], "corpus": [0.7, 0.1]}})
            + "\n"
            for n in range(12)
        )
    )
    names = [f"set {n}" for n in range(10)]
    found = Steering([SetResult(n, "en", "pair", 0.5, {"this": [0.1, 0.9]}) for n in names])
    draw_training(train, tmp_path / "out/training.png")
    draw_tuning(tuned, {"topics": "labels"}, tmp_path / "out/tuning.png")
    draw_depths(found, tmp_path / "out/depths.png")
    for name in ("training", "tuning", "depths"):
        assert (tmp_path / f"out/{name}.png").read_bytes().startswith(b"\x89PNG")
