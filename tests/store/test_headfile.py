from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterhub.errors import HeadFileError, IntegrityError
from adapterhub.specs import KINDS, Kind, KnownAnswer
from adapterhub.store.atomic import stray_files
from adapterhub.store.header import MAX_FILE_BYTES, MAX_HEADER_BYTES
from adapterhub.store.headfile import encode_head, parse_head, read_head, write_head
from tests.builders import abstention, head_tensors, task_spec
from tests.store.raw import good_file, header_and_data, raw_file, with_header, with_spec

GOOD = good_file()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_written_is_read(tmp_path: Path, kind: Kind, dtype: torch.dtype) -> None:
    fitted = {} if KINDS[kind].prototypes else {"depths": (2, 4), "hidden_width": 12}
    spec = task_spec(kind, description="Grüße\n\u2028\x00 'no' \\", **fitted)
    tensors = {name: tensor.to(dtype) for name, tensor in head_tensors(spec).items()}
    path = tmp_path / "a.safetensors"
    written = write_head(path, spec, tensors)
    data = path.read_bytes()
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert (written.size, written.source) == (len(data), str(path))
    read = read_head(path, sha256=written.sha256, size=written.size)
    assert read.spec == spec
    assert read.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read.tensors[name].dtype == dtype
        assert torch.equal(read.tensors[name], tensor)


def test_any_safetensors_reader_reads_it(tmp_path: Path) -> None:
    spec = task_spec()
    path = tmp_path / "a.safetensors"
    write_head(path, spec, head_tensors(spec))
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "pt"
        assert json.loads(file.metadata()["adapterhub"])["task"] == spec.task
    assert safetensors.torch.load_file(path)["head.bias"].shape == (2,)
    end = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert end % 8 == 0


@pytest.mark.parametrize("count", [0.0, -3.0, 1.5])
def test_counts_of_examples_are_whole_numbers(tmp_path: Path, count: float) -> None:
    spec = task_spec("prototype")
    tensors = head_tensors(spec)
    tensors["head.counts"][1] = count
    with pytest.raises(HeadFileError, match=r"'head\.counts' is not the number of examples"):
        write_head(tmp_path / "a.safetensors", spec, tensors)
    assert not list(tmp_path.iterdir())
    # A file of somebody else.
    good = encode_head(spec, head_tensors(spec))
    header, data = header_and_data(good)
    start, _ = header["head.counts"]["data_offsets"]
    altered = bytearray(data)
    altered[start : start + 4] = torch.tensor(count).numpy().tobytes()
    with pytest.raises(HeadFileError, match="altered; fetch or train it again"):
        parse_head(raw_file(json.dumps(header).encode(), bytes(altered)), source="a")


def test_equal_input_gives_equal_bytes() -> None:
    spec = task_spec("single_label", pooling="attentive")
    tensors = head_tensors(spec)
    backwards = dict(reversed(tensors.items()))
    assert (
        len({encode_head(spec, tensors) for _ in range(20)} | {encode_head(spec, backwards)}) == 1
    )


def test_odd_tensors_are_stored_as_their_values() -> None:
    spec = task_spec()
    weight = torch.randn(16, 4, requires_grad=True).t()[::2]
    head = parse_head(
        encode_head(spec, {"head.weight": weight, "head.bias": weight[:, 0]}), source="x"
    )
    assert torch.equal(head.tensors["head.weight"], weight.detach())
    assert torch.equal(head.tensors["head.bias"], weight[:, 0].detach())


def test_tensors_cannot_be_exchanged() -> None:
    head = parse_head(GOOD, source="x")
    with pytest.raises(TypeError):
        head.tensors["head.bias"] = torch.zeros(2)  # type: ignore[index]


@pytest.mark.parametrize("value", [0.0, 1e38])
def test_odd_but_finite_values_are_read(value: float) -> None:
    spec = task_spec()
    tensors = {name: torch.full_like(t, value) for name, t in head_tensors(spec).items()}
    assert parse_head(encode_head(spec, tensors), source="x").tensors["head.bias"][0] == value


def test_tagging_with_150_labels_and_known_answers_fits() -> None:
    labels = ("O", *(f"{mark}-TYPE{i}" for i in range(75) for mark in "BI"))[:150]
    spec = task_spec("tagging", labels=labels)
    row = tuple(torch.randn(150, generator=torch.Generator().manual_seed(0)).tolist())
    answer = KnownAnswer(inputs=("text " * 60,), logits=(row,) * 200, answers=("O",) * 200)
    spec = spec.model_copy(update={"known_answers": (answer,) * 5})
    data = encode_head(spec, head_tensors(spec))
    assert 1_000_000 < int.from_bytes(data[:8], "little") < MAX_HEADER_BYTES
    too_many = spec.model_copy(update={"known_answers": (answer,) * 10})
    with pytest.raises(HeadFileError, match="fewer or shorter known answers"):
        encode_head(too_many, head_tensors(too_many))


class TestWriting:
    def test_same_bytes_again_is_fine_and_touches_nothing(self, tmp_path: Path) -> None:
        spec = task_spec()
        path = tmp_path / "a.safetensors"
        first = write_head(path, spec, head_tensors(spec))
        before = path.stat()
        assert write_head(path, spec, head_tensors(spec)).sha256 == first.sha256
        after = path.stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert os.listdir(tmp_path) == ["a.safetensors"]

    @pytest.mark.parametrize(
        "there", [GOOD[:-1], GOOD + b"x", b"", good_file(task_spec("regression"))]
    )
    def test_other_content_is_never_overwritten(self, tmp_path: Path, there: bytes) -> None:
        spec = task_spec()
        path = tmp_path / "a.safetensors"
        path.write_bytes(there)
        with pytest.raises(HeadFileError, match="never rewritten"):
            write_head(path, spec, head_tensors(spec))
        assert path.read_bytes() == there
        assert os.listdir(tmp_path) == ["a.safetensors"]

    @pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_mode_follows_the_umask(self, tmp_path: Path, mask: int, mode: int) -> None:
        spec = task_spec()
        old = os.umask(mask)
        try:
            write_head(tmp_path / "a.safetensors", spec, head_tensors(spec))
        finally:
            os.umask(old)
        assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode

    def test_works_where_hard_links_do_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        spec = task_spec()
        path = tmp_path / "a.safetensors"
        write_head(path, spec, head_tensors(spec))
        with pytest.raises(HeadFileError, match="never rewritten"):
            write_head(path, spec, head_tensors(spec, seed=1))
        assert os.listdir(tmp_path) == ["a.safetensors"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"head.bias": None}, r"tensor 'head.bias' is missing; .*\(2,\)"),
            ({"extra": torch.zeros(1)}, r"holds the tensor 'extra' \(1,\)"),
            ({"head.bias": torch.zeros(3)}, r"'head.bias' is \(3,\); .* needs \(2,\)"),
            ({"head.bias": torch.zeros(2, dtype=torch.float64)}, "'torch.float64'"),
            ({"head.bias": torch.zeros(2, dtype=torch.int32)}, "'torch.int32'"),
            ({"head.bias": torch.tensor([0.0, torch.nan])}, "'head.bias' holds NaN"),
            ({"head.bias": torch.tensor([0.0, torch.inf])}, "'head.bias' holds NaN or infinity"),
            ({"head.bias": [0.0, 1.0]}, "'head.bias' is a list, expected a torch.Tensor"),
        ],
    )
    def test_bad_tensors_leave_no_file(
        self, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        spec = task_spec()
        tensors = {**head_tensors(spec), **change}
        with pytest.raises(HeadFileError, match=message):
            write_head(
                tmp_path / "a.safetensors",
                spec,
                {name: t for name, t in tensors.items() if t is not None},  # type: ignore[misc]
            )
        assert os.listdir(tmp_path) == []

    def test_a_spec_that_skipped_its_checks_leaves_no_file(self, tmp_path: Path) -> None:
        spec = task_spec().model_copy(update={"labels": ("same", "same")})
        with pytest.raises(HeadFileError, match="label 'same' occurs twice"):
            write_head(tmp_path / "a.safetensors", spec, head_tensors(spec))
        assert os.listdir(tmp_path) == []

    def test_the_longest_file_name_works(self, tmp_path: Path) -> None:
        spec = task_spec()
        path = tmp_path / f"{'ä' * 121}.safetensors"
        assert write_head(path, spec, head_tensors(spec)).source == str(path)

    def test_missing_folder_names_path_and_reason(self, tmp_path: Path) -> None:
        spec = task_spec()
        with pytest.raises(HeadFileError, match=r"away/a.safetensors: .*No such file") as caught:
            write_head(tmp_path / "away" / "a.safetensors", spec, head_tensors(spec))
        assert isinstance(caught.value.__cause__, OSError)


class TestReading:
    @pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.pkl", "a.ckpt", "a", "a.safetensors.npz"])
    def test_other_names_are_never_opened(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(GOOD)
        with pytest.raises(HeadFileError, match="never opened"):
            read_head(tmp_path / name)
        with pytest.raises(HeadFileError, match="never opened"):
            write_head(tmp_path / name, task_spec(), {})

    def test_missing_file_folder_and_pipe(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        with pytest.raises(HeadFileError, match="No such file"):
            read_head(path)
        os.mkfifo(path)
        with pytest.raises(HeadFileError, match="not a regular file"):
            read_head(path)
        path.unlink()
        path.mkdir()
        with pytest.raises(HeadFileError, match="Is a directory"):
            read_head(path)

    def test_promises_are_checked(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes(GOOD)
        digest = hashlib.sha256(GOOD).hexdigest()
        with pytest.raises(IntegrityError, match=f"{len(GOOD)} bytes long.*{digest}"):
            read_head(path, sha256=digest, size=len(GOOD) + 1)
        with pytest.raises(IntegrityError, match=f"{digest}, the registry promises 00"):
            read_head(path, sha256="0" * 64)

    def test_a_file_that_is_rewritten_does_not_change_the_head(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes(GOOD)
        head = read_head(path)
        before = head.tensors["head.weight"].clone()
        path.write_bytes(b"")
        assert torch.equal(head.tensors["head.weight"], before)

    @pytest.mark.parametrize("claim", [2**63, 2**64 - 1, 100_000_001, 60_000_000])
    def test_huge_header_is_refused_unread(self, tmp_path: Path, claim: int) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes(claim.to_bytes(8, "little") + b"{")
        os.truncate(path, 60_000_008)
        tracemalloc.start()
        with pytest.raises(HeadFileError, match=f"claims {claim} bytes"):
            read_head(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000

    def test_huge_file_is_refused_unread(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        path.write_bytes(GOOD)
        os.truncate(path, MAX_FILE_BYTES + 1)
        for promise in (None, "0" * 64):
            with pytest.raises(HeadFileError, match="at most"):
                read_head(path, sha256=promise)


def many_tensors() -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header, _ = header_and_data(GOOD)
    names = {f"t{i}": entry for i in range(4097)}
    return raw_file(json.dumps({"__metadata__": header["__metadata__"], **names}).encode())


def twice(name: str) -> bytes:
    header, data = header_and_data(GOOD)
    text = json.dumps(header)
    entry = json.dumps(header[name])
    return raw_file(f'{text[:-1]}, "{name}": {entry}}}'.encode(), data)


def changed(name: str, **changes: object) -> bytes:
    header, _ = header_and_data(GOOD)
    return with_header(GOOD, **{name: {**header[name], **changes}})


def renamed(name: str) -> bytes:
    header, _ = header_and_data(GOOD)
    return with_header(GOOD, **{"head.bias": None, name: header["head.bias"]})


def with_hole() -> bytes:
    header, data = header_and_data(GOOD)
    for entry in (header["head.bias"], header["head.weight"]):
        entry["data_offsets"] = [8 + offset for offset in entry["data_offsets"]]
    return raw_file(json.dumps(header).encode(), bytes(8) + data)


def with_not_finite(value: float) -> bytes:
    spec = task_spec()
    data = bytearray(GOOD)
    data[-8:-4] = torch.tensor(value).numpy().tobytes()
    assert spec.labels
    return bytes(data)


DAMAGED: list[tuple[str, bytes, str]] = [
    ("empty", b"", r"not a safetensors file \(0 bytes\)"),
    ("seven bytes", GOOD[:7], "not a safetensors file"),
    ("no header", raw_file(b""), "not a safetensors file"),
    ("zeros", bytes(1000), "not a safetensors file"),
    ("pickle 2", b"\x80\x02}q\x00.", "is a pickle file"),
    ("pickle 4", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.", "never opened"),
    ("zip", b"PK\x03\x04" + bytes(100), "is a zip file"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ("html", b"<!DOCTYPE html><html>", "is a web page"),
    ("one byte less", GOOD[:-1], "cannot be read"),
    ("one byte more", GOOD + b"\0", "cannot be read"),
    ("cut in header", GOOD[:100], "cut short: 100 bytes"),
    ("header not UTF-8", raw_file(b'{"\xff":1}'), "header is not valid JSON"),
    ("header UTF-16", raw_file("{}".encode("utf-16-le")), "header is not valid JSON"),
    ("header cut", raw_file(b'{"a":'), "header is not valid JSON"),
    ("deep header", raw_file(b'{"a":' + b"[" * 100_000), "header is not valid JSON"),
    ("long number", raw_file(b'{"a":' + b"1" * 10_000 + b"}"), "header is not valid JSON"),
    ("no metadata", with_header(GOOD, __metadata__=None), "without a task spec"),
    ("foreign metadata", with_header(GOOD, __metadata__={"format": "pt"}), "without a task spec"),
    ("odd metadata", with_header(GOOD, __metadata__=[1]), "without a task spec"),
    ("4097 tensors", many_tensors(), "holds 4097 tensors"),
    ("duplicate tensor", twice("head.bias"), "'head.bias' occurs twice"),
    ("duplicate metadata", twice("__metadata__"), "'__metadata__' occurs twice"),
    ("traversal name", renamed("../../etc/passwd"), "'head.bias' is missing"),
    ("missing", with_header(GOOD, **{"head.weight": None}), "'head.weight' is missing"),
    (
        "extra",
        with_header(
            GOOD, **{"../\x1b[31m": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
        ),
        r"holds the tensor '../\\x1b\[31m' \(0,\)",
    ),
    ("wrong shape", changed("head.bias", shape=[1, 2]), r"is \(1, 2\); .* needs \(2,\)"),
    ("overflow shape", changed("head.bias", shape=[0, 2**60]), "head.bias"),
    (
        "negative shape",
        changed("head.bias", shape=[-2]),
        "describes the tensor 'head.bias' wrongly",
    ),
    ("bool shape", changed("head.bias", shape=[True]), "wrongly"),
    ("float shape", changed("head.bias", shape=[2.0]), "wrongly"),
    ("no offsets", changed("head.bias", data_offsets=None), "cannot be read"),
    ("entry a list", with_header(GOOD, **{"head.bias": []}), "wrongly"),
    ("F64", changed("head.bias", dtype="F64"), "has the dtype 'F64'"),
    ("I64", changed("head.bias", dtype="I64"), "has the dtype 'I64'"),
    ("F8", changed("head.bias", dtype="F8_E4M3"), "has the dtype 'F8_E4M3'"),
    ("F16 of F32 data", changed("head.bias", dtype="F16"), "cannot be read"),
    ("overlap", changed("head.bias", data_offsets=[8, 16]), "cannot be read"),
    ("hole", with_hole(), "cannot be read"),
    ("offsets beyond", changed("head.bias", data_offsets=[2**40, 2**40 + 8]), "cannot be read"),
    ("offsets backwards", changed("head.bias", data_offsets=[8, 0]), "cannot be read"),
    ("NaN", with_not_finite(float("nan")), "holds NaN or infinity"),
    ("Inf", with_not_finite(float("-inf")), "holds NaN or infinity"),
    ("newer", with_spec(GOOD, schema_version=5, unheard_of=1), "newer adapterhub .schema 5"),
    ("old", with_spec(GOOD, schema_version=0), "schema_version is 0, expected 1"),
    ("schema true", with_spec(GOOD, schema_version=True), "schema_version is True"),
    ("no schema", with_spec(GOOD, schema_version=None), "schema_version is None"),
    ("unknown field", with_spec(GOOD, code="import os"), "code: Extra inputs"),
    ("more labels", with_spec(GOOD, labels=["a", "b", "c"]), r"is \(2, 16\); .* needs \(3, 16\)"),
    ("fewer labels", with_spec(GOOD, labels=["a"]), "needs two labels or more"),
    ("same labels", with_spec(GOOD, labels=["a", "a"]), "label 'a' occurs twice"),
    (
        "label no text",
        with_spec(GOOD, labels=["a", False]),
        "labels.1: Input should be a valid string",
    ),
    ("label empty", with_spec(GOOD, labels=["a", ""]), "labels.1"),
    ("label half a character", with_spec(GOOD, labels=["a", "\ud800"]), "not valid"),
    ("task name", with_spec(GOOD, task="../x"), "task: String should match"),
    ("spec a list", with_header(GOOD, __metadata__={"adapterhub": "[]"}), "not an object"),
    (
        "spec twice",
        with_header(GOOD, __metadata__={"adapterhub": '{"a":1,"a":1}'}),
        "'a' occurs twice",
    ),
    ("spec NaN", with_header(GOOD, __metadata__={"adapterhub": '{"a":NaN}'}), "not a number"),
]


@pytest.mark.parametrize(("data", "message"), [d[1:] for d in DAMAGED], ids=[d[0] for d in DAMAGED])
def test_damaged_and_hostile_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(HeadFileError, match=message):
        parse_head(data, source="x.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(HeadFileError, match=message) as caught:
        read_head(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_header_length_that_looks_like_a_pickle_is_read() -> None:
    header, data = header_and_data(GOOD)
    text = json.dumps(header).encode()
    length = next(n for n in range(len(text), 70_000) if n.to_bytes(8, "little")[:2] == b"\x80\x04")
    assert parse_head(raw_file(text.ljust(length), data), source="x").size > length


edits = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=4)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(edits=edits, cut=st.integers(0, len(GOOD)), whole=st.booleans())
@pytest.mark.slow
def test_mutated_bytes_raise_nothing_foreign(
    edits: list[tuple[int, bytes]], cut: int, whole: bool
) -> None:
    data = bytearray(GOOD)
    for position, new in edits:
        data[position : position + len(new)] = new
    try:
        head = parse_head(bytes(data if whole else data[:cut]), source="x")
    except HeadFileError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in head.tensors.values())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)
spec_fields = sorted(json.loads(header_and_data(GOOD)[0]["__metadata__"]["adapterhub"]))


@settings(max_examples=200, deadline=None)
@given(
    entry=st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), json_values),
    field=st.sampled_from(spec_fields),
    value=json_values,
)
@pytest.mark.slow
def test_mutated_headers_raise_nothing_foreign(
    entry: dict[str, object], field: str, value: object
) -> None:
    for data in (changed("head.bias", **entry), with_spec(GOOD, **{field: value})):
        with contextlib.suppress(HeadFileError):
            parse_head(data, source="x")


def test_no_temporary_file_is_ever_left(tmp_path: Path) -> None:
    spec = task_spec()
    write_head(tmp_path / "a.safetensors", spec, head_tensors(spec))
    assert stray_files(tmp_path) == []


def test_a_minimum_of_confidence_needs_a_newer_reader() -> None:
    plain = task_spec()
    spec = task_spec(abstention=abstention(none_label="oos"))
    tensors = head_tensors(spec)
    data = encode_head(spec, tensors)
    assert b'\\"schema_version\\":4' in data
    assert parse_head(data, source="a").spec == spec
    bare = encode_head(plain, tensors)
    assert b"abstention" not in bare
    assert b'\\"schema_version\\":1' in bare
