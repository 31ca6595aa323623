"""Reads pickles in a process that needs no time to start."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

from adapterhub.importing import unpickle
from tests.soak.figures import processes


def read_at_once(
    request: str, folder: Path, seconds: float
) -> subprocess.CompletedProcess[bytes] | None:
    """Does what `unpickle_process._run` does, in a fork of a process that has imported torch."""
    with tempfile.NamedTemporaryFile() as out:
        reader = processes().Process(target=_read, args=(request, out.name))
        reader.start()
        reader.join(seconds)
        if reader.is_alive():
            reader.kill()
            return None
        assert reader.exitcode is not None
        return subprocess.CompletedProcess([], reader.exitcode, out.read(), b"")


def _read(request: str, out: str) -> None:
    # The parent of this process is the one that it is forked from.
    request = json.dumps({**json.loads(request), "parent": os.getppid()})
    with open(out, "w") as file, contextlib.redirect_stdout(file):
        unpickle.main(request)
