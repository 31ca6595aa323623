"""Which files of a folder are converted, and why others are not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from adapterhub.errors import BackboneError
from adapterhub.model.backbone.weight_files import INDEX_FILE as SAFE_INDEX_FILE
from adapterhub.model.backbone.weight_files import WEIGHTS_FILE
from adapterhub.store.atomic import open_regular, reason
from adapterhub.store.jsonsafe import read_json_object, shown

PICKLE_FILE = "pytorch_model.bin"
INDEX_FILE = f"{PICKLE_FILE}.index.json"
_LIKE = "names such as pytorch_model-00001-of-00002.bin"
_SHARD = re.compile(r"[\w.-]+\.bin")
_MAX_SHARDS = 1_000
_MAX_JSON_BYTES = 2**24
_LFS_POINTER = b"version https://git-lfs"
SAFE_FILES = (WEIGHTS_FILE, SAFE_INDEX_FILE)
_TF1_PART = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
# By the files that other libraries save: what they are, and how they become safetensors.
# transformers 4.46 has the scripts for TensorFlow 1, 4.57 no longer.
_OTHERS = (
    (
        re.compile(r"tf_model(-\d+-of-\d+)?\.h5(\.index\.json)?"),
        "a checkpoint of TensorFlow, which transformers 5 cannot load. Before 5 it can: with "
        '`pip install "transformers<5" tensorflow tf-keras`, AutoModel.from_pretrained({folder}, '
        "from_tf=True).save_pretrained(…) writes safetensors; copy the tokenizer's files there",
    ),
    (
        re.compile(r"checkpoint|.*\.ckpt.*|.*\.(index|meta|data-\d+-of-\d+)"),
        "a checkpoint of TensorFlow 1, which transformers 5 cannot load. An earlier one can: with "
        '`pip install "transformers==4.46.3" tensorflow`, `transformers-cli convert --model_type '
        "{family} --tf_checkpoint {stem} --config {config} --pytorch_dump_output {pickle}` "
        "writes what this command reads",
    ),
    (
        re.compile(r"flax_model(-\d+-of-\d+)?\.msgpack(\.index\.json)?"),
        "a checkpoint of Flax, which transformers 5 cannot load. Before 5 it can: with "
        '`pip install "transformers<5" flax`, AutoModel.from_pretrained({folder}, '
        "from_flax=True).save_pretrained(…) writes safetensors; copy the tokenizer's files there",
    ),
    (
        re.compile(r".*\.onnx"),
        "an ONNX graph, whose weights have no names; take the checkpoint that it was made from",
    ),
)


def pickled_files(folder: Path) -> tuple[Path, ...]:
    """Returns the pickled checkpoint in a folder, or its parts.

    Raises:
        BackboneError: There is none, it is not needed, or it cannot be read.
    """
    source, names = str(folder), _names(folder)
    if "adapter_config.json" in names:
        raise BackboneError(
            source,
            "it is an adapter of PEFT, not a whole model; `adapterhub import` takes it, with its "
            "weights in adapter_model.safetensors",
        )
    safe = next((name for name in SAFE_FILES if name in names), None)
    if safe is not None:
        raise BackboneError(
            source, f"it has {safe} and needs no conversion; use the folder as it is"
        )
    if PICKLE_FILE in names:
        return (_weights(folder, PICKLE_FILE),)
    if INDEX_FILE in names:
        return tuple(_weights(folder, name) for name in _shards(folder))
    raise BackboneError(source, f"no {PICKLE_FILE}; {_other_checkpoint(folder, names)}")


def own_file(folder: Path, name: str) -> Path:
    """Returns a regular file of a folder, with links resolved.

    The Hub's cache is links to its `blobs`; a link that leads elsewhere may be a stranger's.

    Raises:
        BackboneError: It is none, or cannot be read.
    """
    try:
        path, home = (folder / name).resolve(strict=True), folder.resolve()
        cache = home.parent.parent / "blobs"
        if not path.is_relative_to(home) and not path.is_relative_to(cache):
            raise BackboneError(
                str(folder), f"{name} is a link out of the folder, to {path}; put the file there"
            )
        with open_regular(path) as file:
            start = file.read(len(_LFS_POINTER))
    except (OSError, RuntimeError) as error:  # RuntimeError until Python 3.13
        problem = reason(error) if isinstance(error, OSError) else str(error)
        raise BackboneError(str(folder), f"{name} cannot be read: {problem}") from error
    if start == _LFS_POINTER:
        raise BackboneError(
            str(folder), f"{name} only points to the file in Git LFS; run `git lfs pull` there"
        )
    return path


def read_json(folder: Path, name: str) -> dict[str, object]:
    """Returns a JSON object that a file of a folder holds.

    Raises:
        BackboneError: It cannot be read, or is no JSON object.
    """
    path = own_file(folder, name)
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise BackboneError(str(folder), f"{name} is longer than {_MAX_JSON_BYTES:,} bytes")
    try:
        return read_json_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BackboneError(str(folder), f"{name} cannot be read: {error}") from error


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError as error:
        raise BackboneError(str(folder), f"it cannot be read: {reason(error)}") from error


def _weights(folder: Path, name: str) -> Path:
    path = own_file(folder, name)
    if path.stat().st_size == 0:
        raise BackboneError(str(folder), f"{name} is empty; fetch it again")
    return path


def _shards(folder: Path) -> list[str]:
    """Returns the names of the files that an index names."""
    places = read_json(folder, INDEX_FILE).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise BackboneError(str(folder), f"{INDEX_FILE} has no weight_map, which names its files")
    files = set(map(str, places.values()))
    odd = sorted(name for name in files if not _SHARD.fullmatch(name))
    if odd or len(files) > _MAX_SHARDS:
        what = f"the file {shown(odd[0])}" if odd else f"{len(files)} files"
        raise BackboneError(str(folder), f"{INDEX_FILE} names {what}; expected {_LIKE}")
    return sorted(files)


def _other_checkpoint(folder: Path, names: Iterable[str]) -> str:
    """Returns what a folder has instead of a pickled checkpoint, and what to do with it."""
    for pattern, what in _OTHERS:
        found = sorted((name for name in names if pattern.fullmatch(name)), key=_main_part)
        if found:
            return f"{found[0]} is {what.format(**_parts(folder, found[0], names))}"
    deeper = sorted(path.parent for path in folder.glob(f"*/{PICKLE_FILE}"))
    if deeper:
        return f"{deeper[0].name}/ has one: convert {deeper[0]}"
    return "expected a folder that transformers saved before it wrote safetensors"


def _main_part(name: str) -> tuple[bool, str]:
    """Sorts first the file by which TensorFlow 1 names a checkpoint."""
    return not name.endswith(".index"), name


def _parts(folder: Path, name: str, names: Iterable[str]) -> dict[str, str]:
    """Returns what the commands for other checkpoints name."""
    configs = sorted(one for one in names if one.endswith(".json") and "config" in one)
    config = next((one for one in configs if "bert" in one), (*configs, "config.json")[0])
    paths = {"stem": _TF1_PART.sub("", name), "config": config, "pickle": PICKLE_FILE}
    quoted = {key: shlex.quote(str(folder / path)) for key, path in paths.items()}
    family = "albert" if "albert" in f"{name} {config}" else "bert"
    return {**quoted, "family": family, "folder": repr(str(folder))}
