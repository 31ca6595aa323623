"""The header of a head file, and all checks that are made before safetensors parses the bytes.

Nothing here imports torch, so reading a task's spec starts fast.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from adapterhub.errors import HeadFileError, IntegrityError
from adapterhub.kinds import NEWEST_SCHEMA
from adapterhub.shapes import NGRAM_KEYS, tensor_shapes
from adapterhub.specs import TaskSpec
from adapterhub.store.adapter_names import PREFIX, adapter_problem
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.jsonsafe import read_json_object, shown

SUFFIX = ".safetensors"
SPEC_KEY = "adapterhub"
FIRST_SCHEMA, SCHEMA_VERSION = 1, NEWEST_SCHEMA
"""The oldest and the newest schema of specs that is read; `spec_text` says which is written."""
DTYPES = ("F32", "F16", "BF16")
KEY_DTYPES = ("I64",)
MAX_FILE_BYTES = 512 * 2**20
MAX_HEADER_BYTES = 4 * 2**20
"""Known answers of a tagging task with 150 labels take about 3 kB per token."""
MAX_TENSORS = 4096
LENGTH_BYTES = 8
"""A safetensors file starts with the length of its header in this many bytes."""

_QUOTES_PER_TENSOR = 12
"""Around its name, three keys and a dtype; and around the metadata, which is one tensor's worth."""
_BYTES_PER_TENSOR = 256
"""Outside of strings: at most eight sizes, two offsets, brackets."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_FOREIGN = (
    (b"PK\x03\x04", "is a zip file (pickles of PyTorch look like this)"),
    (b"\x80\x02", "is a pickle file"),
    (b"\x80\x03", "is a pickle file"),
    (b"\x80\x04", "is a pickle file"),
    (b"\x80\x05", "is a pickle file"),
    (b"\x1f\x8b", "is a gzip file"),
    (b"\x93NUMPY", "is a NumPy file"),
    (b"\x89HDF", "is an HDF5 file"),
    (b"<!", "is a web page"),
    (b"<html", "is a web page"),
)
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Type and shape of one tensor in the header.

    Attributes:
        dtype: Name of the dtype in safetensors, for instance `F32`.
        shape: Shape of the tensor.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Header:
    """The parsed header of a head file.

    Attributes:
        spec: The task spec, validated.
        tensors: Every tensor by name; exactly those that the spec requires.
    """

    spec: TaskSpec
    tensors: Mapping[str, TensorEntry]


def check_suffix(path: Path) -> None:
    """Checks that a file name ends in `.safetensors`, before the file is opened.

    Raises:
        HeadFileError: It has another suffix.
    """
    if path.suffix != SUFFIX:
        raise HeadFileError(
            path,
            f"its name ends in '{path.suffix}', expected '{SUFFIX}'. Other formats may run code "
            f"when they are read and are never opened; save the tensors with `write_head`.",
        )


def check_start(start: bytes, total: int, source: str) -> int:
    """Returns the header's length in bytes, from the first bytes of a file.

    Args:
        start: The first 32 bytes or more, or the whole file if it is shorter.
        total: Size of the whole file in bytes.
        source: Origin of the bytes, for messages.

    Raises:
        HeadFileError: The file is not a safetensors file, or exceeds a limit.
    """
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if start[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{":
        _refuse_foreign(start, total, source)
    if total > MAX_FILE_BYTES:
        raise HeadFileError(source, f"it is {total} bytes long; at most {MAX_FILE_BYTES} are read")
    if length > MAX_HEADER_BYTES:
        raise HeadFileError(
            source,
            f"its header claims {length} bytes; at most {MAX_HEADER_BYTES} are read. If you wrote "
            f"this task, give it fewer or shorter known answers.",
        )
    if length > total - LENGTH_BYTES:
        raise HeadFileError(
            source,
            f"it is cut short: {total} bytes, but its header alone claims {length}. "
            f"Copy or fetch it again.",
        )
    return length


def read_header(data: bytes, source: str) -> Header:
    """Returns the header of a head file, after all checks that need no tensor data.

    Raises:
        HeadFileError: The header or the spec is invalid, or a tensor is missing or unexpected.
    """
    length = check_start(data[:64], len(data), source)
    text_of_header = data[LENGTH_BYTES : LENGTH_BYTES + length]
    _check_amount(text_of_header, source)
    content = _read_json(text_of_header, "header", source)
    metadata = content.pop("__metadata__", None)
    text = metadata.get(SPEC_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise HeadFileError(
            source,
            "it is a safetensors file without a task spec (metadata key 'adapterhub'), so it was "
            "not written by adapterhub. Train a task, or write the file with `write_head`.",
        )
    if len(content) > MAX_TENSORS:
        raise HeadFileError(source, f"it holds {len(content)} tensors; at most {MAX_TENSORS}")
    spec = _read_spec(text, source)
    tensors = {name: _read_entry(name, entry, source) for name, entry in content.items()}
    check_tensors(tensors, spec, source)
    return Header(spec, tensors)


def _check_amount(header: bytes, source: str) -> None:
    """Counts what a header holds before it is parsed, which takes much longer.

    Raises:
        HeadFileError: It is more than MAX_TENSORS tensors can be.
    """
    # Quotes inside of strings, such as those of the task spec, have a backslash before them.
    quotes = header.count(b'"') - header.count(b'\\"')
    outside = len(header)
    if outside > MAX_TENSORS * _BYTES_PER_TENSOR and quotes <= MAX_TENSORS * _QUOTES_PER_TENSOR:
        outside -= sum(map(len, _STRING.findall(header)))
    if quotes > MAX_TENSORS * _QUOTES_PER_TENSOR or outside > MAX_TENSORS * _BYTES_PER_TENSOR:
        raise HeadFileError(
            source,
            f"its header of {len(header)} bytes holds more than {MAX_TENSORS} tensors can take",
        )


def check_tensors(tensors: Mapping[str, TensorEntry], spec: TaskSpec, source: str) -> None:
    """Checks that `tensors` are exactly those that `spec` requires.

    Raises:
        HeadFileError: A tensor is missing, unknown, of another shape or of another dtype.
    """
    expected = tensor_shapes(spec)
    owner = f"task '{spec.task}' ({spec.kind}, {spec.outputs} outputs)"
    for name, shape in expected.items():
        if name not in tensors:
            raise HeadFileError(source, f"tensor '{name}' is missing; {owner} needs it as {shape}")
        if tensors[name].shape != shape:
            found = tensors[name].shape
            raise HeadFileError(source, f"tensor '{name}' is {found}; {owner} needs {shape}")
    changes = {name for name in tensors if name.startswith(PREFIX)} if spec.adapter else set()
    if spec.adapter is not None:
        problem = adapter_problem(spec.adapter, {name: tensors[name].shape for name in changes})
        if problem is not None:
            raise HeadFileError(source, problem)
    for name, entry in tensors.items():
        if name not in expected and name not in changes:
            raise HeadFileError(
                source,
                f"it holds the tensor {shown(name)} {entry.shape}, which {owner} does not have",
            )
        dtypes = KEY_DTYPES if name == NGRAM_KEYS else DTYPES
        if entry.dtype not in dtypes:
            raise HeadFileError(
                source,
                f"tensor '{name}' has the dtype {shown(entry.dtype)}; a head file holds "
                f"{', '.join(dtypes)} there. Convert it first.",
            )


def _refuse_foreign(start: bytes, total: int, source: str) -> NoReturn:
    if start.startswith(_LFS_POINTER):
        raise HeadFileError(
            source, "this is a Git LFS pointer, not the file itself. Run `git lfs pull`."
        )
    for magic, name in _FOREIGN:
        if start.startswith(magic):
            raise HeadFileError(
                source,
                f"this {name}, not a safetensors file. Such files may run code when they are "
                f"read and are never opened; save the tensors with `write_head`.",
            )
    raise HeadFileError(
        source, f"this is not a safetensors file ({total} bytes). Copy or fetch it again."
    )


def _read_json(text: str | bytes, part: str, source: str) -> dict[str, object]:
    try:
        return read_json_object(text)
    except ValueError as error:
        raise HeadFileError(
            source, f"its {part} is not valid JSON: {error}. Copy or fetch it again."
        ) from error


def spec_text(spec: TaskSpec) -> str:
    """Returns the spec of a task as its head file has it, in the oldest schema that can hold it.

    An adapterhub that does not know what it needs says that the file is newer.
    """
    version = spec.schema_needed
    if version == FIRST_SCHEMA:
        return spec.model_dump_json()
    content = {**spec.model_dump(mode="json"), "schema_version": version}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _read_spec(text: str, source: str) -> TaskSpec:
    content = _read_json(text, "task spec", source)
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise HeadFileError(
            source,
            f"made by a newer adapterhub (schema {version}; this one reads {SCHEMA_VERSION}). "
            f"Upgrade with `pip install -U adapterhub`.",
        )
    if type(version) is not int or version < FIRST_SCHEMA:
        raise HeadFileError(
            source, f"its schema_version is {shown(version)}, expected 1 to {SCHEMA_VERSION}"
        )
    if version != FIRST_SCHEMA:
        # In memory a spec has no schema of its own: what is written follows from its content.
        text = json.dumps({**content, "schema_version": FIRST_SCHEMA})
    try:
        return TaskSpec.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = f"{place}: {first['msg']}" if place else first["msg"]
        raise HeadFileError(source, f"its task spec is not valid: {problem}") from error
    except ValueError as error:
        raise HeadFileError(source, f"its task spec is not valid: {error}") from error


def _read_entry(name: str, entry: object, source: str) -> TensorEntry:
    if isinstance(entry, dict):
        dtype, shape = entry.get("dtype"), entry.get("shape")
        if isinstance(dtype, str) and isinstance(shape, list) and _are_sizes(shape):
            return TensorEntry(dtype, tuple(shape))
    raise HeadFileError(
        source, f"its header describes the tensor {shown(name)} wrongly. Copy or fetch it again."
    )


def _are_sizes(shape: list[object]) -> bool:
    return len(shape) <= 8 and all(type(size) is int and size >= 0 for size in shape)


def read_bytes(path: Path, *, sha256: str | None = None, size: int | None = None) -> bytes:
    """Returns the bytes of the head file at `path` without parsing them.

    Args:
        path: The file.
        sha256: Expected digest of the bytes, if known.
        size: Expected size in bytes, if known.

    Raises:
        IntegrityError: The size or the digest differs.
        HeadFileError: The file cannot be read, or cannot be a head file.
    """
    check_suffix(path)
    try:
        data = _read_bytes(path, sha256, size)
    except OSError as error:
        raise HeadFileError(path, f"it cannot be read: {reason(error)}") from error
    if sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != sha256:
        raise IntegrityError(
            path,
            f"its sha256 is {found}, the registry promises {sha256}. The file was damaged or "
            f"exchanged; fetch it again or restore it from a copy.",
        )
    return data


def _read_bytes(path: Path, sha256: str | None, size: int | None) -> bytes:
    with open_regular(path) as file:
        total = os.fstat(file.fileno()).st_size
        if size is not None and total != size:
            promise = f"{size} bytes" + (f" with sha256 {sha256}" if sha256 else "")
            raise IntegrityError(
                path,
                f"it is {total} bytes long, the registry promises {promise}. The file was damaged "
                f"or exchanged; fetch it again or restore it from a copy.",
            )
        if sha256 is None:
            # Without an expected digest, the size of a hostile file is bounded before it is read.
            check_start(file.read(64), total, str(path))
            file.seek(0)
        if total > MAX_FILE_BYTES:
            raise HeadFileError(path, f"it is {total} bytes long; at most {MAX_FILE_BYTES}")
        return file.read(MAX_FILE_BYTES + 1)
