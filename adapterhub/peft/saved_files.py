"""The files that PEFT saves in a folder, read as untrusted bytes; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.header import LENGTH_BYTES, MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_TENSORS
from adapterhub.store.jsonsafe import read_json_object

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
_MAX_CONFIG_BYTES = 2**20

Reads = Literal["text", "tokens", "choices", "answers"]
"""What a model predicts for: a whole text, every token, each choice beside a prompt, or spans of a
context."""

_ENDINGS: Mapping[str, Reads] = MappingProxyType(
    {
        "ForSequenceClassification": "text",
        "ForTokenClassification": "tokens",
        "ForMultipleChoice": "choices",
        "ForQuestionAnswering": "answers",
    }
)
CLASSIFIERS: Mapping[str, Reads] = MappingProxyType(
    {
        f"{family.title}{ending}": reads
        for family in FAMILIES.values()
        for ending, reads in _ENDINGS.items()
    }
)
"""Classes of transformers whose classifier can be a head, and what it reads."""


def is_peft_folder(folder: Path) -> bool:
    """Returns whether a folder looks like one that PEFT saved."""
    return any((folder / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE, PICKLE_FILE))


def saved_config(folder: Path) -> dict[str, Any]:
    """Returns the configuration in a folder, not yet compared with PEFT's.

    Raises:
        AdapterError: It is missing or not valid JSON.
    """
    try:
        found = read_json_object(_read_bytes(folder / CONFIG_FILE, _MAX_CONFIG_BYTES))
    except ValueError as error:
        raise AdapterError(folder, f"{CONFIG_FILE} is not valid JSON: {error}") from error
    # Some versions of PEFT say so in the file, and ignore it when they read it.
    found.pop("runtime_config", None)
    return found


def saved_weights(folder: Path) -> bytes:
    """Returns the bytes of the weights in a folder, whose header was read.

    Raises:
        AdapterError: They are missing, a pickle, or cut short.
    """
    path = folder / WEIGHTS_FILE
    if not path.exists() and (folder / PICKLE_FILE).exists():
        raise AdapterError(
            folder,
            f"it has only {PICKLE_FILE}, a pickle, which may run code when it is read and is never "
            f"opened. Save it again with PEFT's save_pretrained, which writes {WEIGHTS_FILE}.",
        )
    data = _read_bytes(path, MAX_FILE_BYTES)
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - LENGTH_BYTES):
        raise AdapterError(
            folder, f"{WEIGHTS_FILE} is no safetensors file, or is cut short ({len(data)} bytes)"
        )
    try:
        header = read_json_object(data[LENGTH_BYTES : LENGTH_BYTES + length])
        if len(header) > MAX_TENSORS + 1:
            raise ValueError(f"it holds {len(header)} tensors, more than {MAX_TENSORS}")
    except ValueError as error:
        raise AdapterError(folder, f"{WEIGHTS_FILE} cannot be read: {error}") from error
    return data


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise AdapterError(
            path.parent, f"no {path.name}; expected a folder that PEFT saved"
        ) from error
    except OSError as error:
        raise AdapterError(path.parent, f"{path.name} cannot be read: {reason(error)}") from error
    if len(data) > limit:
        raise AdapterError(path.parent, f"{path.name} is longer than {limit} bytes")
    return data
