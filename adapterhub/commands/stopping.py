"""Signals that end the command line: it cleans up, and is gone within a second."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

from adapterhub.store.atomic import remove_held

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_GRACE = 0.5
"""Seconds in which the main thread may end by itself; it may be in a long call of torch."""


class Stopped(BaseException):
    """A signal ended the process. Not an error, so that nothing but `finally` sees it.

    Attributes:
        code: Exit code, 128 + number of the signal as shells count.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


class Signals:
    """What the first SIGINT, SIGTERM or SIGHUP does to a process that is a command line.

    Attributes:
        code: Exit code of the signal that came; None until one does.
        at_end: Set when the verb has ended. What is raised afterwards would reach nobody.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.at_end = False

    def watch(self) -> None:
        """Makes the first of them raise `Stopped` in the main thread.

        Python runs a handler only between two of its own instructions, so a thread ends the
        process where the main thread does not get there in time.
        """
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        for number in numbers:
            # What `nohup`, or a shell for a job in the background, ignores stays ignored.
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._stop)
        sys.unraisablehook = _show_others
        if os.name == "nt":
            return
        receiver, sender = os.pipe()
        os.set_blocking(sender, False)
        signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        threading.Thread(
            target=_end_late, args=(receiver, frozenset(numbers)), name="signals", daemon=True
        ).start()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for name in _NAMES:
            if hasattr(signal, name):
                # A second one would interrupt what cleans up.
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        stopped = Stopped(number)
        self.code = stopped.code
        if self.at_end or _is_importing(frame):
            _end(stopped.code)
        raise stopped


def _is_importing(frame: FrameType | None) -> bool:
    """Returns whether a module is being imported.

    Libraries in C take any exception in there for a failed import, and print a traceback.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _show_others(unraisable: UnraisableHookArgs) -> None:
    """Shows exceptions that cannot be raised, for instance of `__del__`, but not `Stopped`."""
    if not isinstance(unraisable.exc_value, Stopped):
        sys.__unraisablehook__(unraisable)


def _end_late(receiver: int, numbers: frozenset[int]) -> None:
    """Ends the process some time after a signal, if it still runs then."""
    while (number := os.read(receiver, 1)[0]) not in numbers:
        pass
    time.sleep(_GRACE)
    _end(Stopped(number).code)


def _end(code: int) -> None:
    remove_held()
    _end_children()
    os._exit(code)


def _end_children() -> None:
    """Ends the processes that this one has started, and those that they have, such as of Ray."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
