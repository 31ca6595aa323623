"""Reading the weights of every family: names, prefixes, shards, and damage that is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from adapterhub.errors import BackboneError
from adapterhub.model.backbone.checkpoint import read_weights
from adapterhub.model.backbone.config import read_config
from tests.encoders import FAMILY_NAMES, random_model, save_model

INDEX = "model.safetensors.index.json"
FILE = "model.safetensors"
WORDS = "embeddings.word_embeddings.weight"
TINY = {"vocab_size": 50, "num_hidden_layers": 2}
TINY_DISTILBERT = {"vocab_size": 50, "n_layers": 2}

Tensors = dict[str, torch.Tensor]


def tiny(family: str) -> dict[str, int]:
    return TINY_DISTILBERT if family == "distilbert" else TINY


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with a tiny model of each family, by its name."""
    folder = tmp_path_factory.mktemp("weights")
    for family in FAMILY_NAMES:
        save_model(folder / family, family, **tiny(family))
    return folder


@pytest.fixture
def copy_of(saved: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Returns a function that copies a model into a folder that a test may damage."""
    return lambda family: Path(shutil.copytree(saved / family, tmp_path / family))


@pytest.fixture
def bert(copy_of: Callable[[str], Path]) -> Path:
    return copy_of("bert")


def read(folder: Path) -> Tensors:
    return dict(read_weights(folder, read_config(folder)))


def refusal(folder: Path) -> str:
    """Returns the message with which the weights are refused; it is one line."""
    with pytest.raises(BackboneError) as refused:
        read(folder)
    assert len(str(refused.value).splitlines()) == 1
    assert str(folder) in str(refused.value)
    return str(refused.value)


def assert_same(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def change(folder: Path, edit: Callable[[Tensors], Any]) -> None:
    tensors = load_file(folder / FILE)
    edit(tensors)
    save_file(tensors, folder / FILE, {"format": "pt"})


def split(folder: Path, count: int = 3) -> dict[str, str]:
    """Writes the weights of a folder as shards with an index; returns the index."""
    tensors = load_file(folder / FILE)
    places = {name: i % count + 1 for i, name in enumerate(sorted(tensors))}
    files = {name: f"model-{i:05}-of-{count:05}.safetensors" for name, i in places.items()}
    for file in set(files.values()):
        part = {name: tensors[name] for name in tensors if files[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    write_index(folder, files)
    (folder / FILE).unlink()
    return files


def write_index(folder: Path, files: object) -> None:
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))


# Names


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", "BertForPreTraining"),
        ("bert", "BertForMaskedLM"),
        ("bert", "BertForSequenceClassification"),
        ("bert", "BertForQuestionAnswering"),
        ("distilbert", "DistilBertForMaskedLM"),
        ("distilbert", "DistilBertForSequenceClassification"),
        ("electra", "ElectraForPreTraining"),
        ("electra", "ElectraForMaskedLM"),
        ("roberta", "RobertaForMaskedLM"),
        ("roberta", "RobertaForSequenceClassification"),
        ("xlm-roberta", "XLMRobertaForMaskedLM"),
        ("xlm-roberta", "XLMRobertaForTokenClassification"),
    ],
)
@pytest.mark.slow
def test_a_checkpoint_with_a_head_has_the_weights_of_its_encoder(
    family: str, head: str, tmp_path: Path
) -> None:
    model = random_model(family, kind=getattr(transformers, head), **tiny(family))
    model.save_pretrained(tmp_path / "head")
    model.base_model.save_pretrained(tmp_path / "plain")
    assert any(
        name.startswith(model.base_model_prefix) for name in load_file(tmp_path / "head" / FILE)
    )
    assert_same(read(tmp_path / "head"), read(tmp_path / "plain"))


@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.slow
def test_names_of_older_checkpoints_are_read(bert: Path, prefix: str) -> None:
    expected = read(bert)

    def rename(tensors: Tensors) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            tensors[prefix + old.replace("LayerNorm.bias", "LayerNorm.beta")] = tensors.pop(name)
        tensors[f"{prefix}embeddings.position_ids"] = torch.arange(64)[None]
        tensors["cls.predictions.decoder.weight"] = tensors[prefix + WORDS].clone()

    change(bert, rename)
    assert_same(read(bert), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_stored_floats_are_read_as_fp32(bert: Path, dtype: torch.dtype) -> None:
    expected = {name: tensor.to(dtype).float() for name, tensor in read(bert).items()}

    def cast(tensors: Tensors) -> None:
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    change(bert, cast)
    assert_same(read(bert), expected)


def test_positions_start_behind_the_padding_token(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("roberta")
    stored = load_file(folder / FILE)["embeddings.position_embeddings.weight"]
    assert torch.equal(read(folder)["embeddings.position_embeddings.weight"], stored[2:])


# Shards


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_shards_are_one_checkpoint(family: str, copy_of: Callable[[str], Path]) -> None:
    folder = copy_of(family)
    expected = read(folder)
    split(folder)
    assert_same(read(folder), expected)


def test_shards_of_transformers_are_read(saved: Path, tmp_path: Path) -> None:
    random_model("bert", **TINY).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    assert_same(read(tmp_path), read(saved / "bert"))


def test_one_file_beside_an_index_is_the_checkpoint(bert: Path) -> None:
    expected = read(bert)
    write_index(bert, {WORDS: "../elsewhere.safetensors"})
    assert_same(read(bert), expected)


@pytest.mark.parametrize(
    "name",
    [
        "../model-1.safetensors",
        "/etc/passwd",
        "sub/model-1.safetensors",
        "..\\model-1.safetensors",
        "pytorch_model.bin",
        "..",
        "",
        "model\n.safetensors",
        7,
        None,
    ],
)
def test_an_index_names_files_beside_it_only(bert: Path, name: object) -> None:
    write_index(bert, {WORDS: name})
    (bert / FILE).unlink()
    assert "which is no safetensors file beside it" in refusal(bert)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"weight_map": 1}',
        '{"weight_map": []}',
        '{"weight_map": {"a": ["x"]}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_index_is_refused(bert: Path, index: str) -> None:
    (bert / INDEX).write_text(index)
    (bert / FILE).unlink()
    message = refusal(bert)
    assert f"{INDEX} cannot be read: " in message
    assert len(message) < 500


def test_an_index_of_nothing_is_refused(bert: Path) -> None:
    write_index(bert, {})
    (bert / FILE).unlink()
    assert f"{INDEX} names no file" in refusal(bert)


def test_a_missing_shard_is_named(bert: Path) -> None:
    files = split(bert)
    (bert / files[WORDS]).unlink()
    assert f"no {files[WORDS]}, which {INDEX} names; fetch it again" in refusal(bert)


def test_a_damaged_shard_is_refused(bert: Path) -> None:
    shard = bert / split(bert)[WORDS]
    shard.write_bytes(shard.read_bytes()[:-5])
    assert "the weights cannot be loaded" in refusal(bert)


def test_a_pointer_of_git_lfs_is_named(bert: Path) -> None:
    (bert / FILE).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert f"{FILE} is a pointer of Git LFS, not the file; fetch it: git lfs pull" in refusal(bert)


def test_a_shard_without_a_tensor_that_the_index_names_in_it_is_refused(bert: Path) -> None:
    files = split(bert)
    tensors = load_file(bert / files[WORDS])
    del tensors[WORDS]
    save_file(tensors, bert / files[WORDS])
    assert f"{files[WORDS]} has no {WORDS}, which {INDEX} names in it" in refusal(bert)


def test_a_tensor_in_two_shards_is_refused(bert: Path) -> None:
    files = split(bert)
    other = next(file for file in files.values() if file != files[WORDS])
    save_file({**load_file(bert / other), WORDS: torch.zeros(50, 32)}, bert / other)
    assert f"{WORDS} is in two weight files" in refusal(bert)


# Damage

LAYER = "encoder.layer.1."


def add(name: str, *shape: int) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: torch.zeros(shape or (32,))})


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda t: t.pop(WORDS), f"the weights lack {WORDS} (1 tensor in all)"),
        (lambda t: t.pop(f"{LAYER}output.dense.bias"), f"lack {LAYER}output.dense.bias"),
        (add("encoder.layer.2.output.dense.bias"), "have encoder.layer.2.output.dense.bias, which"),
        (add("encoder.layer.12.output.dense.bias"), "which no BertModel of this config.json has"),
        (add(f"encoder.{'9' * 9_999}"), f"have encoder.{'9' * 192}, which no BertModel"),
        (add(f"{LAYER}crossattention.self.query.weight"), "crossattention"),
        (add(f"{LAYER}attention.self.distance_embedding.weight"), "distance_embedding"),
        (add(f"{LAYER}output.adapters.x.adapter_down.0.weight"), "adapters"),
        (add(f"{LAYER}attention.self.query.lora_A.default.weight"), "lora_A"),
        (add(f"{LAYER}attention.self.query.weight_scale"), "weight_scale"),
        (add("embeddings.task_type_embeddings.weight"), "task_type_embeddings"),
        (add("embeddings_project.weight"), "embeddings_project.weight"),
        (add("encoder.relative_attention_bias.weight"), "relative_attention_bias"),
        (add(f"bert.{WORDS}"), f"bert.{WORDS}"),
        (add(WORDS, 7, 32), f"{WORDS} with shape (7, 32), config.json makes it (50, 32)"),
        (add(WORDS, 50, 16), f"{WORDS} with shape (50, 16), config.json makes it (50, 32)"),
        (lambda t: t.update({WORDS: t[WORDS].to(torch.int8)}), "torch.int8; expected plain floats"),
        (lambda t: t[WORDS].fill_(float("nan")), f"{WORDS} with values that are nan or infinite"),
        (lambda t: t[WORDS][49].fill_(float("inf")), f"{WORDS} with values that are nan or inf"),
        (
            lambda t: t[f"{LAYER}output.dense.bias"][3].fill_(-float("inf")),
            f"{LAYER}output.dense.bias with values that are nan or infinite",
        ),
        (
            lambda t: [t.update({f"auto_model.{name}": t.pop(name)}) for name in list(t)],
            "tensors in all); they have auto_model.embeddings.LayerNorm.bias",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_config_are_refused(
    bert: Path, edit: Callable[[Tensors], Any], problem: str
) -> None:
    change(bert, edit)
    assert problem in refusal(bert)


def test_large_finite_weights_are_no_damage(bert: Path) -> None:
    change(bert, lambda tensors: tensors[WORDS].fill_(3e38))
    assert read(bert)[WORDS].isfinite().all()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_missing_layer_is_named_as_in_its_family(
    family: str, copy_of: Callable[[str], Path]
) -> None:
    folder = copy_of(family)
    name = sorted(
        name for name in load_file(folder / FILE) if "ayer" in name and "ooler" not in name
    )[-1]
    change(folder, lambda tensors: tensors.pop(name))
    assert f"the weights lack {name} (1 tensor in all)" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "parts"),
    [
        ("pytorch_model.bin", ("pickle, which is never opened here", "adapterhub convert ")),
        ("pytorch_model.bin.index.json", ("pickle, which is never opened", "adapterhub convert ")),
        ("tf_model.h5", ("checkpoint of TensorFlow", '"transformers<5"', "from_tf=True")),
        ("flax_model.msgpack", ("checkpoint of Flax", '"transformers<5"', "from_flax=True")),
    ],
)
def test_weights_of_another_kind_are_named_with_the_way_out(
    bert: Path, file: str, parts: tuple[str, ...]
) -> None:
    (bert / FILE).rename(bert / file)
    message = refusal(bert)
    assert all(part in message for part in parts)
