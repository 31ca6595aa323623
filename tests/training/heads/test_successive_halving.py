from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from adapterhub.model.encoder.pooling import pool_attentive
from adapterhub.model.encoder.tokens import Window, pack
from adapterhub.model.heads.heads import read_weights
from adapterhub.specs import HeadSpec, Kind, Pooling
from adapterhub.training.features.attentive_features import AttentiveTokens, TokenStates
from adapterhub.training.features.standardized_features import (
    MixedTaps,
    Parameters,
    Part,
    Reader,
    SingleTaps,
)
from adapterhub.training.heads import batched_heads
from adapterhub.training.heads.candidates import (
    CVFolds,
    FittedHead,
    Hyperparameters,
    Problem,
    Stage,
)
from adapterhub.training.heads.successive_halving import fit
from adapterhub.training.kinds.objective import Objective, Sample
from adapterhub.training.kinds.selection import Judge, judge_label_sets, judge_labels, judge_numbers
from adapterhub.training.kinds.table import TRAINED
from tests.builders import backbone_spec, task_spec

CPU = torch.device("cpu")
H = 16
ROWS, HELD_OUT = 256, 96
SETTINGS = (Hyperparameters(0.01, 0.01), Hyperparameters(0.03, 0.1))
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
    objective = TRAINED[kind].objective(truth, 3)
    return make_problem(objective, judges[kind](), epochs=epochs, seed=seed)


def make_problem(objective: Objective, judge: Judge, *, epochs: int = 20, seed: int = 0) -> Problem:
    return Problem(
        objective=objective,
        judge=judge,
        cv_folds=CVFolds.held_out(HELD_OUT),
        ranking=None,
        hidden_size=H,
        epochs=epochs,
        batch_size=32,
        slack=10.0,
        seed=seed,
        device=CPU,
    )


def singles(pooling: Pooling = "mean") -> SingleTaps:
    heads = [HeadSpec(depths=(depth,), pooling=pooling) for depth in (1, 2, 3)]
    return SingleTaps.load(heads, tap, CPU)


def served(one: FittedHead, kind: Kind, *, part: Part = "validation") -> torch.Tensor:
    """Returns the logits that scoring would give for raw features."""
    spec = task_spec(
        kind,
        labels=() if kind == "regression" else ("a", "b", "c"),
        backbone=backbone_spec(hidden_size=H),
        depths=one.head.depths,
        pooling=one.head.pooling,
        hidden_width=one.head.hidden_width,
    )
    weights = read_weights(spec, one.tensors, device=CPU)
    parts = [tap(part, depth, one.head.pooling).float() for depth in one.head.depths]
    mixed = sum(share * part for share, part in zip(weights.mix, parts, strict=True))
    assert isinstance(mixed, torch.Tensor)
    return weights.forward(mixed)


@pytest.mark.parametrize("width", [None, 12])
@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
@pytest.mark.slow
def test_folded_tensors_give_the_value_that_was_measured(kind: Kind, width: int | None) -> None:
    task = problem(kind)
    fitted = fit(singles(), SETTINGS, hidden_width=width, problem=task)
    assert [one.head.depths for one in fitted] == [(1,), (2,), (3,)]
    for one in fitted:
        assert one.value == pytest.approx(float(task.judge(served(one, kind)[None])), abs=0.02)
    values = [one.value for one in fitted]
    assert values[1] == max(values) > 0.9


@pytest.mark.slow
def test_regression_answers_in_the_unit_of_the_task() -> None:
    fitted = fit(singles(), SETTINGS, hidden_width=None, problem=problem("regression", epochs=60))
    values = served(fitted[1], "regression")[:, 0]
    assert (values - TRUTHS["regression"][ROWS:]).abs().mean() < 20


@pytest.mark.parametrize("width", [None, 12])
@pytest.mark.slow
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


@pytest.mark.slow
def test_equal_seeds_give_equal_heads() -> None:
    one, two, other = (
        fit(singles(), SETTINGS, hidden_width=8, problem=problem(seed=seed)) for seed in (1, 1, 2)
    )
    for a, b, c in zip(one, two, other, strict=True):
        assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
        assert any(not torch.equal(a.tensors[name], c.tensors[name]) for name in a.tensors)


@pytest.mark.slow
def test_dropout_keeps_a_hidden_layer_from_learning_rows_by_heart() -> None:
    """Half of the labels are drawn, so that a head that knows all of them knows too much."""
    draw = torch.Generator().manual_seed(3)
    truth = TRUTHS["single_label"][:ROWS].clone()
    false = torch.rand(ROWS, generator=draw) < 0.5
    truth[false] = torch.randint(3, (int(false.sum()),), generator=draw)
    held_out = TRUTHS["single_label"][ROWS:]
    task = make_problem(
        TRAINED["single_label"].objective(truth, 3),
        judge_labels("accuracy", held_out, 3),
        epochs=60,
    )
    plain, dropped, again = (
        fit(singles(), SETTINGS, hidden_width=64, problem=replace(task, dropout=part))[1]
        for part in (0.0, 0.5, 0.5)
    )
    assert all(torch.equal(dropped.tensors[name], again.tensors[name]) for name in again.tensors)

    def fits(one: FittedHead) -> float:
        answers = served(one, "single_label", part="train").argmax(1)
        return float((answers == truth).float().mean())

    assert fits(dropped) < fits(plain)
    # What was measured is the whole head, nothing left out.
    served_value = float(task.judge(served(dropped, "single_label")[None]))
    assert dropped.value == pytest.approx(served_value, abs=0.02)


@pytest.mark.slow
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
    settings = [Hyperparameters(rate, 0.01) for rate in (1e-5, 1e-4, 0.02, 0.01)]
    fitted = fit(SingleTaps.load(heads, tap, CPU), settings, hidden_width=None, problem=problem())
    assert [one.head for one in fitted] == heads
    assert all(one.candidates == 4 for one in fitted)
    knows = fitted[3]
    assert knows.value == max(one.value for one in fitted) > 0.9
    assert knows.hyperparameters.learning_rate >= 0.01


def test_what_is_far_behind_is_given_up() -> None:
    """Its value stands in the table, but no more steps are spent on it."""
    task = replace(problem(), slack=0.2)
    steps: list[int] = []

    class Counting(SingleTaps):
        def read(
            self, part: Part, rows: torch.Tensor, own: Parameters, copy: int | None = None
        ) -> torch.Tensor:
            steps.append(len(self.heads))
            return super().read(part, rows, own, copy)

        def keep(self, groups: Sequence[int]) -> SingleTaps:
            kept = super().keep(groups)
            return Counting(kept.heads, kept._taps, kept._scales)

    reader = singles()
    counting = Counting(reader.heads, reader._taps, reader._scales)
    fitted = fit(counting, SETTINGS, hidden_width=None, problem=task)
    assert [one.head for one in fitted] == list(reader.heads)
    assert steps[0] == 3
    assert steps[-1] == 1
    values = [one.value for one in fitted]
    assert values[1] == max(values) > min(values) + 0.2


def crossed_problem(kind: Kind, *, folds: int) -> Problem:
    """Returns the problem in which the training rows are cross-validated."""
    truth = TRUTHS[kind][:ROWS]
    judge = {
        "single_label": lambda: judge_labels("accuracy", truth, 3),
        "regression": lambda: judge_numbers("pearson", truth),
    }[kind]()
    return replace(
        problem(kind),
        judge=judge,
        cv_folds=CVFolds.cross_validated(torch.arange(ROWS) % folds),
    )


@pytest.mark.parametrize("width", [None, 12])
@pytest.mark.parametrize("kind", ["single_label", "regression"])
@pytest.mark.slow
def test_cross_validation_answers_no_row_by_a_head_that_saw_it(
    kind: Kind, width: int | None
) -> None:
    """Each fold's head is the one that is fitted on the other rows alone."""
    task = crossed_problem(kind, folds=4)
    heads = [HeadSpec(depths=(2,), pooling="mean")]
    reader = SingleTaps.load(heads, twice, CPU, task.cv_folds.train_mask)
    (one,) = fit(reader, SETTINGS, hidden_width=width, problem=task)
    assert len(one.folds) == 4
    answered = torch.empty(ROWS, 1 if kind == "regression" else 3)
    for fold, tensors in enumerate(one.folds):
        rows = torch.arange(ROWS) % 4 == fold
        answered[rows] = served(replace(one, tensors=tensors), kind, part="train")[rows]
    assert float(task.judge(answered[None])[0]) == pytest.approx(one.value, abs=0.02)
    kept = float(task.judge(served(one, kind, part="train")[None])[0])
    assert kept > one.value


@pytest.mark.slow
def test_rows_of_a_fold_do_not_change_its_head() -> None:
    task = crossed_problem("single_label", folds=2)
    heads = [HeadSpec(depths=(2,), pooling="mean")]
    reader = SingleTaps.load(heads, twice, CPU, task.cv_folds.train_mask)
    targets = task.objective.targets.clone()
    targets[::2] = (targets[::2] + 1) % 3
    changed = replace(task, objective=replace(task.objective, targets=targets))
    (other,) = fit(
        reader, SETTINGS[:1], hidden_width=None, problem=replace(changed, judge=constant)
    )
    (same,) = fit(reader, SETTINGS[:1], hidden_width=None, problem=replace(task, judge=constant))
    # Fold 0 holds the even rows: the head that answers them never sees their targets.
    torch.testing.assert_close(other.folds[0], same.folds[0])
    assert not torch.equal(other.folds[1]["head.weight"], same.folds[1]["head.weight"])


def constant(logits: torch.Tensor) -> torch.Tensor:
    """Judges all alike, so that the first look is kept."""
    return torch.zeros(len(logits))


def twice(part: Part, depth: int, pooling: Pooling) -> torch.Tensor:
    del part
    return tap("train", depth, pooling)


def test_the_last_half_is_fitted_and_judged_on_all_rows() -> None:
    """Ranking on rows whose labels are wrong must not stay in the result."""
    task = problem()
    truth = TRUTHS["single_label"][ROWS:]
    few = torch.arange(10)
    ranking = Stage(
        Sample(torch.arange(0, ROWS, 4), torch.full((ROWS // 4,), 4.0)),
        (few,),
        judge_labels("accuracy", (truth[few] + 1) % 3, 3),
    )
    fitted = fit(singles(), SETTINGS, hidden_width=None, problem=replace(task, ranking=ranking))
    best = fitted[1]
    value = float(task.judge(served(best, "single_label")[None])[0])
    assert best.value == pytest.approx(value, abs=0.02)
    assert best.value > 0.85
    assert best.epoch > 10


def test_a_sample_stands_for_all_rows() -> None:
    """Rows that count double are as good as rows that are there twice."""
    objective = problem().objective
    logits = torch.randn(2, 3, 6, 3, generator=torch.Generator().manual_seed(0))
    targets = objective.targets[:6]
    weights = torch.tensor([1.0, 2, 1, 0, 3, 1])
    rows = torch.arange(6).repeat_interleave(weights.long())
    torch.testing.assert_close(
        objective.loss(logits, targets, weights), objective.loss(logits[:, :, rows], targets[rows])
    )


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
@pytest.mark.slow
def test_attention_finds_the_token_that_knows(width: int | None) -> None:
    draw = torch.Generator().manual_seed(3)
    counts = torch.randint(4, 12, (ROWS + HELD_OUT,), generator=draw).tolist()
    truth = torch.randint(0, 3, (ROWS + HELD_OUT,), generator=draw)
    parts = [
        token_states(counts[:ROWS], truth[:ROWS], seed=1),
        token_states(counts[ROWS:], truth[ROWS:], seed=2),
    ]
    head = HeadSpec(depths=(1,), pooling="attentive")
    reader: Reader = AttentiveTokens.load([head], parts[0], parts[1])
    judge = judge_labels("accuracy", truth[ROWS:], 3)
    objective = TRAINED["single_label"].objective(truth[:ROWS], 3)
    task = make_problem(objective, judge)
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


@pytest.mark.parametrize("width", [None, 12])
def test_updates_of_some_groups_at_a_time_are_the_same(
    width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(singles(), SETTINGS, hidden_width=width, problem=problem(epochs=4))
    monkeypatch.setattr(batched_heads, "_VALUES_AT_ONCE", 1)
    parts = fit(singles(), SETTINGS, hidden_width=width, problem=problem(epochs=4))
    for one, other in zip(whole, parts, strict=True):
        assert one.value == other.value
        assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


@pytest.mark.parametrize("width", [None, 12])
def test_the_memory_of_many_labels_is_known_before(width: int | None) -> None:
    labels = 400
    shape = batched_heads.BatchShape(3, 2, H, width)
    objective = TRAINED["single_label"].objective(torch.arange(labels), labels)
    parameters = batched_heads.initial_heads(shape, objective, GENERATOR)
    held = sum(value.numel() * value.element_size() for value in parameters.values())
    claimed = batched_heads.batch_bytes(shape, labels, rows=0)
    # The parameters, their gradient, two moments, the best and a temporary; biases are small.
    assert 5 * held < claimed <= 6 * held
    assert batched_heads.batch_bytes(shape, labels, rows=64) > claimed
