"""The schema of a head."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from adapterhub.schema import Spec
from adapterhub.specs.names import Activation, Pooling


class HeadSpec(Spec):
    """The features that a head reads, and its architecture.

    Attributes:
        depths: The depths that it reads, ascending; more than one means a learned mix.
        pooling: Pooling of hidden states to features.
        hidden_width: Width W of the hidden layer, or None for a linear head.
        activation: Activation of the hidden layer; `tanh` as in BERT's pooling layer,
            `relu` as in DistilBERT's classifier.
        ngrams: Number M of n-grams of subword pieces with their own weights, or None.
        pieces: N-grams of pairs only: number V of pieces whose rarity is stored; else None.
        arc_width: Parsing only: width A of the vectors between which arcs are scored. The hidden
            layer has 2 (A + R) outputs, with R the width of those that score relations.
        outputs: Embedding only: number K of the numbers of a vector.
    """

    later = ("ngrams", "pieces", "arc_width", "outputs")
    depths: tuple[Annotated[int, Field(ge=0, le=1_024)], ...] = Field(min_length=1)
    pooling: Pooling
    hidden_width: int | None = Field(default=None, ge=1, le=16_384)
    activation: Activation = "gelu"
    ngrams: int | None = Field(default=None, ge=1, le=2**24)
    pieces: int | None = Field(default=None, ge=1, le=2**20)
    arc_width: int | None = Field(default=None, ge=1, le=8_191)
    outputs: int | None = Field(default=None, ge=1, le=16_384)

    @model_validator(mode="after")
    def _is_consistent(self) -> HeadSpec:
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths {self.depths} are not ascending and distinct")
        if self.hidden_width is None and self.activation != "gelu":
            raise ValueError(f"a linear head has no activation '{self.activation}'")
        if self.arc_width is not None:
            _check_arcs(self, self.arc_width)
        return self


def _check_arcs(head: HeadSpec, arc_width: int) -> None:
    if head.pooling != "tokens" or head.ngrams is not None:
        raise ValueError("a head with arc_width reads tokens, and has no n-grams")
    width = head.hidden_width
    if width is None or width % 2 or width // 2 <= arc_width:
        raise ValueError(
            f"arc_width {arc_width} and relations of some width need a hidden layer of twice their "
            f"sum, hidden_width is {width}"
        )
