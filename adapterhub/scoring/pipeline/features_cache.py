"""Pooled features of the windows of scored rows on disk, for tasks that are added later.

A file holds the features of one window of rows on one tap of a trunk, under the digest of the
strings that were read; so it is found again whatever the input file, its columns and its parts are
called, and memory does not grow with the input. Its bytes are checked whenever they are read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from adapterhub.choices.rows import choice_pairs
from adapterhub.errors import DataError
from adapterhub.plan import KEPT_POOLINGS, Reading, TapName, Trunk
from adapterhub.store.atomic import make_folder, reason, sweep, write_atomic
from adapterhub.store.jsonsafe import read_json_object

if TYPE_CHECKING:
    from adapterhub.model.execution.passes import TapFeatures
    from adapterhub.model.execution.stages import ResidentCall

_LOG = logging.getLogger(__name__)

_ABOUT = "about.json"
_FORMAT = {"format": "adapterhub features", "format_version": 1}
_NAMES = ("values", "rows", "firsts", "sizes", "truncated")
_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class FeaturesCache:
    """A folder of features; any number of processes may use it at once.

    Attributes:
        folder: The folder.
        encoder: What all features depend on: the backbone, the dtype and the number of windows.
    """

    folder: Path
    encoder: Mapping[str, object]

    @classmethod
    def open(cls, folder: Path, call: ResidentCall) -> FeaturesCache:
        """Opens the folder for the encoder of a call, and makes it where it is missing.

        Raises:
            DataError: It holds something else, or cannot be written.
        """
        context = call.context
        spec, dtype = context.encoder.spec, str(context.encoder.dtype).removeprefix("torch.")
        open_folder(folder)
        return cls(
            folder,
            {
                "backbone": spec.name,
                "fingerprint": spec.fingerprint,
                "dtype": dtype,
                "max_windows": context.max_windows,
            },
        )

    def window(self) -> WindowFeatures:
        """Returns where the features of one window of rows are found and kept."""
        return WindowFeatures(self)

    def place(self, reading: Reading) -> tuple[Path, dict[str, object]]:
        """Returns the folder of the features of one reading, and what it holds."""
        own = {
            "max_length": reading.max_length,
            "overlap": reading.overlap,
            "fields": len(reading.fields),
            "apart": reading.apart,
            **({"choices": True} if reading.choices else {}),
        }
        about = {**_FORMAT, **self.encoder, **own}
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        return self.folder / key[:16], about


class WindowFeatures:
    """The features of one window of rows, of all trunks of a call; see `stages.Features`."""

    def __init__(self, cache: FeaturesCache) -> None:
        self._cache = cache
        self._texts: dict[Reading, str] = {}
        self._taken: list[tuple[Reading, TapName, TapFeatures]] = []

    def find(self, trunk: Trunk, inputs: Sequence[tuple[str, ...]]) -> dict[TapName, TapFeatures]:
        """Returns the features that tasks of a trunk can be computed from without any pass."""
        texts = self._texts[trunk.reading] = _digest(
            choice_pairs(inputs) if trunk.reading.choices else inputs
        )
        folder, _ = self._cache.place(trunk.reading)
        taps = [tap.name for tap in trunk.taps if tap.pooling in KEPT_POOLINGS]
        paths = {tap: folder / _name(texts, tap) for tap in taps}
        paths = {tap: path for tap, path in paths.items() if path.is_file()}
        found: dict[TapName, TapFeatures] = {}
        for tap in trunk.only(trunk.replayable(paths)).taps if trunk.replayable(paths) else ():
            features = _read(paths[tap.name], texts)
            # Those of another size of batches cannot be computed beside the others.
            if features is not None and all(_fits(features, one) for one in found.values()):
                found[tap.name] = features
        return found

    def keep(self, reading: Reading, tap: TapName, features: TapFeatures) -> None:
        """Takes the features of one tap."""
        if reading in self._texts:
            self._taken.append((reading, tap, features))

    def write(self) -> None:
        """Writes what was taken, each tap whole or not at all.

        Raises:
            DataError: The folder cannot be written.
        """
        for reading, tap, features in self._taken:
            folder, about = self._cache.place(reading)
            path = folder / _name(self._texts[reading], tap)
            try:
                if not folder.is_dir():
                    make_folder(folder)
                    versions = {name: version(name) for name in ("adapterhub", "torch")}
                    _write_json(folder / _ABOUT, {**about, "begun_by": versions})
                data = _encode(features, self._texts[reading])
                write_atomic(path, data, replace=True, sync_name=False)
            except OSError as error:
                raise _unwritable(self._cache.folder, error) from error
        self._taken.clear()


def open_folder(folder: Path) -> None:
    """Makes or checks the folder of a cache.

    Raises:
        DataError: It holds something else, or cannot be written.
    """
    about = folder / _ABOUT
    if folder.exists() and not folder.is_dir():
        raise DataError(folder, "it is a file; name a folder for the features cache")
    try:
        make_folder(folder)
        if about.exists():
            found = _read_about(about)
            if any(found.get(name) != value for name, value in _FORMAT.items()):
                raise DataError(
                    folder,
                    f"it is no features cache of this version of adapterhub, says {_ABOUT}; name "
                    f"another folder",
                )
        elif any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DataError(
                folder, "it holds other files; name a new or empty folder for the features cache"
            )
        else:
            _write_json(about, _FORMAT)
        # What a killed process has left.
        for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
            sweep(place)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _read_about(path: Path) -> dict[str, object]:
    try:
        return read_json_object(path.read_bytes())
    except ValueError as error:
        raise DataError(path, f"it cannot be read: {error}; name another folder") from error


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    write_atomic(path, json.dumps(content, indent=2).encode() + b"\n", replace=True)


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(folder, f"the features cache cannot be written: {reason(error)}")


def _digest(inputs: Sequence[tuple[str, ...]]) -> str:
    """Returns the digest of the strings of a window."""
    data = [text.encode() for row in inputs for text in row]
    sizes = np.fromiter(map(len, data), np.int64, len(data))
    return hashlib.sha256(b"".join([sizes.tobytes(), *data])).hexdigest()


def _name(texts: str, tap: TapName) -> str:
    depth, pooling = tap
    return f"{texts}.depth{depth}-{pooling}{_SUFFIX}"


def _encode(features: TapFeatures, texts: str) -> bytes:
    tensors = {name: np.ascontiguousarray(getattr(features, name)) for name in _NAMES}
    metadata = {"texts": texts, "sha256": _checksum(tensors)}
    data: bytes = safetensors.numpy.save(tensors, metadata)
    return data


def _checksum(tensors: Mapping[str, Any]) -> str:
    found = hashlib.sha256()
    for name in _NAMES:
        found.update(f"{name} {tensors[name].dtype} {tensors[name].shape} ".encode())
        found.update(tensors[name])
    return found.hexdigest()


def _read(path: Path, texts: str) -> TapFeatures | None:
    """Returns the features in a file; None, with a warning, where it is damaged."""
    from adapterhub.model.execution.passes import TapFeatures

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in _NAMES}
        if metadata.get("texts") == texts and metadata.get("sha256") == _checksum(tensors):
            return TapFeatures(**tensors)
        problem = "its bytes are not those that were written"
    except (SafetensorError, OSError) as error:
        problem = str(error)
    _LOG.warning("%s is damaged, so its features are computed anew: %s", path, problem)
    return None


def _fits(one: TapFeatures, other: TapFeatures) -> bool:
    """Returns whether both have the same windows in the same batches."""
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("rows", "sizes")
    )
