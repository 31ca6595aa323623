"""Which tensors a head has, by name and shape."""

from __future__ import annotations

from math import prod

from adapterhub.specs import TaskSpec

NGRAM_KEYS = "ngrams.keys"
COMPARED_PARTS = 4
"""How many times as wide as one text's feature the comparison of two texts is."""
OVERLAPS = 9
"""How many numbers say how much two texts share, see `overlap`."""


def tensor_shapes(spec: TaskSpec) -> dict[str, tuple[int, ...]]:
    """Returns the name and shape of every tensor of the head of `spec`; adapters are apart.

    `head.weight` (K, H or W), `head.bias` (K,), and where they apply `head.hidden.weight`
    (W, H), `head.hidden.bias` (W,), `pool.query` (H,), `mix.weights` (one per depth read).
    H is 4 times the hidden size where two fields are read apart. With n-grams `ngrams.keys`
    (M,), the only one of integers, and `ngrams.weight` (M, K); of pairs `ngrams.rarity` (V,) and
    `ngrams.overlap` (`OVERLAPS`, K) as well.
    """
    hidden_size = spec.backbone.hidden_size * (COMPARED_PARTS if spec.apart else 1)
    width = spec.head.hidden_width
    shapes: dict[str, tuple[int, ...]] = {
        "head.weight": (spec.outputs, width or hidden_size),
        "head.bias": (spec.outputs,),
    }
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


def head_bytes(spec: TaskSpec) -> int:
    """Returns the size of a head on a device: numbers in fp32, keys of n-grams in 8 bytes."""
    shapes = tensor_shapes(spec)
    return sum((8 if name == NGRAM_KEYS else 4) * prod(shape) for name, shape in shapes.items())
