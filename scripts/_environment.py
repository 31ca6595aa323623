"""Makes `.venv` beside this folder and installs adapterhub in it; quick when that is done.

    python3 scripts/_environment.py core    what users need
    python3 scripts/_environment.py dev     that, and what the tests need

Needs Python 3.10 and its standard library only. `.venv/adapterhub-<set>` holds a digest of all
that the installation depends on; where it fits, nothing is done. `.venv/adapterhub-unfinished`
stands there while something is being installed, so that an environment whose installation was
cut off is made again from nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / "adapterhub-unfinished"
LOG = ROOT / "build" / "install.log"
LOCK = ROOT / ".venv.lock"
TORCH = "torch==2.13.0"
EXTRAS = {"core": "", "dev": "[dev]"}


def main(wanted: str) -> int:
    """Returns 0 once the environment holds the set that is `wanted`."""
    if is_ready(wanted):
        return 0
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            print(
                f"{sys.executable} cannot make a virtual environment: its module '{module}' is "
                f"missing. On Debian and Ubuntu `apt install python3-venv` adds it; any other "
                f"Python from 3.10 can be named with PYTHON=…",
                file=sys.stderr,
            )
            return 2
    with locked():
        if is_ready(wanted):
            return 0
        try:
            make_environment(wanted)
        except subprocess.CalledProcessError:
            # It failed in order, so what is installed is whole and the next run goes on from it.
            UNFINISHED.unlink(missing_ok=True)
            tail = "\n".join(LOG.read_text(errors="replace").splitlines()[-25:])
            print(f"{tail}\n\nThe installation failed; all of it: {LOG}", file=sys.stderr)
            return 1
    return 0


def is_ready(wanted: str) -> bool:
    """Returns whether `.venv` holds the set as the project's files describe it now."""
    if UNFINISHED.exists() or not PYTHON.exists():
        return False
    # What tests need contains what users need.
    stamps = [VENV / f"adapterhub-{name}" for name in {wanted, "dev"}]
    return any(stamp.is_file() and stamp.read_text() == digest() for stamp in stamps)


def digest() -> str:
    """Returns a digest of what the installation depends on, the project's own place included."""
    parts = [str(ROOT).encode(), TORCH.encode()]
    parts += [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def make_environment(wanted: str) -> None:
    """Makes `.venv` where it is missing or unfinished, and installs the set in it.

    Raises:
        CalledProcessError: A step failed; its output is in the log.
    """
    LOG.parent.mkdir(exist_ok=True)
    LOG.write_text("")
    say(f"adapterhub: installing into {VENV} (once; some minutes)")
    if UNFINISHED.exists() or run_quietly([str(PYTHON), "--version"]) != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        UNFINISHED.touch()
        say(f"  Python {sys.version.split()[0]}")
        run([sys.executable, "-m", "venv", str(VENV)])
    UNFINISHED.touch()
    if run_quietly([str(PYTHON), "-m", "pip", "--version"]) != 0:
        run([str(PYTHON), "-m", "ensurepip"])
    # Alone and first: by its plain name pip takes whichever build of it this machine offers,
    # and later requirements find it there.
    say(f"  {TORCH}")
    install(TORCH)
    say(f"  adapterhub{EXTRAS[wanted]}")
    install("--editable", f".{EXTRAS[wanted]}")
    (VENV / f"adapterhub-{wanted}").write_text(digest())
    UNFINISHED.unlink()


def install(*what: str) -> None:
    """Installs packages at the versions of constraints.txt.

    Raises:
        CalledProcessError: pip failed.
    """
    # Relative, because pip splits some paths at spaces; `run` works in the project's folder.
    options = ["--constraint", "constraints.txt", "--disable-pip-version-check", "--no-input"]
    # Without it, a pip before 23.1 builds seqeval, which has no wheel, in a way that fails now.
    options += ["--use-pep517"]
    run([str(PYTHON), "-m", "pip", "install", *options, "--progress-bar", "off", *what])


def run(command: list[str]) -> None:
    """Runs a command in the project's folder, its output going to the log.

    Raises:
        CalledProcessError: It failed.
    """
    code = run_quietly(command)
    if code != 0:
        raise subprocess.CalledProcessError(code, command)


def run_quietly(command: list[str]) -> int:
    """Returns the exit code of a command, its output going to the log."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    with LOG.open("a") as log:
        try:
            return subprocess.run(
                command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ).returncode
        except OSError as error:
            print(error, file=log)
            return 127


@contextmanager
def locked() -> Iterator[None]:
    """Lets one process at a time install; the lock goes with its process, however that ends."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        yield
        return
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Prints a line of progress at once."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] not in [["core"], ["dev"]]:
        sys.exit("usage: _environment.py core|dev")
    sys.exit(main(sys.argv[1]))
