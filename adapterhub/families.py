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

_ROTATED = "its positions are rotations of query and key (rotary), not a table that is added"
_PRE_NORM = "its layer norms stand before the maps (pre-norm), not behind them"
_ROTATED_PRE_NORM = f"{_ROTATED}, and {_PRE_NORM}"
_RELATIVE = "its attention adds relative positions to every score"
_SPARSE = "its attention is sparse"
_DISTANT = "its attention is an approximation of BERT's"
_PAGES = "it reads where the words stand on a page, too"
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "bert-generation": "it is one half of an encoder with a decoder, without token types",
        "big_bird": _SPARSE,
        "camembert": "its layers are RoBERTa's, but its tokenizer is not read here",
        "canine": "it reads characters and shortens the sequence on its way",
        "chinese_clip": "it reads images, too",
        "clip": "it reads images, too",
        "convbert": "it mixes attention with convolutions",
        "data2vec-text": "its layers are RoBERTa's, but its names are not read here",
        "deberta": _RELATIVE,
        "deberta-v2": _RELATIVE,
        "dpr": "its BERT stands inside another model",
        "ernie": "it adds embeddings of tasks to those of the tokens",
        "ernie_m": "it has no token types, and positions that begin behind special ones",
        "esm": f"it reads proteins, and {_PRE_NORM}",
        "eurobert": _ROTATED_PRE_NORM,
        "flaubert": "its layers are those of XLM, by other names",
        "fnet": "it has Fourier transforms in place of attention",
        "funnel": "it shortens the sequence from layer to layer",
        "gte": f"{_ROTATED}, and its feed-forward maps are gated",
        "ibert": "it is made to compute with integers",
        "jina_bert": f"{_RELATIVE} (ALiBi)",
        "jina_embeddings_v3": _ROTATED,
        "layoutlm": _PAGES,
        "layoutlmv2": _PAGES,
        "layoutlmv3": _PAGES,
        "longformer": _SPARSE,
        "luke": "it reads entities beside the tokens, with an attention of their own",
        "markuplm": "it reads the markup around the words, too",
        "megatron-bert": _PRE_NORM,
        "mobilebert": "its layers have bottlenecks and several feed-forward maps",
        "modernbert": _ROTATED_PRE_NORM,
        "mpnet": _RELATIVE,
        "mra": _DISTANT,
        "new": f"{_ROTATED}, and its feed-forward maps are gated",
        "nezha": _RELATIVE,
        "nomic_bert": f"{_ROTATED}, and its feed-forward maps are gated",
        "nystromformer": _DISTANT,
        "perceiver": "it reads any input into a fixed number of states",
        "reformer": _SPARSE,
        "rembert": "its settings and its tokenizer are not read here",
        "retribert": "its BERT stands inside another model",
        "roberta-prelayernorm": _PRE_NORM,
        "roc_bert": "it adds embeddings of shapes and pronunciations to those of the tokens",
        "roformer": _ROTATED,
        "splinter": "it is made to select spans, and its tokenizer is not read here",
        "squeezebert": "its maps are grouped convolutions",
        "tapas": "it reads tables: it has seven kinds of token types",
        "xlm": "its layers have other names, and it may read languages beside the tokens",
        "xlm-roberta-xl": _PRE_NORM,
        "xlnet": _RELATIVE,
        "xmod": "it has an adapter per language in every layer",
        "yoso": _DISTANT,
    }
)
"""Encoders that people have and that do not open, by `model_type`, and why.

Decoders are not in it: transformers' own lists name them.
"""
