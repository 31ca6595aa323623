"""A tiny run from start to exported folder, with a stop in between."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AlbertModel, AutoTokenizer

from adapterhub.errors import BackboneError, DataError
from recipes.backbone import train as training
from recipes.backbone.batches import Windows
from recipes.backbone.checkpoints import Progress, load_weights, newest_checkpoint, read_progress
from recipes.backbone.evaluate import evaluate, shuffle_context
from recipes.backbone.export import CardFacts, check_backbone, export_backbone, make_card
from recipes.backbone.record import TuningRecord
from recipes.backbone.schedule import (
    LATE_PROGRESS,
    TrainOptions,
    pick_length,
    rate_factor,
    run_share,
)
from recipes.backbone.shards import read_manifest

OPTIONS = TrainOptions(
    hours=1.0, steps=6, step_tokens=256, share_tokens=128, lengths=(64,), device="cpu", workers=1
)


@pytest.fixture(scope="module")
def config(shards):
    size = read_manifest(shards).vocab_size
    return training.make_config(vocab_size=size, hidden_size=32, depth=2, head_size=16)


@pytest.fixture(scope="module")
def run(config, shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert training.train(config, shards, folder, OPTIONS)
    return folder


def weights(folder):
    return dict(load_weights(folder).named_parameters())


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(config, shards, run, tmp_path, monkeypatch):
    # The schedule goes by steps of the whole run, so that the first part is the same run cut short.
    loop = training._run

    def short(model, optimizer, windows, progress, *, out, options):
        share = training.run_share
        monkeypatch.setattr(training, "run_share", lambda now, _: share(now, OPTIONS))
        loop(model, optimizer, windows, progress, out=out, options=replace(options, steps=3))
        monkeypatch.setattr(training, "run_share", share)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(training, "_run", short)
        assert not training.train(config, shards, tmp_path, OPTIONS)
    assert read_progress(newest_checkpoint(tmp_path / "checkpoints")).step == 3
    assert training.train(config, shards, tmp_path, OPTIONS)
    resumed, whole = weights(tmp_path / "final"), weights(run / "final")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=1e-4, msg=lambda text: text)
    assert read_progress(tmp_path / "final").batches == read_progress(run / "final").batches


@pytest.mark.slow
def test_the_run_learns_and_logs(config, shards, tmp_path):
    options = replace(OPTIONS, steps=40, peak_rate=3e-3)
    assert training.train(config, shards, tmp_path, options)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    assert lines[1]["mlm_loss"] < lines[0]["mlm_loss"]
    assert lines[1]["tokens"] == 40 * 256


def test_another_shape_does_not_resume(shards, run):
    size = read_manifest(shards).vocab_size
    other = training.make_config(vocab_size=size, hidden_size=48, depth=2, head_size=16)
    with pytest.raises(DataError, match="holds another model"):
        training.train(other, shards, run, OPTIONS)


def test_the_rate_ends_at_zero_by_time_or_by_steps():
    assert rate_factor(0.0, 0.1) == 0.0
    assert rate_factor(0.1, 0.1) == 1.0
    assert rate_factor(1.0, 0.1) == 0.0
    assert run_share(Progress(step=1, elapsed=1800.0), OPTIONS) == 0.5
    assert run_share(Progress(step=6), OPTIONS) == 1.0
    assert run_share(Progress(step=1, elapsed=7200.0), OPTIONS) == 1.0


def test_long_windows_come_more_often_late():
    options = TrainOptions(hours=1.0)
    early, late = (
        [pick_length(step, share, options) for step in range(300)].count(512)
        for share in (0.1, LATE_PROGRESS)
    )
    assert 5 < early < 40 < late


def test_shuffling_keeps_masks_and_words(shards):
    source = Windows(shards, "train", vocab_size=read_manifest(shards).vocab_size)
    batch = source.batch(0, size=8, length=64)
    mixed = shuffle_context(batch, seed=0)
    assert (np.sort(mixed.input_ids, axis=1) == np.sort(batch.input_ids, axis=1)).all()
    kept = mixed.input_ids.reshape(-1)[batch.positions]
    assert (kept == batch.input_ids.reshape(-1)[batch.positions]).all()
    assert (mixed.input_ids != batch.input_ids).any(1).all()


def test_the_exported_folder_gives_the_checkpoints_states(run, shards, tokenizer_folder, tmp_path):
    model = load_weights(run / "final")
    results = evaluate(model, shards, length=64, windows=4)
    facts = CardFacts(
        config=model.config,
        progress=read_progress(run / "final"),
        tuned=None,
        manifest=read_manifest(shards),
        evaluations=results,
        hardware="a test machine",
    )
    card = make_card(facts)
    export_backbone(run / "final", tokenizer_folder / "spiece.model", tmp_path, card=card)
    assert {result.language for result in results} == {"en", "zh"}
    assert "6 optimizer steps" in (tmp_path / "README.md").read_text()
    loaded = AlbertModel.from_pretrained(tmp_path, dtype=torch.float32)
    encoded = AutoTokenizer.from_pretrained(tmp_path)("the old town", return_tensors="pt")
    expected = model.albert(**encoded).last_hidden_state
    found = loaded(**encoded).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_the_card_of_a_tuned_model_names_both_runs_and_what_it_saw(config, shards):
    facts = CardFacts(
        config=config,
        progress=Progress(step=30, tokens=2_500_000, elapsed=1800.0),
        tuned=TuningRecord(Progress(1234, 5_000_000, 3600.0), {"kinds": 60}, {"some-en": 7000}),
        manifest=read_manifest(shards),
        evaluations=[],
        hardware="a test machine",
    )
    card = make_card(facts)
    assert "1,234 optimizer steps, 5.0 million tokens, 1.00 hours" in card
    assert "30 optimizer steps, 2.5 million tokens, 0.50 hours" in card
    assert "training rows of 1 public sets: kinds 60" in card
    assert "by encoder and language: some-en 7,000" in card


@pytest.mark.slow
def test_a_folder_with_other_weights_is_refused(run, tokenizer_folder, tmp_path):
    export_backbone(run / "final", tokenizer_folder / "spiece.model", tmp_path, card="x")
    other = load_weights(run / "final").albert
    with torch.no_grad():
        other.embeddings.word_embeddings.weight.normal_()
    with pytest.raises(BackboneError, match="hidden states differ"):
        check_backbone(tmp_path, other)
