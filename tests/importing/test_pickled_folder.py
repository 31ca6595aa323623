"""Which folders are converted, and what the others are told."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from adapterhub.errors import BackboneError
from adapterhub.importing.pickled_folder import INDEX_FILE, own_file, pickled_files
from tests.importing.pickles import PICKLE

SHARDS = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def refusal(folder: Path) -> str:
    with pytest.raises(BackboneError) as caught:
        pickled_files(folder)
    assert caught.value.source == str(folder)
    return caught.value.problem


def write_index(folder: Path, places: object) -> None:
    (folder / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_one_file_goes_before_parts(tmp_path: Path) -> None:
    touch(tmp_path, *SHARDS)
    write_index(tmp_path, dict(zip("abc", [*SHARDS, SHARDS[0]], strict=True)))
    assert [path.name for path in pickled_files(tmp_path)] == SHARDS
    touch(tmp_path, PICKLE)
    assert pickled_files(tmp_path) == (tmp_path / PICKLE,)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a": "../pytorch_model.bin"}, "names the file '../pytorch_model.bin'; expected names"),
        ({"a": "/etc/passwd"}, "names the file '/etc/passwd'"),
        ({"a": "model.safetensors"}, "names the file 'model.safetensors'"),
        ({"a": SHARDS[0]}, f"{SHARDS[0]} cannot be read: No such file or directory"),
        ({}, "has no weight_map"),
        (None, "has no weight_map"),
        ({str(n): f"{n}.bin" for n in range(1_001)}, "names 1001 files"),
    ],
)
def test_an_index_names_files_of_the_folder(places: object, message: str, tmp_path: Path) -> None:
    write_index(tmp_path, places)
    assert message in refusal(tmp_path)


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_text("{")
    assert f"{INDEX_FILE} cannot be read: " in refusal(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_safetensors_need_no_conversion(name: str, tmp_path: Path) -> None:
    touch(tmp_path, name, PICKLE)
    assert refusal(tmp_path) == f"it has {name} and needs no conversion; use the folder as it is"


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    touch(tmp_path, "adapter_config.json", "adapter_model.bin")
    assert "it is an adapter of PEFT, not a whole model" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("tf_model.h5",), ("tf_model.h5 is a checkpoint of TensorFlow, which", "from_tf=True")),
        (("tf_model-00001-of-00002.h5",), ("TensorFlow", "from_tf=True")),
        (("flax_model.msgpack",), ("a checkpoint of Flax", 'transformers<5" flax', "from_flax")),
        (("model.onnx",), ("model.onnx is an ONNX graph", "that it was made from")),
        (("config.json",), ("expected a folder that transformers saved before",)),
        (("0_Transformer/pytorch_model.bin", "modules.json"), ("0_Transformer/ has one: convert",)),
        (
            (
                "checkpoint",
                "albert_config_tiny_g.json",
                "albert_model.ckpt.data-00000-of-00001",
                "albert_model.ckpt.index",
                "albert_model.ckpt.meta",
                "vocab.txt",
            ),
            (
                "albert_model.ckpt.index is a checkpoint of TensorFlow 1",
                "transformers-cli convert --model_type albert --tf_checkpoint {}/albert_model.ckpt "
                "--config {}/albert_config_tiny_g.json --pytorch_dump_output {}/pytorch_model.bin`",
            ),
        ),
        (
            ("bert_config.json", "bert_model.ckpt-1000.index", "bert_model.ckpt-1000.meta"),
            ("--model_type bert --tf_checkpoint {}/bert_model.ckpt-1000 --config {}/bert_config",),
        ),
        (("model.ckpt-5.data-00000-of-00001",), ("--tf_checkpoint {}/model.ckpt-5 ",)),
    ],
)
def test_other_checkpoints_are_refused_by_name_with_the_way_out(
    names: tuple[str, ...], said: tuple[str, ...], tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    message = refusal(tmp_path)
    assert message.startswith("no pytorch_model.bin; ")
    for part in said:
        assert part.replace("{}", str(tmp_path)) in message


def test_an_empty_file_and_a_pointer_are_named(tmp_path: Path) -> None:
    (tmp_path / PICKLE).touch()
    assert "pytorch_model.bin is empty; fetch it again" in refusal(tmp_path)
    (tmp_path / PICKLE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "only points to the file in Git LFS; run `git lfs pull`" in refusal(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")
def test_only_regular_files_of_the_folder_are_read(tmp_path: Path) -> None:
    folder, away = tmp_path / "folder", tmp_path / "away.bin"
    touch(folder, "inner.bin")
    touch(tmp_path, "away.bin")
    weights = folder / PICKLE
    for target in (away, Path(tempfile.gettempdir()), Path("/dev/null")):
        weights.symlink_to(target)
        assert "pytorch_model.bin is a link out of the folder, to " in refusal(folder)
        weights.unlink()
    weights.symlink_to(PICKLE)
    assert "pytorch_model.bin cannot be read: " in refusal(folder)
    weights.unlink()
    os.mkfifo(weights)
    assert "pytorch_model.bin cannot be read: it is not a regular file" in refusal(folder)
    weights.unlink()
    weights.symlink_to("inner.bin")
    assert pickled_files(folder) == (folder / "inner.bin",)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX files")
def test_the_cache_of_the_hub_is_links(tmp_path: Path) -> None:
    repository = tmp_path / "models--acme--tiny"
    touch(repository / "blobs", "abc")
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (folder / PICKLE).symlink_to("../../blobs/abc")
    assert pickled_files(folder) == (repository / "blobs" / "abc",)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").symlink_to("../../../blobs/abc")
    assert own_file(folder, "1_Pooling/config.json") == repository / "blobs" / "abc"
