"""The pooling layer of a classifier whose adapter changes that too, with the change merged in.

PEFT finds `dense` (or all linear layers) in BERT's pooling layer as well as in its block. It is no
map of the block, but the hidden layer of the classifier, so the change goes into the head.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import torch
from peft import get_peft_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES
from adapterhub.importing.classifiers import classifier_names, pooling_layer
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.folder import PeftFolder
from adapterhub.peft.settings import config_class, method_of


def merged_pooling(backbone: Backbone, folder: PeftFolder) -> dict[str, torch.Tensor]:
    """Returns weight and bias of the changed pooling layer by name; empty if it is not changed.

    Raises:
        AdapterError: PEFT cannot merge it by itself, or the backbone has no pooling layer.
    """
    if not folder.pooling:
        return {}
    family = backbone.spec.family
    layer, name = pooling_layer(backbone), classifier_names(family, "text").hidden
    if not layer:
        raise AdapterError(
            folder.path,
            f"it changes the pooling layer, and the backbone {backbone.spec.name} has none",
        )
    for key in folder.pooling:
        if not key.startswith(f"{name}.") or ".base_layer." in key:
            raise AdapterError(
                folder.path, f"it holds '{key[:120]}', which is no factor at '{name}'"
            )
    path = f"{FAMILIES[family].prefix}{name}"
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a module without a config
            found = _merged(folder, path, layer[f"{name}.weight"], layer[f"{name}.bias"])
    # PEFT rejects sizes and settings with exceptions of many classes.
    except Exception as error:
        raise AdapterError(
            folder.path,
            f"it changes the pooling layer too, and PEFT cannot merge that by itself: {error}. "
            f"Train it with exclude_modules=['{name}'].",
        ) from error
    return {f"{name}.weight": found.weight.detach(), f"{name}.bias": found.bias.detach()}


def _merged(folder: PeftFolder, path: str, weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """Returns a linear map with its adapter merged in, at the path where PEFT saw it.

    Raises:
        ValueError: The method's tensors are not all in the layer, or do not fit it.
    """
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": bias})
    root = inner = nn.Module()
    *parents, last = path.split(".")
    for part in parents:
        child = nn.Module()
        inner.add_module(part, child)
        inner = child
    inner.add_module(last, linear)
    method = method_of(folder.given)
    if any(key.startswith(f"{method}_") for key in folder.factors):
        raise ValueError(f"'{method}' shares tensors among all maps")
    model = get_peft_model(root, _config(folder, method, path)).eval()
    prefix = path.partition(".")[0]
    state = {f"base_model.model.{prefix}.{key}": value for key, value in folder.pooling.items()}
    outcome: Any = set_peft_model_state_dict(model, state)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    odd = [*outcome.unexpected_keys, *sorted(trained & set(outcome.missing_keys))]
    if odd:
        raise ValueError(f"'{odd[0]}' is unknown or missing")
    changed = model.get_submodule(f"base_model.model.{path}")
    if not isinstance(changed, BaseTunerLayer):
        raise ValueError(f"its configuration changes nothing at {path}")
    changed.merge(safe_merge=True)
    merged = changed.get_base_layer()
    if not isinstance(merged, nn.Linear):
        raise ValueError(f"PEFT left a {type(merged).__name__} there")
    return merged


def _config(folder: PeftFolder, method: str, path: str) -> Any:
    """Returns the configuration with which PEFT changes the pooling layer alone."""
    values = {**folder.given, "target_modules": re.escape(path), "inference_mode": False}
    for name in ("exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save"):
        if name in values:
            values[name] = None
    values["task_type"] = None
    if method == "adalora" and values.get("rank_pattern"):
        masks = values["rank_pattern"].items()
        values["rank_pattern"] = {key: mask for key, mask in masks if path in key} or None
    return config_class(method)(**values)
