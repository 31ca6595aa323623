"""Programs in a process of their own, with an empty home and a Hub on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_OURS = ("HF_", "HUGGING", "ADAPTERHUB_", "TRANSFORMERS_", "XDG_")


def run_fresh(words: list[str], folder: Path, *, url: str, token: str | None = None) -> str:
    """Returns what a program printed that runs in `folder`, whose `home` is its home."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "HOME": str(folder / "home"),
        "HF_ENDPOINT": url,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **({} if token is None else {"HF_TOKEN": token}),
    }
    done = subprocess.run(words, cwd=folder, env={**kept, **own}, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def run_python(code: str, folder: Path, *, url: str, token: str | None = None) -> str:
    """Returns what a piece of Python printed; see `run_fresh`."""
    return run_fresh([sys.executable, "-c", code], folder, url=url, token=token)
