"""`convert`: a folder with weights in a pickle to one with weights in safetensors."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from adapterhub.errors import BackboneError, UsageError, check_type
from adapterhub.importing.converted_settings import (
    COPIED,
    OLD_CONFIGS,
    config_name,
    copy_files,
    fit_tokenizer,
    write_config,
)
from adapterhub.importing.pickled_folder import (
    INDEX_FILE,
    PICKLE_FILE,
    SAFE_FILES,
    pickled_files,
    read_json,
)
from adapterhub.importing.unpickle_process import unpickle
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.config import CONFIG_FILE, read_config
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.backbone.sources import hub_name, is_folder, locate
from adapterhub.model.backbone.weight_files import WEIGHTS_FILE
from adapterhub.store.atomic import reason
from adapterhub.store.jsonsafe import shown
from adapterhub.store.new_folder import is_free, new_folder
from adapterhub.store.paths import absolute_path

MAX_SECONDS = 600.0
"""Time limit of reading a pickle; one of 350 MB takes less than 20 on two busy cores."""
_SPARE_BYTES = 2**30
_COPIES = 3
"""Of the file in memory: mapped, made contiguous, and on its way to the disk."""
_FETCHED = (CONFIG_FILE, OLD_CONFIGS, PICKLE_FILE, INDEX_FILE, "pytorch_model-*.bin", *COPIED)


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted checkpoint.

    Attributes:
        folder: Its folder.
        family: The `model_type` of its config.json.
        parameters: Numbers that the encoder has.
        size: Of its model.safetensors, in bytes.
        fingerprint: Identity of the backbone.
        tokenizer: Class of its tokenizer.
        left_out: What of the pickle is not in it, as Python writes names: what is no tensor of
            the model, and what transformers makes again when it loads.
        notes: What was decided where the source says nothing, one line each.
    """

    folder: Path
    family: str
    parameters: int
    size: int
    fingerprint: str
    tokenizer: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


@own_state
def convert(
    folder: str | Path,
    out: str | Path,
    *,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int | None = None,
) -> Converted:
    """Converts a pickled checkpoint to a folder that `open_backbone` opens; whole or not at all.

    The pickle is opened with `torch.load(weights_only=True)` in a process of its own, which has
    limits of time and memory and gives back tensors only. What is in it beside tensors never runs.

    Args:
        folder: A folder of transformers with `pytorch_model.bin` or its parts, config.json and a
            tokenizer; also `owner/name` or `owner/name@revision` on the Hub.
        out: Made; may exist if it is empty.
        max_seconds: Time limit of reading the pickle.
        max_bytes: Limit of the memory for reading it, beside that of Python and torch; None for
            three times its size and 1 GiB.

    Raises:
        UsageError: An argument is of another type, or not positive.
        BackboneError: The pickle carries code, is damaged, does not fit its config or reached a
            limit; the folder has no pickle; `out` is not empty or cannot be written.
        TokenizerError: There is no tokenizer that fits.
    """
    check_type(folder, (str, Path), "The checkpoint", "a folder or a name")
    _check_limits(max_seconds, max_bytes)
    target = absolute_path(out, "folder")
    _check_free(target)
    source = _located(folder)
    files = pickled_files(source)
    _check_family(source)
    if max_bytes is None:
        max_bytes = _COPIES * sum(path.stat().st_size for path in files) + _SPARE_BYTES
    with _new_folder(target) as temp:
        weights = temp / WEIGHTS_FILE
        left_out = unpickle(
            files, weights, source=str(source), max_seconds=max_seconds, max_bytes=max_bytes
        )
        names = _check_finite(weights, source)
        notes = write_config(source, temp, names)
        # safetensors makes files that only their owner may read.
        os.chmod(weights, stat.S_IMODE((temp / CONFIG_FILE).stat().st_mode))
        copy_files(source, temp)
        notes += fit_tokenizer(temp)
        backbone = _opened(temp, source)
        size = weights.stat().st_size
    return Converted(
        folder=target,
        family=backbone.spec.family,
        parameters=sum(tensor.numel() for tensor in backbone.weights.values()),
        size=size,
        fingerprint=backbone.spec.fingerprint,
        tokenizer=type(backbone.tokenizer).__name__,
        left_out=left_out,
        notes=tuple(notes),
    )


def _check_limits(max_seconds: object, max_bytes: object) -> None:
    check_type(max_seconds, (int, float), "max_seconds", "a number of seconds")
    check_type(max_bytes, (int, type(None)), "max_bytes", "a number of bytes")
    for name, value in (("max_seconds", max_seconds), ("max_bytes", max_bytes)):
        if isinstance(value, int | float) and not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{name} is {value}; expected more than 0.")


def _check_free(folder: Path) -> None:
    try:
        can_be_made = is_free(folder)
    except OSError as error:
        raise BackboneError(str(folder), f"it cannot be read: {reason(error)}") from error
    if not can_be_made:
        raise BackboneError(
            str(folder), "it is there already, and is no empty folder; choose a new name"
        )


def _located(folder: str | Path) -> Path:
    """Returns the folder of a checkpoint; what is no folder here and may be is on the Hub."""
    path = absolute_path(folder, "folder")
    if is_folder(folder) or path.exists() or hub_name(folder) is None:
        if path.is_file():
            raise BackboneError(
                str(folder),
                f"it is a file; give its folder, which has {CONFIG_FILE} and the tokenizer, too",
            )
        if not path.is_dir():
            raise BackboneError(str(folder), "no such folder")
        return path
    found, _ = locate(folder, only=(CONFIG_FILE, *SAFE_FILES))
    if any((found / name).exists() for name in SAFE_FILES):
        return found  # which is refused, without a pickle that nobody needs
    return locate(folder, only=_FETCHED)[0]


def _check_family(source: Path) -> None:
    """Refuses other models by their config, before a pickle of gigabytes is read."""
    name = config_name(source)
    if read_json(source, name).get("model_type") is not None and name == CONFIG_FILE:
        read_config(source)


def _check_finite(weights: Path, source: Path) -> list[str]:
    """Returns the names of tensors, all of whose values are finite numbers.

    Raises:
        BackboneError: One has NaN or infinity, or they cannot be read.
    """
    try:
        with safe_open(weights, framework="pt") as file:
            names = list(file.keys())
            bad = [name for name in names if not bool(torch.isfinite(file.get_tensor(name)).all())]
    except SafetensorError as error:
        raise BackboneError(str(source), f"its tensors cannot be loaded: {error}") from error
    if bad:
        raise BackboneError(
            str(source),
            f"its {shown(bad[0])} holds NaN or infinity ({len(bad)} of {len(names)} tensors do)",
        )
    return names


def _opened(temp: Path, source: Path) -> Backbone:
    """Opens a finished folder as the package opens any; errors name the source of it."""
    try:
        return open_backbone(temp)
    except BackboneError as error:
        problem = error.problem.replace(str(temp), str(source))
        raise type(error)(str(source), f"converted, it does not open: {problem}") from error


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    try:
        with new_folder(folder) as temp:
            yield temp
    except OSError as error:
        problem = f"it cannot be written: {reason(error)}"
        raise BackboneError(str(folder), problem) from error
