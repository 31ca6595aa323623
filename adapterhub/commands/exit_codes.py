"""Where exceptions end: one line on stderr, an exit code, and no traceback for expected faults."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from adapterhub.commands.printing import note, to_stdout
from adapterhub.commands.stopping import Stopped
from adapterhub.errors import AdapterHubError, ConstantHeadWarning, DataError
from adapterhub.remote.operation import operation

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""
PIPE_CLOSED = 141
"""128 + SIGPIPE: what a program gets that is killed because nobody reads on."""
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# Typer brings its own copy of click from some version on, and shows the root of click's
# errors under no name of its own.
_CLICK_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class CommandLine(TyperGroup):
    """The group of all verbs; turns every exception into a message and an exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs one command line and exits with its code."""
        given = args[0] if args else extra.get("args")
        words = sys.argv[1:] if given is None else list(given)
        as_json = "--json" in words
        extra["standalone_mode"] = False
        _speak_utf8()
        # A verb is one operation, however often it looks a task up.
        with warnings.catch_warnings(), _log_as_notes(), operation():
            warnings.simplefilter("always", ConstantHeadWarning)
            warnings.showwarning = _show_warning
            code = _exit_code(
                lambda: super(CommandLine, self).main(*args, **extra), as_json=as_json
            )
        sys.exit(code)

    def invoke(self, ctx: Any) -> Any:
        """Runs one verb; a reader that went away (`| head`) ends it in silence."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                with to_stdout() as stdout:
                    stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
            raise typer.Exit(PIPE_CLOSED) from None
        return result


class _Notes(logging.Handler):
    """Shows each message of our own log once: a verb may look a task up more than once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._shown: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._shown:
            self._shown.add(message)
            note(f"adapterhub: {message}")


@contextlib.contextmanager
def _log_as_notes() -> Iterator[None]:
    log, notes = logging.getLogger("adapterhub"), _Notes()
    level = log.level
    log.addHandler(notes)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(notes)


def _exit_code(command: Callable[[], Any], *, as_json: bool) -> int:
    try:
        result = command()
        # `--version` and `--help` end before a verb's own flush.
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except AdapterHubError as error:
        _drop_unwritable()
        _report(type(error).__name__, str(error), as_json=as_json)
        return error.exit_code
    except _CLICK_ERROR as error:
        _report("UsageError", _usage_problem(error), as_json=as_json)
        return 2
    except Stopped as stopped:
        _drop_unwritable()
        return stopped.code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            # For instance a name that is too long, or a folder that may not be looked into.
            failed = DataError(str(error.filename), f"the system refuses it: {error.strerror}")
        elif error.errno in _UNWRITABLE:
            # The words of --help go past `printing`.
            _drop_stdout()
            failed = DataError("stdout", f"it cannot be written: {error.strerror or error}")
        else:
            raise
        _report(type(failed).__name__, str(failed), as_json=as_json)
        return failed.exit_code
    return result if isinstance(result, int) else 0


def _report(name: str, message: str, *, as_json: bool) -> None:
    line = " ".join(message.split())
    text = json.dumps({"error": name, "message": line}) if as_json else f"adapterhub: {line}"
    note(text)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows our own warnings as one line; others as Python does, since they are for developers."""
    if isinstance(message, ConstantHeadWarning):
        _report(category.__name__, str(message), as_json=False)
    else:
        del file  # Python gives none
        note(warnings.formatwarning(message, category, filename, lineno, line).rstrip())


def _usage_problem(error: Any) -> str:
    """Returns what was wrong with a command line, the nearest option, and where to read on."""
    possible = getattr(error, "possibilities", None)
    message = str(error.message if possible else error.format_message()).rstrip(".")
    if possible:
        message += f". Did you mean {possible[0]}?"
    elif not message.endswith("?"):
        message += "."
    context = getattr(error, "ctx", None)
    return f"{message} See `{context.command_path} --help`." if context else message


def _speak_utf8() -> None:
    """Makes stdout UTF-8 whatever the locale is, as JSON and texts of all languages need it."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # Names of files may hold bytes that are no UTF-8.
        reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_unwritable() -> None:
    """Drops what is left for stdout if it cannot be written, so that no error comes twice."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    # Otherwise Python tries once more at its end to write what is left, and complains.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
