"""The state dict in a checkpoint, as transformers would save it again."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from adapterhub.importing.pickle_scan import Refused
from adapterhub.store.jsonsafe import shown

_WRAPPERS = ("_orig_mod.", "module.", "model.", "0.auto_model.")
"""Prefixes that torch.compile, DataParallel, Lightning and sentence-transformers put first."""
_TIED = ("decoder.weight", "decoder.bias", "vocab_projector.weight", "generator_lm_head.weight")
"""Output layers that transformers shares with the token table, and makes again when it loads."""
_BUFFERS = ("position_ids", "token_type_ids")
_DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
_DTYPES |= {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}


def read_state_dict(content: object, file: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Returns the tensors of a checkpoint by name, and what else is in it.

    Args:
        content: The state dict of a model, or a dictionary with one among its values.
        file: Name of its file, for messages.

    Raises:
        Refused: It has none, or more than one.
    """
    if not isinstance(content, dict):
        raise Refused(f"{file} holds a {type(content).__name__}, expected tensors by name")
    nested = [key for key, value in content.items() if _is_state_dict(value)]
    is_one = any(map(_is_weight, content.values()))
    if len(nested) + is_one > 1:
        several = ", ".join([*map(shown, nested), *(["those beside them"] if is_one else [])])
        raise Refused(f"{file} holds several sets of tensors ({several}); save one of them")
    if not nested and not is_one:
        what = "the state of an optimizer" if "param_groups" in content else "no tensors by name"
        raise Refused(f"{file} holds {what}, expected the state_dict of a model")
    if nested:
        tensors, left_out = read_state_dict(content[nested[0]], file)
        taken = {nested[0]}
    else:
        named = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
        for key, tensor in named.items():
            _check_tensor(key, tensor, file)
        tensors = {key: tensor.detach() for key, tensor in named.items()}
        left_out, taken = [], set(named)
    return tensors, [*left_out, *(shown(key) for key in content if key not in taken)]


def _is_weight(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim > 0


def _is_state_dict(value: object) -> bool:
    """Returns whether a value is tensors by name."""
    return isinstance(value, dict) and any(
        isinstance(key, str) and _is_weight(tensor) for key, tensor in value.items()
    )


def _check_tensor(name: object, tensor: torch.Tensor, file: str) -> None:
    if not isinstance(name, str):
        raise Refused(f"{file} has a tensor under {shown(name)}, expected a name")
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        raise Refused(f"{file} has {shown(name)} as a {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise Refused(f"{file} has {shown(name)} sparse or quantized; expected a plain tensor")
    if tensor.device.type != "cpu":
        raise Refused(f"{file} has {shown(name)} without its values, on '{tensor.device}'")
    if tensor.dtype not in _DTYPES:
        raise Refused(f"{file} has {shown(name)} in {tensor.dtype}; expected plain floats")


def without_wrapper(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the tensors under the names that the model itself has."""
    found = dict(tensors)
    for prefix in (*_WRAPPERS, *_WRAPPERS):
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def kept_tensors(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Returns the tensors as transformers saves them, and the names of the others.

    Left out are output layers that are another tensor too, and numbers of positions.
    """
    owners = {_place(tensor) for name, tensor in tensors.items() if not name.endswith(_TIED)}
    kept, dropped = {}, []
    for name, tensor in tensors.items():
        is_tied = name.endswith(_TIED) and tensor.numel() and _place(tensor) in owners
        is_buffer = name.endswith(_BUFFERS) and not tensor.is_floating_point()
        if is_tied or is_buffer:
            dropped.append(shown(name))
        else:
            kept[name] = tensor
    return kept, dropped


def _place(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def owned_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns tensors each of which has its memory for itself, as safetensors needs them."""
    used: set[int] = set()
    owned = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        size = tensor.numel() * tensor.element_size()
        if not tensor.is_contiguous() or storage.nbytes() != size or storage.data_ptr() in used:
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        used.add(tensor.untyped_storage().data_ptr())
        owned[name] = tensor
    return owned
