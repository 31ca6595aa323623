"""Names of devices and dtypes -> torch's objects; names are checked without torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adapterhub.errors import UnsupportedDeviceError, UsageError, check_type, nearest

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")
_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:\d{1,4})?")
_EXPECTED = "expected cpu, cuda, cuda:<n>, mps or auto"


def check_device(name: str) -> None:
    """Checks the form of a device's name; whether the device is here, only torch knows.

    Raises:
        UnsupportedDeviceError: It is no name of a device.
    """
    if not _DEVICE.fullmatch(name):
        raise UnsupportedDeviceError(name, _EXPECTED)


def check_dtype(name: str) -> None:
    """Checks the name of a dtype.

    Raises:
        UsageError: The name is not `float32`, `float16` or `bfloat16`.
    """
    if not isinstance(name, str) or name not in DTYPES:
        hint = nearest(str(name), DTYPES)
        raise UsageError(
            f"Unknown dtype '{name}'. Expected {', '.join(DTYPES)}."
            + (f" Did you mean '{hint}'?" if hint else "")
        )


def find_device(name: str) -> torch.device:
    """Returns the device `cpu`, `cuda`, `cuda:<n>` or `mps`; `auto` picks CUDA, then MPS, then CPU.

    Raises:
        UnsupportedDeviceError: The device is not known or not available.
        UsageError: It is no name.
    """
    import torch

    check_type(name, (str, torch.device), "device", "cpu, cuda, cuda:<n>, mps or auto")
    check_device(str(name))
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedDeviceError(
            name, f"{torch.cuda.device_count()} CUDA devices are visible; use device='cpu'"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedDeviceError(name, "MPS is not available; use device='cpu'")
    return device


def find_dtype(name: str) -> torch.dtype:
    """Returns the dtype named `float32`, `float16` or `bfloat16`.

    Raises:
        UsageError: The name is none of these.
    """
    import torch

    check_dtype(name)
    dtype: torch.dtype = getattr(torch, name)
    return dtype
