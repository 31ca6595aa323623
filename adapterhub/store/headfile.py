"""Head files: one task in one self-describing, content-addressed `.safetensors` file.

Bytes are read once into memory, checked against the registry's promise, and those same bytes
are parsed: a file that changes underneath can neither crash the process nor change a head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import safetensors.torch
import torch
from pydantic import JsonValue
from safetensors import SafetensorError

from adapterhub.errors import HeadFileError, IntegrityError
from adapterhub.shapes import NGRAM_KEYS
from adapterhub.specs import AdapterSpec, TaskSpec
from adapterhub.store.adapter_names import PREFIX
from adapterhub.store.atomic import reason, write_atomic
from adapterhub.store.header import (
    LENGTH_BYTES,
    SPEC_KEY,
    Header,
    TensorEntry,
    check_suffix,
    check_tensors,
    read_bytes,
    read_header,
)

_DTYPE_NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True, eq=False)
class HeadFile:
    """A head file that passed every check.

    Attributes:
        spec: The task, as the header says it.
        tensors: Every tensor by name, on the CPU, in the dtype of the file; read-only mapping.
        sha256: Digest of the whole file.
        size: Size of the whole file in bytes.
        source: Where it came from, for messages.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    sha256: str
    size: int
    source: str


def encode_head(spec: TaskSpec, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Returns the bytes of the head file of a task; equal input gives equal bytes.

    Raises:
        HeadFileError: The spec or the tensors are not what a head file may hold.
    """
    source = f"of task '{spec.task}' (not written yet)"
    entries = {name: _describe(name, tensor, source) for name, tensor in tensors.items()}
    check_tensors(entries, spec, source)
    own = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    try:
        text = spec.model_dump_json()
        plain = safetensors.torch.save(own)
    except (SafetensorError, ValueError) as error:
        raise HeadFileError(source, f"it cannot be encoded: {error}") from error
    data = with_metadata(plain, {SPEC_KEY: text, "format": "pt"})
    # A spec can be made without its checks (model_copy), so the reader has the last word.
    parse_head(data, source=source)
    return data


def parse_head(data: bytes, *, source: str) -> HeadFile:
    """Returns the head file that `data` holds.

    Args:
        data: The whole file.
        source: Where it came from, for messages.

    Raises:
        HeadFileError: It is damaged, unsafe, inconsistent, or holds NaN or infinity.
    """
    digest = hashlib.sha256(data).hexdigest()
    return read_tensors(data, read_header(data, source), sha256=digest, source=source)


def read_head(path: Path, *, sha256: str | None = None, size: int | None = None) -> HeadFile:
    """Returns the head file at `path`; the bytes are read once and never mapped.

    Args:
        path: The file.
        sha256: Digest that the bytes must have, if known.
        size: Size in bytes that they must have, if known.

    Raises:
        IntegrityError: The bytes are not those promised.
        HeadFileError: The file cannot be read, or is damaged, unsafe or inconsistent.
    """
    data = read_bytes(path, sha256=sha256, size=size)
    return parse_head(data, source=str(path))


def write_head(path: Path, spec: TaskSpec, tensors: Mapping[str, torch.Tensor]) -> HeadFile:
    """Writes a head file, whole or not at all, and returns it as read back.

    Writing the same bytes again is fine. Other bytes under an existing name are refused: a
    head file is never rewritten.

    Args:
        path: The file, `*.safetensors`; its folder must exist.
        spec: The task.
        tensors: Exactly the tensors of `specs.tensor_shapes(spec)`.

    Raises:
        HeadFileError: The content is refused, another file has the name, or the system
            cannot write it.
    """
    check_suffix(path)
    data = encode_head(spec, tensors)
    digest = hashlib.sha256(data).hexdigest()
    try:
        write_atomic(path, data, replace=False)
    except FileExistsError:
        try:
            return read_head(path, sha256=digest, size=len(data))
        except IntegrityError as error:
            raise HeadFileError(
                path,
                "a file with other content has this name, and head files are never rewritten. "
                "Choose another name, or add a version with `add_version`.",
            ) from error
    except OSError as error:
        raise HeadFileError(path, f"it cannot be written: {reason(error)}") from error
    return read_head(path, sha256=digest, size=len(data))


def with_metadata(plain: bytes, metadata: Mapping[str, str]) -> bytes:
    """Returns the bytes of a safetensors file with metadata, the same in every process."""
    # safetensors itself writes metadata in the order of a hash map.
    end = LENGTH_BYTES + int.from_bytes(plain[:LENGTH_BYTES], "little")
    entries = json.loads(plain[LENGTH_BYTES:end])
    content = {"__metadata__": dict(metadata), **entries}
    header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + plain[end:]


def read_tensors(data: bytes, header: Header, *, sha256: str, source: str) -> HeadFile:
    """Returns the head file that `data` holds, once its header is read.

    Args:
        data: The whole file.
        header: What `read_header` gave for it.
        sha256: Its digest.
        source: Where it came from, for messages.

    Raises:
        HeadFileError: The tensors are damaged, altered, or hold NaN or infinity.
    """
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise HeadFileError(
            source, f"its tensors cannot be read: {error}. Copy or fetch it again."
        ) from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise HeadFileError(
                source,
                f"tensor '{name}' holds NaN or infinity; every text would get the same answer. "
                f"Train the task again with a lower learning rate, or in float32.",
            )
    keys = tensors.get(NGRAM_KEYS)
    # A search by halves finds nothing among keys in another order.
    if keys is not None and (int(keys[0]) < 1 or bool((keys.diff() < 1).any())):
        raise HeadFileError(
            source,
            f"tensor '{NGRAM_KEYS}' is not ascending from 1 on. It was altered; fetch or train "
            f"it again.",
        )
    adapter = header.spec.adapter
    if adapter is not None and digest_of(adapter, tensors) != adapter.digest:
        raise HeadFileError(
            source,
            f"its adapter is not the one that its header names (sha256 {adapter.digest[:12]}…). "
            f"It was altered; fetch or train it again.",
        )
    return HeadFile(header.spec, MappingProxyType(tensors), sha256, len(data), source)


def _describe(name: str, tensor: torch.Tensor, source: str) -> TensorEntry:
    if not isinstance(tensor, torch.Tensor):
        found = type(tensor).__name__
        raise HeadFileError(source, f"'{name}' is a {found}, expected a torch.Tensor")
    dtype = _DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype))
    return TensorEntry(dtype, tuple(tensor.shape))


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
