"""Features -> logits -> predictions.

A head is a linear map, optionally after one hidden layer, in fp32; of a parsing task it is the
hidden layer alone, and pairs of words are scored by its outputs. Each kind of task has its own
function that decodes logits, in the table DECODERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from adapterhub.model.heads.biaffine import BiaffineWeights, read_biaffine
from adapterhub.model.heads.parses import parsed_words
from adapterhub.model.heads.spans import Places, TaggedText, decode_spans
from adapterhub.model.heads.wide_head import GramWeights, LexicalOverlap
from adapterhub.results import Answer, LabelScore
from adapterhub.shapes import NGRAM_KEYS
from adapterhub.specs import Activation, Kind, TaskSpec

Array = npt.NDArray[np.float32]

_ACTIVATIONS: Mapping[Activation, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"gelu": functional.gelu, "tanh": torch.tanh, "relu": torch.relu}
)


@dataclass(frozen=True, slots=True, eq=False)
class HeadWeights:
    """The tensors of one head on a device, in fp32.

    Attributes:
        weight: (K, H), or (K, W) after a hidden layer of width W. H is four times the hidden
            size where two texts are encoded separately. With `biaffine` (W, H).
        bias: (K,), with `biaffine` (W,).
        hidden_weight: (W, H) or None.
        hidden_bias: (W,) or None.
        activation: Activation of the hidden layer, or of what `biaffine` reads.
        query: (H,) query of attentive pooling, or None.
        mix: One weight per depth; (1.0,) for a single depth.
        ngrams: Weights of n-grams, whose logits are added, or None.
        biaffine: Parsing only: scores pairs of words by the hidden layer of their tokens.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    hidden_weight: torch.Tensor | None
    hidden_bias: torch.Tensor | None
    activation: Activation
    query: torch.Tensor | None
    mix: tuple[float, ...]
    ngrams: GramWeights | None = None
    biaffine: BiaffineWeights | None = None

    @property
    def is_linear(self) -> bool:
        """Returns whether the logits are one matrix product of a pooled feature."""
        return self.hidden_weight is None and self.query is None and self.biaffine is None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns logits: (N, H) fp32 -> (N, K) fp32; with `biaffine` its input, (N, W) fp32."""
        if self.hidden_weight is not None:
            hidden = functional.linear(features, self.hidden_weight, self.hidden_bias)
            features = _ACTIVATIONS[self.activation](hidden)
        outputs = functional.linear(features, self.weight, self.bias)
        return outputs if self.biaffine is None else _ACTIVATIONS[self.activation](outputs)


def read_weights(
    spec: TaskSpec, tensors: Mapping[str, torch.Tensor], *, device: torch.device
) -> HeadWeights:
    """Returns the tensors of a head file on a device."""

    def tensor(name: str) -> torch.Tensor | None:
        found = tensors.get(name)
        return None if found is None else found.detach().to(device, torch.float32)

    mix = tensors.get("mix.weights")
    biaffine = read_biaffine(tensors, device)
    last = "head" if biaffine is None else "head.hidden"
    return HeadWeights(
        weight=tensors[f"{last}.weight"].detach().to(device, torch.float32),
        bias=tensors[f"{last}.bias"].detach().to(device, torch.float32),
        hidden_weight=tensor("head.hidden.weight") if biaffine is None else None,
        hidden_bias=tensor("head.hidden.bias") if biaffine is None else None,
        activation=spec.head.activation,
        query=tensor("pool.query"),
        mix=tuple(mix.tolist()) if mix is not None else (1.0,) * len(spec.head.depths),
        ngrams=_read_ngrams(tensors, device),
        biaffine=biaffine,
    )


def _read_ngrams(tensors: Mapping[str, torch.Tensor], device: torch.device) -> GramWeights | None:
    keys = tensors.get(NGRAM_KEYS)
    if keys is None:
        return None
    rarity, overlap = tensors.get("ngrams.rarity"), tensors.get("ngrams.overlap")
    return GramWeights(
        keys=keys.numpy(),
        weight=tensors["ngrams.weight"].detach().to(device, torch.float32),
        overlap=None
        if rarity is None or overlap is None
        else LexicalOverlap(rarity.double().numpy(), overlap.double().numpy()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class RowLogits:
    """The logits of one task for N rows.

    Attributes:
        values: (N, K) for whole texts; one (tokens, K) array per row for tagging; one (words, K)
            array per row for parsing, log p(head) + log p(relation | head) at `heads`; fp32.
        texts: Tagging and parsing: text and token offsets per row.
        heads: Parsing only: the head of each word per row, (words,), from 1; 0 is the root.
    """

    values: Array | tuple[Array, ...]
    texts: tuple[TaggedText, ...] = ()
    heads: tuple[Places, ...] = ()


class Decoder(Protocol):
    """Turns the logits of one kind of task into predictions."""

    def __call__(self, logits: RowLogits, spec: TaskSpec, top_k: int | None) -> list[Answer]:
        """Returns one prediction per row.

        Args:
            logits: The raw outputs.
            spec: Gives labels and calibration.
            top_k: 1 for the prediction, n for the n most probable labels, None for all labels.
        """
        ...


def decode_single_label(logits: RowLogits, spec: TaskSpec, top_k: int | None) -> list[Answer]:
    """Returns the most probable label per row, or a list of the `top_k` most probable ones."""
    scores = softmax(_matrix(logits) / spec.calibration.temperature)
    if top_k != 1:
        return _ranked(scores, spec.labels, top_k)
    best = scores.argmax(1)
    return [
        LabelScore(label=spec.labels[label], score=float(row[label]))
        for row, label in zip(scores, best.tolist(), strict=True)
    ]


def decode_multi_label(logits: RowLogits, spec: TaskSpec, top_k: int | None) -> list[Answer]:
    """Returns per row the labels at or over their threshold, or the `top_k` most probable ones."""
    scores = sigmoid(_matrix(logits) / spec.calibration.temperature)
    if top_k != 1:
        return _ranked(scores, spec.labels, top_k)
    thresholds = np.asarray(spec.calibration.thresholds or [0.5] * len(spec.labels), np.float32)
    answers: list[Answer] = []
    for row in scores:
        predicted = np.flatnonzero(row >= thresholds)
        order = predicted[np.argsort(-row[predicted], kind="stable")]
        answers.append([LabelScore(label=spec.labels[i], score=float(row[i])) for i in order])
    return answers


def decode_regression(logits: RowLogits, spec: TaskSpec, top_k: int | None) -> list[Answer]:
    """Returns one value per row in the task's unit, clipped to its range."""
    del top_k  # A regression task has one output.
    values = _matrix(logits)[:, 0]
    if spec.value_range is not None:
        values = values.clip(*spec.value_range)
    return [{"value": float(value)} for value in values]


def decode_tagging(logits: RowLogits, spec: TaskSpec, top_k: int | None) -> list[Answer]:
    """Returns the entity spans of each row, in text order."""
    del top_k  # Only the best sequence of tags is decoded.
    temperature = spec.calibration.temperature
    scores = [log_softmax(row / temperature) for row in logits.values]
    return list(decode_spans(scores, logits.texts, spec.labels))


def decode_parsing(logits: RowLogits, spec: TaskSpec, top_k: int | None) -> list[Answer]:
    """Returns the words of each row with head and relation, in text order."""
    del top_k  # Only the best tree is decoded.
    rows = zip(logits.values, logits.heads, logits.texts, strict=True)
    return [parsed_words(row, heads, text, spec.labels) for row, heads, text in rows]


DECODERS: dict[Kind, Decoder] = {
    "single_label": decode_single_label,
    "multi_label": decode_multi_label,
    "regression": decode_regression,
    "tagging": decode_tagging,
    "parsing": decode_parsing,
}


def softmax(logits: Array) -> Array:
    """Returns probabilities over the last axis."""
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(-1, keepdims=True))


def log_softmax(logits: Array) -> Array:
    """Returns log-probabilities over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def sigmoid(logits: Array) -> Array:
    """Returns the probability of each label by itself."""
    # Takes exp of negative numbers only, which cannot overflow.
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small))


def _matrix(logits: RowLogits) -> Array:
    if isinstance(logits.values, tuple):
        raise TypeError("logits per token cannot be decoded as logits per text")
    return logits.values


def _ranked(scores: Array, labels: Sequence[str], top_k: int | None) -> list[Answer]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return [
        [LabelScore(label=labels[i], score=float(row[i])) for i in best]
        for row, best in zip(scores, order.tolist(), strict=True)
    ]
