"""Device and dtype names -> torch's own, and computing there without a graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from adapterhub.errors import UnsupportedDeviceError, UsageError, nearest

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def find_device(name: str) -> torch.device:
    """Returns the device named `cpu`, `cuda`, `cuda:<n>`, `mps`, or the best one for `auto`.

    Raises:
        UnsupportedDeviceError: There is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnsupportedDeviceError(name, "expected cpu, cuda, cuda:<n>, mps or auto") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedDeviceError(
            name, f"{torch.cuda.device_count()} CUDA devices are visible; use device='cpu'"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedDeviceError(name, "MPS is not available; use device='cpu'")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UnsupportedDeviceError(name, "expected cpu, cuda, cuda:<n>, mps or auto")
    return device


def find_dtype(name: str) -> torch.dtype:
    """Returns the dtype named `float32`, `float16` or `bfloat16`.

    Raises:
        UsageError: Any other name.
    """
    if name not in DTYPES:
        hint = nearest(str(name), DTYPES)
        raise UsageError(
            f"Unknown dtype '{name}'. Expected {', '.join(DTYPES)}."
            + (f" Did you mean '{hint}'?" if hint else "")
        )
    return DTYPES[name]


Given = ParamSpec("Given")
Found = TypeVar("Found")

_DEVICE_TYPES = ("cpu", "cuda")


def inference(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """Returns a function that runs in inference mode, and outside any autocast of its caller.

    Products write into buffers of their own type, which autocast would change under them.
    """

    @functools.wraps(function)
    def run(*args: Given.args, **options: Given.kwargs) -> Found:
        with torch.inference_mode():
            if not any(map(torch.is_autocast_enabled, _DEVICE_TYPES)):
                return function(*args, **options)
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                return function(*args, **options)

    return run
