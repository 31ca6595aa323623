"""`doctor`: every fault is found, named, and changes the exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.scoring.output.whole_file import whole_file
from adapterhub.store.atomic import OLD_SUFFIXES
from adapterhub.store.headfile import read_head, write_head
from adapterhub.store.owners import TEMP_SUFFIX
from tests.commands.conftest import Run
from tests.tiny import TASKS, save_model, vocabulary


def test_a_healthy_registry(run: Run, tiny_registry: Path) -> None:
    ran = run("doctor", "-r", tiny_registry)
    assert ran.code == 0, ran.out
    assert ran.out.count(" recomputed") == len(TASKS)
    assert ran.out.splitlines()[-1].endswith("no problems.")


def test_as_json(run: Run, tiny_registry: Path) -> None:
    value = run("doctor", "-r", tiny_registry, "--json").value
    assert value["healthy"] is True
    assert {check["status"] for check in value["checks"]} == {"ok"}
    subjects = [check["subject"] for check in value["checks"]]
    assert "backbone tiny" in subjects
    assert "task sentiment:1" in subjects


def test_without_replay(run: Run, tiny_registry: Path) -> None:
    ran = run("doctor", "-r", tiny_registry, "--no-replay")
    assert ran.code == 0
    assert ran.out.count("known answers not recomputed") == len(TASKS)


def _flip(registry: Path) -> None:
    file = registry.parent / "heads" / "topics.safetensors"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)


def _cut(registry: Path) -> None:
    file = registry.parent / "heads" / "topics.safetensors"
    file.write_bytes(file.read_bytes()[:-4])


def _remove(registry: Path) -> None:
    (registry.parent / "heads" / "topics.safetensors").unlink()


def _say_otherwise(registry: Path) -> None:
    text = registry.read_text(encoding="utf-8")
    head, tail = text.split("  topics:", 1)
    registry.write_text(head + "  topics:" + tail.replace("[2]", "[3]", 1), encoding="utf-8")


def _change_weights(registry: Path) -> None:
    save_model(registry.parent / "backbone", seed=7, vocab_size=len(vocabulary()))


def _break_tokenizer(registry: Path) -> None:
    (registry.parent / "backbone" / "vocab.txt").write_text("[PAD]\n[UNK]\n")


def _break_registry(registry: Path) -> None:
    registry.write_text("schema: 1\ntasks: [\n")


FAULTS = [
    (_flip, "task topics:1", "sha256"),
    (_cut, "task topics:1", "bytes"),
    (_remove, "task topics:1", "it cannot be read"),
    (_say_otherwise, "task topics:1", "the depths"),
    (_change_weights, "backbone tiny", "differ"),
    (_break_tokenizer, "backbone tiny", "token"),
    (_break_registry, "registry", "registry.yaml"),
]


@pytest.mark.parametrize(("damage", "subject", "part"), FAULTS)
def test_faults_are_found(
    run: Run, tiny_registry: Path, damage: Callable[[Path], None], subject: str, part: str
) -> None:
    damage(tiny_registry)
    ran = run("doctor", "-r", tiny_registry, "--json")
    assert ran.code == 5
    assert ran.value["healthy"] is False
    problems = [check for check in ran.value["checks"] if check["status"] == "problem"]
    assert [check["subject"] for check in problems] == [subject]
    assert part in problems[0]["detail"]


def test_one_bad_file_does_not_hide_the_others(run: Run, tiny_registry: Path) -> None:
    _flip(tiny_registry)
    ran = run("doctor", "-r", tiny_registry)
    assert ran.code == 5
    assert ran.out.count(" recomputed") == len(TASKS) - 1
    assert ran.out.splitlines()[-1].endswith("1 problem.")


def test_other_answers_than_promised_are_found(run: Run, tiny_registry: Path) -> None:
    heads = tiny_registry.parent / "heads"
    old = read_head(heads / "rating.safetensors")
    tensors = {name: tensor * 2 for name, tensor in old.tensors.items()}
    (heads / "rating.safetensors").unlink()
    new = write_head(heads / "rating.safetensors", old.spec, tensors)
    text = tiny_registry.read_text(encoding="utf-8")
    tiny_registry.write_text(text.replace(old.sha256, new.sha256), encoding="utf-8")
    ran = run("doctor", "-r", tiny_registry)
    assert ran.code == 5
    assert "gave other logits" in ran.out
    assert run("doctor", "-r", tiny_registry, "--no-replay").code == 0


def test_files_in_no_entry_are_a_note(run: Run, tiny_registry: Path) -> None:
    stray = tiny_registry.parent / "heads" / "left.safetensors"
    stray.write_bytes(b"")
    (tiny_registry.parent / f".x{TEMP_SUFFIX}").write_bytes(b"")
    ran = run("doctor", "-r", tiny_registry, "--no-replay")
    assert ran.code == 0
    assert ran.out.count("note     unlisted file") == 1
    assert ran.out.count("note     temporary file") == 1
    assert str(stray) in ran.out


def killed(path: Path) -> int:
    """Returns the number of a process that was killed while it wrote `path`."""
    code = (
        "import sys; from pathlib import Path\n"
        "from adapterhub.scoring.output.whole_file import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as temp: print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.kill()
    return running.pid


def test_what_a_killed_process_left_is_found_and_removed(run: Run, tmp_path: Path) -> None:
    deep = tmp_path / "results" / "of today"
    deep.mkdir(parents=True)
    old = deep / f".b{OLD_SUFFIXES[0]}"
    old.write_bytes(b"")
    with whole_file(deep / "live.csv") as live:
        pid = killed(deep / "out.csv")
        ran = run("doctor", tmp_path / "results")
        assert ran.code == 0
        assert ran.out.count(f"of process {pid} on this machine that has ended is left over") == 1
        assert ran.out.count("of a process that has ended is left over; --clean") == 2
        assert f"{live} is in use by process {os.getpid()}" in " ".join(ran.out.split())
        assert f"{old} is of an earlier version" in " ".join(ran.out.split())
        assert len(os.listdir(deep)) == 7
        assert run("doctor", tmp_path / "results", "--clean").code == 0
        assert live.exists()
    assert sorted(os.listdir(deep)) == [old.name, "live.csv"]
    old.unlink()
    assert "temporary files: none" in run("doctor", tmp_path / "results").out


def test_a_folder_with_a_registry_is_checked_too(run: Run, tiny_registry: Path) -> None:
    ran = run("doctor", tiny_registry.parent, "--no-replay", "--json")
    subjects = [check["subject"] for check in ran.value["checks"]]
    assert subjects[0] == "registry"
    assert subjects[-1] == "temporary files"
    assert run("doctor", tiny_registry, "--no-replay", "--json").value == ran.value


def test_a_folder_that_cannot_be(run: Run, tiny_registry: Path, tmp_path: Path) -> None:
    assert run("doctor", tmp_path / "nothing").code == 2
    assert run("doctor", tiny_registry.parent, "-r", tiny_registry).code == 2
