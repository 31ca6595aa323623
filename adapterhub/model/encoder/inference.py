"""Computing without a graph, and in the precision of the weights whatever the caller set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

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
            with (
                torch.autocast("cpu", enabled=False),
                torch.autocast("cuda", enabled=False),
            ):
                return function(*args, **options)

    return run
