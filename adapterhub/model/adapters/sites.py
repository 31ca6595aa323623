"""Changes of single linear maps (sites), joined into the products that the encoder runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

from adapterhub.model.encoder.changes import BlockChange, LowRank, MapChange
from adapterhub.model.encoder.linear import Linear, make_linear
from adapterhub.model.encoder.weights import Block, Norm
from adapterhub.specs import Site

Product = str
PRODUCTS: Mapping[Site, tuple[Product, int]] = MappingProxyType(
    {
        "query": ("qkv", 0),
        "key": ("qkv", 1),
        "value": ("qkv", 2),
        "dense": ("out", 0),
        "ffn": ("up", 0),
        "ffn_output": ("down", 0),
    }
)
"""The encoder's product that computes a site, and the site's index among its outputs."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteChange:
    """The change of an adapter at one site, see `MapChange`.

    Attributes:
        weight: (out, in) that replaces the backbone's, or None.
        bias: (out,) that replaces the backbone's, or None.
        scale: (out,) or None.
        shift: (out,) or None.
        down: (R, in), A, or None.
        up: (out, R), B with all scales multiplied in, or None.
    """

    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    scale: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    down: torch.Tensor | None = None
    up: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BackboneSite:
    """A site of the backbone.

    Attributes:
        product: The encoder's product that computes it.
        columns: The site's outputs among those of the product.
    """

    product: Linear
    columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Returns the shape (out, in) of its weight."""
        return self.columns.stop - self.columns.start, self.product.weight.shape[1]

    @property
    def weight(self) -> torch.Tensor:
        """Returns its weight (out, in) in fp32, to be read only."""
        return self.product.plain_weight()[self.columns].float()

    @property
    def bias(self) -> torch.Tensor:
        """Returns its bias (out,) in fp32, to be read only."""
        return self.product.bias[self.columns].float()


def backbone_site(block: Block, site: Site) -> BackboneSite:
    """Returns a site of a block."""
    name, place = PRODUCTS[site]
    product: Linear = getattr(block, name)
    return BackboneSite(product, _columns(name, product, place))


def _columns(name: Product, product: Linear, place: int) -> slice:
    size = product.weight.shape[0] // (3 if name == "qkv" else 1)
    return slice(place * size, (place + 1) * size)


def join_sites(
    sites: Mapping[Site, SiteChange], block: Block, norms: Mapping[str, Norm]
) -> BlockChange:
    """Returns the change of a block from the changes at its sites.

    Args:
        sites: The changes by site, in fp32 on any device.
        block: The block, which gives device and dtype.
        norms: The changed ones of `attention_norm` and `output_norm`.
    """
    products: dict[Product, dict[int, SiteChange]] = {}
    for site, change in sites.items():
        product, place = PRODUCTS[site]
        products.setdefault(product, {})[place] = change
    joined = {product: _join(product, parts, block) for product, parts in products.items()}
    placed = {name: _to_device(norm, block) for name, norm in norms.items()}
    return BlockChange(
        qkv=joined.get("qkv"),
        out=joined.get("out"),
        up=joined.get("up"),
        down=joined.get("down"),
        attention_norm=placed.get("attention_norm"),
        output_norm=placed.get("output_norm"),
    )


def _join(product: Product, parts: Mapping[int, SiteChange], block: Block) -> MapChange:
    shared: Linear = getattr(block, product)
    bias = shared.bias
    own_weight = own_bias = scale = shift = None
    if any(part.weight is not None or part.bias is not None for part in parts.values()):
        own_weight = shared.plain_weight().to(torch.float32, copy=True)
        own_bias = bias.to(torch.float32, copy=True)
    if any(part.scale is not None for part in parts.values()):
        scale = torch.ones_like(bias, dtype=torch.float32)
    if any(part.shift is not None for part in parts.values()):
        shift = torch.zeros_like(bias, dtype=torch.float32)
    downs: list[torch.Tensor] = []
    terms: list[LowRank] = []
    rank = 0
    for place, part in sorted(parts.items()):
        columns = _columns(product, shared, place)
        for whole, own in (
            (own_weight, part.weight),
            (own_bias, part.bias),
            (scale, part.scale),
            (shift, part.shift),
        ):
            if whole is not None and own is not None:
                whole[columns] = own.to(whole.device, whole.dtype)
        if part.down is not None and part.up is not None:
            ranks = slice(rank, rank + part.down.shape[0])
            rank = ranks.stop
            downs.append(part.down.to(bias.device, bias.dtype))
            up = part.up.to(bias.device, bias.dtype).t().contiguous()
            terms.append(LowRank(columns, ranks, up))
    return MapChange(
        own=None
        if own_weight is None or own_bias is None
        else make_linear(own_weight.to(bias.dtype), own_bias.to(bias.dtype)),
        scale=None if scale is None else scale.to(bias.dtype),
        shift=None if shift is None else shift.to(bias.dtype),
        down=torch.cat(downs).t().contiguous() if downs else None,
        low_rank=tuple(terms),
    )


def _to_device(norm: Norm, block: Block) -> Norm:
    like = block.attention_norm.weight
    return Norm(*(tensor.to(like.device, like.dtype) for tensor in norm.tensors()))
