"""The families of encoders that open as a backbone, and what transformers calls their parts.

All have the block of BERT: attention, residual sum, layer norm, feed-forward maps, residual sum,
layer norm. They differ in names, in positions, and in whether the depths share one block, as
ALBERT's do. The canonical names are those of an ALBERT with one group per depth.

Source: transformers 5.23, models/{albert,bert,distilbert,electra,roberta,xlm_roberta}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

FamilyName = Literal["albert", "bert", "distilbert", "electra", "roberta", "xlm-roberta"]
FAMILY_NAMES: tuple[FamilyName, ...] = get_args(FamilyName)

BLOCK_PARTS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.dense",
    "attention.LayerNorm",
    "ffn",
    "ffn_output",
    "full_layer_layer_norm",
)
"""The canonical names of a block's maps and layer norms."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a family of encoders is called in transformers.

    Attributes:
        name: Its `model_type`.
        title: Start of its class names, for instance `Bert` of `BertModel`.
        prefix: What stands before the encoder's tensors in a checkpoint with a head.
        layer: Path of a layer, to be formatted with its number.
        parts: Path of each canonical part within a layer.
        embedding_map: Path of the map from embedding size to hidden size; None if it has none.
        shares_blocks: Whether several depths may run the same block.
        has_types: Whether it has a table of token types.
        positions_after_padding: Whether its positions start behind the id of the padding token.
    """

    name: FamilyName
    title: str
    prefix: str
    layer: str
    parts: Mapping[str, str]
    embedding_map: str | None = None
    shares_blocks: bool = False
    has_types: bool = True
    positions_after_padding: bool = False

    def path(self, depth: int, part: str) -> str:
        """Returns the path of a canonical part in the layer of a depth."""
        return self.layer.format(depth) + self.parts[part]


_ALBERT_LAYER = "encoder.albert_layer_groups.{}.albert_layers.0."
_BERT_LAYER = "encoder.layer.{}."
_BERT_PARTS = MappingProxyType(
    {
        "attention.query": "attention.self.query",
        "attention.key": "attention.self.key",
        "attention.value": "attention.self.value",
        "attention.dense": "attention.output.dense",
        "attention.LayerNorm": "attention.output.LayerNorm",
        "ffn": "intermediate.dense",
        "ffn_output": "output.dense",
        "full_layer_layer_norm": "output.LayerNorm",
    }
)
_DISTILBERT_PARTS = MappingProxyType(
    {
        "attention.query": "attention.q_lin",
        "attention.key": "attention.k_lin",
        "attention.value": "attention.v_lin",
        "attention.dense": "attention.out_lin",
        "attention.LayerNorm": "sa_layer_norm",
        "ffn": "ffn.lin1",
        "ffn_output": "ffn.lin2",
        "full_layer_layer_norm": "output_layer_norm",
    }
)

ALBERT = Family(
    name="albert",
    title="Albert",
    prefix="albert.",
    layer=_ALBERT_LAYER,
    parts=MappingProxyType({part: part for part in BLOCK_PARTS}),
    embedding_map="encoder.embedding_hidden_mapping_in",
    shares_blocks=True,
)
FAMILIES: Mapping[FamilyName, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            ALBERT,
            Family(name="bert", title="Bert", prefix="bert.", layer=_BERT_LAYER, parts=_BERT_PARTS),
            Family(
                name="distilbert",
                title="DistilBert",
                prefix="distilbert.",
                layer="transformer.layer.{}.",
                parts=_DISTILBERT_PARTS,
                has_types=False,
            ),
            Family(
                name="electra",
                title="Electra",
                prefix="electra.",
                layer=_BERT_LAYER,
                parts=_BERT_PARTS,
                embedding_map="embeddings_project",
            ),
            Family(
                name="roberta",
                title="Roberta",
                prefix="roberta.",
                layer=_BERT_LAYER,
                parts=_BERT_PARTS,
                positions_after_padding=True,
            ),
            Family(
                name="xlm-roberta",
                title="XLMRoberta",
                prefix="roberta.",
                layer=_BERT_LAYER,
                parts=_BERT_PARTS,
                positions_after_padding=True,
            ),
        )
    }
)

ROTARY = "its positions are rotations of query and key, and its layer norms stand before the maps"
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "bart": "it is an encoder with a decoder",
        "big_bird": "its attention is sparse",
        "convbert": "it mixes attention with convolutions",
        "deberta": "its attention adds relative positions to every score",
        "deberta-v2": "its attention adds relative positions to every score",
        "eurobert": ROTARY,
        "funnel": "it shortens the sequence from layer to layer",
        "gpt2": "it is a decoder: a token sees only those before it",
        "longformer": "its attention is sparse",
        "mobilebert": "its layers have bottlenecks and norms without statistics",
        "modernbert": ROTARY,
        "mpnet": "its attention adds a bias for relative positions to every score",
        "new": ROTARY,
        "nomic_bert": ROTARY,
        "reformer": "its attention is sparse",
        "roberta-prelayernorm": "its layer norms stand before the maps (pre-norm), not behind",
        "roformer": "its positions are rotations of query and key",
        "squeezebert": "its maps are grouped convolutions",
        "t5": "it is an encoder with a decoder, and has relative positions",
        "xlm-roberta-xl": "its layer norms stand before the maps (pre-norm), not behind",
        "xlnet": "its attention has relative positions",
        "xmod": "it has an adapter per language in every layer",
    }
)
"""Encoders that people have and whose block is another one, by `model_type`, and why."""
