"""The batched validation values are those of scikit-learn and seqeval."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef

from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.tags import tags_of
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.data.tagging import Span, unit_tags
from adapterhub.training.evaluation.metrics import span_figures
from adapterhub.training.kinds.selection import (
    THRESHOLDS,
    judge_label_sets,
    judge_labels,
    judge_numbers,
    judge_spans,
    unit_rows,
)

GENERATOR = torch.Generator().manual_seed(0)


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "mcc"])
def test_single_labels(metric: str) -> None:
    # Label 5 is never true, label 4 hardly ever given.
    truth = torch.randint(0, 5, (60,), generator=GENERATOR)
    logits = _draw(7, 60, 6)
    logits[..., 4] -= 3
    logits[0] = torch.nn.functional.one_hot(truth, 6)
    expected = {
        "accuracy": lambda chosen: accuracy_score(truth, chosen),
        "macro_f1": lambda chosen: f1_score(truth, chosen, average="macro"),
        "mcc": lambda chosen: matthews_corrcoef(truth, chosen),
    }[metric]
    values = judge_labels(metric, truth, 6)(logits)  # type: ignore[arg-type]
    for row, value in zip(logits, values, strict=True):
        assert value == pytest.approx(expected(row.argmax(1)), abs=1e-6)
    assert values[0] == pytest.approx(1)


def test_likelihood_is_at_the_best_temperature() -> None:
    truth = torch.randint(0, 3, (200,), generator=GENERATOR)
    logits = _draw(4, 200, 3) + 2 * torch.nn.functional.one_hot(truth, 3)
    logits[1] = logits[0] * 4
    logits[2] = torch.zeros(200, 3)
    values = judge_labels("likelihood", truth, 3)(logits)
    chances = (logits[0].double() / t for t in (0.5, 1, 2))
    least = min(log_loss(truth, z.softmax(-1), labels=range(3)) for z in chances)
    assert values[0] == pytest.approx(np.exp(-least), abs=1e-5)
    assert values[1] == pytest.approx(float(values[0]))
    assert values[2] == pytest.approx(1 / 3)


def test_likelihood_of_label_sets() -> None:
    truth = (_draw(80, 4) > 0.8).float()
    logits = _draw(3, 80, 4) + truth
    values = judge_label_sets("likelihood", truth)(logits)
    for row, value in zip(logits, values, strict=True):
        losses = [
            log_loss(truth.flatten(), (row / t).sigmoid().flatten()) for t in (0.5, 1, 2, 4, 8)
        ]
        assert value == pytest.approx(np.exp(-min(losses)), abs=1e-5)


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.slow
def test_label_sets_at_their_best_thresholds(average: str) -> None:
    truth = (_draw(80, 4) > 0.8).float()
    truth[:, 3] = 0
    logits = _draw(5, 80, 4)
    values = judge_label_sets(f"{average}_f1", truth)(logits)  # type: ignore[arg-type]
    for row, value in zip(logits, values, strict=True):
        scores = row.sigmoid()
        if average == "micro":
            best = max(f1_score(truth, scores >= t, average="micro") for t in THRESHOLDS)
        else:
            best = np.mean(
                [
                    max(f1_score(truth[:, k], scores[:, k] >= t) for t in THRESHOLDS)
                    for k in range(3)
                ]
            )
        assert value == pytest.approx(best, abs=1e-6)


def test_numbers() -> None:
    truth = torch.randint(0, 5, (50,), generator=GENERATOR).float()
    logits = truth[:, None] + _draw(6, 50, 1)
    logits[1] = 3
    for metric, reference in (("spearman", spearmanr), ("pearson", pearsonr)):
        values = judge_numbers(metric, truth)(logits)  # type: ignore[arg-type]
        for index, (row, value) in enumerate(zip(logits, values, strict=True)):
            expected = 0 if index == 1 else reference(row[:, 0], truth).statistic
            assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("ends", [False, True])
def test_spans(ends: bool) -> None:
    labels = tags_of("ab", ends=ends)
    texts = ["one two three four", "five", "six seven eight nine ten"]
    units = [words_of(TaggedText(text, [(i, i + 1) for i in range(len(text))])) for text in texts]
    spans = [(Span(0, 7, "a"), Span(8, 13, "a")), (), (Span(4, 9, "b"), Span(16, 20, "a"))]
    dataset = Dataset("d", "tagging", ("text",), tuple((t,) for t in texts), tuple(spans), labels)
    rows = unit_rows(units, spans, labels)
    judge = judge_spans(rows, labels)
    rows_and_spans = zip(units, spans, strict=True)
    truth = [labels.index(tag) for u, s in rows_and_spans for tag in unit_tags(u, s, labels)]
    exact = torch.nn.functional.one_hot(torch.tensor(truth), len(labels)).float()
    wrong = exact.clone()
    wrong[4:6] = 0.0
    wrong[4:6, labels.index("I-a")] = 1.0  # ends one row and starts the next
    values = judge(torch.stack([exact, wrong, torch.zeros_like(exact)]))
    assert values[0] == 1
    found = [list(spans[0]), [Span(0, 4, "a")], [Span(0, 3, "a"), *spans[2]]]
    assert values[1] == pytest.approx(span_figures(found, dataset)["span_f1"])
    assert values[2] == 0


def test_spans_that_no_unit_can_express_count_as_missed() -> None:
    units = [words_of(TaggedText("ab cd", [(0, 2), (3, 5)]))]
    rows = unit_rows(units, [(Span(0, 1, "a"), Span(3, 5, "a"))], ("O", "B-a", "I-a"))
    assert rows.total == 2
    logits = torch.tensor([[[0, 1.0, 0], [0, 1.0, 0]]])
    assert judge_spans(rows, ("O", "B-a", "I-a"))(logits)[0] == 0.5
