"""Which adapter this is: equal digests compute the same, so they share one branch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from pydantic import JsonValue

from adapterhub.specs import AdapterSpec
from adapterhub.store.adapter_names import PREFIX


def adapter_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the adapter's tensors among those of a head file."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}


def adapter_digest(
    tensors: Mapping[str, torch.Tensor],
    *,
    method: str,
    depths: tuple[int, ...],
    config: Mapping[str, JsonValue],
) -> str:
    """Returns sha256 over an adapter's meaning: method, depths, configuration and tensors."""
    meaning = {"method": method, "depths": depths, "config": dict(config)}
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name, tensor in sorted(adapter_tensors(tensors).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        own = tensor.detach().to("cpu").contiguous().reshape(-1)
        digest.update(own.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def digest_of(spec: AdapterSpec, tensors: Mapping[str, torch.Tensor]) -> str:
    """Returns the digest that an adapter with these tensors must have."""
    return adapter_digest(tensors, method=spec.method, depths=spec.depths, config=spec.config)
