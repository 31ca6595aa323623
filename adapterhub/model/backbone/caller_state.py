"""State that the caller has set in torch: what we compute does not depend on it.

Settings of a thread are overridden in that thread. Settings of the process are overridden while
any call runs, in whatever thread, and restored after the last one: precision of fp32 products and
kinds of attention for every call, the default dtype for calls that run code of PEFT or
transformers.

A forked child inherits no threads but the locks and pools of threads, so it computes with one
thread; and refuses where a call of another thread was cut off by the fork.
"""

from __future__ import annotations

import functools
import os
import random
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from adapterhub.errors import UsageError

Params = ParamSpec("Params")
Result = TypeVar("Result")

_DEVICE_TYPES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class _Setting:
    """A setting of the process.

    Attributes:
        get: Returns it.
        set: Changes it.
        right: The values that calls can run with; the first is set where it is another.
    """

    get: Callable[[], object]
    set: Callable[[object], object]
    right: tuple[object, ...]


def _precision() -> tuple[_Setting, ...]:
    """Returns the settings that allow fp32 products in TF32 or bfloat16."""
    found = []
    try:
        for place in ("mkldnn", "cuda"):
            backend = getattr(torch.backends, place).matmul
            found.append(
                _Setting(
                    functools.partial(getattr, backend, "fp32_precision"),
                    functools.partial(setattr, backend, "fp32_precision"),
                    ("ieee", "none"),
                )
            )
            found[-1].get()
    except (AttributeError, AssertionError):  # before torch 2.9
        get, put = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        return (_Setting(get, put, ("highest",)),)  # type: ignore[arg-type]
    return tuple(found)


def _attention() -> tuple[_Setting, ...]:
    """Returns the settings that allow the kinds of attention, which `sdpa_kernel` restricts."""
    backend = torch.backends.cuda  # its name; the CPU reads them too
    kinds = (
        (backend.flash_sdp_enabled, backend.enable_flash_sdp),
        (backend.mem_efficient_sdp_enabled, backend.enable_mem_efficient_sdp),
        (backend.math_sdp_enabled, backend.enable_math_sdp),
    )
    return tuple(_Setting(get, put, (True,)) for get, put in kinds)  # type: ignore[arg-type]


class _Held:
    """Holds settings at their right values while any call runs; it costs microseconds."""

    def __init__(self, settings: tuple[_Setting, ...]) -> None:
        self._settings = settings
        self._before: dict[int, object] = {}
        self._threads: dict[int, int] = {}
        self._cut_off = False
        self._has_run = False
        self._is_forked = False
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def __enter__(self) -> None:
        if self._is_forked:
            self._settle()
        self._has_run = True
        own = threading.get_ident()
        with self._lock:
            self._threads[own] = self._threads.get(own, 0) + 1
            for number, setting in enumerate(self._settings):
                found = setting.get()
                if found not in setting.right:
                    self._before[number] = found
                    setting.set(setting.right[0])

    def __exit__(self, *error: object) -> None:
        own = threading.get_ident()
        with self._lock:
            left = self._threads.get(own, 1) - 1
            if left:
                self._threads[own] = left
            else:
                self._threads.pop(own, None)
            if self._threads:
                return
            for number, before in self._before.items():
                setting = self._settings[number]
                # Otherwise the caller has changed it meanwhile, in another thread.
                if setting.get() in setting.right:
                    setting.set(before)
            self._before.clear()

    def _after_fork(self) -> None:
        # The lock may be held by a thread that the child does not have.
        self._lock = threading.Lock()
        own = threading.get_ident()
        self._cut_off = self._cut_off or any(thread != own for thread in self._threads)
        self._threads = {own: self._threads[own]} if own in self._threads else {}
        self._is_forked = True
        if self._has_run:
            # At once, because reading a head file computes too, before any call.
            _use_one_thread()

    def _settle(self) -> None:
        """Prepares a call in a forked child, whose number of threads the caller may have set.

        Raises:
            UsageError: The fork cut off a call of another thread, whose locks nobody will release.
        """
        if self._cut_off:
            raise UsageError(
                "This process was forked while another thread of its parent was scoring or "
                "training, so locks of torch may be held for ever. Fork while no call runs, or "
                "start processes with multiprocessing's 'spawn' or 'forkserver'."
            )
        _use_one_thread()


def _use_one_thread() -> None:
    # OpenMP would wait for the threads of its pool, which only the parent has.
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


class ForkedLock:
    """A lock that is free in a forked child, whoever held it in the parent.

    For what is consistent at any moment: the holder's change is then made whole or not at all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Makes it free."""
        self._lock = threading.Lock()


_LOCKS: weakref.WeakSet[ForkedLock] = weakref.WeakSet()


def _renew_locks() -> None:
    for lock in list(_LOCKS):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)

_ARITHMETIC = _Held((*_precision(), *_attention()))
_DTYPE = _Held(
    (_Setting(torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),)  # type: ignore[arg-type]
)


def inference(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Wraps a function to run in inference mode, whatever precision and autocast the caller has.

    Products write into buffers of a fixed dtype, which autocast would not keep.
    """

    @functools.wraps(function)
    def run(*args: Params.args, **options: Params.kwargs) -> Result:
        with _ARITHMETIC, torch.inference_mode():
            if not any(map(torch.is_autocast_enabled, _DEVICE_TYPES)):
                return function(*args, **options)
            with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                return function(*args, **options)

    return run


def own_state(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Wraps a function to run as in a fresh process, and to leave the caller's state as it was.

    For loading and training: gradients are on, tensors are ordinary ones, of fp32 and on the CPU
    where nothing else is said; random numbers that are drawn are not missing elsewhere.
    """

    @functools.wraps(function)
    def run(*args: Params.args, **options: Params.kwargs) -> Result:
        with ExitStack() as stack:
            for held in (_ARITHMETIC, _DTYPE, torch.inference_mode(False), torch.enable_grad()):
                stack.enter_context(held)
            for kind in _DEVICE_TYPES:
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            stack.enter_context(torch.random.fork_rng(_own_generators()))
            stack.callback(random.setstate, random.getstate())
            # Of libraries that draw from it, such as scikit-learn.
            stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
            stack.enter_context(
                np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
            )
            return function(*args, **options)

    return run


def _own_generators() -> list[int]:
    """Returns the CUDA devices whose random numbers a call may draw."""
    initialized = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [torch.cuda.current_device()] if initialized else []
