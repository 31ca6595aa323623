"""Changed head files, registries and files of rows: nothing but our own errors may come out."""

from __future__ import annotations

import gzip
import json
import random
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from adapterhub.errors import AdapterHubError, UsageError
from adapterhub.hub import Hub
from adapterhub.rows.formats import find_format
from adapterhub.rows.reading import read_file
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import encode_head, parse_head, read_head
from adapterhub.store.references import parse_reference
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from tests.builders import backbone_entry, head_tensors, task_spec
from tests.soak.figures import Effort, Figure, none
from tests.tiny import save_registry

BITS = (
    b'"', b"'", b"{", b"}", b"[", b"]", b":", b",", b"\n", b"\r", b"\t", b"\0", b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"&a ", b"*a", b"!!", b"- ", b"null", b"NaN", b"-1", b"1e999",
    b"\\ud800", b"9" * 30, b"../", b" ", b"true", b"F64", b"\\", b"|\n", b"---\n", b"<<: ",
)  # fmt: skip


def mutate(data: bytes, pick: random.Random) -> bytes:
    """Returns `data` with one to six changes: bits, bytes, pieces moved, doubled, or cut out."""
    changed = bytearray(data)
    for _ in range(pick.randint(1, 6)):
        at, end = sorted(pick.randrange(len(changed) + 1) for _ in range(2))
        end = min(end, at + 64)
        kind = pick.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << pick.randrange(8)
        elif kind == 1:
            changed[at:at] = pick.choice(BITS) * pick.choice([1, 1, 1, 50])
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            changed[at:at] = changed[at:end]
        elif kind == 4:
            changed[at:end] = pick.randbytes(end - at)
        elif kind == 5:
            del changed[at:]
        else:
            numbers = pick.choice([0, 1, 2**31, 2**63, 2**64 - 1]).to_bytes(8, "little")
            changed[: len(numbers)] = numbers
    return bytes(changed)


def mutate_header(data: bytes, pick: random.Random) -> bytes:
    """Returns a head file whose header is changed, with a true length before it."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = mutate(data[8:end], pick)
    return len(header).to_bytes(8, "little") + header + data[end:]


class _Findings:
    """Runs calls and counts what is neither a result nor our own error."""

    def __init__(self) -> None:
        self.tried = self.refused = self.foreign = 0
        self.slowest = 0.0

    def call(self, data: bytes, call: Callable[[], object]) -> None:
        start = time.perf_counter()
        self.tried += 1
        try:
            call()
        except AdapterHubError:
            self.refused += 1
        except Exception:
            self.foreign += 1
            if self.foreign <= 3:
                print(f"input {data[:2_000]!r}\n{traceback.format_exc()}")
        self.slowest = max(self.slowest, time.perf_counter() - start)

    def figures(self, effort: Effort, what: str) -> list[Figure]:
        return [
            effort.done(f"{what} tried", self.tried),
            Figure("refused by our own error", self.refused, at_least=1),
            none("other errors", self.foreign),
            Figure("slowest, s", round(self.slowest, 2), at_most=5),
        ]


def fuzz_heads(folder: Path, effort: Effort) -> list[Figure]:
    """Reads changed head files of every kind; those that pass all checks are loaded by a Hub."""
    registry = save_registry(folder)
    hub = Hub(registry, device="cpu")
    files = [hub.spec(task.name) and read_registry(registry).resolve(task.name).path.read_bytes()
             for task in hub.tasks()]  # fmt: skip
    pick, findings = random.Random(0), _Findings()
    path = folder / "fuzzed.safetensors"

    def load() -> None:
        head = read_head(path)
        assert all(bool(torch.isfinite(one).all()) for one in head.tensors.values())
        hub.load(str(path))
        hub.unload(str(path))

    for step in effort.steps():
        change = mutate if step % 3 == 0 else mutate_header
        data = change(pick.choice(files), pick)
        path.write_bytes(data)
        findings.call(data, load)
    return findings.figures(effort, "head files")


def fuzz_registries(folder: Path, effort: Effort) -> list[Figure]:
    """Reads changed registries, and looks up every version of those that are valid."""
    path = folder / "registry.yaml"
    for number in range(3):
        for seed in range(2):
            spec = task_spec(task=f"task-{number}", description="a: 'b' # c")
            add_version(path, spec, head_tensors(spec, seed), backbone_key="small",
                        backbone_entry=backbone_entry(), aliases=("prod",))  # fmt: skip
    good = path.read_bytes()
    pick, findings = random.Random(0), _Findings()

    def look_up() -> None:
        registry = read_registry(path)
        for name, entry in registry.tasks.items():
            for reference in (name, *(f"{name}:{version}" for version in entry.versions)):
                registry.resolve(reference)

    for _ in effort.steps():
        data = mutate(good, pick)
        path.write_bytes(data)
        findings.call(data, look_up)
    return findings.figures(effort, "registries")


def fuzz_rows(folder: Path, effort: Effort) -> list[Figure]:
    """Reads changed files of rows in every format, some compressed."""
    rows = [
        {"text": "a, b", "note": 'say "hi"'},
        {"text": "中国", "note": ""},
        {"text": "x\ty", "note": "\n"},
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "good.parquet")
    table = 'text,note\n"a, b","say ""hi"""\n中国,\n"x\ty","\n"\n'
    good = {
        "rows.jsonl": lines.encode(),
        "rows.csv": table.encode(),
        "rows.tsv": table.replace(",", "\t").encode(),
        "rows.txt": "a b\n中国\n\nlast".encode(),
        "rows.jsonl.gz": gzip.compress(lines.encode()),
        "rows.csv.gz": gzip.compress(table.encode()),
        "rows.parquet": (folder / "good.parquet").read_bytes(),
    }
    pick, findings = random.Random(0), _Findings()

    def read(path: Path) -> None:
        for row in read_file(path, find_format(path)):
            assert row.place >= 1
            assert row.problem is None or not row.values

    for _ in effort.steps():
        name = pick.choice(sorted(good))
        data = mutate(good[name], pick)
        (folder / name).write_bytes(data)
        findings.call(data, lambda: read(folder / name))  # noqa: B023 - called at once
    return findings.figures(effort, "files of rows")


def round_trips(folder: Path, effort: Effort) -> list[Figure]:
    """Writes tasks of any names, labels and descriptions, and reads them back."""
    counts = {"tried": 0, "valid": 0, "other": 0}
    printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)
    path = folder / "registry.yaml"

    def check(spec: TaskSpec) -> None:
        tensors = head_tensors(spec)
        head = parse_head(encode_head(spec, tensors), source="x")
        counts["other"] += head.spec != spec
        added = add_version(
            path, spec, tensors, backbone_key="small", backbone_entry=backbone_entry()
        )
        found = read_registry(path).resolve(spec.task)
        counts["other"] += found.entry != added.entry
        counts["other"] += parse_reference(f"{spec.task}:{added.version}").task != spec.task
        counts["other"] += read_head(found.path, sha256=found.record.sha256).spec != spec
        path.unlink()

    @settings(
        max_examples=effort.rounds or 100, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        name=st.one_of(
            *3 * [st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)], st.text()
        ),
        labels=st.lists(st.one_of(printable, printable, st.text()), min_size=2, unique=True),
        description=st.text(max_size=40),
    )
    def run(name: str, labels: list[str], description: str) -> None:
        counts["tried"] += 1
        try:
            spec = task_spec(task=name, labels=tuple(labels), description=description)
        except ValidationError:
            return
        counts["valid"] += 1
        check(spec)

    run()
    return [
        effort.done("tasks tried", counts["tried"]),
        Figure("valid ones", counts["valid"], at_least=1),
        none("that read back otherwise", counts["other"]),
    ]


def fuzz_names(folder: Path, effort: Effort) -> list[Figure]:
    """Looks up changed references of every form."""
    good = (
        "spam",
        "spam@prod",
        "spam:1",
        "./a.safetensors",
        "acme/heads:spam@v1",
        "acme/heads@v1:spam:2",
    )
    pick, findings = random.Random(0), _Findings()
    for _ in effort.steps():
        text = mutate(pick.choice(good).encode(), pick).decode("utf-8", "replace")

        def look_up(text: str = text) -> None:
            reference = parse_reference(text)
            if reference.kind == "task" and reference.task is None:
                raise UsageError("a reference to a task without a name")

        findings.call(text.encode(), look_up)
    return findings.figures(effort, "references")
