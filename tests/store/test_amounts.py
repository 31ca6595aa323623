"""What is too much is refused by counting, before the seconds that parsing takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.errors import HeadFileError, RegistryError
from adapterhub.specs import KnownAnswer
from adapterhub.store.header import MAX_HEADER_BYTES
from adapterhub.store.headfile import encode_head, parse_head
from adapterhub.store.registry import parse_registry, read_registry
from adapterhub.store.yamlsafe import MAX_BYTES, read_yaml
from tests.builders import head_tensors, task_spec

# Typical is a tenth of it; test machines may be busy.
SOFT_BOUND = 0.5


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def lines(form: str, count: int) -> bytes:
    return "".join(form.format(number) for number in range(count)).encode()


REGISTRIES: dict[str, Callable[[], bytes]] = {
    "a list": lambda: b"tasks: [" + b"1," * 4_100_000 + b"1]\n",
    "lines of a list": lambda: b"- 1\n" * 2_000_000,
    "keys": lambda: lines("k{0}: 1\n", 700_000),
    "tasks": lambda: b"schema: 1\ntasks:\n" + lines("  t{0}: {{}}\n", 580_000),
    "aliases": lambda: b"tasks:\n  a:\n    aliases: {" + lines("a{0}: 1, ", 600_000) + b"}\n",
    "records": lambda: b"tasks: {" + lines("t{0}: {{a: [1, 2, 3]}}, ", 300_000) + b"}\n",
    "too long": lambda: b"#" * (MAX_BYTES + 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRIES)
def test_a_registry_with_too_much_in_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_bytes(REGISTRIES[name]())

    def refuse() -> None:
        with pytest.raises(RegistryError, match=r"more than 1000000 values|at most 8388608"):
            read_registry(path)

    assert seconds(refuse) < SOFT_BOUND


def test_text_may_hold_what_ends_values(tmp_path: Path) -> None:
    for quote in "'\"":
        text = f"a: {quote}{':,' * 600_000}{quote}\n".encode()
        assert read_yaml(text, tmp_path).value == {"a": ":," * 600_000}


def header_file(header: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


MANY = MAX_HEADER_BYTES - 200
HEADERS: dict[str, Callable[[], bytes]] = {
    "tensors": lambda: (
        b"{"
        + lines('"t{0}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},', 68_000)
        + b'"z":{}}'
    ),
    "tensors with spaces": lambda: b"{" + lines('"t{0}" : {{}} ,', 200_000) + b'"z":{}}',
    "keys": lambda: b"{" + lines('"k{0}":0,', 300_000) + b'"z":0}',
    "strings": lambda: b'{"a":[' + b'"x",' * 1_000_000 + b'"x"]}',
    "numbers": lambda: b'{"a":[' + b"0," * (MANY // 2) + b"0]}",
    "objects": lambda: b'{"a":[' + b"{}," * (MANY // 3) + b"{}]}",
    "nested": lambda: b'{"a":' + b"[" * MANY + b"}",
    "metadata": lambda: b'{"__metadata__":{' + lines('"k{0}":"",', 300_000) + b'"z":""}}',
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.slow
def test_a_header_with_too_much_in_it(name: str) -> None:
    data = header_file(HEADERS[name]())
    assert len(data) < MAX_HEADER_BYTES + 8

    def refuse() -> None:
        with pytest.raises(HeadFileError, match=r"than 4096 tensors can take|nested too deep"):
            parse_head(data, source="x")

    assert seconds(refuse) < SOFT_BOUND / 2


@pytest.mark.slow
def test_a_long_task_spec_is_no_tensors() -> None:
    text = 'a "quoted" { text }, with \\ signs: ' * 20
    spec = task_spec(task="spam")
    answers = tuple(
        KnownAnswer(
            inputs=(f"{text} {number}",),
            logits=((0.0,) * spec.outputs,),
            answers=(spec.labels[0],),
        )
        for number in range(1_500)
    )
    spec = spec.model_copy(update={"known_answers": answers})
    data = encode_head(spec, head_tensors(spec))
    assert len(data) > 2**20
    assert parse_head(data, source="x").spec == spec


def test_a_normal_registry_is_far_from_the_limit() -> None:
    shipped = Path(__file__).parents[2] / "registry.yaml"
    assert len(parse_registry(shipped.read_bytes(), shipped).tasks) > 20
