"""Tuning on the validation set: temperature, thresholds, tag biases, linear recalibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from adapterhub.decoding import ALWAYS
from adapterhub.diagnostics import figure_text
from adapterhub.model.heads.heads import Array, RowLogits, log_softmax
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.specs import TaskSpec
from adapterhub.tags import mark_of
from adapterhub.training.data.dataset import Dataset
from adapterhub.training.evaluation.metrics import answer_spans, significant, span_figures

_LOG_TEMPERATURES = (np.log(0.2), np.log(20.0))
_GOLDEN = (np.sqrt(5) - 1) / 2
# Each step shrinks the interval by 0.618; 40 of them end far below the 4 digits that are kept.
_SEARCH_STEPS = 40

_LOWEST_THRESHOLD = 0.05
_HIGHEST_THRESHOLD = 0.95
# With fewer positive rows the best threshold of a single label is mostly noise.
_FEWEST_POSITIVES = 10

Truth = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def find_temperature(loss: Callable[[float], float]) -> float:
    """Returns the temperature with the least loss, by golden-section search on its logarithm.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2; the loss
    has one minimum, so no gradient is needed.
    """
    low, high = _LOG_TEMPERATURES
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(float(np.exp(left))), loss(float(np.exp(right)))
    for _ in range(_SEARCH_STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(float(np.exp(left)))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(float(np.exp(right)))
    return float(f"{np.exp((low + high) / 2):.4g}")


def find_thresholds(scores: Array, truth: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Returns the threshold of each label with the best F1, in [0.05, 0.95].

    Rare labels get the threshold that is best for all labels together.

    Args:
        scores: (M, K).
        truth: (M, K).
    """
    shared = _best_threshold(scores.ravel(), truth.ravel())
    enough = truth.sum(0) >= _FEWEST_POSITIVES
    return tuple(
        _best_threshold(scores[:, label], truth[:, label]) if enough[label] else shared
        for label in range(truth.shape[1])
    )


def _best_threshold(scores: Array, truth: npt.NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + max(int(truth.sum()), 1))
    # Equal scores cannot be separated by a threshold.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    middle = float((ranked[best] + below) / 2)
    return float(f"{min(max(middle, _LOWEST_THRESHOLD), _HIGHEST_THRESHOLD):.4g}")


def label_temperature(logits: Array, truth: Truth) -> float:
    """Returns the temperature that fits one label per row.

    Targets are smoothed by one imagined row for and one against each label, which keeps scores
    below one: five rows that are all correct give 6/7; with ten thousand rows it hardly matters.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2.

    Args:
        logits: (M, K).
        truth: (M,) label indices.
    """
    return find_temperature(lambda value: _label_loss(logits / value, truth))


def set_temperature(logits: Array, truth: Truth) -> float:
    """Returns the temperature that fits label sets; targets are smoothed as for one label.

    Args:
        logits: (M, K).
        truth: (M, K) zeros and ones.
    """
    return find_temperature(lambda value: _set_loss(logits / value, truth))


def leaf_temperature(logits: Array, truth: Truth) -> float:
    """Returns the temperature that fits one leaf per row; targets are smoothed as for labels.

    Args:
        logits: (M, K).
        truth: (M, K) ones for the leaves that a row may have, of which it has one.
    """
    return find_temperature(lambda value: _leaf_loss(logits / value, truth > 0))


def choice_temperature(logits: Array, truth: Truth) -> float:
    """Returns the temperature that fits one choice per row; targets are smoothed as for labels.

    Args:
        logits: (M, C), -inf where a row has fewer choices.
        truth: (M,) the places of the right ones.
    """
    return find_temperature(lambda value: _choice_loss(logits / value, truth))


def _label_loss(logits: Array, truth: Truth) -> float:
    surprise = -log_softmax(logits)
    right = surprise[np.arange(len(truth)), truth.astype(np.int64)]
    wrong = (surprise.sum(1) - right) / (surprise.shape[1] - 1)
    smoothing = _smoothing(len(truth))
    return float(((1 - smoothing) * right + smoothing * wrong).mean())


def _leaf_loss(logits: Array, own: npt.NDArray[np.bool_]) -> float:
    surprise = -log_softmax(logits)
    right = -np.logaddexp.reduce(np.where(own, -surprise, -np.inf), axis=1)
    wrong = np.where(own, 0, surprise).sum(1) / np.maximum((~own).sum(1), 1)
    smoothing = _smoothing(len(own))
    return float(((1 - smoothing) * right + smoothing * wrong).mean())


def _choice_loss(logits: Array, truth: Truth) -> float:
    surprise = -log_softmax(logits)
    is_choice = np.isfinite(surprise)
    right = surprise[np.arange(len(truth)), truth.astype(np.int64)]
    wrong = np.where(is_choice, surprise, 0).sum(1) - right
    smoothing = _smoothing(len(truth))
    wrong /= np.maximum(is_choice.sum(1) - 1, 1)
    return float(((1 - smoothing) * right + smoothing * wrong).mean())


def _set_loss(logits: Array, truth: Truth) -> float:
    smoothing = _smoothing(len(truth))
    targets = truth * (1 - 2 * smoothing) + smoothing
    # log(1 + exp(x)) - x y, without overflow
    return float((np.logaddexp(0, logits) - logits * targets).mean())


def _smoothing(rows: int) -> float:
    """Returns the error rate to assume of predictions that are correct on all rows."""
    return 1 / (rows + 2)


_BIAS = "head.bias"


@dataclass(frozen=True, slots=True, eq=False)
class TunedHead:
    """A head while it is tuned on the validation set.

    Attributes:
        spec: The task.
        tensors: All its tensors.
        logits: Its raw outputs for the validation rows.
        notes: What tuning gained, for people.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    logits: RowLogits
    notes: tuple[str, ...] = ()


_TAG_BIASES: Mapping[str, tuple[float, ...]] = {
    "inside": (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0),
    "begin": (-1.5, -1.0, -0.5, 0.0, 0.5),
}
# In the second round each bias is tuned beside the other's best value.
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class TagBias:
    """What is added to the logits of tags.

    Attributes:
        begin: To those of `B-` and `S-` tags.
        inside: To those of `I-` and `E-` tags.
    """

    begin: float = 0.0
    inside: float = 0.0

    def per_label(self, labels: Sequence[str]) -> Array:
        """Returns what is added to the logit of each label: (K,) fp32."""
        added = {"B": self.begin, "S": self.begin, "I": self.inside, "E": self.inside}
        return np.array([added.get(mark_of(label), 0.0) for label in labels], np.float32)


def tune_tag_bias(head: TunedHead, dataset: Dataset, *, tolerance: float) -> TunedHead | None:
    """Tunes additive biases of B-/S- and I-/E- tags on the validation set.

    The loss counts words, but an entity is correct only with all of its words, so the best
    operating point begins fewer entities and continues them longer. Scoring costs nothing more.

    Args:
        head: A tagging head; its logits are by token.
        dataset: The validation rows.
        tolerance: Points of span F1 that have to be gained.

    Returns:
        The head with the best biases, or None where they gain too little.
    """
    labels = head.spec.labels

    def span_f1(bias: TagBias) -> float:
        logits = _shifted(head.logits, bias.per_label(labels))
        answers = DECODERS["tagging"].decode(logits, head.spec, ALWAYS)
        return significant(span_figures(answer_spans(answers), dataset)["span_f1"])

    before, best = span_f1(TagBias()), best_tag_bias(span_f1)
    after = span_f1(best)
    if after - before <= tolerance / 100:
        return None
    added = best.per_label(labels)
    note = (
        f"Tag biases {best.begin:+g} (B-, S-) and {best.inside:+g} (I-, E-): "
        f"span_f1 {figure_text(after)} instead of {figure_text(before)}."
    )
    tensors = {**head.tensors, _BIAS: head.tensors[_BIAS] + torch.from_numpy(added)}
    logits = _shifted(head.logits, added)
    return replace(head, tensors=tensors, logits=logits, notes=(*head.notes, note))


def best_tag_bias(value: Callable[[TagBias], float]) -> TagBias:
    """Returns the biases with the highest value, by coordinate search on a grid."""
    best, highest = TagBias(), value(TagBias())
    for name in [*_TAG_BIASES] * _ROUNDS:
        tried = [replace(best, **{name: step}) for step in _TAG_BIASES[name]]
        values = [value(bias) for bias in tried]
        if max(values) > highest:
            highest = max(values)
            best = tried[values.index(highest)]
    return best


def _shifted(logits: RowLogits, added: Array) -> RowLogits:
    return RowLogits(tuple(values + added for values in logits.values), logits.texts)


_OUTPUT_AXES = {"head.weight": 0, _BIAS: 1, "ngrams.weight": 1, "ngrams.overlap": 1}
"""The tensors in which a head's outputs are linear, with the axis of outputs; of one it is any."""
_FEWEST_RECALIBRATED = 2


@dataclass(frozen=True, slots=True)
class Affine:
    """A linear recalibration of values: `slope * value + offset`."""

    slope: float = 1.0
    offset: float = 0.0

    def of(self, values: Array) -> Array:
        """Returns the recalibrated values, in fp32."""
        return (values * self.slope + self.offset).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Recalibrated:
    """The recalibration of one output, and its mean absolute error before and after."""

    affine: Affine
    before: float
    after: float


def recalibrate(head: TunedHead, truth: Array) -> TunedHead | None:
    """Recalibrates a head of numbers linearly (slope and offset) on the validation set.

    Args:
        head: Its logits are (M, K).
        truth: The targets, (M, K), NaN where a row lacks a number; of one number also (M,).

    Returns:
        The recalibrated head, or None where no mean absolute error is lower.
    """
    values, spec = np.asarray(head.logits.values), head.spec
    ranges = spec.value_ranges or (spec.value_range,) * spec.outputs
    columns = zip(values.T, truth.reshape(values.shape).T, ranges, strict=True)
    found = [_recalibrated(*column) for column in columns]
    if not any(found):
        return None
    lines = [Affine() if one is None else one.affine for one in found]
    slopes = torch.tensor([line.slope for line in lines])
    offsets = torch.tensor([line.offset for line in lines])
    changed = {
        name: (head.tensors[name].float() * _along(axis, slopes)).to(head.tensors[name].dtype)
        for name, axis in _OUTPUT_AXES.items()
        if name in head.tensors
    }
    changed[_BIAS] = changed[_BIAS] + offsets
    notes = tuple(_notes(found, spec.labels or ("value",)))
    outputs = [line.of(own) for line, own in zip(lines, values.T, strict=True)]
    tensors, logits = {**head.tensors, **changed}, RowLogits(np.stack(outputs, axis=1))
    return replace(head, tensors=tensors, logits=logits, notes=(*head.notes, *notes))


def _along(axis: int, slopes: torch.Tensor) -> torch.Tensor:
    """Returns slopes (K,) so that they multiply the axis of outputs of a tensor."""
    return slopes[:, None] if axis == 0 else slopes


def _recalibrated(
    values: Array, truth: Array, value_range: tuple[float, float] | None
) -> _Recalibrated | None:
    """Returns the recalibration of one output (M,), or None where it is no better."""
    known = ~np.isnan(truth)
    values, truth = values[known], truth[known]
    if len(values) < _FEWEST_RECALIBRATED:
        return None
    best = best_affine(values, truth, value_range)
    before, after = (_error(one.of(values), truth, value_range) for one in (Affine(), best))
    # A negative slope would invert the ranking by which this head was selected.
    return None if best.slope <= 0 or after >= before else _Recalibrated(best, before, after)


def _notes(found: Sequence[_Recalibrated | None], names: Sequence[str]) -> Iterator[str]:
    for one, name in zip(found, names, strict=True):
        if one is None:
            continue
        line, after, before = one.affine, figure_text(one.after), figure_text(one.before)
        yield (
            f"Linear recalibration, {line.slope:.4g} * {name} {line.offset:+.4g}: "
            f"mean_absolute_error {after} instead of {before}."
        )


def best_affine(values: Array, truth: Array, value_range: tuple[float, float] | None) -> Affine:
    """Returns the recalibration with the least mean absolute error after clipping.

    Args:
        values: (M,).
        truth: (M,).
        value_range: To which values are clipped; None for no clipping.
    """
    # SciPy comes with the extra `train`, which `train` has checked before.
    from scipy.optimize import minimize

    centred = values - values.mean()
    spread = float(centred @ centred)
    # Starts at the least squares; constant values have no slope.
    slope = float(centred @ truth) / spread if spread > 0 else 1.0
    start = (slope, float(truth.mean() - slope * values.mean()))
    found = minimize(
        lambda line: _error(line[0] * values + line[1], truth, value_range),
        start,
        method="Nelder-Mead",
    )
    return Affine(float(found.x[0]), float(found.x[1]))


def _error(values: Array, truth: Array, value_range: tuple[float, float] | None) -> float:
    clipped = values if value_range is None else values.clip(*value_range)
    return float(np.abs(clipped - truth).mean())
