"""Names of devices and dtypes: found, or refused with what there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapterhub.errors import UnsupportedDeviceError, UsageError
from adapterhub.model.backbone.devices import find_device, find_dtype


def test_the_cpu_is_always_there() -> None:
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_the_best_that_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert find_device("auto").type == expected


@pytest.mark.parametrize("name", ["", "gpu", "abacus", "cuda:x", "cuda:-1", "CPU", "meta", "xpu"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedDeviceError, match="expected cpu, cuda, cuda:<n>, mps or auto"):
        find_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UnsupportedDeviceError, match="0 CUDA devices are visible") as refused:
        find_device(name)
    assert refused.value.device == name


def test_a_gpu_is_counted_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UnsupportedDeviceError, match="2 CUDA devices are visible"):
        find_device("cuda:2")


def test_mps_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UnsupportedDeviceError, match="MPS is not available"):
        find_device("mps")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float32", torch.float32), ("float16", torch.float16), ("bfloat16", torch.bfloat16)],
)
def test_dtypes_by_name(name: str, dtype: torch.dtype) -> None:
    assert find_dtype(name) is dtype


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("float23", "Did you mean 'float32'"),
        ("bf16", "Expected float32, float16, bfloat16."),
        ("float64", "Expected float32, float16, bfloat16."),
        (torch.float16, "Did you mean 'float16'"),
        (None, "Unknown dtype 'None'"),
    ],
)
def test_another_dtype_is_refused(name: Any, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        find_dtype(name)
