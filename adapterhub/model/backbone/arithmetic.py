"""Parameters, memory and operations of an encoder, computed from its sizes without torch.

ALBERT saves parameters twice: the token table has V*E numbers and a map of E*H instead of V*H, and
one block is stored for all depths. It saves no arithmetic: every depth runs the whole block. So
each encoder has two neighbours of the same shape: the ALBERT with one block and a factored table,
and the BERT that shares nothing.

Source: shapes as in transformers 5, AlbertEmbeddings, AlbertTransformer, AlbertLayer, and the
embeddings of the other families.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

ALBERT_EMBEDDING = 128
"""Embedding size E of every ALBERT that its authors published (arXiv:1909.11942, table 1)."""


class Sizes(Protocol):
    """The sizes of an encoder, by the names of transformers' AlbertConfig."""

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_hidden_layers: int
    num_hidden_groups: int
    inner_group_num: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """Stored parameters, without the pooling layer, which no head reads.

    Attributes:
        token_table: V * E.
        embedding_map: E * H; 0 without a map.
        other_embeddings: Positions, segments, their layer norm, and the bias of the map.
        block: One set of attention and feed-forward weights.
        blocks: Number of stored sets; 1 for every published ALBERT, D for all other families.
        unshared_table: V * H, the token table without a map.
        unshared_embeddings: `unshared_table` with positions, segments and layer norm of width H.
        unshared_blocks: Number of sets without sharing.
        shared_embedding: E of an ALBERT of this shape: its own where it has a map, else up to 128.
        shared_table: V * E + E * H of that ALBERT.
        shared_total: All parameters of that ALBERT, which has one block.
    """

    token_table: int
    embedding_map: int
    other_embeddings: int
    block: int
    blocks: int
    unshared_table: int
    unshared_embeddings: int
    unshared_blocks: int
    shared_embedding: int
    shared_table: int
    shared_total: int

    @property
    def factored_table(self) -> int:
        """Returns V * E + E * H."""
        return self.token_table + self.embedding_map

    @property
    def total(self) -> int:
        """Returns the number of parameters of the encoder."""
        return self.factored_table + self.other_embeddings + self.blocks * self.block

    @property
    def unshared_total(self) -> int:
        """Returns the number of parameters of a BERT of the same shape."""
        return self.unshared_embeddings + self.unshared_blocks * self.block


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations of the matrix products; a multiply-add counts as two.

    Attributes:
        length: Length L of the text in tokens, special tokens included.
        embedding: Map from E to H, per token, once per text; 0 without a map.
        products: Linear maps of one depth, per token.
        attention: Attention scores and weighted sums of one depth, per token; proportional to L.
        depths: Number of depths D.
    """

    length: int
    embedding: int
    products: int
    attention: int
    depths: int

    @property
    def per_depth(self) -> int:
        """Returns the operations of one depth, per token."""
        return self.products + self.attention

    @property
    def per_token(self) -> int:
        """Returns the operations of all depths, per token."""
        return self.embedding + self.depths * self.per_depth

    @property
    def per_text(self) -> int:
        """Returns the operations of all depths for the whole text."""
        return self.length * self.per_token


def count_parameters(sizes: Sizes, *, has_map: bool = True, more_rows: int = 0) -> Parameters:
    """Returns the parameters of an encoder, and those of its neighbours of the same shape.

    Args:
        sizes: Its sizes.
        has_map: Whether a map leads from the embedding size to the hidden size.
        more_rows: Rows of small tables in its checkpoint beside those of `sizes`; negative if it
            has fewer.
    """
    hidden, embedding = sizes.hidden_size, sizes.embedding_size
    # Rows of the position and segment tables, and the two vectors of a layer norm.
    small_rows = sizes.max_position_embeddings + sizes.type_vocab_size + 2 + more_rows
    unshared_table = sizes.vocab_size * hidden
    block = _block(hidden, sizes.intermediate_size)
    narrow = embedding if has_map else min(embedding, ALBERT_EMBEDDING)
    shared_table = sizes.vocab_size * narrow + narrow * hidden
    return Parameters(
        token_table=sizes.vocab_size * embedding,
        embedding_map=embedding * hidden if has_map else 0,
        other_embeddings=small_rows * embedding + (hidden if has_map else 0),
        block=block,
        blocks=sizes.num_hidden_groups * sizes.inner_group_num,
        unshared_table=unshared_table,
        unshared_embeddings=unshared_table + small_rows * hidden,
        unshared_blocks=sizes.num_hidden_layers * sizes.inner_group_num,
        shared_embedding=narrow,
        shared_table=shared_table,
        shared_total=shared_table + small_rows * narrow + hidden + sizes.inner_group_num * block,
    )


def count_operations(sizes: Sizes, length: int, *, has_map: bool = True) -> Operations:
    """Returns the operations for a text of `length` tokens, without norms, softmax and GELU.

    Args:
        sizes: The sizes of the encoder.
        length: Tokens of the text, special tokens included.
        has_map: Whether a map leads from the embedding size to the hidden size.
    """
    hidden, inner = sizes.hidden_size, sizes.inner_group_num
    weights = 4 * hidden * hidden + 2 * hidden * sizes.intermediate_size
    return Operations(
        length=length,
        embedding=2 * sizes.embedding_size * hidden if has_map else 0,
        products=2 * weights * inner,
        # Each token multiplies with L keys and L values of width H, for any number of heads.
        attention=4 * length * hidden * inner,
        depths=sizes.num_hidden_layers,
    )


def _block(hidden: int, intermediate: int) -> int:
    """Returns the parameters of the attention maps, feed-forward maps and two layer norms."""
    attention = 4 * (hidden * hidden + hidden)
    feed_forward = hidden * intermediate + intermediate + intermediate * hidden + hidden
    return attention + feed_forward + 4 * hidden
