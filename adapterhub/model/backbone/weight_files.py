"""The safetensors files of a checkpoint, one or several, as one table of tensors."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Container, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from adapterhub.errors import BackboneError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARDS = "model-*.safetensors"
"""Pattern of the files that an index names."""

_POINTER = b"version https://git-lfs"
_SHARD = re.compile(r"\w[\w.-]*\.safetensors")

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
# What transformers 4 needs to open them; transformers 5 cannot.
_ELSEWHERE = {
    "tf_model.h5": ("TensorFlow", "from_tf", "tensorflow tf-keras"),
    "tf_model.h5.index.json": ("TensorFlow", "from_tf", "tensorflow tf-keras"),
    "flax_model.msgpack": ("Flax", "from_flax", "flax"),
    "flax_model.msgpack.index.json": ("Flax", "from_flax", "flax"),
}


@contextmanager
def open_weights(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the open file of every tensor by the tensor's name, while it is open.

    Raises:
        BackboneError: There are no weights, they are in a pickle, a file is missing or damaged, or
            two files have the same tensor.
    """
    source = str(folder)
    promised = _promised_tensors(folder)
    with ExitStack() as stack:
        found: dict[str, Any] = {}
        try:
            for name, tensors in promised.items():
                _check_pointer(folder / name, source)
                file = stack.enter_context(safe_open(folder / name, framework="pt"))
                _check_file(name, set(file.keys()), tensors, known=found, source=source)
                found |= dict.fromkeys(file.keys(), file)
            yield found
        except (SafetensorError, OSError, ValueError) as error:
            raise BackboneError(source, f"the weights cannot be loaded: {error}") from error


def check_weights(folder: Path) -> None:
    """Checks that the files with weights are there; they are not opened.

    Raises:
        BackboneError: One is missing.
    """
    _promised_tensors(folder)


def no_weights_on_hub(name: str) -> str:
    """Returns what to do with a repository that has no weights in safetensors."""
    return (
        f"no {WEIGHTS_FILE} in the repository. If its weights are in a pickle (pytorch_model.bin), "
        f"which is never opened here, convert them once: adapterhub convert {name} NEW_FOLDER"
    )


def has_weights(folder: Path) -> bool:
    """Returns whether a folder has weights in safetensors."""
    return (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()


def _check_pointer(path: Path, source: str) -> None:
    """Refuses what `git clone` leaves in the place of a large file without Git LFS."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise BackboneError(
                source, f"{path.name} is a pointer of Git LFS, not the file; fetch it: git lfs pull"
            )


def _check_file(
    name: str, keys: Set[str], promised: Set[str], *, known: Container[str], source: str
) -> None:
    """Refuses a file without the tensors that the index names, or with one of another file."""
    missing = sorted(promised - keys)
    if missing:
        raise BackboneError(
            source, f"{name} has no {missing[0]}, which {INDEX_FILE} names in it; fetch it again"
        )
    twice = sorted(key for key in keys if key in known)
    if twice:
        raise BackboneError(source, f"{twice[0]} is in two weight files, one of them {name}")


def _promised_tensors(folder: Path) -> dict[str, set[str]]:
    """Returns the names of the weight files, with the tensors that an index names in each."""
    if (folder / WEIGHTS_FILE).is_file():
        return {WEIGHTS_FILE: set()}
    if (folder / INDEX_FILE).is_file():
        return _shards(folder)
    raise BackboneError(str(folder), _no_weights(folder))


def _shards(folder: Path) -> dict[str, set[str]]:
    source = str(folder)
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        files: dict[str, set[str]] = {}
        for tensor, name in index["weight_map"].items():
            files.setdefault(name, set()).add(tensor)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(source, f"{INDEX_FILE} cannot be read: {error!r}") from error
    for name in files:
        # The index is untrusted: it may only name files beside it.
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise BackboneError(
                source, f"{INDEX_FILE} names {name!a}, which is no safetensors file beside it"
            )
        if not (folder / name).is_file():
            raise BackboneError(source, f"no {name}, which {INDEX_FILE} names; fetch it again")
    if not files:
        raise BackboneError(source, f"{INDEX_FILE} names no file")
    return files


def _no_weights(folder: Path) -> str:
    """Returns what to do in a folder without weights in safetensors."""
    if any((folder / name).is_file() for name in _PICKLES):
        return (
            f"no {WEIGHTS_FILE}; its weights are in a pickle, which is never opened here. Convert "
            f"it once: adapterhub convert {shlex.quote(str(folder))} NEW_FOLDER"
        )
    for name, (kind, option, packages) in _ELSEWHERE.items():
        if (folder / name).is_file():
            return (
                f"no {WEIGHTS_FILE}; {name} is a checkpoint of {kind}. Convert it once, in an "
                f'environment with pip install "transformers<5" torch {packages}: AutoModel.'
                f"from_pretrained({str(folder)!r}, {option}=True).save_pretrained(NEW_FOLDER); "
                f"copy the tokenizer's files there, too"
            )
    return f"no {WEIGHTS_FILE}; add it"
