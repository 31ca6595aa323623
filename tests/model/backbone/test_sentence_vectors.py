"""What is read from the files of a sentence-transformers repository, and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import filter_repo_objects

from adapterhub.errors import BackboneError
from adapterhub.model.backbone.open_backbone import FILES, Backbone, open_backbone
from adapterhub.model.backbone.sentence_vectors import SentenceVectors, read_sentence_vectors
from adapterhub.saving import _backbone_entry
from tests.encoders import save_encoder
from tests.sentence_files import (
    FLAGS,
    change_json,
    list_modules,
    write_json,
    write_new,
    write_old,
    write_prompts,
)

POOLING = Path("1_Pooling") / "config.json"
SETTINGS = "sentence_bert_config.json"
PROMPTS = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a BERT of width 32 with 64 positions and without any such file."""
    return save_encoder(tmp_path_factory.mktemp("sentence") / "bert", "bert")


@pytest.fixture(scope="module")
def opened(encoder: Path) -> Backbone:
    return open_backbone(encoder)


@pytest.fixture
def folder(encoder: Path, tmp_path: Path) -> Path:
    """Returns a copy of the encoder's folder."""
    return Path(shutil.copytree(encoder, tmp_path / "bert"))


def read(folder: Path, opened: Backbone) -> SentenceVectors:
    """Returns what stands in a folder, which needs no encoder."""
    found = read_sentence_vectors(folder, config=opened.config, tokenizer=opened.tokenizer)
    assert found is not None
    return found


def refusal(folder: Path, opened: Backbone) -> str:
    with pytest.raises(BackboneError) as refused:
        read(folder, opened)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 600
    return str(refused.value)


def test_a_folder_without_modules_says_nothing(folder: Path) -> None:
    assert open_backbone(folder).sentence is None
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 16})
    assert open_backbone(folder).sentence is None


@pytest.mark.parametrize("write", [write_old, write_new])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_old_and_new_files_are_read(
    write: Callable[..., Path], pooling: str, opened: Backbone, tmp_path: Path
) -> None:
    found = read(write(tmp_path, pooling, normalize=pooling != "max"), opened)
    assert found == SentenceVectors(
        folder=tmp_path,
        pooling=pooling,  # type: ignore[arg-type]
        normalize=pooling != "max",
        max_length=32 if write is write_old else 64,
        lowercase=False,
        prompts={"query": "", "document": ""} if write is write_new else {},
        default_prompt=None,
        pools_prompt=True,
        unsupported=None,
    )


def test_these_files_do_not_change_the_backbone_of_heads(folder: Path) -> None:
    before = open_backbone(folder).spec
    found = open_backbone(write_new(folder))
    assert found.sentence is not None
    assert found.sentence.max_length == 32  # of tokenizer_config.json
    assert (found.spec, found.root) == (before, folder)


@pytest.mark.parametrize(
    ("given", "of_tokenizer", "expected"),
    [
        (16, 24, 16),
        (512, 24, 64),
        (10**400, 24, 64),
        (None, 16, 16),
        (None, 10**30, 64),
        (None, -1, 64),
        (None, "x", 64),
    ],
)
def test_the_window_of_the_module_goes_before_the_tokenizers(
    given: int | None, of_tokenizer: Any, expected: int, opened: Backbone, tmp_path: Path
) -> None:
    write_old(tmp_path, max_length=given)
    tokenizer = copy.copy(opened.tokenizer)
    tokenizer.model_max_length = of_tokenizer
    found = read_sentence_vectors(tmp_path, config=opened.config, tokenizer=tokenizer)
    assert found is not None
    assert found.max_length == expected


def test_the_settings_may_be_named_after_the_encoder(opened: Backbone, tmp_path: Path) -> None:
    write_old(tmp_path, max_length=16)
    (tmp_path / SETTINGS).rename(tmp_path / "sentence_roberta_config.json")
    assert read(tmp_path, opened).max_length == 16


def test_prompts_and_their_default(opened: Backbone, tmp_path: Path) -> None:
    write_prompts(write_old(tmp_path), {"query": "query: ", "passage": "passage: "}, "passage")
    found = read(tmp_path, opened)
    assert found.prompts == {"query": "query: ", "passage": "passage: "}
    assert found.default_prompt == "passage"
    change_json(tmp_path / PROMPTS, prompts={"q": None})
    assert "default_prompt_name 'passage', its prompts are q" in refusal(tmp_path, opened)
    change_json(tmp_path / PROMPTS, default_prompt_name="q")
    assert read(tmp_path, opened).prompts == {"q": ""}


def test_an_encoder_in_a_folder_below_is_opened_from_there(folder: Path, tmp_path: Path) -> None:
    outer = tmp_path / "old"
    outer.mkdir()
    shutil.move(folder, outer / "0_Transformer")
    write_old(outer)
    shutil.move(outer / "sentence_bert_config.json", outer / "0_Transformer")
    list_modules(outer, ["Transformer", "Pooling"], first="0_Transformer")
    found = open_backbone(outer)
    assert found.sentence is not None
    assert (found.sentence.pooling, found.sentence.max_length) == ("mean", 32)
    assert (found.spec.name, found.folder) == ("old", outer / "0_Transformer")
    # A registry names the outer folder, so that its Hub makes the same vectors.
    assert _backbone_entry(found.spec, found.root, tmp_path / "registry.yaml").source == "./old"


def test_every_file_that_is_read_is_fetched_from_the_hub() -> None:
    small = [
        "modules.json",
        PROMPTS,
        "sentence_bert_config.json",
        "sentence_xlm-roberta_config.json",
        "1_Pooling/config.json",
        "2_Normalize/config.json",
        "0_Transformer/config.json",
        "0_Transformer/model.safetensors",
        "0_Transformer/model-00001-of-00002.safetensors",
        "0_Transformer/model.safetensors.index.json",
        "0_Transformer/vocab.txt",
        "0_Transformer/sentence_bert_config.json",
    ]
    large = ["2_Dense/model.safetensors", "onnx/model.onnx", "pytorch_model.bin", "README.md"]
    assert list(filter_repo_objects([*small, *large], allow_patterns=list(FILES))) == small


# What cannot be honoured


def dense(folder: Path) -> None:
    list_modules(folder, ["Transformer", "Pooling", "Dense", "Normalize"], new=True)


def custom(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", [{**modules[0], "type": "own.Transformer"}, *modules[1:]])


def tokens_normalized(folder: Path) -> None:
    write_json(folder / "2_Normalize" / "config.json", {"module_input_name": "token_embeddings"})


def changes(name: str | Path, **values: object) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / name, **values)


def modules_of(*kinds: str) -> Callable[[Path], None]:
    return lambda folder: list_modules(folder, list(kinds))


UNSUPPORTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "dense": (dense, "the module 2_Dense (sentence_transformers.base.modules.dense.Dense)"),
    "LSTM": (modules_of("Transformer", "LSTM", "Pooling"), "the module 1_LSTM"),
    "weighted layers": (
        modules_of("Transformer", "WeightedLayerPooling", "Pooling"),
        "the module 1_WeightedLayerPooling",
    ),
    "asymmetric": (modules_of("Asym"), "the module sentence_transformers.models.Asym"),
    "own code": (custom, "the module own.Transformer"),
    "no pooling": (modules_of("Transformer"), "the modules Transformer (not"),
    "tokens first": (
        modules_of("Transformer", "Normalize", "Pooling"),
        "the modules Transformer, Normalize, Pooling (not",
    ),
    "tokens normalized": (tokens_normalized, "the module 2_Normalize"),
    "several poolings": (
        changes(POOLING, pooling_mode_cls_token=True),
        "the concatenation of the poolings cls, mean",
    ),
    "several names": (
        changes(POOLING, pooling_mode=["mean", "max"]),
        "the concatenation of the poolings mean, max",
    ),
    "unknown pooling": (changes(POOLING, pooling_mode="median"), "the pooling 'median'"),
    "other states": (
        changes(SETTINGS, modality_config={"text": {"method_output_name": "pooler_output"}}),
        "a modality_config",
    ),
    "other output": (changes(SETTINGS, module_output_name="sentence_embedding"), "the module_out"),
    "other task": (changes(SETTINGS, transformer_task="fill-mask"), "the transformer_task 'fill"),
    "tokenizer": (changes(SETTINGS, tokenizer_args={"max": 3}), "the tokenizer_args ['max']"),
    "short window": (changes(SETTINGS, max_seq_length=4), "windows of 4 tokens"),
    "other model": (
        changes(PROMPTS, model_type="CrossEncoder"),
        "the model type 'CrossEncoder'",
    ),
    **{
        mode: (
            changes(POOLING, **{flag: True, "pooling_mode_mean_tokens": False}),
            f"the pooling '{mode}'",
        )
        for mode, flag in FLAGS.items()
        if mode not in ("cls", "mean", "max")
    },
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_cannot_be_honoured_is_named_and_the_encoder_opens(
    case: str, opened: Backbone, tmp_path: Path
) -> None:
    change, expected = UNSUPPORTED[case]
    change(write_old(tmp_path))
    found = read(tmp_path, opened)
    assert found.pooling is None
    assert found.unsupported is not None
    assert found.unsupported.startswith(expected)


def test_dropout_does_nothing(opened: Backbone, tmp_path: Path) -> None:
    list_modules(write_old(tmp_path), ["Transformer", "Pooling", "Dropout", "Normalize"])
    found = read(tmp_path, opened)
    assert (found.pooling, found.normalize, found.unsupported) == ("mean", True, None)


def test_poolings_that_nothing_names_are_the_mean(opened: Backbone, tmp_path: Path) -> None:
    write_json(write_old(tmp_path) / POOLING, {"embedding_dimension": 32})
    assert read(tmp_path, opened).pooling == "mean"


# Damage


def path_of_pooling(path: object) -> object:
    kind = "sentence_transformers.models."
    first = {"idx": 0, "name": "0", "path": "", "type": f"{kind}Transformer"}
    return [first, {"idx": 1, "name": "1", "path": path, "type": f"{kind}Pooling"}]


DAMAGE: dict[str, tuple[str | Path, object, str]] = {
    "no JSON": ("modules.json", b"{", "modules.json cannot be used: Invalid JSON"),
    "no UTF-8": ("modules.json", b"\xff\xfe[]", "modules.json cannot be used: Invalid JSON"),
    "nothing": ("modules.json", b"", "modules.json cannot be used: Invalid JSON"),
    "deep": ("modules.json", b"[" * 100_000, "modules.json cannot be used: Invalid JSON"),
    "no list": ("modules.json", {}, "modules.json cannot be used: Input should be a valid"),
    "no modules": ("modules.json", [], "modules.json cannot be used: Tuple should have at least"),
    "no object": ("modules.json", [3], "modules.json cannot be used: 0: Input should be an obj"),
    "no type": ("modules.json", [{"path": ""}], "modules.json cannot be used: 0.type: Field req"),
    "type": ("modules.json", [{"type": 3}], "modules.json cannot be used: 0.type: Input should"),
    "path": ("modules.json", path_of_pooling(3), "modules.json cannot be used: 1.path: Input"),
    "upwards": ("modules.json", path_of_pooling("../../x"), "'../../x' is no folder below it"),
    "hidden": ("modules.json", path_of_pooling("a/../../x"), "'a/../../x' is no folder below"),
    "absolute": ("modules.json", path_of_pooling("/etc"), "'/etc' is no folder below it"),
    "backslash": ("modules.json", path_of_pooling("..\\x"), "'..\\\\x' is no folder below it"),
    "drive": ("modules.json", path_of_pooling("C:x"), "'C:x' is no folder below it"),
    "NUL": ("modules.json", path_of_pooling("a\0b"), "'a\\x00b' is no folder below it"),
    "line": ("modules.json", path_of_pooling("a\nb"), "'a\\nb' is no folder below it"),
    "line of type": ("modules.json", [{"type": "a\nb"}], "'a\\nb' has characters that cannot"),
    "line of name": (PROMPTS, {"prompts": {"a\nb": 3}}, "prompts.a b: Input should be a valid"),
    "long": ("modules.json", path_of_pooling("x" * 9_000), "1.path: String should have at most"),
    "missing": ("modules.json", path_of_pooling("9_P"), "no 9_P/config.json, which modules.json"),
    "pooling": (POOLING, b"nonsense", "1_Pooling/config.json cannot be used: Invalid JSON"),
    "list": (POOLING, [], "1_Pooling/config.json cannot be used: Input should be an object"),
    "flag": (
        POOLING,
        {"pooling_mode_mean_tokens": "yes"},
        "1_Pooling/config.json cannot be used: pooling_mode_mean_tokens: Input should be a valid",
    ),
    "mode": (POOLING, {"pooling_mode": 3}, "1_Pooling/config.json cannot be used: pooling_mode"),
    "width": (POOLING, {"word_embedding_dimension": 384}, "pools vectors of 384 numbers, the enc"),
    "huge width": (POOLING, {"embedding_dimension": 10**60}, "these files belong to another"),
    "window": (SETTINGS, {"max_seq_length": "256"}, f"{SETTINGS} cannot be used: max_seq_length"),
    "no window": (SETTINGS, {"max_seq_length": 0}, f"{SETTINGS} cannot be used: max_seq_length"),
    "fraction": (SETTINGS, {"max_seq_length": 1.5}, f"{SETTINGS} cannot be used: max_seq_length"),
    "infinite": (SETTINGS, b'{"max_seq_length": 1e999}', f"{SETTINGS} cannot be used: max_seq"),
    "number": (SETTINGS, b'{"max_seq_length": %b}' % (b"9" * 9_000), f"{SETTINGS} cannot be used"),
    "lowercase": (SETTINGS, {"do_lower_case": 1}, f"{SETTINGS} cannot be used: do_lower_case"),
    "prompts": (PROMPTS, {"prompts": ["query: "]}, "prompts: Input"),
    "prompt": (PROMPTS, {"prompts": {"q": 3}}, "prompts.q: Input"),
    "surrogate": (
        PROMPTS,
        b'{"prompts": {"q": "\\ud800"}}',
        "config_sentence_transformers.json cannot be used: Invalid JSON",
    ),
    "normalize": (
        Path("2_Normalize") / "config.json",
        {"module_input_name": 3},
        "2_Normalize/config.json cannot be used: module_input_name",
    ),
    "large": ("modules.json", b" " * (2**22 + 1), "modules.json has more than 4194304 bytes"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_with_its_file(case: str, opened: Backbone, tmp_path: Path) -> None:
    name, content, expected = DAMAGE[case]
    path = write_old(tmp_path) / name
    if isinstance(content, bytes):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    else:
        write_json(path, content)
    assert expected in refusal(tmp_path, opened)


def test_a_damaged_folder_does_not_open(folder: Path) -> None:
    shutil.rmtree(write_old(folder) / "1_Pooling")
    with pytest.raises(BackboneError, match="no 1_Pooling/config"):
        open_backbone(folder)
    (folder / "modules.json").write_text("{")
    with pytest.raises(BackboneError, match="cannot be used: Invalid JSON"):
        open_backbone(folder)


def test_an_encoder_that_is_one_of_several_is_not_chosen(tmp_path: Path) -> None:
    list_modules(tmp_path, ["Router"])
    with pytest.raises(BackboneError) as refused:
        open_backbone(tmp_path)
    assert "starts with the module sentence_transformers.models.Router" in str(refused.value)
    assert "If a folder below has one, open that" in str(refused.value)
