"""Damaged and hostile files: every one is refused, soon and in little memory."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from adapterhub.errors import HeadFileError, IntegrityError, RegistryError
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from tests.soak.figures import MIB, Effort, Figure, exactly, peak_bytes, processes
from tests.soak.writers import add


def bit_flips(folder: Path, effort: Effort) -> list[Figure]:
    """Flips single bits of a head, half of them in its header."""
    resolved = add(folder / "registry.yaml")
    data = resolved.path.read_bytes()
    end = 8 * (8 + int.from_bytes(data[:8], "little"))
    pick = random.Random(0)
    tried = refused = 0
    for step in effort.steps():
        position = pick.randrange(end) if step % 2 else pick.randrange(end, 8 * len(data))
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        resolved.path.write_bytes(damaged)
        tried += 1
        try:
            read_head(resolved.path, sha256=resolved.record.sha256, size=resolved.record.size)
        except IntegrityError as error:
            refused += resolved.record.sha256 in str(error)
    return [effort.done("bits flipped", tried), exactly("refused by their sha256", refused, tried)]


def wrong_lengths(folder: Path, effort: Effort) -> list[Figure]:
    """Cuts a head at every length, and adds bytes to it."""
    resolved = add(folder / "registry.yaml")
    data = resolved.path.read_bytes()
    lengths = [*range(len(data)), *(len(data) + more for more in (1, 8, 4_096))]
    refused = 0
    for length in lengths:
        resolved.path.write_bytes(data[:length].ljust(length, b"\0"))
        for promise in (resolved.record.sha256, None):
            try:
                read_head(resolved.path, sha256=promise)
            except HeadFileError as error:
                named = promise is None or promise in str(error)
                refused += named and resolved.path.name in str(error)
    return [exactly("files cut or grown that are refused", refused, 2 * len(lengths))]


def _header(text: bytes, size: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(text)
            file.truncate(size)

    return write


def _claim(length: int) -> bytes:
    return length.to_bytes(8, "little") + b"{"


def _many_tensors(count: int) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps(
        {f"tensor-{number}": entry for number in range(count)}, separators=(",", ":")
    ).encode()
    return len(header).to_bytes(8, "little") + header


def _headers() -> Iterator[tuple[str, Callable[[Path], None]]]:
    yield "length 2^63", _header(_claim(2**63), 1_000)
    yield "length 100,000,001", _header(_claim(100_000_001), 200_000_000)
    yield "length beyond the file", _header(_claim(1_001), 1_000)
    yield "60 MB", _header(_claim(60_000_000), 60_000_008)
    many = _many_tensors(100_000)
    yield "100,000 tensors", _header(many, len(many))


def hostile_headers(folder: Path, effort: Effort) -> list[Figure]:
    """Opens heads whose headers claim too much, each in a process that measures itself."""
    return [figure for one in _headers() for figure in _refusal(folder, *one)]


def many_small_tensors(folder: Path, effort: Effort) -> list[Figure]:
    """Opens a head with as many tensors as a header of the allowed length can name."""
    header = _many_tensors(50_000)
    return _refusal(folder, "50,000 tensors", _header(header, len(header)))


def _refusal(folder: Path, name: str, write: Callable[[Path], None]) -> list[Figure]:
    path = folder / "hostile.safetensors"
    write(path)
    refused, seconds, growth = _measured(path)
    return [
        exactly(f"{name}: refused", refused, 1),
        Figure(f"{name}: ms", round(seconds * 1_000, 1), at_most=50),
        Figure(f"{name}: MB", round(growth / MIB, 1), at_most=20),
    ]


def _measured(path: Path) -> tuple[bool, float, int]:
    """Returns whether a head is refused, after how many seconds, and the memory it took."""
    here, there = processes().Pipe()
    process = processes().Process(target=_refuse_and_measure, args=(path, there))
    process.start()
    there.close()
    result: tuple[bool, float, int] = here.recv()
    process.join()
    return result


def _refuse_and_measure(path: Path, out: Connection) -> None:
    memory, start = peak_bytes(), time.perf_counter()
    try:
        read_head(path)
        refused = False
    except HeadFileError:
        refused = True
    out.send((refused, time.perf_counter() - start, peak_bytes() - memory))


def _registries(good: bytes) -> dict[str, bytes]:
    """Returns registries that must be refused, by name."""
    bomb = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 31)]
    entry = good[good.index(b"tasks:\n") + 7 :]
    return {
        "50 MB": b"a" * 50_000_000,
        "30,000 lists": b"[" * 30_000,
        "30,000 mappings": b"{a: " * 30_000,
        "30,000 levels of lines": b"- " * 30_000,
        "alias bomb": "\n".join(bomb).encode(),
        "a task twice": good + entry,
        "a tab": good.replace(b"  spam:", b"\tspam:"),
        "a newer schema": good.replace(b"schema: 1", b"schema: 99"),
        "not UTF-8": good.replace(b"spam", b"sp\xe4m"),
        "UTF-16": good.decode().encode("utf-16"),
        "half": good[: len(good) // 2],
        "a control character": good.replace(b"spam", b"sp\x07m"),
    }


def hostile_registries(folder: Path, effort: Effort) -> list[Figure]:
    """Reads registries that no reader should have to meet."""
    path = folder / "registry.yaml"
    add(path)
    good = path.read_bytes()
    bad = _registries(good)
    refused, slowest = 0, 0.0
    for data in bad.values():
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            read_registry(path)
        except RegistryError as error:
            refused += str(path) in str(error)
        slowest = max(slowest, time.perf_counter() - start)
    fine = 0
    for data in (good.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + good):
        path.write_bytes(data)
        fine += read_registry(path).names() == ("spam",)
    return [
        exactly("registries refused", refused, len(bad)),
        Figure("slowest refusal, s", round(slowest, 2), at_most=1),
        exactly("CRLF and byte order mark are read", fine, 2),
    ]
