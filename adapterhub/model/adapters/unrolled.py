"""An ALBERT with a module for every depth, so that PEFT can train another adapter at each.

An ALBERT repeats one set of modules, so PEFT sees one `query` and shares one adapter among all
depths. With `num_hidden_groups = num_hidden_layers` transformers runs another set of modules at
each depth; if all of them hold the same Parameter objects, the model computes the same function
with the same number of parameters, and PEFT's `layers_to_transform` selects depths.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AlbertModel, AlbertPreTrainedModel

from adapterhub.errors import UsageError
from adapterhub.families import FAMILIES
from adapterhub.model.adapters.shared_depths import guard_depths
from adapterhub.specs import Site
from adapterhub.store.adapter_names import module_path

Albert = TypeVar("Albert", bound=AlbertPreTrainedModel)


def unrolled(model: Albert) -> Albert:
    """Returns a copy of the model with a module per depth, on the same parameters.

    `model` is not changed. The two models and all depths share parameters and buffers, so a change
    in place changes all of them. `adapterhub.freeze(model, depths, untie=True)` gives the trained
    depths their own, and `requires_grad_()` of a single depth raises a `SharedWeightsError` until
    then. Assigning `parameter.requires_grad` cannot be caught: it changes all depths.

    Args:
        model: Any ALBERT of transformers, for instance an `AlbertModel` or an
            `AlbertForSequenceClassification`.

    Raises:
        UsageError: It is not an ALBERT of transformers, or has more than one layer in a group. A
            BERT has a module per depth already.
    """
    twin = unrolled_copy(model)
    guard_depths(inner_albert(twin).encoder)
    return twin


def unrolled_copy(model: Albert) -> Albert:
    """Returns what `unrolled` returns, but with torch's own `requires_grad_` at every depth.

    For models that stay inside adapterhub, which knows what it freezes: guards refer to the model,
    so that it would be freed only when Python looks for cycles.
    """
    inner_albert(model)
    # deepcopy does not copy the objects in its memo, so the parameters are shared.
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in _tensors(model)})
    unroll(twin)
    return twin


def unroll(model: nn.Module) -> None:
    """Gives a model a module per depth, on the same parameters, in place.

    Raises:
        UsageError: It is not an ALBERT, or has more than one layer in a group.
    """
    encoder = inner_albert(model).encoder
    config = encoder.config
    if config.inner_group_num > 1:
        raise UsageError(
            f"This ALBERT has inner_group_num {config.inner_group_num}, that is several sets "
            f"of weights at one depth; adapters need inner_group_num 1."
        )
    memo: dict[int, Any] = {id(tensor): tensor for tensor in _tensors(model)}
    layers, groups = config.num_hidden_layers, encoder.albert_layer_groups
    own_groups = nn.ModuleList(
        # Source: transformers 5.23, AlbertTransformer.forward: which group runs at a depth.
        copy.deepcopy(groups[int(depth / (layers / len(groups)))], {**memo, id(config): config})
        for depth in range(layers)
    )
    own_groups.training = groups.training
    encoder.albert_layer_groups = own_groups
    config.num_hidden_groups = layers


def of_depth(model: Albert, depth: int) -> Albert:
    """Returns a copy of the model that runs the layer of one depth at all depths.

    It shares its parameters, as `unrolled` does.
    """
    twin = unrolled_copy(model)
    encoder = inner_albert(twin).encoder
    encoder.albert_layer_groups = encoder.albert_layer_groups[depth : depth + 1]
    twin.config.num_hidden_groups = 1
    return twin


def untie(model: nn.Module, depths: Iterable[int], sites: Iterable[Site]) -> None:
    """Gives linear maps of an unrolled model their own copy of weight and bias, in place.

    Needed before anything changes a weight: PEFT's initialisations that subtract from it (PiSSA,
    OLoRA and others), and PEFT's `merge`. Other depths keep the shared one.

    Args:
        model: From `unrolled`, with or without PEFT's layers in it.
        depths: The depths whose maps get their own weights.
        sites: The linear maps.
    """
    albert = inner_albert(model)
    chosen = tuple(sites)
    for depth in depths:
        for site in chosen:
            layer: Any = albert.get_submodule(module_path(depth, site))
            linear: nn.Linear = getattr(layer, "base_layer", layer)
            for name, parameter in list(linear.named_parameters(recurse=False)):
                own = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
                setattr(linear, name, own)


def inner_albert(model: nn.Module) -> AlbertModel:
    """Returns the `AlbertModel` in a model of transformers or PEFT.

    Raises:
        UsageError: There is none.
    """
    found: Any = model
    if hasattr(found, "peft_config") and hasattr(found, "get_base_model"):
        found = found.get_base_model()
    if isinstance(found, AlbertPreTrainedModel):
        found = getattr(found, "albert", found)
    kind = getattr(getattr(found, "config", None), "model_type", None)
    if not isinstance(found, AlbertModel) and kind in FAMILIES:
        raise UsageError(
            f"A {type(found).__name__} has a module for every depth already: give it to PEFT as it "
            f"is. Only an ALBERT, whose depths share one, needs adapterhub.unrolled."
        )
    if not isinstance(found, AlbertModel):
        raise UsageError(
            f"A {type(model).__name__} has no depths; expected an ALBERT of transformers, for "
            f"instance AlbertModel or AlbertForSequenceClassification."
        )
    return found


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
