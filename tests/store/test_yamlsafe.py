from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.errors import RegistryError
from adapterhub.store import yamlsafe
from adapterhub.store.yamlsafe import read_yaml

SOURCE = Path("registry.yaml")


@pytest.fixture(params=["c", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(yamlsafe, "_Loader", yaml.SafeLoader)
    else:
        assert yaml.__with_libyaml__


def test_scalars_keep_their_text_unless_plain_numbers() -> None:
    text = """
    words: [no, yes, on, off, y, n, 012, 0x1f, 1_000, 12:30:00, 2024-01-01, 1e5, .5, .inf, =, <<]
    same: ["1", '1.5', "true", "null"]
    typed: [0, 7, -3, 1.5, -2.0, 1.0e-07, true, false, null, ~, ]
    no: 1
    1: one
    null: 2
    true: 3
    012: 4
    1.5: 5
    """
    value = read_yaml(text.encode(), SOURCE).value
    assert value == {
        "words": ["no", "yes", "on", "off", "y", "n", "012", "0x1f", "1_000", "12:30:00",
                  "2024-01-01", "1e5", ".5", ".inf", "=", "<<"],
        "same": ["1", "1.5", "true", "null"],
        "typed": [0, 7, -3, 1.5, -2.0, 1e-7, True, False, None, None],
        "no": 1,
        1: "one",
        "null": 2,
        "true": 3,
        "012": 4,
        "1.5": 5,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["\ufeffa: {b: [1]}\n", "a:\r\n  b:\r\n  - 1\r\n", "a: {b: [1]}"])
def test_byte_order_mark_and_crlf_are_fine(text: str) -> None:
    document = read_yaml(text.encode(), SOURCE)
    assert document.value == {"a": {"b": [1]}}
    assert document.line(("a",)) == 1


def test_lines_are_those_of_the_nearest_key() -> None:
    document = read_yaml(b"a:\n  b:\n  - c: 1\n  - d: 2\ne: 3\n", SOURCE)
    assert document.line(("a", "b", 1, "d", "away")) == 4
    assert document.line(("a", "b", 7)) == 2
    assert document.line(("e",)) == 5
    assert document.line(("f",)) is None


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' occurs twice"),
        ("a:\n  1: x\n  1: y\n", 3, "key 1 occurs twice"),
        ("a: 1\n'a': 2\n", 2, "key 'a' occurs twice"),
        ("a: &x 1\n", 1, "anchors (`&x`) are not allowed"),
        ("a:\n  b: *x\n", 2, "aliases"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tags"),
        ("a: !!str 1\n", 1, "tags"),
        ("a: !x {}\n", 1, "tags"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a:\n\tb: 1\n", 2, "a tab indents this line"),
        ("a: [1, 2\n", None, "not valid YAML"),
        ("a: 'x\n", None, "not valid YAML"),
        ("a: b: c\n", 1, "not valid YAML"),
        ("%YAML 9.9\n---\na: 1\n", None, ""),
        ("? [a]\n: 1\n", 1, "cannot be a key"),
        ("a: \x00\n", None, "not valid YAML"),
        ("[" * 21 + "]" * 21, 1, "deeper than 20"),
        ("[" * 30_000, 1, "deeper than 20"),
        ("{a: " * 30_000, 1, "deeper than 20"),
        ("- " * 30_000, 1, "deeper than 20"),
    ],
)
def test_what_is_refused_names_its_line(text: str, line: int | None, problem: str) -> None:
    start = time.perf_counter()
    with pytest.raises(RegistryError) as caught:
        read_yaml(text.encode(), SOURCE)
    assert time.perf_counter() - start < 1
    assert problem in str(caught.value)
    assert line is None or caught.value.line == line


def test_twenty_levels_are_fine() -> None:
    assert read_yaml(b"[" * 20 + b"]" * 20, SOURCE).value is not None


def test_alias_bomb_is_refused() -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    with pytest.raises(RegistryError, match="anchors"):
        read_yaml("\n".join(rows).encode(), SOURCE)


def test_too_big_is_refused_unparsed() -> None:
    with pytest.raises(RegistryError, match="at most 8388608"):
        read_yaml(b"a" * (9 * 2**20), SOURCE)


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlsafe, "MAX_NODES", 100)
    with pytest.raises(RegistryError, match="more than 100 values"):
        read_yaml(b"[" + b"1," * 200 + b"]", SOURCE)


def test_other_encodings_are_refused_with_a_line() -> None:
    with pytest.raises(RegistryError, match="UTF-8") as caught:
        read_yaml(b"a: 1\nb: \xff\n", SOURCE)
    assert caught.value.line == 2
    with pytest.raises(RegistryError, match="UTF-8"):
        read_yaml("a: 1".encode("utf-16"), SOURCE)


yaml_bits = st.sampled_from(
    ["a", "1", ": ", "- ", "\n", "  ", "\t", "[", "]", "{", "}", ", ", "'", '"', "&x ", "*x",
     "!t ", "---\n", "...\n", "? ", "#", "|\n", ">\n", "\r\n", "\ufeff", "\x85", "~",
     "%YAML 1.1\n", "\x07"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(data=st.lists(yaml_bits, max_size=25).map("".join).map(str.encode) | st.binary(max_size=40))
@pytest.mark.slow
def test_any_bytes_give_a_value_or_our_error(data: bytes) -> None:
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(yamlsafe, "_Loader", loader)
            with contextlib.suppress(RegistryError):
                read_yaml(data, SOURCE)
