"""A file system without locks: what is left over blocks nothing, and a holder is named."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")

NO_LOCKS = """
import errno, fcntl, sys
from pathlib import Path
def refuse(descriptor, operation):
    raise OSError(getattr(errno, {code!r}), "no locks here")
fcntl.flock = refuse
from adapterhub.store import editing
editing.LOCK_TIMEOUT = 0.3
path = Path(sys.argv[1])
"""
HOLD = """
with editing.registry_lock(path):
    print("ready", flush=True)
    sys.stdin.readline()
print("done")
"""
WRITE = """
from adapterhub.errors import RegistryError
try:
    with editing.registry_lock(path):
        print("written")
except RegistryError as error:
    print(error)
"""


def start(path: Path, code: str, errno_name: str = "ENOSYS") -> subprocess.Popen[str]:
    before = NO_LOCKS.format(code=errno_name)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(before + code), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def write(path: Path, errno_name: str = "ENOSYS") -> str:
    return start(path, WRITE, errno_name).communicate(timeout=60)[0].strip()


@pytest.mark.parametrize(
    "errno_name", ["ENOSYS", pytest.param("EOPNOTSUPP", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_an_empty_lock_file_blocks_nothing(tmp_path: Path, errno_name: str) -> None:
    path = tmp_path / "registry.yaml"
    lock = tmp_path / "registry.yaml.lock"
    lock.write_bytes(b"")  # as a folder has it that was copied from another system
    assert write(path, errno_name) == "written"
    assert os.listdir(tmp_path) == [lock.name]


@pytest.mark.slow
def test_a_holder_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    with start(path, HOLD) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        refused = write(path)
        assert f": process {holder.pid} on " in refused
        assert f"no locks: remove {tmp_path}/registry.yaml.lock-soft if that" in refused
        holder.kill()
        holder.wait()
        assert write(path) == "written"
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_holder_on_another_machine_is_named(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    (tmp_path / "registry.yaml.lock-soft").write_text("4711\nelsewhere\n")
    (tmp_path / "registry.yaml.lock-holder").write_text("process 4711 on elsewhere")
    refused = write(path)
    assert ": process 4711 on elsewhere. This file system has no locks: remove " in refused
