"""The command as its own process: how fast it starts, what it imports, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import adapterhub

ROOT = Path(adapterhub.__file__).parents[1]
HEAVY = ("torch", "transformers", "pyarrow", "numpy", "peft", "huggingface_hub")
# Typical is 0.1 s; test machines may be busy.
SOFT_BOUND = 1.5

RUN_AND_TELL = """
import sys
from adapterhub.cli import app
try:
    app(sys.argv[1:])
finally:
    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "adapterhub", *map(str, words)]


def process(*words: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment(),
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("score", "--help"),
        ("train", "--help"),
        ("list",),
        ("list", "--json"),
        ("show", "sentiment"),
        ("explain", "sentiment", "entails"),
        ("show", "sentimant"),
    ],
)
@pytest.mark.slow
def test_light_verbs_import_nothing_heavy(tiny_registry: Path, words: tuple[str, ...]) -> None:
    code = RUN_AND_TELL.format(heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tiny_registry.parent,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_is_quick() -> None:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        assert process("--help").returncode == 0
        times.append(time.perf_counter() - started)
    assert min(times) < SOFT_BOUND


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.slow
def test_output_is_utf8_in_every_locale(tiny_registry: Path, encoding: str) -> None:
    done = subprocess.run(
        command("list", "-r", tiny_registry),
        capture_output=True,
        env={**environment(), "PYTHONIOENCODING": encoding},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "───" in done.stdout.decode("utf-8")


def test_version() -> None:
    done = process("--version")
    assert done.stdout == f"adapterhub {adapterhub.__version__}\n"


@pytest.mark.slow
def test_faults_of_a_process(tiny_registry: Path) -> None:
    done = process("show", "sentimant", "-r", tiny_registry)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("adapterhub: Unknown task 'sentimant'. Did you mean 'sentiment'?")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a line of a shell in which `adapterhub` is the command."""
    called = f'adapterhub() {{ "{sys.executable}" -m adapterhub "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", called],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", ["list", "show sentiment", "--help", "score --help", "--version"])
@pytest.mark.slow
def test_a_full_disk_under_stdout_is_one_line(tiny_registry: Path, words: str) -> None:
    done = shell(f"adapterhub {words} > /dev/full", tiny_registry.parent)
    assert done.returncode == 3
    assert done.stderr == "adapterhub: stdout: it cannot be written: No space left on device\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("line", "code", "err"),
    [
        ("adapterhub list >&-", 3, "adapterhub: stdout: it is closed;"),
        ("adapterhub show nothing 2>&-", 2, ""),
        ("adapterhub list --kind x --json 2>&-", 2, ""),
        ("adapterhub score <&-", 2, "adapterhub: There are no texts;"),
        ("mkdir gone; cd gone; rmdir ../gone; adapterhub list", 2, "adapterhub: The working fol"),
        (
            "ln -s loop loop; adapterhub list -r loop",
            5,
            "adapterhub: Registry {here}/loop: it cannot be",
        ),
        ("adapterhub explain , ,", 2, "adapterhub: There is no name in ', ,'"),
    ],
)
def test_what_a_shell_may_do_is_one_line(
    tiny_registry: Path, line: str, code: int, err: str
) -> None:
    done = shell(line, tiny_registry.parent)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(err.format(here=tiny_registry.parent))
    assert done.stderr.count("\n") == (1 if err else 0)


@pytest.mark.slow
def test_score_in_a_pipe(tiny_registry: Path) -> None:
    done = process("score", "-r", tiny_registry, "-t", "sentiment", stdin="good\n中国\n")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["good", "中国"]
    # Nothing of torch or transformers gets between the lines.
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.slow
def test_scoring_imports_no_models_of_transformers(tiny_registry: Path) -> None:
    """They take longer to import than all else that a text needs."""
    heavy = ("transformers.modeling_utils", "torch._dynamo", "scipy", "sklearn", "pandas", "peft")
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_TELL.format(heavy=heavy), "score", "good", "-t", "rating"],
        cwd=tiny_registry.parent,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith('{"text": "good", "rating.value": ')
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
def test_a_reader_that_goes_away_is_met_with_silence(tiny_registry: Path, tmp_path: Path) -> None:
    # More answers than a pipe holds, so that the command meets the closed pipe.
    source = tmp_path / "in.txt"
    source.write_text("good\n" * 20_000)
    with subprocess.Popen(
        command("score", "-r", tiny_registry, "-t", "rating", "-f", source),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b'{"text": "good"')
        running.stdout.close()
        errors = running.stderr.read().decode()
        assert running.wait(120) == 141
    assert errors == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_kill_leaves_no_half_file_under_the_name(tiny_registry: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "the film was good and the food was bad"}\n' * 300_000)
    out = tmp_path / "out.jsonl"
    with subprocess.Popen(
        command("score", "-r", tiny_registry, "-f", source, "-o", out, "-t", "rating"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as running:
        give_up = time.monotonic() + 120
        while not any(path.stat().st_size for path in tmp_path.glob(".out.jsonl.*")):
            assert time.monotonic() < give_up
            assert running.poll() is None
            time.sleep(0.02)
        running.kill()
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX terminal")
def test_a_terminal_gets_a_table(tiny_registry: Path) -> None:
    import pty

    master, slave = pty.openpty()
    words = ("score", "-r", tiny_registry, "a good day", "-t", "sentiment,entities")
    with subprocess.Popen(
        command(*words), stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=environment()
    ) as running:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert running.wait(120) == 0
    os.close(master)
    text = shown.decode()
    assert "sentiment" in text
    assert "a good day" in text
    assert "{" not in text
