"""Names and shapes of the tensors of a head."""

from __future__ import annotations

from math import prod

from adapterhub.specs import TaskSpec

NGRAM_KEYS = "ngrams.keys"
PROTOTYPES, COUNTS, CENTER = "head.prototypes", "head.counts", "head.center"
_WIDE = (NGRAM_KEYS, PROTOTYPES, CENTER)
"""Tensors of 8 bytes a number where they are used."""
COMPARED_PARTS = 4
"""The compared feature of two texts has this many times the width H: (u, v, |u - v|, u * v)."""
OVERLAPS = 9
"""Number of lexical overlap features of a pair, see `wide_head.lexical_overlap`."""


def tensor_shapes(spec: TaskSpec) -> dict[str, tuple[int, ...]]:
    """Returns name and shape of every tensor of the head of `spec`, without its adapter.

    `head.weight` (K, H or W), `head.bias` (K,), and if applicable `head.hidden.weight` (W, H),
    `head.hidden.bias` (W,), `pool.query` (H,), `mix.weights` (number of depths,). H is 4 times the
    hidden size if two fields are encoded separately. With n-grams also `ngrams.keys` (M,) int64 and
    `ngrams.weight` (M, K); for pairs `ngrams.rarity` (V,) and `ngrams.overlap` (`OVERLAPS`, K).
    For parsing `head.root` (A + R,), `head.arcs` (A + 1, A) and `head.relations`
    (K, R + 1, R + 1) stand in the place of `head.weight` and `head.bias`, for prototypes
    `head.prototypes` (K, H), `head.counts` (K,) and `head.center` (H,).
    """
    hidden_size = spec.backbone.hidden_size * (COMPARED_PARTS if spec.apart else 1)
    width = spec.head.hidden_width
    shapes = _output_shapes(spec, width or hidden_size)
    if width is not None:
        shapes["head.hidden.weight"] = (width, hidden_size)
        shapes["head.hidden.bias"] = (width,)
    if spec.head.pooling == "attentive":
        shapes["pool.query"] = (hidden_size,)
    if len(spec.head.depths) > 1:
        shapes["mix.weights"] = (len(spec.head.depths),)
    if spec.head.ngrams is not None:
        shapes[NGRAM_KEYS] = (spec.head.ngrams,)
        shapes["ngrams.weight"] = (spec.head.ngrams, spec.outputs)
    if spec.head.pieces is not None:
        shapes["ngrams.rarity"] = (spec.head.pieces,)
        shapes["ngrams.overlap"] = (OVERLAPS, spec.outputs)
    return shapes


def _output_shapes(spec: TaskSpec, width: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the last maps of a head, which read `width` features."""
    arc = spec.head.arc_width
    if spec.row.prototypes:
        return {PROTOTYPES: (spec.outputs, width), COUNTS: (spec.outputs,), CENTER: (width,)}
    if arc is None:
        return {"head.weight": (spec.outputs, width), "head.bias": (spec.outputs,)}
    relation = width // 2 - arc
    return {
        "head.root": (arc + relation,),
        "head.arcs": (arc + 1, arc),
        "head.relations": (spec.outputs, relation + 1, relation + 1),
    }


def head_bytes(spec: TaskSpec) -> int:
    """Returns the size of a head in bytes: fp32 tensors, int64 n-gram keys, fp64 prototypes."""
    shapes = tensor_shapes(spec)
    return sum((8 if name in _WIDE else 4) * prod(shape) for name, shape in shapes.items())
