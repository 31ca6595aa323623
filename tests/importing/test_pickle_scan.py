"""What is seen of a pickle without opening it."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub.importing.pickle_scan import Refused, check_pickle
from tests.importing.pickles import FORMS, Runs, as_legacy, as_tar, as_zip, packed_again

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.zeros(3, dtype=torch.bfloat16)}
CODE = {
    "os.system": Runs(os.system, "exit 1"),
    "builtins.eval": Runs(eval, "1"),
    "subprocess.check_call": b"csubprocess\ncheck_call\n(lp0\ntR.",
    "os.popen": b"\x80\x04(S'exit 1'\niposix\npopen\n.",
    "runpy.run_path": b"\x80\x04\x8c\x05runpy\x94\x8c\x08run_path\x94\x93.",
    "importlib.import_module": (
        b"\x80\x04\x8c\x0dimport_module\x94\x8c\x09importlib\x94h\x01h\x00\x93."
    ),
}


def refusal(path: Path) -> str:
    with pytest.raises(Refused) as caught:
        check_pickle(path)
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_code_is_named_in_every_form(form: Callable[[Path, object], None], tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    form(path, {"weight": Runs(os.system, f"touch {tmp_path}/ran")})
    message = refusal(path)
    assert message.startswith("x.bin carries code (os.system), which loading it would run")
    assert "none of it was run" in message
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", CODE)
def test_code_is_named_however_it_is_written(name: str, tmp_path: Path) -> None:
    path, code = tmp_path / "x.bin", CODE[name]
    path.write_bytes(code if isinstance(code, bytes) else pickle.dumps(code, 2))
    assert f"({name})" in refusal(path)


def test_at_most_three_names_are_shown(tmp_path: Path) -> None:
    calls = [Runs(getattr(os, name), "x") for name in ("system", "popen", "remove", "mkdir")]
    as_zip(tmp_path / "x.bin", {"x": calls * 2})
    assert "(os.system, os.popen, os.remove)" in refusal(tmp_path / "x.bin")


def test_a_whole_model_is_code_too(tmp_path: Path) -> None:
    as_zip(tmp_path / "x.bin", torch.nn.Linear(2, 2))
    assert "code (torch.nn.modules.linear.Linear)" in refusal(tmp_path / "x.bin")
    assert "torch.save(model.state_dict(), …)" in refusal(tmp_path / "x.bin")


def test_a_pickle_of_tensors_by_plain_pickle_opens_others(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(TENSORS))
    assert "code (torch.storage._load_from_bytes)" in refusal(tmp_path / "x.bin")


@pytest.mark.parametrize("form", [as_zip, as_legacy])
def test_what_holds_tensors_passes(form: Callable[[Path, object], None], tmp_path: Path) -> None:
    state = torch.nn.Linear(2, 2).state_dict()
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}
    more = {"size": torch.Size([1]), "device": torch.device("cpu"), "kind": torch.float16}
    for content in (
        TENSORS,
        state,
        OrderedDict(parameters),
        {"model": TENSORS, "set": {1}, **more},
    ):
        form(tmp_path / "x.bin", content)
        assert check_pickle(tmp_path / "x.bin") is (form is as_zip)


def test_numbers_of_numpy_are_named(tmp_path: Path) -> None:
    as_zip(tmp_path / "x.bin", {"state_dict": TENSORS, "accuracy": np.float64(0.5)})
    assert ".multiarray.scalar, numpy.dtype)" in refusal(tmp_path / "x.bin")


def test_the_tar_form_is_refused_by_name(tmp_path: Path) -> None:
    as_tar(tmp_path / "x.bin", 0)
    assert "the tar format of torch before 0.1.10" in refusal(tmp_path / "x.bin")


@pytest.mark.parametrize("name", ["constants.pkl", "code/__torch__.py"])
def test_an_archive_of_torchscript_is_refused_by_name(name: str, tmp_path: Path) -> None:
    as_zip(tmp_path / "x.bin", TENSORS)
    with zipfile.ZipFile(tmp_path / "x.bin", "a") as archive:
        archive.writestr(f"x/{name}", b"")
    assert "is a TorchScript archive: it carries code" in refusal(tmp_path / "x.bin")


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    as_zip(path, {"x": torch.zeros(100_000)})
    packed_again(path, method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    assert "is compressed, as torch.save never writes it" in refusal(path)


def test_a_zip_file_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    as_zip(path, {"x": torch.zeros(1_000)})
    with zipfile.ZipFile(path, "a") as archive:
        whole = archive.getinfo("x/data/0")
        archive.filelist += [whole] * 4  # entries that overlap
        archive.writestr("x/more", b"")
    assert "holds less than the 20," in refusal(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
        archive.writestr("readme.txt", "weights")
    assert "without data.pkl, not what torch.save writes" in refusal(tmp_path / "x.bin")


def test_damage_of_a_zip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    as_zip(path, {"x": torch.ones(1_000)})
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    assert "is damaged: File is not a zip file; fetch it again" in refusal(path)
    place = data.index(torch.ones(9).numpy().tobytes())
    path.write_bytes(data[:place] + b"\1" + data[place + 1 :])
    assert "is damaged: Bad CRC-32 for file 'x/data/0'; fetch it again" in refusal(path)


def test_a_file_without_checksums_passes(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        as_zip(tmp_path / "x.bin", TENSORS)
    finally:
        torch.serialization.set_crc32_options(before)
    assert check_pickle(tmp_path / "x.bin")
