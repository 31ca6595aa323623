"""Checkpoints as transformers saved them before safetensors, and files that only look so."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from tests.encoders import save_encoder

PICKLE = "pytorch_model.bin"
Tensors = dict[str, torch.Tensor]


class Runs:
    """What a pickle calls when it is opened."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def save_pickled(folder: Path, family: str = "albert", **changes: Any) -> Tensors:
    """Writes a random encoder as a pickle, with its tokenizer, and returns its tensors."""
    save_encoder(folder, family, **changes)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    torch.save(tensors, folder / PICKLE)
    return tensors


def copied(source: Path, folder: Path) -> Path:
    """Returns a copy of a folder."""
    shutil.copytree(source, folder)
    return folder


def change_config(folder: Path, *without: str, **changes: object) -> None:
    """Changes fields of config.json, and leaves some out."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: values[key] for key in values if key not in without}))


def as_zip(path: Path, content: object) -> None:
    torch.save(content, path)


def as_legacy(path: Path, content: object) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def as_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, 0))


def as_late_pickle(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, 4))


def as_tar(path: Path, content: object) -> None:
    """Writes the form of torch before 0.1.10, whose parts are three pickles in a tar file."""
    parts = {"storages": 0, "tensors": 0, "pickle": content}
    with tarfile.open(path, "w") as archive:
        for name, part in parts.items():
            data = pickle.dumps(part, 2)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


FORMS = (as_zip, as_legacy, as_pickle, as_late_pickle, as_tar)


def packed_again(path: Path, *, method: int = zipfile.ZIP_STORED, **changed: bytes) -> None:
    """Writes a zip file again; `data="…"` replaces the entry that ends in `/data`."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            key = name.rpartition("/")[2].replace(".", "_")
            archive.writestr(name, changed.get(key, data))
