"""The safetensors files of a checkpoint, one or several, as one table of tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from adapterhub.errors import BackboneError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARDS = "model-*.safetensors"
"""Pattern of the files that an index names."""

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_ELSEWHERE = {
    "tf_model.h5": "TensorFlow",
    "model.ckpt.index": "TensorFlow",
    "bert_model.ckpt.index": "TensorFlow",
    "flax_model.msgpack": "Flax",
}


@contextmanager
def open_weights(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the open file of every tensor by the tensor's name, while it is open.

    Raises:
        BackboneError: There are no weights, they are in a pickle, or a file is missing or damaged.
    """
    source = str(folder)
    names = _file_names(folder)
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        try:
            for name in names:
                file = stack.enter_context(safe_open(folder / name, framework="pt"))
                files |= dict.fromkeys(file.keys(), file)
            yield files
        except (SafetensorError, OSError, ValueError) as error:
            raise BackboneError(source, f"the weights cannot be loaded: {error}") from error


def _file_names(folder: Path) -> list[str]:
    """Returns the names of the weight files of a folder."""
    if (folder / WEIGHTS_FILE).is_file():
        return [WEIGHTS_FILE]
    if (folder / INDEX_FILE).is_file():
        return _shard_names(folder)
    raise BackboneError(str(folder), _no_weights(folder))


def _shard_names(folder: Path) -> list[str]:
    source = str(folder)
    try:
        index = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise BackboneError(source, f"{INDEX_FILE} cannot be read: {error!r}") from error
    for name in names:
        # The index is untrusted: it may only name files beside it.
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise BackboneError(source, f"{INDEX_FILE} names {name!a}, which is no file beside it")
        if not (folder / name).is_file():
            raise BackboneError(source, f"no {name}, which {INDEX_FILE} names; fetch it again")
    if not names:
        raise BackboneError(source, f"{INDEX_FILE} names no file")
    return names


def _no_weights(folder: Path) -> str:
    """Returns what to do in a folder without weights in safetensors."""
    if any((folder / name).is_file() for name in _PICKLES):
        return (
            f"no {WEIGHTS_FILE}; its weights are in a pickle, which is never opened here. Convert "
            f"it once: adapterhub convert {folder} NEW_FOLDER"
        )
    for name, kind in _ELSEWHERE.items():
        if (folder / name).is_file():
            return (
                f"no {WEIGHTS_FILE}; {name} is a {kind} checkpoint. Save it once with transformers "
                f"4: AutoModel.from_pretrained(folder, from_{'flax' if kind == 'Flax' else 'tf'}"
                f"=True).save_pretrained(new_folder)"
            )
    return f"no {WEIGHTS_FILE}; add it"
