from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from adapterhub.errors import DataError
from adapterhub.probing.attention_probes import AttentionProbe
from adapterhub.probing.fitting import fit_probes
from adapterhub.probing.item_batches import ItemBatches
from adapterhub.probing.items import NO_LABEL, ROOT, ProbeItems
from adapterhub.probing.probe_inputs import probe_inputs
from tests.probing.toys import KNOWN_TYPES, SETTINGS, WIDTH, fitted, toy


def of_its_sign(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    states = rng.choice([-1.0, 1.0], (words, WIDTH))
    return states, states[:, -1] > 0


def of_two_signs(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    states = rng.choice([-1.0, 1.0], (words, WIDTH))
    states[:, 0] = 2.0
    return states, states[:, -1] != states[:, -2]


def of_another_word(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    # One word of the text tells the label of all others; their own states do not.
    states = rng.normal(size=(words, WIDTH)) * (np.arange(WIDTH) < WIDTH - 2)
    states[:, 0] += 5.0
    label, place = rng.integers(0, 2), rng.integers(0, words)
    states[place, -2:] = 4, 8 * label - 4
    labels = np.full(words, label)
    labels[place] = rng.integers(0, 2)
    return states, labels


def of_its_type(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    types = rng.integers(0, WIDTH, words)
    return np.eye(WIDTH)[types], types % 2


def of_its_type_in_nine_of_ten(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    types = rng.integers(0, KNOWN_TYPES, words)
    return np.eye(WIDTH)[types], (types % 2) ^ (rng.random(words) < 0.1)


def with_named_heads(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    # The state of a word has its own name and the name of its head.
    heads = rng.integers(ROOT, words, words)
    names = rng.choice([-1.0, 1.0], (words + 1, WIDTH // 2))
    names[ROOT] = 0.0
    return np.concatenate([names[:-1], names[heads]], 1), heads


def with_the_next_as_head(rng: np.random.Generator, words: int) -> tuple[Any, Any]:
    return rng.normal(size=(words, WIDTH)), [*range(1, words), ROOT]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("draw", "probes", "knowing"),
    [
        # The attention probe finds such a label in the next test.
        (of_its_sign, ("linear", "mlp"), {"linear", "mlp"}),
        (of_two_signs, ("linear", "mlp", "attention"), {"mlp", "attention"}),
        (of_another_word, ("linear", "mlp", "attention"), {"attention"}),
    ],
)
def test_a_probe_finds_what_its_architecture_can_compute(
    draw: Any, probes: Any, knowing: set[str]
) -> None:
    for fit in fitted(draw, labels=2, probes=probes, epochs=8, attention_epochs=10):
        assert fit.entropy == pytest.approx(1.0, abs=0.05)
        if fit.probe in knowing:
            assert fit.bits > 0.6, fit.probe
            assert fit.accuracy > 0.85
        else:
            assert abs(fit.bits) < 0.05, fit.probe


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["linear", "mlp", "attention"])
def test_bits_are_those_of_the_best_predictor_where_it_is_known(probe: Any) -> None:
    (fit,) = fitted(of_its_type_in_nine_of_ten, labels=2, probes=(probe,), attention_epochs=4)
    best = 1 + 0.9 * math.log2(0.9) + 0.1 * math.log2(0.1)
    assert fit.standard_error is not None
    assert abs(fit.bits - best) < 3 * fit.standard_error
    assert fit.standard_error < 0.06
    assert fit.coefficient == pytest.approx(fit.bits / fit.entropy)


@pytest.mark.slow
def test_random_labels_are_known_of_types_that_were_seen_and_of_no_others() -> None:
    changes = {"control": True, "probes": ("linear",)}
    fits = {fit.target: fit for fit in fitted(of_its_type, labels=2, **changes)}
    assert abs(fits["control"].bits) < 0.05
    assert fits["memorised"].bits > 0.8
    share = fits["control"].items / fits["labels"].items
    assert share == pytest.approx(1 - KNOWN_TYPES / WIDTH, abs=0.05)


def test_random_labels_of_new_types_need_new_types_to_choose_by() -> None:
    items, states = toy(of_its_type)
    choosing = items["choosing"]
    items["choosing"] = replace(choosing, novel=np.zeros_like(choosing.novel))
    settings = replace(SETTINGS, control=True, probes=("linear",), epochs=1)
    fits = fit_probes(items, states, labels=2, settings=settings)
    assert {fit.target for fit in fits} == {"labels", "memorised"}


def test_labels_that_are_random_by_type_err_by_type() -> None:
    items, states = toy(of_its_type)
    measuring = items["measuring"]
    settings = replace(SETTINGS, control=True, probes=("linear",), epochs=1)
    found = []
    for types in (measuring.types, np.zeros_like(measuring.types)):
        items["measuring"] = replace(measuring, types=types)
        fits = fit_probes(items, states, labels=2, settings=settings)
        found.append({fit.target: fit.standard_error for fit in fits})
    assert found[0]["labels"] == found[1]["labels"]
    assert found[0]["memorised"]
    assert found[1]["memorised"] is None


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["linear", "mlp", "attention"])
def test_heads_are_found_among_the_words_of_a_text(probe: str) -> None:
    changes = {"probes": (probe,), "epochs": 6, "attention_epochs": 6}
    (fit,) = fitted(with_named_heads, labels=None, **changes)
    assert fit.entropy == pytest.approx(2.4, abs=0.1)  # log2 of 4 to 7 places
    assert fit.bits > 2
    assert fit.accuracy > 0.9


@pytest.mark.slow
def test_the_constant_predictor_of_heads_knows_distances_and_the_ends_of_a_text() -> None:
    (fit,) = fitted(with_the_next_as_head, labels=None, probes=("linear",), epochs=1)
    assert fit.entropy < 0.1
    assert fit.base_accuracy == 1.0


@pytest.mark.slow
def test_long_texts_are_scored_beside_few_others() -> None:
    lengths = np.array([3] * 40 + [50] + [3] * 40)
    words = np.arange(lengths.sum())
    texts = np.repeat(np.arange(len(lengths)), lengths)
    items = ProbeItems(lengths, words[:, None], texts, words, words, words, words > 0)
    found = list(ItemBatches(items, control=False, heads=True).cut(60, most=90))
    assert torch.cat([batch.rows for batch in found]).tolist() == words.tolist()
    sizes = [batch.grid.numel() for batch in found if batch.grid is not None]
    assert max(sizes) <= 90
    assert sizes.count(50) == 1
    assert len(sizes) <= 6


def test_words_without_a_head_are_not_predicted() -> None:
    items, states = toy(with_named_heads)
    for one in items.values():
        one.labels[::2] = NO_LABEL
    settings = replace(SETTINGS, probes=("linear",), epochs=1)
    (fit,) = fit_probes(items, states, labels=None, settings=settings)
    assert fit.items == len(items["measuring"].labels) // 2
    assert 2.2 < fit.entropy < 2.6


@pytest.mark.slow
def test_equal_seeds_give_equal_fits() -> None:
    changes: dict[str, Any] = {"labels": 2, "epochs": 1, "probes": ("mlp",)}
    runs = [fitted(of_its_sign, **changes, seed=seed) for seed in (0, 0, 1)]
    one, same, other = [[fit.model_copy(update={"seconds": 0.0}) for fit in run] for run in runs]
    assert one == same
    assert one != other


@pytest.mark.slow
def test_equal_seeds_give_equal_attention_probes() -> None:
    states = []
    for seed in (0, 0, 1):
        inputs = probe_inputs(*toy(of_its_sign), labels=2, settings=replace(SETTINGS, seed=seed))
        probe = AttentionProbe(inputs, inputs.sources[0], 0)
        probe.train(np.arange(8), 1.0)
        states.append(torch.cat([value.flatten() for value in probe.state().values()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_attention_probe_is_a_block_with_weights_of_its_own() -> None:
    items, states = toy(of_its_sign)
    inputs = probe_inputs(items, states, labels=2, settings=SETTINGS)
    probe = AttentionProbe(inputs, inputs.sources[0], 0)
    assert probe.parameters == _block_parameters(WIDTH, 32) + WIDTH * 2 + 2
    before = probe.state()
    # The readout starts at 0, so that it is the only one with a gradient in the first step.
    for _ in range(2):
        probe.train(np.arange(8), 1.0)
    assert not any(torch.equal(value, before[name]) for name, value in probe.state().items())


def _block_parameters(width: int, wide: int) -> int:
    return 4 * (width * width + width) + 2 * width * wide + wide + width + 4 * width


@pytest.mark.slow
def test_a_whole_text_is_read_by_its_mean() -> None:
    items, states = toy(of_another_word)
    texts = {
        split: ProbeItems(
            lengths=one.lengths,
            places=None,
            sentences=np.arange(len(one.lengths)),
            labels=(_sums(states.read(split, 1, "backbone"), one.lengths) > 0).astype(np.int64),
            control=np.zeros(len(one.lengths), np.int64),
            types=np.arange(len(one.lengths)),
            novel=np.ones(len(one.lengths), np.bool_),
        )
        for split, one in items.items()
    }
    settings = replace(SETTINGS, probes=("linear",), control=True)
    fits = {fit.target: fit for fit in fit_probes(texts, states, labels=2, settings=settings)}
    assert fits["labels"].items == len(texts["measuring"].lengths)
    assert fits["labels"].bits > 0.3  # the word that tells is in the mean
    assert "memorised" not in fits  # no text is twice


def _sums(states: torch.Tensor, lengths: Any) -> Any:
    return np.add.reduceat(states[:, -1].float().numpy(), np.cumsum(lengths) - lengths)


def test_a_split_without_items_is_refused() -> None:
    items, states = toy(of_its_sign)
    none = np.zeros(0, np.int64)
    items["choosing"] = ProbeItems(none, none[:, None], none, none, none, none, none.astype(bool))
    with pytest.raises(DataError, match="the choosing rows"):
        fit_probes(items, states, labels=2, settings=SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("probe", ["linear", "attention"])
def test_the_mix_finds_the_depth_that_knows(probe: Any) -> None:
    settings = replace(SETTINGS, mix=True, probes=(probe,), attention_epochs=5)
    fits = fit_probes(*toy(of_its_sign, (0, 1)), labels=2, settings=settings)
    noise, told, mix = sorted(fits, key=lambda fit: (fit.depth is None, fit.depth))
    assert abs(noise.bits) < 0.05
    assert mix.bits > 0.9 * told.bits > 0.7
    assert mix.shares is not None
    assert mix.shares[1] > 0.8
    assert mix.parameters == told.parameters + 2
