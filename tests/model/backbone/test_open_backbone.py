"""Opening a backbone: sources that are never guessed, damage that is named, one identity."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import string
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AlbertConfig, AlbertForMaskedLM, AlbertForPreTraining, AlbertModel

from adapterhub import Hub
from adapterhub.errors import BackboneError, TokenizerError
from adapterhub.model.backbone import sources
from adapterhub.model.backbone.open_backbone import FILES, Backbone, open_backbone
from adapterhub.model.backbone.sources import locate
from tests.tiny import save_backbone, save_model, vocabulary

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORDS = "embeddings.word_embeddings.weight"
RELEASED = "sha256:d82513521a327d27858a6276da516946b839425d23b4b1b55b8dc5333bf820ee"


@pytest.fixture
def folder(tiny_backbone_folder: Path, tmp_path: Path) -> Path:
    """Returns a copy of the tiny backbone that a test may damage."""
    return Path(shutil.copytree(tiny_backbone_folder, tmp_path / "tiny"))


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def refusal(source: str | Path, kind: type[BackboneError] = BackboneError) -> str:
    """Returns the message with which `source` is refused; it is one line."""
    with pytest.raises(BackboneError) as refused:
        open_backbone(source)
    assert type(refused.value) is kind
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


# Sources


def test_a_folder_is_read_and_named_by_its_last_part(folder: Path) -> None:
    opened = open_backbone(folder)
    assert opened.spec.name == "tiny"
    assert opened.spec.revision is None
    assert (opened.spec.hidden_size, opened.spec.num_hidden_layers) == (32, 4)
    assert opened.folder == folder.resolve()
    assert opened.gelu == "tanh"


def test_every_way_to_write_a_folder_finds_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder.parent))
    sources = [".", "./", "../tiny", "~/tiny", str(folder), Path("."), Path("../tiny"), folder]
    for source in sources:
        assert locate(source, only=FILES) == (folder.resolve(), None)


@pytest.mark.parametrize(
    "source",
    ["tiny", "", "a/b/c", "owner/", "/owner", "owner/name@", "owner/na me", "owner/name\n", "C:"],
)
def test_a_name_that_is_neither_folder_nor_hub_name_is_refused(
    source: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    message = refusal(source)
    assert "is neither a folder" in message or "no such folder" in message


def test_a_hub_name_that_is_a_folder_here_too_is_not_guessed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.chdir(folder.parent.parent)
    monkeypatch.setattr(
        sources, "fetch", lambda *what, only: asked.append(what) or (folder, COMMIT)
    )
    name = f"{folder.parent.name}/tiny"
    assert f"write ./{name} or hub:{name}" in refusal(name)
    assert asked == []
    assert locate(f"./{name}", only=FILES) == (folder, None)
    assert locate(f"hub:{name}", only=FILES) == (folder, COMMIT)
    assert locate(f"{name}@v1", only=FILES) == (folder, COMMIT)
    assert asked == [(name, None), (name, "v1")]
    monkeypatch.chdir(folder.parent)
    assert "There is a folder of this name: write ./tiny" in refusal("tiny")


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("owner/name", None, ("owner/name", None)),
        ("hub:owner/name", None, ("owner/name", None)),
        ("owner/name@v1.0", None, ("owner/name", "v1.0")),
        ("hub:owner/na.me@refs/pr/1", None, ("owner/na.me", "refs/pr/1")),
        ("owner/name", COMMIT, ("owner/name", COMMIT)),
    ],
)
def test_hub_names_and_revisions(
    source: str,
    revision: str | None,
    expected: tuple[str, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str | None]] = []
    monkeypatch.setattr(
        sources, "fetch", lambda *what, only: asked.append(what) or (tmp_path, COMMIT)
    )
    locate(source, revision=revision, only=FILES)
    assert asked == [expected]


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "absent")
    assert "no such folder" in refusal("./absent/name")


def test_a_folder_that_is_written_almost_right_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    for written in ("./TINY", "./tinny", "tinny/"):
        assert "Beside it is tiny" in refusal(Path(written))
    assert "Beside" not in refusal("./absent")


def test_a_file_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"is a file; give its folder: {folder}" in refusal(folder / "config.json")
    monkeypatch.chdir(folder.parent)
    assert "is a file; give its folder: ./tiny" in refusal("./tiny/config.json")
    assert "and a path here too; write ./tiny/config.json" in refusal("tiny/config.json")


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("bert-base-uncased", "A folder is written ./name; a Hub name has its owner before it"),
        ("https://huggingface.co/owner/na.me/tree/main", "this is the name: owner/na.me"),
    ],
)
def test_what_transformers_or_a_browser_calls_a_backbone_says_how_to_write_it(
    source: str, hint: str, folder: Path, tiny_registry: Path
) -> None:
    assert hint in refusal(source)
    with pytest.raises(BackboneError, match=re.escape(hint)):
        Hub(tiny_registry, backbone=source, device="cpu")


@pytest.mark.parametrize("name", ["", "absent", "../model", "/etc", "a/b", "..", "a\n"])
def test_only_what_ships_is_a_package_name(name: str) -> None:
    message = refusal(f"package:{name}")
    assert "no such folder" in message if name == "absent" else "after package: comes" in message


# The cache of the Hub, with the Hub away


@pytest.fixture
def hub_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the cache folder of `owner/tiny`, laid out as huggingface_hub does."""
    cache = tmp_path / "hub"
    repository = cache / "models--owner--tiny"
    shutil.copytree(folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return repository


@pytest.mark.parametrize("source", ["owner/tiny", "hub:owner/tiny@main", f"owner/tiny@{COMMIT}"])
def test_a_cached_backbone_opens_offline_at_its_commit(source: str, hub_cache: Path) -> None:
    opened = open_backbone(source)
    assert (opened.spec.name, opened.spec.revision) == ("owner/tiny", COMMIT)
    assert opened.folder == hub_cache / "snapshots" / COMMIT


def test_a_cached_backbone_has_the_fingerprint_of_its_folder(
    hub_cache: Path, tiny_backbone: Backbone
) -> None:
    assert open_backbone("owner/tiny").spec.fingerprint == tiny_backbone.spec.fingerprint


@pytest.mark.parametrize("source", ["owner/absent", "owner/tiny@v2", f"owner/tiny@{'f' * 40}"])
def test_what_is_not_cached_says_so_offline(source: str, hub_cache: Path) -> None:
    message = refusal(source)
    assert f"Backbone '{source}'" in message
    assert "is not in the local cache and the Hub cannot be reached" in message


def test_a_cached_backbone_without_weights_says_so(hub_cache: Path) -> None:
    (hub_cache / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert "no model.safetensors" in refusal("owner/tiny")


class OfHttpLibrary(Exception):
    """Stands for the errors that huggingface_hub lets through."""


@pytest.mark.parametrize(
    "error",
    [
        OfHttpLibrary("the server is silent"),
        OfHttpLibrary("\n\ncut off\nhere"),
        OSError(28, "No space left on device"),
        ConnectionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_goes_wrong_on_the_way_to_the_hub_is_named(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> str:
        raise error

    monkeypatch.setattr(sources, "snapshot_download", fail)
    assert "Backbone 'owner/tiny': cannot be fetched from the Hub: " in refusal("owner/tiny")


class SlowHub(ThreadingHTTPServer):
    """A Hub on this machine that answers with a few bytes at a time, and never ends."""

    daemon_threads = True

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.server.closing.wait(0.02):  # type: ignore[attr-defined]
                    self.wfile.write(b" ")

        def log_message(self, *args: object) -> None: ...

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Answer)
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.mark.slow
def test_a_hub_that_never_ends_its_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SlowHub()
    monkeypatch.setattr(sources, "FETCH_SECONDS", 0.5)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    try:
        assert "was not fetched from the Hub" in (message := refusal("owner/tiny"))
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
    assert "within 0.5 s" in message
    assert time.monotonic() - started < 5


def test_only_the_files_asked_for_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def record(repository: str, **options: object) -> str:
        asked.update(options)
        return f"/cache/{COMMIT}"

    monkeypatch.setattr(sources, "snapshot_download", record)
    assert locate("owner/tiny", only=["config.json"]) == (Path(f"/cache/{COMMIT}"), COMMIT)
    assert asked["allow_patterns"] == ["config.json"]
    assert asked["etag_timeout"] == sources.REQUEST_SECONDS


# Damage


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"model_type": "bert_generation"}, "model_type 'bert_generation'; expected albert, bert"),
        ({"model_type": None}, "has no model_type. If it is one of albert, bert, "),
        ({"hidden_size": "x"}, "'hidden_size' expected int"),
        ({"hidden_size": None}, "'hidden_size' expected int"),
        ({"hidden_size": -32}, "hidden_size -32; expected 1 or more"),
        ({"hidden_size": 48}, "with shape (32,), config.json makes it (48,)"),
        ({"num_attention_heads": 0}, "num_attention_heads 0; expected 1 or more"),
        ({"num_attention_heads": 5}, "hidden_size 32, which 5 attention heads do not divide"),
        ({"num_hidden_layers": 0}, "num_hidden_layers 0; expected 1 or more"),
        ({"num_hidden_groups": 10**9}, "num_hidden_groups 1000000000; at most 1024"),
        ({"num_hidden_layers": 1_025}, "num_hidden_layers 1025; at most 1024"),
        ({"num_hidden_groups": 0}, "num_hidden_groups 0; expected 1 or more"),
        ({"num_hidden_groups": 2}, "lack encoder.albert_layer_groups.1.albert_layers.0."),
        ({"inner_group_num": 2}, "lack encoder.albert_layer_groups.0.albert_layers.1."),
        ({"hidden_act": "relu"}, "hidden_act 'relu'; expected one of gelu, gelu_new"),
        ({"vocab_size": 10}, f"{WORDS} with shape ({len(vocabulary())}, 16)"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"quantization_config": {"load_in_8bit": True}}, "has quantization_config"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    folder: Path, values: dict[str, object], problem: str
) -> None:
    change_config(folder, **values)
    message = refusal(folder)
    assert problem in message
    assert str(folder) in message


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "cannot be read"),
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 200_000, "cannot be read"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "has no model_type"),
    ],
)
def test_a_damaged_config_is_refused(folder: Path, data: bytes, problem: str) -> None:
    (folder / "config.json").write_bytes(data)
    message = refusal(folder)
    assert "config.json " in message
    assert problem in message


def test_a_folder_without_a_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "no config.json" in refusal(folder)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"\0",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: b"no tensors at all, but long enough to have a header",
    ],
)
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert "the weights cannot be loaded: " in refusal(folder)


def test_missing_weights_are_named_and_counted(folder: Path) -> None:
    change_weights(folder, lambda tensors: [tensors.pop(WORDS), tensors.pop(min(tensors))])
    message = refusal(folder)
    assert "the weights lack embeddings.LayerNorm.bias (2 tensors in all)" in message


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({WORDS: torch.zeros(7, 16)}))
    assert f"{WORDS} with shape (7, 16), config.json makes it (" in refusal(folder)


def test_a_pickle_is_never_opened(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "aside")
    assert "no model.safetensors; add it" in refusal(folder)
    # Opening this file would fail in another way, or run its code.
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")
    assert "pickle, which is never opened here. Convert it once: adapterhub convert" in refusal(
        folder
    )


def test_an_adapter_in_the_folder_is_not_put_into_the_backbone(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))
    assert "has an adapter_config.json" in refusal(folder)


def test_a_folder_with_only_an_adapter_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "adapter of PEFT: open the encoder that it was trained on" in refusal(tmp_path)


def test_a_tokenizer_that_does_not_fit_is_refused(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    assert "no tokenizer" in refusal(folder, TokenizerError)


# What is opened


@pytest.mark.parametrize("kind", [AlbertForMaskedLM, AlbertForPreTraining])
def test_a_checkpoint_with_a_language_model_head_is_the_same_backbone(
    folder: Path, tiny_backbone: Backbone, kind: type, capfd: pytest.CaptureFixture[str]
) -> None:
    model = kind(AlbertConfig.from_pretrained(folder))
    loaded = model.albert.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    assert not loaded.missing_keys
    model.save_pretrained(folder)
    assert any(name.startswith("albert.") for name in load_file(folder / "model.safetensors"))
    capfd.readouterr()
    opened = open_backbone(folder)
    assert opened.spec.fingerprint == tiny_backbone.spec.fingerprint
    assert capfd.readouterr() == ("", ""), "the unused head is not worth a report"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_checkpoint_is_read_as_fp32(folder: Path, dtype: torch.dtype) -> None:
    model = AlbertModel.from_pretrained(folder, dtype=dtype)
    model.save_pretrained(folder)
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {dtype}
    opened = open_backbone(folder)
    assert {tensor.dtype for tensor in opened.model.parameters()} == {torch.float32}
    expected = model.embeddings.word_embeddings.weight.float()
    assert torch.equal(opened.model.state_dict()[WORDS], expected)


def test_the_model_is_frozen_without_dropout_and_without_pooler(tiny_backbone: Backbone) -> None:
    model = tiny_backbone.model
    assert tiny_backbone.config.hidden_dropout_prob > 0
    assert not model.training
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.pooler is None


@pytest.mark.parametrize("values", [{}, {"num_hidden_groups": 2, "inner_group_num": 2}])
def test_weights_are_those_that_transformers_reads(tmp_path: Path, values: dict[str, int]) -> None:
    folder = save_backbone(tmp_path, **values)
    expected = AlbertModel.from_pretrained(folder, add_pooling_layer=False).state_dict()
    opened = open_backbone(folder)
    assert opened.weights.keys() == expected.keys()
    for found in (opened.weights, opened.model.state_dict()):
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_old_names_of_layer_norms_are_read(folder: Path, tiny_backbone: Backbone) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            tensors[f"albert.{old.replace('LayerNorm.bias', 'LayerNorm.beta')}"] = tensors.pop(name)

    change_weights(folder, rename)
    assert open_backbone(folder).spec.fingerprint == tiny_backbone.spec.fingerprint


def test_weights_that_are_no_floats_are_refused(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({WORDS: tensors[WORDS].to(torch.int8)}))
    assert f"have {WORDS} in torch.int8; expected plain floats" in refusal(folder)


def test_opening_draws_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert open_backbone(folder).model is not None
    assert torch.equal(torch.rand(2), expected)


# Identity


def test_the_fingerprint_outlives_saving_again(folder: Path, tiny_backbone: Backbone) -> None:
    opened = open_backbone(folder)
    again = folder.parent / "again"
    opened.model.save_pretrained(again)
    opened.tokenizer.save_pretrained(again)
    assert not (again / "vocab.txt").exists()
    assert open_backbone(again).spec.fingerprint == tiny_backbone.spec.fingerprint


def nudge(tensors: dict[str, torch.Tensor]) -> None:
    tensors[WORDS][3, 5] = torch.nextafter(tensors[WORDS][3, 5], torch.tensor(9.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: change_weights(folder, nudge),
        lambda folder: change_config(folder, hidden_act="gelu"),
        lambda folder: change_config(folder, num_attention_heads=2),
        lambda folder: change_config(folder, layer_norm_eps=1e-6),
        lambda folder: change_config(folder, num_hidden_layers=3),
        lambda folder: (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}'),
        lambda folder: (folder / "vocab.txt").write_text(
            (folder / "vocab.txt").read_text().replace("\nfilm\n", "\nfilms\n")
        ),
    ],
)
def test_what_changes_the_function_changes_the_fingerprint(
    folder: Path, tiny_backbone: Backbone, change: Callable[[Path], Any]
) -> None:
    change(folder)
    assert open_backbone(folder).spec.fingerprint != tiny_backbone.spec.fingerprint


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_act": "gelu_pytorch_tanh"},
        {"hidden_dropout_prob": 0.5},
        {"architectures": ["AlbertForMaskedLM"]},
        {"classifier_dropout_prob": 0},
    ],
)
def test_what_does_not_change_the_function_leaves_the_fingerprint(
    folder: Path, tiny_backbone: Backbone, values: dict[str, object]
) -> None:
    change_config(folder, **values)
    assert open_backbone(folder).spec.fingerprint == tiny_backbone.spec.fingerprint


def test_equal_sizes_with_other_weights_have_another_fingerprint(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    other = open_backbone(save_backbone(tmp_path / "other", seed=1))
    assert other.spec.hidden_size == tiny_backbone.spec.hidden_size
    assert other.spec.fingerprint != tiny_backbone.spec.fingerprint


def test_the_fingerprint_is_the_same_in_every_release(tmp_path: Path) -> None:
    """Heads carry this value: computed in another way, it would refuse all that exist."""
    signs = [*string.punctuation, *string.ascii_lowercase, *string.digits]
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *signs,
        *(f"##{sign}" for sign in signs),
    ]
    save_model(tmp_path, vocab_size=len(pieces))
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    change_weights(tmp_path, fill_with_place)
    assert open_backbone(tmp_path).spec.fingerprint == RELEASED


def fill_with_place(tensors: dict[str, torch.Tensor]) -> None:
    for place, name in enumerate(sorted(tensors)):
        tensors[name].fill_(place)


def test_opening_leaves_the_environment_alone(folder: Path) -> None:
    before = dict(os.environ)
    open_backbone(folder)
    assert dict(os.environ) == before
