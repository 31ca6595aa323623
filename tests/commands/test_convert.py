"""`adapterhub convert`: what it prints, how it ends, and that it leaves nothing half-written."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
import torch

from adapterhub.commands.convert import convert as verb
from adapterhub.importing import unpickle_process
from adapterhub.importing.convert import convert
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.store.atomic import stray_files
from tests.commands.conftest import Run
from tests.commands.test_process import command, environment
from tests.commands.test_stopping import defaults
from tests.importing.pickles import PICKLE, Runs, as_zip, save_pickled
from tests.importing.readers import read_at_once

_SECONDS = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pickled(tmp_path / "albert")
    return tmp_path / "albert"


@pytest.mark.slow
def test_lines_for_people_and_for_programs(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpickle_process, "_run", read_at_once)
    done = run("convert", folder, "out")
    assert done.code == 0
    fingerprint = open_backbone(Path("out")).spec.fingerprint
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert lines == {
        "folder": "out",
        "family": "albert",
        "parameters": "20,224",
        "size": "88.0 kB",
        "tokenizer": "BertTokenizer",
        "fingerprint": fingerprint,
    }
    assert done.err.splitlines() == [
        "adapterhub: tokenizer_config.json has BertTokenizer for vocab.txt",
        "adapterhub: try: adapterhub train rows.jsonl --task NAME --backbone ./out",
    ]

    again = run("convert", folder, "out/inner", "--json", "--max-seconds", 60, "--max-bytes", 10**9)
    assert (again.code, again.err) == (0, "")
    assert again.value == {
        "folder": "out/inner",
        "family": "albert",
        "parameters": 20_224,
        "size": (Path("out/inner/model.safetensors")).stat().st_size,
        "fingerprint": fingerprint,
        "tokenizer": "BertTokenizer",
        "left_out": [],
        "notes": ["tokenizer_config.json has BertTokenizer for vocab.txt"],
    }


def test_limits_are_those_of_the_library() -> None:
    own, library = signature(verb).parameters, signature(convert).parameters
    assert own["max_seconds"].default == library["max_seconds"].default == 600
    assert own["max_bytes"].default == library["max_bytes"].default is None


@pytest.mark.slow
def test_code_in_a_pickle_is_one_line(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpickle_process, "_run", read_at_once)
    as_zip(folder / PICKLE, {"x": Runs(os.system, "touch ran")})
    done = run("convert", folder, "out", "--json")
    assert (done.code, done.out) == (5, "")
    error = json.loads(done.err)
    assert error["error"] == "BackboneError"
    assert "pytorch_model.bin carries code (os.system)" in error["message"]
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nowhere", "out"), 5, "Backbone 'nowhere': no such folder"),
        (("{}", "{}"), 5, "it is there already, and is no empty folder; choose a new name"),
        (("{}", "out", "--max-seconds", "0"), 2, "max_seconds is 0.0; expected more than 0"),
        (("{}", "out", "--max-bytes", "few"), 2, "Invalid value for '--max-bytes'"),
        (("{}",), 2, "Missing argument 'OUT'"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...], code: int, message: str, run: Run, folder: Path
) -> None:
    done = run("convert", *(str(folder) if word == "{}" else word for word in words))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert os.listdir() == []


@pytest.mark.slow
def test_a_disk_without_room_is_named(folder: Path, tmp_path: Path) -> None:
    words = command("convert", folder, tmp_path / "new" / "out")
    # A limit of the size of files fails as a full disk does; the weights have 88 kB.
    limited = ["bash", "-c", 'ulimit -f 50; exec "$@"', "-", *words]
    done = subprocess.run(limited, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 5
    assert re.search(r"tensors cannot be written: .*File too large", done.stderr)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


# A process that is stopped


@pytest.fixture
def converting(folder: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yields a running conversion and the number of the process that reads the pickle."""
    large = {f"extra.{number}": torch.zeros(5_000_000) for number in range(2)}
    as_zip(folder / PICKLE, {**torch.load(folder / PICKLE, weights_only=True), **large})
    with subprocess.Popen(
        command("convert", folder, tmp_path / "new" / "out"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=defaults,
    ) as running:
        yield running, _reader_of(running)


def _reader_of(running: subprocess.Popen[str]) -> int:
    give_up = time.monotonic() + _SECONDS
    while time.monotonic() < give_up:
        assert running.poll() is None
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError("it did not start to read the pickle")


def _has_ended(process: int) -> bool:
    """Returns whether a process ends soon."""
    give_up = time.monotonic() + _SECONDS
    while time.monotonic() < give_up:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_both_processes(
    number: signal.Signals,
    converting: tuple[subprocess.Popen[str], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, reader = converting
    time.sleep(0.5)
    running.send_signal(number)
    _, errors = running.communicate(timeout=_SECONDS)
    expected = -number if number == signal.SIGKILL else 128 + number
    assert (running.returncode, errors) == (expected, "")
    assert _has_ended(reader)
    place = tmp_path / "new"
    if number == signal.SIGKILL:
        assert os.listdir(place) == [path.name for path in stray_files(place)]
        save_pickled(tmp_path / "small")
        monkeypatch.setattr(unpickle_process, "_run", read_at_once)
        convert(tmp_path / "small", place / "out")
        assert os.listdir(place) == ["out"], "the next one removes what was left"
    else:
        assert not place.exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_the_end_of_the_reader_is_an_error(
    converting: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    running, reader = converting
    os.kill(reader, signal.SIGKILL)
    _, errors = running.communicate(timeout=_SECONDS)
    assert running.returncode == 5
    assert "the process that reads it was ended by signal 9, as happens where memory" in errors
    assert not (tmp_path / "new").exists()
