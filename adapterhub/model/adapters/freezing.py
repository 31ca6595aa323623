"""Freezing depths of a model of transformers, in people's own training loops.

An ALBERT repeats one block, so its depths cannot be frozen one by one: freezing the weights of one
depth freezes those of all. `untie` gives every trained depth weights of its own, and the frozen
depths go on sharing one set, which takes no gradient and no optimizer state. A BERT has weights of
its own at each depth.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from torch import nn
from transformers import PreTrainedModel

from adapterhub.errors import SharedWeightsError, UsageError, check_type
from adapterhub.families import FAMILIES, FAMILY_NAMES, Family
from adapterhub.model.adapters.shared_depths import guard_depths, save_depths_apart
from adapterhub.model.adapters.unrolled import unroll

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Trainable:
    """What of a model is trained.

    Attributes:
        depths: The depths with a trained parameter.
        frozen_depths: The other depths.
        shared: Depths that have a parameter in common, as sets of two or more.
        parameters: Number of trained parameters, each counted once however many depths have it.
        frozen_parameters: Number of all others.
    """

    depths: tuple[int, ...]
    frozen_depths: tuple[int, ...]
    shared: tuple[tuple[int, ...], ...]
    parameters: int
    frozen_parameters: int

    def __str__(self) -> str:
        """Returns the same in words."""
        total = self.parameters + self.frozen_parameters
        groups = "; ".join(", ".join(map(str, group)) for group in self.shared)
        return (
            f"{self.parameters:,} of {total:,} parameters are trained; "
            f"trained depths: {', '.join(map(str, self.depths)) or 'none'}; "
            f"frozen depths: {', '.join(map(str, self.frozen_depths)) or 'none'}; "
            f"depths with the same weights: {groups or 'none'}"
        )


def freeze(
    model: Model,
    depths: Iterable[int] | None = None,
    *,
    untie: bool = False,
    embeddings: bool | None = None,
) -> Model:
    """Freezes depths of an encoder in place, and returns the model to train.

    Everything else stays as it is: the other depths, pooler and head. `adapterhub.trainable` tells
    what is trained then, with counts. Make the optimizer afterwards.

    Args:
        model: An `AlbertModel` or `AlbertFor…` of transformers, as it is, from
            `adapterhub.unrolled` or in a PEFT model; or one of BERT, DistilBERT, ELECTRA, RoBERTa
            or XLM-RoBERTa, whose depths have weights of their own.
        depths: Which to freeze, 0 is the one that reads the embeddings; None for all.
        untie: Whether every depth that is trained gets weights of its own, equal to the shared
            ones. An ALBERT is unrolled for that: `config.num_hidden_groups` is its number of
            depths, and `from_pretrained` opens what `save_pretrained` writes. The frozen depths
            share one set of weights in memory; files hold it for each.
        embeddings: Whether to freeze the embedding tables, their layer norm and their map too. By
            default exactly if depth 0 is frozen, since otherwise gradients would have to pass
            through it. The output layer of a masked language model is its token table.

    Raises:
        SharedWeightsError: Trained depths have the weights of depths to be frozen; not with
            `untie`.
        UsageError: It is another model, has no such depth, cannot be untied, or, with `untie`, was
            frozen before, so that there is nothing left to train.
    """
    encoder = _open(model)
    chosen = _chosen(depths, len(encoder.layers))
    check_type(untie, bool, "untie", "True or False")
    check_type(embeddings, (bool, type(None)), "embeddings", "True, False or None")
    if untie:
        encoder = _untied(model, encoder, chosen)
    else:
        _check_shared(encoder, chosen)
    modules = [encoder.layers[depth] for depth in chosen]
    if 0 in chosen if embeddings is None else embeddings:
        modules += encoder.embeddings
    frozen = _trained(modules)
    if untie:
        # The same numbers in memory; a model that shares the parameters keeps their flags.
        _replace(model, {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in frozen})
    else:
        for parameter in frozen:
            parameter.requires_grad = False
    return model


def trainable(model: nn.Module) -> Trainable:
    """Returns which depths of a model are trained, which have the same weights, and the counts.

    Args:
        model: As `freeze` takes it.

    Raises:
        UsageError: It is another model.
    """
    layers = _open(model).layers
    trained = tuple(n for n, layer in enumerate(layers) if _trained([layer]))
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    own = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return Trainable(
        depths=trained,
        frozen_depths=tuple(n for n in range(len(layers)) if n not in trained),
        shared=_shared_depths(layers),
        parameters=own,
        frozen_parameters=total - own,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Encoder:
    """The parts of a model of transformers.

    Attributes:
        base: The encoder, without a head.
        family: Its family.
        layers: The module that runs at each depth; may be the same at several.
        embeddings: Tables and layer norm, and the map behind them where there is one.
    """

    base: Any
    family: Family
    layers: tuple[nn.Module, ...]
    embeddings: tuple[nn.Module, ...]


def _open(model: nn.Module) -> _Encoder:
    found: Any = model
    if hasattr(found, "peft_config") and hasattr(found, "get_base_model"):
        found = found.get_base_model()
    kind: Any = getattr(getattr(found, "config", None), "model_type", None)
    if not isinstance(found, PreTrainedModel) or kind not in FAMILIES:
        raise UsageError(
            f"Cannot freeze depths of a {type(model).__name__}; expected a model of transformers "
            f"(or PEFT) of one of the families {', '.join(FAMILY_NAMES)}, for instance "
            f"AlbertModel or AlbertForSequenceClassification. If it is inside your own module, "
            f"give that part."
        )
    base: Any = found.base_model
    family = FAMILIES[kind]
    count = int(base.config.num_hidden_layers)
    groups = int(base.config.num_hidden_groups) if family.shares_blocks else count
    # Source: transformers 5.23, AlbertTransformer.forward: which group runs at a depth.
    places = [int(depth / (count / groups)) for depth in range(count)]
    # The path of a layer's first part is that of the layer, or of an ALBERT's group.
    path = family.layer.removesuffix("albert_layers.0.").rstrip(".")
    tables = ("embeddings", family.embedding_map or "")
    modules = dict(base.named_modules())
    return _Encoder(
        base=base,
        family=family,
        layers=tuple(base.get_submodule(path.format(place)) for place in places),
        embeddings=tuple(modules[name] for name in tables if name and name in modules),
    )


def _chosen(depths: object, count: int) -> tuple[int, ...]:
    """Returns the depths to freeze, in order.

    Raises:
        UsageError: They are no depths of the model.
    """
    expected = f"numbers from 0 to {count - 1}, or None for all"
    if depths is None:
        return tuple(range(count))
    try:
        # A tensor or an array with one number is iterable by its class only.
        given = None if isinstance(depths, str | bytes) else list(cast("Iterable[Any]", depths))
    except TypeError:
        given = None
    if given is None:
        raise UsageError(f"depths is {depths!r}; expected {expected}.")
    found = []
    for depth in given:
        try:
            number = operator.index(depth)
        except TypeError:
            number = -1
        if isinstance(depth, bool) or not 0 <= number < count:
            raise UsageError(f"depths has {depth!r}; expected {expected}.")
        found.append(number)
    return tuple(sorted(set(found)))


def _check_shared(encoder: _Encoder, chosen: Sequence[int]) -> None:
    """Refuses to freeze trained parameters that other depths have too.

    Raises:
        SharedWeightsError: There are some.
    """
    layers = encoder.layers
    frozen = {id(p) for p in _trained([layers[depth] for depth in chosen])}
    others = [n for n, layer in enumerate(layers) if n not in chosen and frozen & _ids(layer)]
    if others:
        kept = frozen & {one for depth in others for one in _ids(layers[depth])}
        named = [depth for depth in chosen if kept & _ids(layers[depth])]
        raise SharedWeightsError(named, sorted({*named, *others}), type(encoder.base).__name__)


def _untied(model: nn.Module, encoder: _Encoder, chosen: Sequence[int]) -> _Encoder:
    """Gives trained depths parameters of their own in place, and returns the parts of the model.

    Raises:
        UsageError: The model cannot be unrolled, or nothing of the other depths is trained.
    """
    layers = encoder.layers
    others = [depth for depth in range(len(layers)) if depth not in chosen]
    if others and not _trained([layers[depth] for depth in others]):
        raise UsageError(
            f"The depths to train ({', '.join(map(str, others))}) are frozen already "
            f"(requires_grad is False), so that untie=True would leave nothing to train. Call "
            f"model.requires_grad_() before."
        )
    if not others or not _shared_depths(layers):
        return encoder
    if len(set(map(id, layers))) < len(layers):
        unroll(model)
        encoder = _open(model)
        guard_depths(encoder.base.encoder)
    ids = [_ids(layer) for layer in encoder.layers]
    for depth in others:
        elsewhere = {one for n, found in enumerate(ids) if n != depth for one in found}
        trained = [p for p in _trained([encoder.layers[depth]]) if id(p) in elsewhere]
        _replace(encoder.layers[depth], {id(p): nn.Parameter(p.detach().clone()) for p in trained})
    if encoder.family.shares_blocks:
        save_depths_apart(encoder.base.encoder)
    return encoder


def _shared_depths(layers: Sequence[nn.Module]) -> tuple[tuple[int, ...], ...]:
    """Returns the depths with parameters in common."""
    users: dict[int, list[int]] = {}
    for depth, layer in enumerate(layers):
        for one in _ids(layer):
            users.setdefault(one, []).append(depth)
    return tuple(sorted({tuple(found) for found in users.values() if len(found) > 1}))


def _replace(root: nn.Module, parameters: Mapping[int, nn.Parameter]) -> None:
    """Replaces parameters, given by the id of the old ones, wherever a module has them."""
    for module in root.modules():
        for name, old in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            if id(old) in parameters:
                setattr(module, name, parameters[id(old)])


def _trained(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """Returns the trained parameters of modules, each once."""
    found = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return list(found.values())


def _ids(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters()}
