"""Guards for an ALBERT with a module per depth whose depths share parameters.

`requires_grad_()` of a module sets the flag of its parameters. If other depths have the same
parameters, all of them would be frozen, without a word. Assigning `parameter.requires_grad`, and
`requires_grad_()` of a tensor, cannot be caught: torch calls nothing of the model there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from adapterhub.errors import SharedWeightsError


class SharedDepthGuard:
    """Replaces the method `requires_grad_` of one module at one depth.

    It is an attribute of the module, so that the class stays as other libraries expect it.
    """

    def __init__(self, module: nn.Module, groups: nn.ModuleList | None) -> None:
        """Makes the guard.

        Args:
            module: Whose method it replaces.
            groups: The modules of all depths; None for a module that was copied out of them, and
                whose parameters are its own.
        """
        self._module = module
        self.groups = groups

    def __call__(self, requires_grad: bool = True) -> nn.Module:
        """Sets the flag of all parameters of the module and returns it, as torch's method does.

        Raises:
            SharedWeightsError: Other depths have some of the parameters. Only freezing what is
                frozen passes; PEFT does so.
        """
        module = self._module
        if requires_grad or any(parameter.requires_grad for parameter in module.parameters()):
            self._check("train" if requires_grad else "freeze")
        return type(module).requires_grad_(module, requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedDepthGuard:
        """Returns the guard of the copied module, among the copied depths if there are any."""
        return SharedDepthGuard(memo.get(id(self._module), self._module), memo.get(id(self.groups)))

    def _check(self, action: str) -> None:
        own = {id(parameter) for parameter in self._module.parameters()}
        parts = set(map(id, self._module.modules()))
        depths = dict(enumerate(self.groups or ()))
        shared = [n for n, one in depths.items() if any(id(p) in own for p in one.parameters())]
        here = [n for n, one in depths.items() if not parts.isdisjoint(map(id, one.modules()))]
        if here and len(shared) > len(here):
            raise SharedWeightsError(here, shared, "ALBERT", action)


class GuardedModules(nn.ModuleList):
    """The modules of all depths, or a list within one of them; slices and sums are guarded too."""

    def __getitem__(self, index: Any) -> Any:
        """Returns a module, or several in a list."""
        found: Any = super().__getitem__(index)
        return self._guarded(found) if isinstance(index, slice) else found

    def __add__(self, other: Iterable[nn.Module]) -> nn.ModuleList:
        """Returns these modules and others in a list."""
        return self._guarded(GuardedModules(super().__add__(other)))

    def _guarded(self, part: nn.ModuleList) -> nn.ModuleList:
        own = self.__dict__.get("requires_grad_")
        groups = own.groups if isinstance(own, SharedDepthGuard) else self
        part.__dict__["requires_grad_"] = SharedDepthGuard(part, groups)
        return part


def guard_depths(encoder: Any) -> None:
    """Guards every module of every depth of an `AlbertTransformer` with a module for each."""
    encoder.albert_layer_groups = groups = _guarded(encoder.albert_layer_groups)
    for group in encoder.albert_layer_groups:
        group.albert_layers = _guarded(group.albert_layers)
        for module in group.modules():
            module.__dict__["requires_grad_"] = SharedDepthGuard(module, groups)


def _guarded(modules: nn.ModuleList) -> GuardedModules:
    found = GuardedModules(modules)
    found.training = modules.training
    return found


def save_depths_apart(encoder: Any) -> None:
    """Makes the state dict hold a tensor of its own for each depth.

    `save_pretrained` refuses tensors that are shared in a way that the class does not declare, and
    `from_pretrained` makes a group for each depth, which needs its weights.
    """
    if _copy_shared not in encoder._state_dict_hooks.values():
        # Public under another name from torch 2.5 on; 2.4 is supported.
        encoder._register_state_dict_hook(_copy_shared)


def _copy_shared(
    encoder: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Replaces tensors of depths that an earlier depth has too by copies."""
    del encoder, metadata
    seen = set()
    for name, tensor in state.items():
        if not name.startswith(f"{prefix}albert_layer_groups.") or not _is_copied(tensor):
            continue
        place = (tensor.device, tensor.data_ptr())
        if place in seen:
            state[name] = tensor.clone()
        seen.add(place)


def _is_copied(tensor: object) -> bool:
    """Returns whether a value of a state dict is detached, as without `keep_vars`, and has data."""
    return (
        isinstance(tensor, torch.Tensor)
        and not isinstance(tensor, nn.Parameter)
        and tensor.device.type != "meta"
    )
