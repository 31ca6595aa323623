"""A pickled checkpoint becomes a folder that opens, or nothing at all."""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AlbertForSequenceClassification, AutoTokenizer

from adapterhub.errors import AdapterHubError, BackboneError, TokenizerError, UsageError
from adapterhub.importing import unpickle_process
from adapterhub.importing.convert import Converted, convert
from adapterhub.importing.pickled_folder import INDEX_FILE
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import Window, pack
from tests.encoders import FAMILY_NAMES, MODELS, save_encoder
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.importing.folders import classifier_model, imported
from tests.importing.pickles import (
    PICKLE,
    Runs,
    Tensors,
    as_legacy,
    as_zip,
    change_config,
    copied,
    save_pickled,
)
from tests.importing.readers import read_at_once
from tests.tiny import vocabulary

IDS = [2, 30, 31, 32, 33, 3]
Stored = tuple[Path, Tensors]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Returns a pickled ALBERT, not to be changed, and its tensors."""
    folder = tmp_path_factory.mktemp("pickled") / "albert"
    return folder, save_pickled(folder)


@pytest.fixture
def folder(source: Stored, tmp_path: Path) -> Path:
    return copied(source[0], tmp_path / "folder")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is read, not of the process that reads, which takes long to start."""
    monkeypatch.setattr(unpickle_process, "_run", read_at_once)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Yields where to convert to; nothing else may be beside it afterwards."""
    place = tmp_path / "new" / "deep" / "out"
    yield place
    assert place.exists() or not (tmp_path / "new").exists()
    assert not place.parent.exists() or os.listdir(place.parent) == ["out"]


def refusal(
    folder: Path, out: Path, kind: type[AdapterHubError] = BackboneError, **limits: Any
) -> str:
    """Returns why a folder is refused; nothing is written then."""
    with pytest.raises(kind) as caught:
        convert(folder, out, **limits)
    assert not out.exists()
    return str(caught.value)


def hidden_states(backbone: Backbone) -> list[torch.Tensor]:
    encoder = Encoder(backbone, device="cpu")
    batch = pack([Window(0, 0, len(IDS), IDS, [0] * len(IDS))], device=encoder.device)
    states = [encoder.embed(batch)]
    for depth in range(encoder.depth):
        states.append(encoder.run(states[-1], batch, depth, depth + 1))
    return states


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_converted_pickle_is_its_source(family: str, tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "folder"
    tensors = save_pickled(folder, family)
    done = convert(folder, out)
    found = load_file(out / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert (out / "config.json").read_bytes() == (folder / "config.json").read_bytes()

    opened = open_backbone(out)
    assert isinstance(done, Converted)
    assert done.fingerprint == opened.spec.fingerprint
    assert (done.family, done.folder, done.left_out) == (family, out, ())
    config, model, settings = MODELS[family]
    size = {"vocab_size": json.loads((out / "config.json").read_text())["vocab_size"]}
    theirs = model(config(**{**settings, **size})).eval()
    theirs.load_state_dict(torch.load(folder / PICKLE, weights_only=True))
    with torch.inference_mode():
        expected = theirs(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    for own, other in zip(hidden_states(opened), expected, strict=True):
        assert (own - other[0]).abs().max().item() <= 1e-5


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
def test_a_folder_of_the_time_of_albert_tiny_zh(folder: Path, out: Path) -> None:
    """It has a vocab.txt and no tokenizer_config.json, and its config no model_type."""
    change_config(folder, "model_type", "architectures", "transformers_version")
    out.mkdir(parents=True)  # an empty folder is filled
    done = convert(str(folder), str(out))
    assert "it is 'albert' by its tensor encoder.albert_layer_groups" in done.notes[0]
    assert done.notes[1] == "tokenizer_config.json has BertTokenizer for vocab.txt"
    assert done.tokenizer == "BertTokenizer"
    assert len(AutoTokenizer.from_pretrained(out)) == len(vocabulary())
    with safe_open(out / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()}
    assert len(modes) == 1, "one may be read by whoever may read another"


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
def test_parts_become_one_file(folder: Path, out: Path, source: Stored) -> None:
    tensors = source[1]
    (folder / PICKLE).unlink()
    names = sorted(tensors)
    halves = {f"pytorch_model-0000{i + 1}-of-00002.bin": names[i::2] for i in range(2)}
    for file, own in halves.items():
        as_zip(folder / file, {name: tensors[name] for name in own})
    places = {name: file for file, own in halves.items() for name in own}
    (folder / INDEX_FILE).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    convert(folder, out)
    assert load_file(out / "model.safetensors").keys() == tensors.keys()

    as_zip(folder / next(iter(halves)), tensors)
    message = refusal(folder, out.parent / "twice")
    assert f"has '{names[1]}', and another file has it too" in message


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
def test_what_trainers_wrap_around_a_model_is_left_out(
    folder: Path, out: Path, source: Stored
) -> None:
    tensors = source[1]
    halved = {f"module.albert.{name}": tensor.half() for name, tensor in tensors.items()}
    halved["module.albert.embeddings.position_ids"] = torch.arange(64)
    halved["module.classifier.weight"] = torch.ones(2, 32, dtype=torch.bfloat16)
    as_legacy(folder / PICKLE, {"state_dict": halved, "epoch": 3})
    done = convert(folder, out)
    assert done.left_out == ("'albert.embeddings.position_ids'", "'epoch'")
    found = load_file(out / "model.safetensors")
    assert found.keys() == {*(f"albert.{name}" for name in tensors), "classifier.weight"}
    assert found["albert.pooler.weight"].dtype == torch.float16
    assert found["classifier.weight"].dtype == torch.bfloat16
    assert torch.equal(found["albert.pooler.weight"], tensors["pooler.weight"].half())


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
def test_a_converted_classifier_can_be_imported(
    tmp_path: Path, out: Path, tiny_backbone: Backbone
) -> None:
    model = classifier_model(
        tiny_backbone, AlbertForSequenceClassification, id2label={0: "a", 1: "b", 2: "c"}
    )
    folder = copied(tiny_backbone.folder, tmp_path / "folder")
    (folder / "model.safetensors").unlink()
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    as_zip(folder / PICKLE, model.state_dict())
    convert(folder, out)
    done = imported(out, tmp_path / "registry.yaml", tiny_backbone)
    assert done.spec.labels == ("a", "b", "c")
    assert torch.equal(done.tensors["head.weight"], model.classifier.weight)


# What is refused


@pytest.mark.slow
@pytest.mark.parametrize("form", [as_zip, as_legacy])
def test_code_in_a_pickle_does_not_run(
    form: Callable[[Path, object], None], folder: Path, out: Path, source: Stored
) -> None:
    marker = folder.parent / "ran"
    form(folder / PICKLE, {**source[1], "extra": Runs(os.system, f"touch {marker}")})
    message = refusal(folder, out)
    assert "pytorch_model.bin carries code (os.system), which loading it would run" in message
    assert str(folder) in message
    assert not marker.exists()


@pytest.mark.slow
def test_code_beside_a_pickle_does_not_run(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the working folder, which Python would import from, nor as a setting."""
    for name in ("torch.py", "json.py", "sitecustomize.py", "adapterhub.py"):
        (folder / name).write_text("open('ran', 'w')\nraise SystemExit(1)")
    change_config(folder, auto_map={"AutoConfig": "torch.Config"}, trust_remote_code=True)
    monkeypatch.chdir(folder)
    convert(Path("."), out)
    assert not [*folder.glob("**/ran"), *out.glob("**/*.py")]
    change_config(folder, auto_map={"AutoModel": "torch.Model"})
    assert "its encoder is code of its own" in refusal(Path("."), out.with_name("other"))
    assert not list(folder.glob("**/ran"))


@pytest.mark.slow
def test_limits_are_named(folder: Path, out: Path) -> None:
    message = refusal(folder, out, max_seconds=0.2)
    assert "took longer than 0.2 s to read, and was stopped; allow more with --max-s" in message
    message = refusal(folder, out, max_bytes=10_000)
    assert "needs more than 10,000 bytes of memory; allow more with --max-bytes" in message


@pytest.mark.slow
def test_limits_may_be_more_than_the_system_can_count(folder: Path, out: Path) -> None:
    assert convert(folder, out, max_seconds=1e30, max_bytes=10**30).family == "albert"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs a limit of memory")
def test_a_claim_of_terabytes_ends_at_the_limit(folder: Path, out: Path) -> None:
    as_legacy(folder / PICKLE, {"a": torch.zeros(70_000)})
    data = (folder / PICKLE).read_bytes()
    claimed = b"\x8a\x06" + (10**13).to_bytes(6, "little")
    (folder / PICKLE).write_bytes(data.replace(b"J" + struct.pack("<i", 70_000), claimed))
    assert "bytes of memory; allow more with --max-bytes" in refusal(folder, out)


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooler.bias": torch.full((32,), torch.inf)}, "'pooler.bias' holds NaN or infinity (1"),
        ({"z": torch.zeros(1).expand(10**12)}, "bytes of memory; allow more with --max-bytes"),
        (
            {"encoder.embedding_hidden_mapping_in.bias": torch.zeros(5)},
            "it does not open: the weights have encoder.embedding_hidden_mapping_in.bias with",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    change: Tensors, message: str, folder: Path, out: Path, source: Stored
) -> None:
    as_zip(folder / PICKLE, {**source[1], **change})
    assert message in refusal(folder, out)


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
def test_a_page_instead_of_a_pickle_is_refused(folder: Path, out: Path) -> None:
    (folder / PICKLE).write_bytes(b"<html>404</html>")
    message = refusal(folder, out)
    assert "pytorch_model.bin cannot be read; it is damaged, or not as torch.save" in message
    assert "weights_only=False" not in message, "as torch advises"


@pytest.mark.usefixtures("at_once")
@pytest.mark.slow
def test_a_missing_tokenizer_is_named(folder: Path, out: Path) -> None:
    (folder / "vocab.txt").unlink()
    message = refusal(folder, out, TokenizerError)
    assert f"'{folder}': converted, it does not open: no tokenizer" in message


def test_another_model_is_refused_before_its_pickle_is_read(folder: Path, out: Path) -> None:
    change_config(folder, model_type="gpt2")
    assert "it is a decoder" in refusal(folder, out)
    change_config(folder, model_type="albert", hidden_act="relu")
    assert "config.json has hidden_act 'relu'" in refusal(folder, out)
    (folder / PICKLE).write_bytes(b"not read")
    (folder / "config.json").unlink()
    assert "config.json cannot be read: No such file" in refusal(folder, out)


def test_a_folder_that_opens_is_refused(tiny_backbone: Backbone, out: Path) -> None:
    assert "has model.safetensors and needs no conversion" in refusal(tiny_backbone.folder, out)


def test_a_missing_folder_is_named(tmp_path: Path, out: Path) -> None:
    assert refusal(tmp_path / "none", out).endswith("none': no such folder")
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file", out).endswith(
        "file': it is a file; give its folder, which has config.json and the tokenizer, too"
    )


def test_what_is_there_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        (tmp_path / f"to_{name}").symlink_to(name)
    for place in (full, full / "mine", folder, tmp_path / "to_nowhere", tmp_path / "to_empty"):
        with pytest.raises(BackboneError, match="is there already, and is no empty folder; cho"):
            convert(folder, place)
    assert (full / "mine").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackboneError, match=r"file/out': it cannot be written: "):
        convert(folder, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"folder": 3}, "The checkpoint is 3, of type int"),
        ({"out": None}, "The folder is None; expected a path"),
        ({"max_seconds": 0}, "max_seconds is 0; expected more than 0"),
        ({"max_seconds": float("nan")}, "max_seconds is nan; expected more than 0"),
        ({"max_seconds": "9"}, "max_seconds is '9', of type str"),
        ({"max_bytes": -1}, "max_bytes is -1; expected more than 0"),
        ({"max_bytes": 1.5}, "max_bytes is 1.5, of type float"),
    ],
)
def test_arguments_are_checked(
    given: dict[str, Any], message: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        convert(**{"folder": folder, "out": tmp_path / "out", **given})
    assert message in str(caught.value)


def fill(server: HubServer, folder: Path, more: str) -> None:
    """Puts a folder and one more file on the Hub, as `acme/tiny`."""
    files = {path.name: File(path.read_bytes(), lfs=False) for path in folder.iterdir()}
    server.fill("acme/tiny", {**files, more: File(b"x", lfs=False)})


@pytest.mark.slow
def test_a_name_on_the_hub_is_fetched(hub_server: HubServer, folder: Path, out: Path) -> None:
    fill(hub_server, folder, "tf_model.h5")
    done = convert("acme/tiny", out)
    assert done.fingerprint == open_backbone(out).spec.fingerprint
    assert not list(Path(os.environ["HF_HOME"]).rglob("tf_model.h5"))


@pytest.mark.slow
def test_safetensors_on_the_hub_need_no_pickle(
    hub_server: HubServer, tmp_path: Path, out: Path
) -> None:
    folder = save_encoder(tmp_path / "folder", "albert")
    fill(hub_server, folder, PICKLE)
    with pytest.raises(BackboneError, match=r"has model\.safetensors and needs no conversion"):
        convert("acme/tiny", out)
    assert not list(Path(os.environ["HF_HOME"]).rglob(PICKLE))
