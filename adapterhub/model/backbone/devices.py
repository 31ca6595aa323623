"""Names of devices and dtypes -> torch's objects."""

from __future__ import annotations

import torch

from adapterhub.errors import UnsupportedDeviceError, UsageError, check_type, nearest

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def find_device(name: str) -> torch.device:
    """Returns the device `cpu`, `cuda`, `cuda:<n>` or `mps`; `auto` picks CUDA, then MPS, then CPU.

    Raises:
        UnsupportedDeviceError: The device is not known or not available.
        UsageError: It is no name.
    """
    check_type(name, (str, torch.device), "device", "cpu, cuda, cuda:<n>, mps or auto")
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
        UsageError: The name is none of these.
    """
    if not isinstance(name, str) or name not in DTYPES:
        hint = nearest(str(name), DTYPES)
        raise UsageError(
            f"Unknown dtype '{name}'. Expected {', '.join(DTYPES)}."
            + (f" Did you mean '{hint}'?" if hint else "")
        )
    return DTYPES[name]
