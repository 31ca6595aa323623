"""Runs `unpickle.py` on a pickled checkpoint, in a process that is stopped at its limits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from adapterhub.errors import BackboneError
from adapterhub.store.atomic import reason
from adapterhub.store.jsonsafe import read_json_object, shown

_MODULE = "adapterhub.importing.unpickle"
_LONGEST = 1_000_000.0
"""Seconds; systems cannot wait for as long as a float can say."""
_LARGEST = 2**60
"""Bytes; systems cannot limit a process to as many as an int can say."""


def unpickle(
    files: Sequence[Path], out: Path, *, source: str, max_seconds: float, max_bytes: int
) -> tuple[str, ...]:
    """Writes the tensors of a pickled checkpoint as safetensors, and returns what was left out.

    Args:
        files: The checkpoint, or its parts.
        out: The file to write, in a folder that holds nothing else.
        source: What errors name.
        max_seconds: Time limit, by the clock.
        max_bytes: Limit of the memory that it takes beside Python and torch, and of `out`.

    Raises:
        BackboneError: It carries code, is damaged, or reached a limit.
    """
    max_seconds, max_bytes = min(max_seconds, _LONGEST), min(max_bytes, _LARGEST)
    request = {
        "files": [str(path) for path in files],
        "out": str(out),
        "seconds": max_seconds,
        "bytes": max_bytes,
        "parent": os.getpid(),
    }
    name = files[0].name if len(files) == 1 else f"{files[0].name} and others"
    try:
        done = _run(json.dumps(request), out.parent, max_seconds)
    except OSError as error:
        problem = f"no process can be started to read {name}: {reason(error)}"
        raise BackboneError(source, problem) from error
    if done is None:
        raise BackboneError(
            source,
            f"{name} took longer than {max_seconds:g} s to read, and was stopped; allow more with "
            f"--max-seconds (max_seconds=…)",
        )
    try:
        outcome = read_json_object(done.stdout.rpartition(b"\n")[2])
    except ValueError:
        outcome = {}
    if "too_big" in outcome:
        raise BackboneError(
            source,
            f"{name} needs more than {max_bytes:,} bytes of memory; allow more with --max-bytes "
            f"(max_bytes=…) if that is its size",
        )
    if "refused" in outcome:
        raise BackboneError(source, str(outcome["refused"]))
    left_out = outcome.get("left_out")
    if done.returncode != 0 or not isinstance(left_out, list):
        raise BackboneError(source, f"{name} cannot be read: {_last_words(done)}")
    return tuple(map(str, left_out))


def _run(request: str, folder: Path, seconds: float) -> subprocess.CompletedProcess[bytes] | None:
    """Returns a process that has ended; None if it was stopped at its limit of time."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", _MODULE],
            input=request.encode("ascii"),
            capture_output=True,
            timeout=seconds,
            check=False,
            # `-m` imports from the working folder first, and the caller's may be a stranger's.
            cwd=folder,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        return None
    by_processor = hasattr(signal, "SIGXCPU") and done.returncode == -signal.SIGXCPU
    return None if by_processor else done


def _environment() -> dict[str, str]:
    """Returns the environment of a process that imports what this one does, with one thread."""
    # Without the working folder, which Python calls "", but with the folder of this package.
    paths = [*filter(os.path.isabs, sys.path), str(Path(__file__).parents[2])]
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def _last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Returns why a process ended without an outcome."""
    if done.returncode < 0:
        return (
            f"the process that reads it was ended by signal {-done.returncode}, as happens where "
            f"memory runs out"
        )
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return shown(lines[-1]) if lines else f"its process ended with code {done.returncode}"
