"""`convert`: a folder with weights in a pickle to one with weights in safetensors."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from adapterhub.errors import BackboneError
from adapterhub.importing.convert_checks import (
    MAX_SECONDS,
    OLD_CONFIGS,
    check_conversion,
    has_family,
    local_folder,
)
from adapterhub.importing.converted_settings import (
    COPIED,
    copy_files,
    fit_tokenizer,
    write_config,
)
from adapterhub.importing.pickled_folder import (
    INDEX_FILE,
    PICKLE_FILE,
    pickled_files,
)
from adapterhub.importing.unpickle_process import unpickle
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.config import CONFIG_FILE, read_config
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.backbone.sources import locate
from adapterhub.model.backbone.weight_files import WEIGHTS_FILE
from adapterhub.store.atomic import reason
from adapterhub.store.jsonsafe import shown
from adapterhub.store.new_folder import new_folder

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
    target = check_conversion(folder, out, max_seconds=max_seconds, max_bytes=max_bytes)
    source = local_folder(folder)
    if source is None:
        source, _ = locate(folder, only=_FETCHED)
    files = pickled_files(source)
    if has_family(source):
        read_config(source)
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
