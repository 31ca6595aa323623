"""Reads a pickled checkpoint and writes its tensors as safetensors: a process of its own.

The one place that opens a pickle. `torch.load(weights_only=True)` makes tensors and containers
only; whatever else may be wrong with the file ends this process, which has limits of time, memory
and file size, and has nothing to give but a file of tensors and one line of JSON. Nothing imports
this module: `unpickle_process.py` runs it.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from adapterhub.importing.pickle_scan import Refused, carries_code, check_pickle
from adapterhub.importing.state_dicts import (
    kept_tensors,
    owned_tensors,
    read_state_dict,
    without_wrapper,
)
from adapterhub.store.jsonsafe import shown

_OUT_OF_MEMORY = ("allocate memory", "bad_alloc")
_POLL_SECONDS = 0.25


class TooBig(Exception):
    """A checkpoint needs more memory than it may take."""


def main(text: str) -> None:
    """Converts what a request says and prints the outcome; both are JSON objects."""
    request = json.loads(text)
    threading.Thread(target=_end_with_parent, args=(request["parent"],), daemon=True).start()
    torch.set_num_threads(1)  # so that seconds of the clock and of the processor are the same
    _limit(request["seconds"], request["bytes"])
    outcome: dict[str, object]
    try:
        outcome = {"left_out": _convert(request)}
    except Refused as error:
        outcome = {"refused": str(error)}
    except (TooBig, MemoryError):
        outcome = {"too_big": True}
    sys.stdout.write(f"\n{json.dumps(outcome)}")


def _convert(request: Mapping[str, Any]) -> list[str]:
    """Writes the tensors of some files to one, and returns what was left out."""
    tensors: dict[str, torch.Tensor] = {}
    left_out: list[str] = []
    for name in request["files"]:
        path = Path(name)
        found, rest = read_state_dict(_load(path), path.name)
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise Refused(f"{path.name} has {shown(twice[0])}, and another file has it too")
        tensors |= found
        left_out += rest
    tensors, dropped = kept_tensors(without_wrapper(tensors))
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > request["bytes"]:
        raise TooBig
    try:
        safetensors.torch.save_file(owned_tensors(tensors), request["out"], {"format": "pt"})
    except (RuntimeError, ValueError, safetensors.SafetensorError) as error:
        if _is_memory(error):
            raise TooBig from None
        raise Refused(f"its tensors cannot be written: {shown(str(error))}") from None
    return sorted({*left_out, *dropped})


def _load(path: Path) -> object:
    """Returns the content of a pickled checkpoint."""
    is_zip = check_pickle(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    # torch raises errors of many classes for a damaged file.
    except Exception as error:
        raise _meaning(error, path.name) from None


def _is_memory(error: Exception) -> bool:
    return any(part in str(error) for part in _OUT_OF_MEMORY)


def _meaning(error: Exception, file: str) -> Exception:
    """Returns what an error of torch means, without its advice to open the file anyway."""
    text = str(error)
    if _is_memory(error):
        return TooBig()
    found = re.search(r"GLOBAL (\S+)", text)
    if found is not None:
        return carries_code(file, [found[1]])
    reasons = text.partition("WeightsUnpickler error:")[2] or text
    lines = [line.strip() for line in reasons.splitlines() if line.strip()]
    line = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return Refused(
        f"{file} cannot be read; it is damaged, or not as torch.save writes it by default "
        f"({shown(line)})"
    )


def _limit(seconds: float, size: int) -> None:
    """Limits what this process may take from now on, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _lower(resource, "RLIMIT_CPU", math.ceil(seconds + time.process_time()))
    _lower(resource, "RLIMIT_FSIZE", size + 2**20)
    _lower(resource, "RLIMIT_CORE", 0)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # only Linux says how much is in use
        return
    _lower(resource, "RLIMIT_AS", pages * resource.getpagesize() + size)


def _lower(resource: Any, name: str, value: int) -> None:
    kind = getattr(resource, name, None)
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _end_with_parent(parent: int) -> None:
    """Ends this process when the one that waits for it has ended."""
    while os.name == "nt" or os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(sys.stdin.read())
