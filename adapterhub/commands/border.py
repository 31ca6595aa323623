"""Where exceptions end: one line on stderr, an exit code, and no traceback for expected faults."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from adapterhub.errors import AdapterHubError, ConstantHeadWarning

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""
PIPE_CLOSED = 141
"""128 + SIGPIPE: what a program gets that is killed because nobody reads on."""

# Typer brings its own copy of click from some version on, and shows the root of click's
# errors under no name of its own.
_CLICK_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


class CommandLine(TyperGroup):
    """The group of all verbs; ends every fault as this module says."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs one command line and exits with its code."""
        given = args[0] if args else extra.get("args")
        words = sys.argv[1:] if given is None else list(given)
        as_json = "--json" in words
        extra["standalone_mode"] = False
        _speak_utf8()
        with warnings.catch_warnings():
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
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
            raise typer.Exit(PIPE_CLOSED) from None
        return result


def _exit_code(command: Callable[[], Any], *, as_json: bool) -> int:
    try:
        result = command()
    except AdapterHubError as error:
        _report(type(error).__name__, str(error), as_json=as_json)
        return error.exit_code
    except _CLICK_ERROR as error:
        _report("UsageError", _usage_problem(error), as_json=as_json)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _report(name: str, message: str, *, as_json: bool) -> None:
    line = " ".join(message.split())
    text = json.dumps({"error": name, "message": line}) if as_json else f"adapterhub: {line}"
    # Nothing is left to tell, and nobody to tell it to, where stderr is closed.
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _show_warning(message: Warning | str, category: type[Warning], *place: Any) -> None:
    """Shows our own warnings as one line; others as Python does, since they are for developers."""
    if isinstance(message, ConstantHeadWarning):
        _report(category.__name__, str(message), as_json=False)
    else:
        text = warnings.formatwarning(message, category, *place[:2])
        with contextlib.suppress(OSError, ValueError):
            print(text, end="", file=sys.stderr, flush=True)  # noqa: T201


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
    """Makes stdout UTF-8 whatever the locale says, as JSON and texts of all languages need it."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        # Names of files may hold bytes that are no UTF-8.
        reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_stdout() -> None:
    # Otherwise Python tries once more at its end to write what is left, and complains.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
