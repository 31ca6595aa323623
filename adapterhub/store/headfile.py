"""Head files: one task in one self-describing, content-addressed `.safetensors` file.

The bytes are read once into memory, compared with the registry's sha256, and those same bytes are
parsed, so a file that changes meanwhile can neither crash the process nor alter a head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import JsonValue
from safetensors import SafetensorError

from adapterhub.errors import HeadFileError, IntegrityError, check_type
from adapterhub.shapes import COUNTS, NGRAM_KEYS
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
    spec_text,
)
from adapterhub.store.paths import absolute_path

if TYPE_CHECKING:
    import torch

_DTYPE_NAMES = {
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True, eq=False)
class HeadFile:
    """A head file that passed every check.

    Attributes:
        spec: The task spec in the header.
        tensors: Every tensor by name, on the CPU, in the dtype of the file; read-only mapping.
        sha256: Digest of the whole file.
        size: Size of the whole file in bytes.
        source: Origin of the file, for messages.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    sha256: str
    size: int
    source: str


def encode_head(spec: TaskSpec, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Returns the bytes of the head file of a task; equal input gives equal bytes.

    Raises:
        HeadFileError: The spec or the tensors are not allowed in a head file.
    """
    # Imported when tensors are read or written: a lookup needs neither, and it takes seconds.
    import safetensors.torch

    source = f"of task '{spec.task}' (not written yet)"
    entries = {name: _describe(name, tensor, source) for name, tensor in tensors.items()}
    check_tensors(entries, spec, source)
    own = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
    try:
        text = spec_text(spec)
        plain = safetensors.torch.save(own)
    except (SafetensorError, ValueError) as error:
        raise HeadFileError(source, f"it cannot be encoded: {error}") from error
    data = with_metadata(plain, {SPEC_KEY: text, "format": "pt"})
    # model_copy makes specs without validation, so the encoded bytes are validated by the reader.
    parse_head(data, source=source)
    return data


def parse_head(data: bytes, *, source: str) -> HeadFile:
    """Returns the head file in `data`, after every check.

    Args:
        data: The whole file.
        source: Origin of the bytes, for messages.

    Raises:
        HeadFileError: It is damaged, unsafe, inconsistent, or holds NaN or infinity.
    """
    digest = hashlib.sha256(data).hexdigest()
    return read_tensors(data, read_header(data, source), sha256=digest, source=source)


def read_head(path: str | Path, *, sha256: str | None = None, size: int | None = None) -> HeadFile:
    """Returns the head file at `path`; the bytes are read once and never mapped.

    Args:
        path: The file.
        sha256: Expected digest of the bytes, if known.
        size: Expected size in bytes, if known.

    Raises:
        IntegrityError: The size or the digest differs.
        HeadFileError: The file cannot be read, or is damaged, unsafe or inconsistent.
    """
    path = absolute_path(path, "head file")
    check_type(sha256, (str, type(None)), "The sha256", "64 hexadecimal digits")
    check_type(size, (int, type(None)), "The size", "a whole number of bytes")
    data = read_bytes(path, sha256=sha256, size=size)
    return parse_head(data, source=str(path))


def write_head(path: Path, spec: TaskSpec, tensors: Mapping[str, torch.Tensor]) -> HeadFile:
    """Writes a head file, whole or not at all, and returns it as read back.

    Writing the same bytes again has no effect. Other bytes under an existing name are refused,
    because head files are immutable.

    Args:
        path: The file, `*.safetensors`; its folder must exist.
        spec: The task.
        tensors: Exactly the tensors of `shapes.tensor_shapes(spec)`.

    Raises:
        HeadFileError: The content is refused, another file has the name, or the file cannot be
            written.
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
    """Returns a safetensors file with metadata added; the bytes are the same in every process."""
    # safetensors writes metadata in the order of a hash map, which differs between processes.
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
    import safetensors.torch
    import torch

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
                f"tensor '{name}' holds NaN or infinity; every text would get the same prediction. "
                f"Train the task again with a lower learning rate, or in float32.",
            )
    keys = tensors.get(NGRAM_KEYS)
    # Binary search requires ascending keys.
    if keys is not None and (int(keys[0]) < 1 or bool((keys.diff() < 1).any())):
        raise HeadFileError(
            source,
            f"tensor '{NGRAM_KEYS}' is not ascending from 1 on. It was altered; fetch or train "
            f"it again.",
        )
    counts = tensors.get(COUNTS)
    # No prediction depends on them, so known answers do not tell; further examples do.
    if counts is not None and bool(((counts < 1) | (counts != counts.round())).any()):
        raise HeadFileError(
            source,
            f"tensor '{COUNTS}' is not the number of examples of each label, 1 or more. It was "
            f"altered; fetch or train it again.",
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
    import torch

    if not isinstance(tensor, torch.Tensor):
        found = type(tensor).__name__
        raise HeadFileError(source, f"'{name}' is a {found}, expected a torch.Tensor")
    dtype = _DTYPE_NAMES.get(str(tensor.dtype), str(tensor.dtype))
    return TensorEntry(dtype, tuple(tensor.shape))


def adapter_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the tensors of a head file that belong to its adapter."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}


def adapter_digest(
    tensors: Mapping[str, torch.Tensor],
    *,
    method: str,
    depths: tuple[int, ...],
    config: Mapping[str, JsonValue],
) -> str:
    """Returns the sha256 of an adapter: method, depths, configuration and tensors."""
    import torch

    meaning = {"method": method, "depths": depths, "config": dict(config)}
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name, tensor in sorted(adapter_tensors(tensors).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        own = tensor.detach().to("cpu").contiguous().reshape(-1)
        digest.update(own.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def digest_of(spec: AdapterSpec, tensors: Mapping[str, torch.Tensor]) -> str:
    """Returns the digest of an adapter with these tensors."""
    return adapter_digest(tensors, method=spec.method, depths=spec.depths, config=spec.config)
