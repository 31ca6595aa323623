"""`head.safetensors`: the head and the task spec beside an exported adapter.

PEFT has no place for them. With this file the folder can be imported again; it is not a head file,
since without the adapter the head would give other predictions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from adapterhub.errors import AdapterError
from adapterhub.shapes import tensor_shapes
from adapterhub.specs import TaskSpec
from adapterhub.store.adapter_names import PREFIX
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.header import LENGTH_BYTES, MAX_FILE_BYTES, MAX_HEADER_BYTES
from adapterhub.store.headfile import HeadFile, with_metadata
from adapterhub.store.jsonsafe import read_json_object

HEAD_FILE = "head.safetensors"
_KEY = "adapterhub_head"


@dataclass(frozen=True, slots=True, eq=False)
class ExportedHead:
    """The head of an exported task.

    Attributes:
        spec: The task without its adapter and known answers.
        tensors: The head's tensors, by their names in a head file.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]


def encode_exported_head(head: HeadFile) -> bytes:
    """Returns the bytes of head.safetensors for a task with an adapter."""
    own = {
        name: tensor.contiguous()
        for name, tensor in head.tensors.items()
        if not name.startswith(PREFIX)
    }
    spec = head.spec.model_copy(update={"adapter": None, "known_answers": (), "examples": ()})
    plain = safetensors.torch.save(own)
    return with_metadata(plain, {_KEY: spec.model_dump_json(), "format": "pt"})


def read_exported_head(folder: Path) -> ExportedHead | None:
    """Returns the head that an export left in a folder, or None where there is none.

    Raises:
        AdapterError: It is damaged, or not what an export writes.
    """
    path = folder / HEAD_FILE
    if not path.exists():
        return None
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise AdapterError(folder, f"{HEAD_FILE} cannot be read: {reason(error)}") from error
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    try:
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header claims {length} bytes")
        header = read_json_object(data[LENGTH_BYTES : LENGTH_BYTES + length])
        metadata = header.get("__metadata__")
        text = metadata.get(_KEY) if isinstance(metadata, dict) else None
        if not isinstance(text, str):
            raise ValueError(f"it has no metadata '{_KEY}'")
        spec = TaskSpec.model_validate_json(text)
        tensors = safetensors.torch.load(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise AdapterError(folder, f"{HEAD_FILE} is not valid: {first['msg']}") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(folder, f"{HEAD_FILE} cannot be read: {error}") from error
    for name, shape in tensor_shapes(spec).items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise AdapterError(folder, f"{HEAD_FILE} has no '{name}' of shape {shape}")
    return ExportedHead(spec, tensors)


def describe_head(spec: TaskSpec) -> str:
    """Returns what head.safetensors computes, in one sentence for people."""
    head = spec.head
    depths = "+".join(map(str, head.depths))
    hidden = f", a hidden layer of {head.hidden_width} ({head.activation})"
    ngrams = f", {head.ngrams} n-grams" if head.ngrams else ""
    return (
        f"{spec.kind} with {spec.outputs} outputs, {head.pooling} of depth {depths}"
        f"{hidden if head.hidden_width else ''}{ngrams}; "
        f"labels: {json.dumps(list(spec.labels)[:20])}"
    )
