"""`python -m adapterhub` is the command `adapterhub`."""

from __future__ import annotations

import signal


def main() -> None:
    """Runs the command line of this process and exits."""
    # Nothing is written before the command line is imported, which takes half a second; Python's
    # own handler would print a traceback of it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from adapterhub.cli import main as run

    run()


if __name__ == "__main__":
    main()
