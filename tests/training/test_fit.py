from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from adapterhub.model.heads import read_weights
from adapterhub.model.pooling import pool_attentive
from adapterhub.model.tokens import Window, pack
from adapterhub.specs import HeadSpec, Kind, Pooling
from adapterhub.training.attentive import AttentiveTokens, TokenStates
from adapterhub.training.candidates import Setting
from adapterhub.training.fit import Fitted, Problem, fit
from adapterhub.training.objectives import make_objective
from adapterhub.training.readers import MixedTaps, Part, Reader, SingleTaps
from adapterhub.training.selection import judge_label_sets, judge_labels, judge_numbers
from tests.builders import backbone_spec, task_spec

CPU = torch.device("cpu")
H = 16
ROWS, HELD_OUT = 256, 96
SETTINGS = (Setting(0.01, 0.01), Setting(0.03, 0.1))
GENERATOR = torch.Generator().manual_seed(0)
# Far from zero mean and unit deviation, so that folding has something to do.
SPREAD = torch.rand(3, 1, H, generator=GENERATOR) * 5 + 0.2
SHIFT = torch.randn(3, 1, H, generator=GENERATOR) * 3
RAW = torch.randn(3, ROWS + HELD_OUT, H, generator=GENERATOR) * SPREAD + SHIFT
DIRECTIONS = torch.randn(H, 3, generator=GENERATOR)
FIELD = ((RAW[1] - SHIFT[1]) / SPREAD[1]) @ DIRECTIONS
TRUTHS: Mapping[Kind, torch.Tensor] = {
    "single_label": FIELD.argmax(1),
    "multi_label": (FIELD > 0.5).float(),
    "regression": FIELD[:, 0] * 40 + 500,
}


def tap(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
    values = RAW[depth - 1] if pooling == "mean" else RAW[depth - 1].flip(0)
    return (values[:ROWS] if part == "train" else values[ROWS:]).half()


def problem(kind: Kind = "single_label", *, epochs: int = 20, seed: int = 0) -> Problem:
    truth, held_out = TRUTHS[kind][:ROWS], TRUTHS[kind][ROWS:]
    judges = {
        "single_label": lambda: judge_labels("accuracy", held_out, 3),
        "multi_label": lambda: judge_label_sets("macro_f1", held_out),
        "regression": lambda: judge_numbers("pearson", held_out),
    }
    objective = make_objective(kind, truth, 3)
    return Problem(objective, judges[kind](), HELD_OUT, H, epochs, 32, seed, CPU)


def singles(pooling: Pooling = "mean") -> SingleTaps:
    heads = [HeadSpec(depths=(depth,), pooling=pooling) for depth in (1, 2, 3)]
    return SingleTaps.load(heads, tap, CPU)


def served(one: Fitted, kind: Kind) -> torch.Tensor:
    """Returns the validation logits that scoring would give for raw features."""
    spec = task_spec(
        kind,
        labels=() if kind == "regression" else ("a", "b", "c"),
        backbone=backbone_spec(hidden_size=H),
        depths=one.head.depths,
        pooling=one.head.pooling,
        hidden_width=one.head.hidden_width,
    )
    weights = read_weights(spec, one.tensors, device=CPU)
    parts = [tap("validation", depth, one.head.pooling).float() for depth in one.head.depths]
    mixed = sum(share * part for share, part in zip(weights.mix, parts, strict=True))
    assert isinstance(mixed, torch.Tensor)
    return weights.forward(mixed)


@pytest.mark.parametrize("width", [None, 12])
@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_folded_tensors_give_the_value_that_was_measured(kind: Kind, width: int | None) -> None:
    task = problem(kind)
    fitted = fit(singles(), SETTINGS, hidden_width=width, problem=task)
    assert [one.head.depths for one in fitted] == [(1,), (2,), (3,)]
    for one in fitted:
        assert one.value == pytest.approx(float(task.judge(served(one, kind)[None])), abs=0.02)
    values = [one.value for one in fitted]
    assert values[1] == max(values) > 0.9


def test_regression_answers_in_the_unit_of_the_task() -> None:
    fitted = fit(singles(), SETTINGS, hidden_width=None, problem=problem("regression", epochs=60))
    values = served(fitted[1], "regression")[:, 0]
    assert (values - TRUTHS["regression"][ROWS:]).abs().mean() < 20


@pytest.mark.parametrize("width", [None, 12])
def test_a_mix_finds_the_depth_that_knows(width: int | None) -> None:
    heads = [HeadSpec(depths=depths, pooling="mean") for depths in ((1, 2), (1, 2, 3))]
    task = problem(epochs=40)
    fitted = fit(MixedTaps.load(heads, tap, CPU), SETTINGS, hidden_width=width, problem=task)
    for one in fitted:
        shares = one.tensors["mix.weights"]
        assert shares.shape == (len(one.head.depths),)
        assert float(shares.sum()) == pytest.approx(1)
        assert int(shares.argmax()) == 1
        value = float(task.judge(served(one, "single_label")[None]))
        assert one.value == pytest.approx(value, abs=0.03)


def test_candidates_do_not_disturb_each_other() -> None:
    together = fit(singles(), SETTINGS[:1], hidden_width=None, problem=problem(epochs=3))
    for index, expected in enumerate(together):
        reader = singles().keep([index])
        (alone,) = fit(reader, SETTINGS[:1], hidden_width=None, problem=problem(epochs=3))
        assert alone.head == expected.head
        for name, tensor in alone.tensors.items():
            torch.testing.assert_close(expected.tensors[name], tensor, rtol=1e-4, atol=1e-4)


def test_equal_seeds_give_equal_heads() -> None:
    one, two, other = (
        fit(singles(), SETTINGS, hidden_width=8, problem=problem(seed=seed)) for seed in (1, 1, 2)
    )
    for a, b, c in zip(one, two, other, strict=True):
        assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
        assert any(not torch.equal(a.tensors[name], c.tensors[name]) for name in a.tensors)


def test_linear_heads_are_as_good_as_logistic_regression() -> None:
    best = max(
        fit(singles(), SETTINGS, hidden_width=None, problem=problem(epochs=40)),
        key=lambda one: one.value,
    )
    train, held_out = tap("train", 2, "mean").float(), tap("validation", 2, "mean").float()
    truth = TRUTHS["single_label"]
    reference = LogisticRegression(max_iter=2000).fit(train, truth[:ROWS])
    assert best.value >= reference.score(held_out, truth[ROWS:]) - 0.02


def test_halving_keeps_the_best_pooling_of_each_depth() -> None:
    heads = [
        HeadSpec(depths=(depth,), pooling=pooling)
        for depth in (1, 2)
        for pooling in ("mean", "max", "cls")
    ]
    settings = [Setting(rate, 0.01) for rate in (1e-5, 1e-4, 0.02, 0.01)]
    fitted = fit(SingleTaps.load(heads, tap, CPU), settings, hidden_width=None, problem=problem())
    assert [one.head for one in fitted] == heads
    assert all(one.candidates == 4 for one in fitted)
    knows = fitted[3]
    assert knows.value == max(one.value for one in fitted) > 0.9
    assert knows.setting.learning_rate >= 0.01


def token_states(counts: Sequence[int], mark: torch.Tensor, *, seed: int) -> TokenStates:
    """Returns rows in which one token, which carries `mark`, has the row's answer beside it."""
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(1, sum(counts), H, generator=generator)
    starts = torch.tensor([0, *counts]).cumsum(0)[:-1]
    states[0, :, 0] = -3
    states[0, starts + 1, 0] = 6
    states[0, starts + 1, 1:4] = 3 * torch.nn.functional.one_hot(mark, 3).float()
    return TokenStates(states.half(), starts, torch.tensor(counts))


@pytest.mark.parametrize("width", [None, 8])
def test_attention_finds_the_token_that_knows(width: int | None) -> None:
    draw = torch.Generator().manual_seed(3)
    counts = torch.randint(4, 12, (ROWS + HELD_OUT,), generator=draw).tolist()
    truth = torch.randint(0, 3, (ROWS + HELD_OUT,), generator=draw)
    parts = [
        token_states(counts[:ROWS], truth[:ROWS], seed=1),
        token_states(counts[ROWS:], truth[ROWS:], seed=2),
    ]
    head = HeadSpec(depths=(1,), pooling="attentive")
    reader: Reader = AttentiveTokens.load([head], *parts)
    judge = judge_labels("accuracy", truth[ROWS:], 3)
    objective = make_objective("single_label", truth[:ROWS], 3)
    task = Problem(objective, judge, HELD_OUT, H, 20, 32, 0, CPU)
    (one,) = fit(reader, SETTINGS, hidden_width=width, problem=task)
    assert one.value > 0.95
    # The pooling that serves gives the same features from the folded query.
    held_out = parts[1]
    lengths = held_out.counts.tolist()
    order = sorted(range(HELD_OUT), key=lambda row: lengths[row])
    windows = [Window(row, 0, 0, [0] * lengths[row], [0] * lengths[row]) for row in order]
    states = torch.split(held_out.states[0].float(), lengths)
    packed = torch.cat([states[row] for row in order])
    features = pool_attentive(packed, pack(windows, device=CPU), one.tensors["pool.query"])
    spec = task_spec("single_label", labels=("a", "b", "c"), pooling="attentive",
                     hidden_width=width, backbone=backbone_spec(hidden_size=H))  # fmt: skip
    logits = read_weights(spec, one.tensors, device=CPU).forward(features)
    accuracy = (logits.argmax(1) == truth[ROWS:][order]).float().mean()
    assert one.value == pytest.approx(float(accuracy), abs=0.02)
