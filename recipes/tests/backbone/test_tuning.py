"""Reading rows for tuning, drawing batches, and a tiny tuning run with a stop in between."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import AlbertTokenizer

from adapterhub.errors import DataError
from recipes.backbone import train as training
from recipes.backbone import tune as tuning
from recipes.backbone.batches import Batch
from recipes.backbone.checkpoints import load_weights, newest_checkpoint, read_progress
from recipes.backbone.record import read_record
from recipes.backbone.schedule import TrainOptions, TuneOptions
from recipes.backbone.shards import read_manifest
from recipes.backbone.tuning_batches import RowBuckets, held_rows, take_apart, take_rows
from recipes.backbone.tuning_model import TuningModel, pool_states, tap_depths
from recipes.backbone.tuning_sets import NO_TAG, join_words, make_set, read_sets

WORDS = ("river", "town", "boats", "bridge")
OPTIONS = TuneOptions(
    hours=1.0, steps=6, step_tokens=128, share_tokens=64, lengths=(64,), device="cpu", workers=1
)


def label_rows(count=60):
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(WORDS), count)
    others = ("old", "many", "people", "under", "while", "watch")
    return [
        {"text": f"{' '.join(rng.choice(others, 6))} the {WORDS[place]}", "label": WORDS[place]}
        for place in places
    ]


SETS = {
    "kinds": label_rows(),
    "many": [{"text": "boats watch people", "labels": ["a", "b"]}, {"text": "old", "labels": []}]
    * 20,
    "near": [
        {"text": "the old town", "text_pair": "a town", "score": 4.0},
        {"text": "people watch", "text_pair": "the bridge runs", "score": 1.0},
    ]
    * 20,
    "words": [{"tokens": ["the", "old", "town"], "upos": ["D", "A", "N"]}] * 30,
    "signs": [{"tokens": ["小", "河", "流"], "tags": ["B-x", "I-x", "O"]}] * 30,
    "asked": [{"question": "what runs?", "context": "the river runs", "answers": []}] * 30,
}


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    return AlbertTokenizer.from_pretrained(tokenizer_folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, rows in SETS.items():
        (folder / name).mkdir()
        with gzip.open(folder / name / "train.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return folder


@pytest.fixture(scope="module")
def sets(data, tokenizer):
    return read_sets(data, tokenizer, max_length=32)


@pytest.fixture(scope="module")
def start(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    config = training.make_config(
        vocab_size=read_manifest(shards).vocab_size, hidden_size=32, depth=3, head_size=16
    )
    options = TrainOptions(
        hours=1.0, steps=2, step_tokens=128, share_tokens=64, lengths=(64,), workers=1, device="cpu"
    )
    training.train(config, shards, folder, options)
    return folder / "final"


def named(sets, name):
    return next(rows for rows in sets if rows.name == name)


def test_the_form_of_a_row_tells_what_is_learned(sets):
    found = {rows.name: (rows.kind, rows.outputs) for rows in sets}
    assert found == {
        "kinds": ("labels", 4),
        "many": ("labels", 2),
        "near": ("number", 1),
        "words": ("tags", 3),
        "signs": ("tags", 3),
        "asked": ("text", 0),
    }


def test_targets_of_labels_are_shares_and_of_numbers_are_standardised(sets):
    many, near = named(sets, "many"), named(sets, "near")
    assert many.targets[:2].tolist() == [[0.5, 0.5], [0.0, 0.0]]
    assert near.targets.mean() == pytest.approx(0.0, abs=1e-6)
    assert near.targets.std() == pytest.approx(1.0)


def test_a_pair_has_two_segments_and_a_text_one(sets):
    near, kinds = named(sets, "near"), named(sets, "kinds")
    row = near.ids[near.starts[0] : near.starts[1]].tolist()
    assert row[near.seconds[0] - 1] == 3  # [SEP] ends the first segment
    assert row[-1] == 3
    assert (kinds.seconds == np.diff(kinds.starts)).all()


@pytest.mark.parametrize("name", ["words", "signs"])
def test_every_word_has_its_tag_on_the_piece_that_holds_its_start(sets, tokenizer, name):
    rows = named(sets, name)
    key = "tags" if name == "signs" else "upos"
    tags = rows.targets[: rows.starts[1]]
    places = np.flatnonzero(tags != NO_TAG)
    assert tags[places].tolist() == [
        sorted(set(SETS[name][0][key])).index(tag) for tag in SETS[name][0][key]
    ]
    for place, word in zip(places, SETS[name][0]["tokens"], strict=True):
        piece = tokenizer.convert_ids_to_tokens(int(rows.ids[place])).lstrip("▁")
        assert piece
        assert word.startswith(piece)


def test_words_are_joined_as_their_script_is_written():
    assert join_words(["小", "河"]) == ("小河", [0, 1])
    assert join_words(["old", "town"]) == ("old town", [0, 4])


def test_a_set_to_leave_out_must_be_there(data, tokenizer):
    assert "many" not in {
        s.name for s in read_sets(data, tokenizer, max_length=32, leave_out=["many"])
    }
    with pytest.raises(DataError, match="left out: nothing_such"):
        read_sets(data, tokenizer, max_length=32, leave_out=["nothing_such"])


def test_held_rows_are_never_drawn(tokenizer):
    rows = make_set("kinds", label_rows(400), tokenizer, 32)
    held = held_rows(rows)
    assert len(held) == 8
    encoded = [tuple(rows.ids[a:b].tolist()) for a, b in pairwise(rows.starts)]
    kept_back = {encoded[n] for n in held} - set(encoded[: held.start])
    assert len(kept_back) > 6
    buckets = RowBuckets(rows, seed=0)
    drawn = set()
    for number in range(200):
        batch = buckets.batch(number, tokens=256, vocab_size=64)
        for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
            drawn.add(tuple(ids[mask == 1].tolist()))
    assert len(drawn) > 300
    assert not drawn & kept_back


def test_a_batch_depends_on_its_number_alone(sets):
    rows = named(sets, "asked")
    one, two = (RowBuckets(rows, seed=3) for _ in range(2))
    two.batch(1, tokens=64, vocab_size=64)
    first, again = (buckets.batch(7, tokens=64, vocab_size=64) for buckets in (one, two))
    assert (first.input_ids == again.input_ids).all()
    assert (first.positions == again.positions).all()
    assert (one.batch(8, tokens=64, vocab_size=64).input_ids != first.input_ids).any()


def test_texts_read_apart_are_rows_of_their_own(sets, tokenizer):
    rows = named(sets, "near")
    batch = take_apart(rows, np.array([0, 1]))
    texts = tokenizer.batch_decode(
        [ids[mask == 1] for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True)]
    )
    given = [SETS["near"][place][key] for key in ("text", "text_pair") for place in (0, 1)]
    assert texts == tokenizer.batch_decode(tokenizer(given)["input_ids"])
    assert batch.token_type_ids.max() == 0
    assert batch.targets.tolist() == rows.targets[:2].tolist()


def test_pairs_are_drawn_in_both_readings_and_other_rows_are_not(sets):
    def drawn(name):
        buckets = RowBuckets(named(sets, name), seed=0)
        return {buckets.batch(n, tokens=64, vocab_size=64).apart for n in range(40)}

    assert drawn("near") == {True, False}
    assert [drawn(name) for name in ("kinds", "asked", "words")] == [{False}] * 3


@pytest.mark.slow
def test_a_head_learns_to_compare_texts_read_apart(start, sets):
    near = named(sets, "near")
    model = TuningModel(load_weights(start), [near])
    batch = take_apart(near, np.arange(len(near)))
    before = float(model.run(batch).loss.detach())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(20):
        optimizer.zero_grad()
        model.run(batch).loss.backward()
        optimizer.step()
    assert float(model.eval().run(batch).loss.detach()) < 0.3 * before


def test_poolings_ignore_padding():
    states = torch.arange(12.0).reshape(1, 1, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0]])
    cls, mean, most = pool_states(states, mask)[0, :, 0]
    assert cls.tolist() == [0, 1, 2]
    assert mean.tolist() == [1.5, 2.5, 3.5]
    assert most.tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("depth", "taps"), [(1, (1,)), (2, (1, 2)), (6, (2, 4, 6)), (12, (4, 8, 12))]
)
def test_heads_read_a_third_two_thirds_and_all_of_the_depth(depth, taps):
    assert tap_depths(depth) == taps


def test_an_untrained_head_loses_what_a_guess_loses(sets, start):
    model = TuningModel(load_weights(start), sets)
    rng = np.random.default_rng(0)
    for rows in sets:
        if rows.kind == "text":
            continue
        batch = take_rows(rows, np.arange(20), rng, vocab_size=model.config.vocab_size)
        expected = 0.5 if rows.name == "many" else 1.0  # half of its rows have no label
        assert float(model.run(batch).loss.detach()) == pytest.approx(expected, rel=1e-3)


def test_padding_does_not_change_what_is_learned(sets, start):
    model = TuningModel(load_weights(start), sets).eval()
    rows = named(sets, "near")
    torch.nn.init.normal_(model.weights["near"])
    batch = take_rows(rows, np.array([0, 1]), np.random.default_rng(0), vocab_size=64)
    wider = replace(
        batch,
        **{
            name: np.pad(getattr(batch, name), ((0, 0), (0, 5)))
            for name in ("input_ids", "token_type_ids", "attention_mask")
        },
    )
    torch.testing.assert_close(model.run(wider).loss, model.run(batch).loss)


def weights(folder):
    return dict(load_weights(folder).named_parameters())


@pytest.mark.slow
def test_tuning_learns_and_resumes_to_the_same_weights(start, sets, shards, tmp_path, monkeypatch):
    sources = tuning.Sources([named(sets, "kinds")], [], shards)
    options = replace(OPTIONS, steps=60, peak_rate=1e-2, corpus_share=0.1)
    assert tuning.tune(start, sources, tmp_path / "whole", options)
    lines = [json.loads(line) for line in (tmp_path / "whole/log.jsonl").read_text().splitlines()]
    assert lines[-1]["sets"]["kinds"][0] < 0.7 * lines[0]["sets"]["kinds"][0]
    assert lines[-1]["sets"]["kinds"][1] > 0.6

    record = read_record(tmp_path / "whole/final")
    assert record.sets == {"kinds": 60}
    assert record.start.step == 2
    assert read_record(start) is None
    held = json.loads((tmp_path / "whole/held.json").read_text())
    assert held["kinds"]["rows"] == len(held_rows(sources.sets[0]))

    share = tuning.run_share
    with monkeypatch.context() as patch:  # the schedule of the whole run, cut short
        patch.setattr(
            tuning, "run_share", lambda now, _: 1.0 if now.step >= 25 else share(now, options)
        )
        tuning.tune(start, sources, tmp_path / "cut", options)
    assert read_progress(newest_checkpoint(tmp_path / "cut/checkpoints")).step == 25
    assert tuning.tune(start, sources, tmp_path / "cut", options)
    resumed, whole = weights(tmp_path / "cut/final"), weights(tmp_path / "whole/final")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-4, msg=lambda text: text)


def test_a_step_mixes_the_kinds_of_sources(sets, shards):
    size = read_manifest(shards).vocab_size
    vectors = replace(named(sets, "kinds"), name="t-en", kind="vectors", head="t")
    sources = tuning.Sources(sets, [vectors], shards)
    draw = tuning.Draw(sources, OPTIONS, vocab_size=size)
    batches = [batch for step in range(100) for batch in draw.step(step)]
    corpus = sum(isinstance(batch, Batch) for batch in batches)
    teacher = sum(not isinstance(batch, Batch) and batch.name == "t-en" for batch in batches)
    assert 0.1 < corpus / len(batches) < 0.3
    assert 0.2 < teacher / len(batches) < 0.4


def test_rows_of_every_length_are_drawn_from_every_set(tokenizer, shards):
    words = " ".join(["river", "town", "boats"] * 8)
    rows = [{"text": text, "label": label} for text in ("the town", words) for label in "ab"] * 20
    sets = [replace(make_set("kinds", rows, tokenizer, 64), name=str(place)) for place in range(8)]
    draw = tuning.Draw(
        tuning.Sources(sets, [], shards), OPTIONS, vocab_size=read_manifest(shards).vocab_size
    )
    drawn = {
        (batch.name, batch.input_ids.shape[1] > 16)
        for step in range(200)
        for batch in draw.step(step)
        if not isinstance(batch, Batch)
    }
    assert drawn == {(rows.name, is_long) for rows in sets for is_long in (False, True)}
