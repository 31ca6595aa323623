"""Exported tasks: plain PEFT opens them and gets the same hidden states."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AlbertModel

import adapterhub
from adapterhub.errors import AdapterError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.export_folder import export_peft, is_stock
from adapterhub.peft.exported_head import read_exported_head
from adapterhub.peft.format import PeftAdapter, adapter_from_peft
from adapterhub.specs import BLOCK_METHOD, AdapterSpec
from adapterhub.store.headfile import HeadFile, encode_head, parse_head
from tests.builders import head_tensors
from tests.peft.peft_models import SOME, adapted, last_hidden, peft_settings
from tests.tiny import tiny_task

FILES = ["README.md", "adapter_config.json", "adapter_model.safetensors", "head.safetensors"]


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def from_model(model: PeftModel, *, tied: bool, **changes: Any) -> PeftAdapter:
    from peft import get_peft_model_state_dict

    state, config = get_peft_model_state_dict(model), model.peft_config["default"]
    return adapter_from_peft(state, config, num_hidden_layers=4, tied=tied, **changes)


def head_file(backbone: Backbone, adapter: PeftAdapter | None, **changes: Any) -> HeadFile:
    spec = tiny_task(backbone, "single_label", task="mood", **changes)
    tensors = head_tensors(spec)
    if adapter is not None:
        spec = spec.model_copy(update={"adapter": adapter.spec})
        tensors |= adapter.tensors
    return parse_head(encode_head(spec, tensors), source="mood.safetensors")


def plain_albert(backbone: Backbone) -> AlbertModel:
    """Returns the model as anybody would load it."""
    return AlbertModel.from_pretrained(str(backbone.folder), add_pooling_layer=False).eval()


@pytest.mark.parametrize("method", SOME)
@pytest.mark.slow
def test_a_tied_adapter_opens_on_a_plain_albert(
    method: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings(method, tied=True), tied=True)
    export_peft(head_file(tiny_backbone, from_model(model, tied=True)), tmp_path / "out")
    opened = PeftModel.from_pretrained(plain_albert(tiny_backbone), tmp_path / "out").eval()
    assert torch.equal(last_hidden(opened), last_hidden(model))


@pytest.mark.parametrize("method", SOME)
@pytest.mark.slow
def test_a_per_depth_adapter_opens_on_an_unrolled_albert(
    method: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings(method, tied=False), tied=False)
    export_peft(head_file(tiny_backbone, from_model(model, tied=False)), tmp_path / "out")
    unrolled = adapterhub.unrolled(plain_albert(tiny_backbone))
    opened = PeftModel.from_pretrained(unrolled, tmp_path / "out").eval()
    assert torch.equal(last_hidden(opened), last_hidden(model))


def test_a_tied_adapter_of_the_last_depths_stands_at_each_of_them(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    adapter = from_model(model, tied=True, depths=(2, 3))
    head = head_file(tiny_backbone, adapter)
    assert not is_stock(head.spec)
    export_peft(head, tmp_path / "out")
    unrolled = adapterhub.unrolled(plain_albert(tiny_backbone))
    opened = PeftModel.from_pretrained(unrolled, tmp_path / "out").eval()
    state = {name for name, p in opened.named_parameters() if "lora_A" in name}
    assert {name.split(".")[4] for name in state} == {"2", "3"}


@pytest.mark.parametrize(
    ("depths", "reads", "stock"),
    [((0, 1, 2, 3), (4,), True), ((0, 1, 2), (4,), False), ((0, 1, 2), (3,), True),
     ((1, 2, 3), (4,), False), ((0, 2), (2,), False), ((0, 1), (1, 2), True)],
)  # fmt: skip
def test_depths_behind_the_head_do_not_matter(
    depths: tuple[int, ...], reads: tuple[int, ...], stock: bool, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    adapter = from_model(model, tied=True, depths=depths)
    assert is_stock(head_file(tiny_backbone, adapter, depths=reads).spec) is stock


def test_what_is_written(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=False), tied=False)
    head = head_file(tiny_backbone, from_model(model, tied=False))
    export_peft(head, tmp_path / "deep" / "out")
    out = tmp_path / "deep" / "out"
    assert sorted(os.listdir(out)) == FILES
    assert os.listdir(out.parent) == ["out"]
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["layers_to_transform"] == [2, 3]
    assert config["layers_pattern"] == "albert_layer_groups"
    assert config["task_type"] == "FEATURE_EXTRACTION"
    readme = (out / "README.md").read_text()
    assert "adapterhub.unrolled(model)" in readme
    assert "depth 2, 3" in readme
    again = tmp_path / "again"
    export_peft(head, again)
    for name in FILES:
        assert (again / name).read_bytes() == (out / name).read_bytes(), name


def test_a_backbone_of_the_hub_is_named(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    head = head_file(tiny_backbone, from_model(model, tied=True))
    named = head.spec.backbone.model_copy(update={"name": "someone/albert", "revision": "abc"})
    spec = head.spec.model_copy(update={"backbone": named})
    named_head = HeadFile(spec, head.tensors, head.sha256, head.size, head.source)
    export_peft(named_head, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("someone/albert", "abc")
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "from_pretrained('someone/albert', revision='abc', add_pooling_layer=False)" in readme


def test_the_head_is_beside_it(tmp_path: Path, tiny_backbone: Backbone) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    head = head_file(tiny_backbone, from_model(model, tied=True))
    export_peft(head, tmp_path / "out")
    found = read_exported_head(tmp_path / "out")
    assert found is not None
    assert found.spec.adapter is None
    assert found.spec.labels == head.spec.labels
    assert set(found.tensors) == {"head.weight", "head.bias"}
    with pytest.raises(adapterhub.AdapterHubError, match="without a task spec"):
        adapterhub.read_head(tmp_path / "out" / "head.safetensors")


def test_a_task_without_adapter_is_refused(tmp_path: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(AdapterError, match="task 'mood' has none; it is a head"):
        export_peft(head_file(tiny_backbone, None), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_own_block_is_refused(tmp_path: Path, tiny_backbone: Backbone) -> None:
    block = AdapterSpec(
        method=BLOCK_METHOD, depths=(3,), sites=("ffn",), parameters=1, digest="0" * 64
    )
    head = head_file(tiny_backbone, None)
    spec = head.spec.model_copy(update={"adapter": block})
    with pytest.raises(AdapterError, match="a full copy of the block, which PEFT cannot hold"):
        export_peft(HeadFile(spec, head.tensors, head.sha256, head.size, head.source), tmp_path)


@pytest.mark.parametrize("method", ["frod", "tinylora"])
def test_what_cannot_be_repeated_is_refused(
    method: str, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings(method, tied=True), tied=True)
    adapter = from_model(model, tied=True, depths=(2, 3))
    with pytest.raises(AdapterError, match="cannot be repeated for each of them"):
        export_peft(head_file(tiny_backbone, adapter), tmp_path / "out")


def test_folders_with_something_in_them_are_left_alone(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    head = head_file(tiny_backbone, from_model(model, tied=True))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("full", "file"):
        with pytest.raises(AdapterError, match="the folder is not empty"):
            export_peft(head, tmp_path / name)
    assert os.listdir(tmp_path / "full") == ["mine"]
    (tmp_path / "empty").mkdir()
    export_peft(head, tmp_path / "empty")
    assert sorted(os.listdir(tmp_path / "empty")) == FILES


def test_whole_or_not_at_all(
    tmp_path: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(tiny_backbone.model, peft_settings("lora", tied=True), tied=True)
    head = head_file(tiny_backbone, from_model(model, tied=True))
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AdapterError, match="it cannot be written: No space left on device"):
        export_peft(head, tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "match"),
    [(b"x", "cannot be read"), (b"\xff" * 20, "its header claims"), (b"", "cannot be read")],
)
def test_a_damaged_head_beside_an_adapter_is_refused(
    data: bytes, match: str, tmp_path: Path
) -> None:
    (tmp_path / "head.safetensors").write_bytes(data)
    with pytest.raises(AdapterError, match=match):
        read_exported_head(tmp_path)
