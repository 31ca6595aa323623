"""Features -> logits -> predictions.

A head is a linear map, optionally after one hidden layer, in fp32; of a parsing task it is the
hidden layer alone, and pairs of words are scored by its outputs. The folder `kinds` decodes logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from adapterhub.model.heads.answers.context import Context
from adapterhub.model.heads.biaffine import BiaffineWeights, read_biaffine
from adapterhub.model.heads.choices import padded
from adapterhub.model.heads.prototypes.cosines import PrototypeWeights, read_prototypes
from adapterhub.model.heads.spans import Places, TaggedText
from adapterhub.model.heads.wide_head import GramWeights, LexicalOverlap
from adapterhub.shapes import NGRAM_KEYS
from adapterhub.specs import Activation, TaskSpec

Array = npt.NDArray[np.float32]
Part = TypeVar("Part")

_ACTIVATIONS: Mapping[Activation, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"gelu": functional.gelu, "tanh": torch.tanh, "relu": torch.relu}
)


@dataclass(frozen=True, slots=True, eq=False)
class HeadWeights:
    """The tensors of one head on a device, in fp32.

    Attributes:
        weight: (K, H), or (K, W) after a hidden layer of width W. H is four times the hidden
            size where two texts are encoded separately. With `biaffine` (W, H), with `prototypes`
            empty.
        bias: (K,), with `biaffine` (W,), with `prototypes` empty.
        hidden_weight: (W, H) or None.
        hidden_bias: (W,) or None.
        activation: Activation of the hidden layer, or of what `biaffine` reads.
        query: (H,) query of attentive pooling, or None.
        mix: One weight per depth; (1.0,) for a single depth.
        ngrams: Weights of n-grams, whose logits are added, or None.
        biaffine: Parsing only: scores pairs of words by the hidden layer of their tokens.
        prototypes: What texts are compared with, in the place of `weight` and `bias`, or None.
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
    prototypes: PrototypeWeights | None = None

    @property
    def is_linear(self) -> bool:
        """Returns whether the logits are one matrix product of a pooled feature."""
        others = (self.hidden_weight, self.query, self.biaffine, self.prototypes)
        return all(part is None for part in others)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Returns logits: (N, H) fp32 -> (N, K) fp32; with `biaffine` its input, (N, W) fp32."""
        if self.prototypes is not None:
            return self.prototypes.logits(features)
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
    biaffine, prototypes = read_biaffine(tensors, device), read_prototypes(tensors)

    def last(name: str) -> torch.Tensor:
        if prototypes is not None:
            return torch.zeros(0, device=device)
        place = "head" if biaffine is None else "head.hidden"
        return tensors[f"{place}.{name}"].detach().to(device, torch.float32)

    return HeadWeights(
        weight=last("weight"),
        bias=last("bias"),
        hidden_weight=tensor("head.hidden.weight") if biaffine is None else None,
        hidden_bias=tensor("head.hidden.bias") if biaffine is None else None,
        activation=spec.head.activation,
        query=tensor("pool.query"),
        mix=tuple(mix.tolist()) if mix is not None else (1.0,) * len(spec.head.depths),
        ngrams=_read_ngrams(tensors, device),
        biaffine=biaffine,
        prototypes=prototypes,
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
        choices: Multiple choice only: the choices of each row.
        contexts: Question answering only: the context of each row. Values are (tokens, 2) then: of
            each window the first token, then those of the context.
    """

    values: Array | tuple[Array, ...]
    texts: tuple[TaggedText, ...] = ()
    heads: tuple[Places, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    contexts: tuple[Context, ...] = ()

    def take(self, rows: Sequence[int]) -> RowLogits:
        """Returns the logits of some of the rows, in this order."""
        values = self.values
        return RowLogits(
            _some(values, rows) if isinstance(values, tuple) else values[list(rows)],
            _some(self.texts, rows),
            _some(self.heads, rows),
            _some(self.choices, rows),
            _some(self.contexts, rows),
        )

    @property
    def matrix(self) -> Array:
        """Returns the logits of whole texts: (N, K); of choices (N, C), -inf where a row has fewer.

        Raises:
            TypeError: They are of tokens or words.
        """
        if self.choices and isinstance(self.values, tuple):
            return padded(self.values)
        if isinstance(self.values, tuple):
            raise TypeError("logits per token cannot be decoded as logits per text")
        return self.values


def _some(parts: tuple[Part, ...], rows: Sequence[int]) -> tuple[Part, ...]:
    return tuple(parts[row] for row in rows) if parts else ()


def join_logits(parts: Sequence[RowLogits]) -> RowLogits:
    """Returns the logits of one task for the rows of all parts, of which there is one at least."""
    whole = [part.values for part in parts if not isinstance(part.values, tuple)]
    if whole:
        return RowLogits(np.concatenate(whole))
    return RowLogits(
        tuple(row for part in parts for row in part.values),
        tuple(text for part in parts for text in part.texts),
        tuple(row for part in parts for row in part.heads),
        tuple(row for part in parts for row in part.choices),
        tuple(row for part in parts for row in part.contexts),
    )


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
