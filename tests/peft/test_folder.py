"""Folders of PEFT as strangers may give them: refused by name before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from adapterhub.errors import AdapterError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.folder import read_peft_folder
from adapterhub.peft.saved_files import is_peft_folder
from tests.peft.peft_models import adapted, peft_settings


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Backbone) -> Path:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    model.save_pretrained(str(tmp_path / "peft"))
    return tmp_path / "peft"


def set_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(AdapterError, match=match) as raised:
        read_peft_folder(folder)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_read(folder: Path) -> None:
    found = read_peft_folder(folder)
    assert found.tied
    assert found.reads is None
    assert found.head == {}
    assert found.config["r"] == 4
    assert all(key.startswith("encoder.albert_layer_groups.0.") for key in found.factors)
    assert is_peft_folder(folder)
    assert not is_peft_folder(folder.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers_to_transform": [0], "layers_pattern": "albert_layer_groups"},
        {"target_modules": r".*albert_layer_groups\.0\..*query"},
    ],
)
def test_names_that_are_of_a_tied_one_and_of_one_at_the_first_depth_are_refused(
    changes: dict[str, Any], folder: Path
) -> None:
    assert read_peft_folder(folder).tied
    assert not read_peft_folder(folder, tied=False).tied
    set_config(folder, **changes)
    with pytest.raises(AdapterError, match="Say which with --tied or --per-depth"):
        read_peft_folder(folder)
    for tied in (True, False):
        assert read_peft_folder(folder, tied=tied).tied is tied
    (folder / "head.safetensors").touch()
    assert not read_peft_folder(folder).tied


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    refused(folder, r"no adapter_model\.safetensors; expected a folder that PEFT saved")
    (folder / "adapter_config.json").unlink()
    refused(folder, r"no adapter_config\.json")


def test_pickles_are_never_opened(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"x": torch.ones(1)}, folder / "adapter_model.bin")
    refused(folder, r"only adapter_model\.bin, a pickle, which may run code")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "it is not an object"),
        ('{"r": 1, "r": 2}', "occurs twice"),
        ('{"peft_type": "LORA", "r": NaN}', "NaN, which is not a number"),
        ("[" * 100_000, "is not valid JSON"),
        ("\xff", "is not valid JSON"),
        ('{"peft_type": "TELEPATHY"}', "the installed PEFT has no method 'TELEPATHY'"),
        ('{"peft_type": null}', "has no method 'None'"),
        ('{"peft_type": ["LORA"]}', "has no method"),
        ('{"r": 4}', "has no method 'None'"),
        ('{"peft_type": "PREFIX_TUNING"}', "virtual tokens"),
        ('{"peft_type": "LORA", "flux": 1}', "the field 'flux', which the installed PEFT"),
        ('{"peft_type": "LORA", "task_type": "SING"}', "PEFT refuses its adapter_config.json"),
        (
            '{"peft_type": "LORA", "layers_to_transform": [1], "target_modules": "x"}',
            "PEFT refuses its adapter_config.json",
        ),
        (
            '{"peft_type": "LORA", "auto_mapping": {"base_model_class": "BertModel"}}',
            "made for a 'BertModel', but its tensors are named as those of AlbertModel",
        ),
        (
            '{"peft_type": "LORA", "auto_mapping": {"base_model_class": "MPNetModel"}}',
            "made for a 'MPNetModel'; expected a model of albert, bert, distilbert",
        ),
    ],
)
@pytest.mark.slow
def test_configurations_that_cannot_be_used_are_refused(
    content: str, match: str, folder: Path
) -> None:
    (folder / "adapter_config.json").write_bytes(content.encode("latin-1"))
    refused(folder, match)


def test_a_huge_configuration_is_not_read(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(" " * (2**20 + 1))
    refused(folder, r"adapter_config\.json is longer than 1048576 bytes")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\x04 a pickle",
        b"PK\x03\x04 a zip file",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
        (10).to_bytes(8, "little") + b'{"a":[1]} ',
        (2).to_bytes(8, "little") + b"{}",
    ],
)
def test_damaged_weights_are_refused(data: bytes, folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(data)
    refused(folder, r"adapter_model\.safetensors (is no|cannot be read|holds no)")


def test_cut_weights_are_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    refused(folder, r"adapter_model\.safetensors cannot be read")


def test_a_tensor_that_is_there_twice_is_refused(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    state = safetensors.torch.load_file(path)
    key = next(iter(state))
    state[key.removeprefix("base_model.model.")] = state[key].clone()
    safetensors.torch.save_file(state, path)
    refused(folder, "one tensor twice, with and without prefix")


def test_names_that_are_there_twice_are_refused(folder: Path) -> None:
    entry = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    header = b"{" + entry + b"," + entry + b"}"
    data = len(header).to_bytes(8, "little") + header + b"\0" * 4
    (folder / "adapter_model.safetensors").write_bytes(data)
    refused(folder, "'a' occurs twice")


def test_a_folder_in_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.safetensors").mkdir()
    refused(folder, r"adapter_model\.safetensors cannot be read")
