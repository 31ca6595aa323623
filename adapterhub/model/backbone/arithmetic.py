"""Parameters and operations of an ALBERT, computed from its sizes without torch.

ALBERT saves parameters twice: the token table has V*E numbers and a map of E*H instead of V*H, and
one block is stored for all depths. It saves no arithmetic: every depth runs the whole block.

Source: shapes as in transformers 5, AlbertEmbeddings, AlbertTransformer and AlbertLayer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class AlbertSizes(Protocol):
    """The sizes of an ALBERT, by the names of transformers' AlbertConfig."""

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
        embedding_map: E * H.
        other_embeddings: Positions, segments, their layer norm, and the bias of the map.
        block: One set of attention and feed-forward weights.
        blocks: Number of stored sets; 1 for every published ALBERT.
        unshared_table: V * H, the token table without a map.
        unshared_embeddings: `unshared_table` with positions, segments and layer norm of width H.
        unshared_blocks: Number of sets without sharing.
    """

    token_table: int
    embedding_map: int
    other_embeddings: int
    block: int
    blocks: int
    unshared_table: int
    unshared_embeddings: int
    unshared_blocks: int

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
        embedding: Map from E to H, per token, once per text.
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


def count_parameters(sizes: AlbertSizes) -> Parameters:
    """Returns the parameters of an ALBERT, and those of the same model without sharing."""
    hidden, embedding = sizes.hidden_size, sizes.embedding_size
    # Rows of the position and segment tables, and the two vectors of a layer norm.
    small_rows = sizes.max_position_embeddings + sizes.type_vocab_size + 2
    unshared_table = sizes.vocab_size * hidden
    return Parameters(
        token_table=sizes.vocab_size * embedding,
        embedding_map=embedding * hidden,
        other_embeddings=small_rows * embedding + hidden,
        block=_block(hidden, sizes.intermediate_size),
        blocks=sizes.num_hidden_groups * sizes.inner_group_num,
        unshared_table=unshared_table,
        unshared_embeddings=unshared_table + small_rows * hidden,
        unshared_blocks=sizes.num_hidden_layers * sizes.inner_group_num,
    )


def count_operations(sizes: AlbertSizes, length: int) -> Operations:
    """Returns the operations for a text of `length` tokens, without norms, softmax and GELU."""
    hidden, inner = sizes.hidden_size, sizes.inner_group_num
    weights = 4 * hidden * hidden + 2 * hidden * sizes.intermediate_size
    return Operations(
        length=length,
        embedding=2 * sizes.embedding_size * hidden,
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
