"""Every family of encoders from end to end: the registry, other weights, training, the Hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from adapterhub.errors import BackboneError, BackboneMismatchError, KnownAnswersError
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from tests.builders import head_tensors
from tests.commands.conftest import Run, run  # noqa: F401
from tests.encoders import FAMILY_NAMES, save_encoder
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.tiny import save_tasks, tiny_task

pytestmark = pytest.mark.slow

TEXTS = ("the film was good", "a bad day, 中国", "she was early in the city")
QUICK = ("--epochs", "3", "--depths", "1,2", "--poolings", "mean", "--hidden-widths", "")
QUICK = (*QUICK, "--learning-rates", "0.01", "--weight-decays", "0.01", "--no-mixes")
SHARD = "model-{:05}-of-00002.safetensors"


def save_family(folder: Path, family: str) -> Path:
    """Writes a registry with one task of every kind on an encoder of a family."""
    save_encoder(folder / "backbone", family, max_position_embeddings=66)
    return save_tasks(folder)


@pytest.fixture(scope="module")
def of_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family(tmp_path_factory.mktemp("bert"), "bert").parent


@pytest.fixture
def registry(of_bert: Path, tmp_path: Path) -> Path:
    """Returns a registry of tasks on a BERT."""
    return Path(shutil.copytree(of_bert, tmp_path / "bert")) / "registry.yaml"


# Identity


@pytest.mark.parametrize(
    ("family", "seed"), [("bert", 1), ("roberta", 0), ("electra", 0), ("albert", 0)]
)
def test_other_weights_are_refused_for_the_tasks(registry: Path, family: str, seed: int) -> None:
    shutil.rmtree(registry.parent / "backbone")
    save_encoder(registry.parent / "backbone", family, seed=seed, max_position_embeddings=66)
    with pytest.raises(BackboneMismatchError, match=r"tokenizer at .*backbone differ"):
        Hub(registry, device="cpu")
    other = Hub(registry, backbone=registry.parent / "backbone", device="cpu")
    with pytest.raises(BackboneMismatchError, match="was made for the backbone"):
        other.load("sentiment")
    assert other.backbone.family == family


def test_the_same_weights_in_another_layout_are_the_same_backbone(registry: Path) -> None:
    before = Hub(registry, device="cpu").score(TEXTS, "sentiment", logits=True)["sentiment"]
    folder = registry.parent / "backbone"
    shard(folder, prefix="bert.")
    opened = Hub(registry, device="cpu")
    after = opened.score(TEXTS, "sentiment", logits=True)["sentiment"]
    assert np.array_equal(before.logits, after.logits)  # type: ignore[arg-type]
    again = folder.parent / "again"
    opened_folder = open_backbone(folder)
    opened_folder.tokenizer.save_pretrained(again)
    for name in ("config.json", "model.safetensors.index.json", *map(SHARD.format, (1, 2))):
        shutil.copy(folder / name, again)
    assert open_backbone(again).spec.fingerprint == opened_folder.spec.fingerprint


def test_known_answers_are_recomputed_on_a_bert(registry: Path) -> None:
    resolved = read_registry(registry).resolve("sentiment")
    backbone = open_backbone(registry.parent / "backbone")
    spec = tiny_task(backbone, "single_label", task="sentiment", depths=(4,), pooling="mean")
    known = read_head(resolved.path).spec.known_answers
    add_version(
        registry,
        spec.model_copy(update={"known_answers": known}),
        head_tensors(spec, 7),
        backbone_key="tiny",
        backbone_entry=BackboneEntry(source="./backbone", fingerprint=spec.backbone.fingerprint),
    )
    hub = Hub(registry, device="cpu")
    with pytest.raises(KnownAnswersError):
        hub.load("sentiment")
    assert hub.score(TEXTS, "topics")["topics"]


def shard(folder: Path, *, prefix: str = "") -> None:
    """Splits the weights of a folder into two files with an index."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    places = {name: SHARD.format(1 + i % 2) for i, name in enumerate(names)}
    for file in set(places.values()):
        part = {prefix + name: tensors[name] for name in names if places[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {prefix + name: places[name] for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()


# Training, from the command line


def _text(i: int) -> str:
    return f"the film was {'very good' if i % 2 else 'not good , bad'} {i % 7}"


ROWS: dict[str, Callable[[int], dict[str, object]]] = {
    "single_label": lambda i: {"text": _text(i), "label": ("no", "yes")[i % 2]},
    "pair": lambda i: {"text": _text(1), "text2": _text(i), "label": ("no", "yes")[i % 2]},
    "regression": lambda i: {"text": _text(i), "label": 3 * (i % 2) + i % 7 / 10},
    "multi_label": lambda i: {"text": _text(i), "labels": ["a"] * (i % 2) + ["b"] * (i % 3 == 0)},
    "tagging": lambda i: {
        "tokens": ["the", "city", "was", "in", ("Rome", "Paris")[i % 2]],
        "tags": ["O", "O", "O", "O", "B-LOC"],
    },
}


@pytest.mark.parametrize(
    ("family", "kind"),
    [*((family, "tagging") for family in FAMILY_NAMES), *(("bert", kind) for kind in ROWS)][:-1],
)
def test_a_task_is_trained_scored_and_examined(
    run: Run,  # noqa: F811
    family: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    folder = save_encoder(tmp_path / "encoder", family)
    lines = [json.dumps(ROWS[kind](i)) for i in range(40)]
    Path("rows.jsonl").write_text("\n".join(lines))
    words = ("train", "rows.jsonl", "-t", "task", "--backbone", folder, *QUICK)
    ran = run(*words, *(("--pair", "text2") if kind == "pair" else ()))
    assert ran.code == 0, ran.err
    spec = run("show", "task", "--json").value["spec"]
    assert spec["backbone"].get("family", "albert") == family
    text, other = "a day in Rome", "a day in Paris"
    given = {"text": text, "text_pair": other} if kind == "pair" else text
    hub = Hub("registry.yaml", device="cpu")
    assert hub.backbone.family == family
    assert hub.score([given], "task")["task"].answers[0] is not None
    assert run("eval", "task", "rows.jsonl").code == 0
    doctor = run("doctor")
    assert doctor.code == 0, doctor.out
    assert f", {family}, H=32 D=4, " in doctor.out
    assert "recomputed" in doctor.out


# The Hub

EXTRA = (
    "pytorch_model.bin",
    "tf_model.h5",
    "flax_model.msgpack",
    "rust_model.ot",
    "onnx/model.onnx",
    "openvino/openvino_model.xml",
    "README.md",
    ".gitattributes",
)


def fill(server: HubServer, name: str, folder: Path, *more: str) -> str:
    """Puts a folder and other files into a repository; returns the commit."""
    files = {
        path.name: File(path.read_bytes(), path.suffix == ".safetensors")
        for path in folder.iterdir()
    }
    server.fill(name, {**files, **{path: File(b"no weights here", True) for path in more}})
    return server.repository(name).resolve("main").oid


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_a_sharded_repository_opens_and_nothing_else_is_fetched(
    family: str, hub_server: HubServer, tmp_path: Path
) -> None:
    folder = save_encoder(tmp_path / "encoder", family)
    whole = open_backbone(folder).spec
    shard(folder)
    commit = fill(hub_server, "acme/encoder", folder, *EXTRA)
    opened = open_backbone(f"acme/encoder@{commit}")
    assert opened.spec.fingerprint == whole.fingerprint
    assert (opened.spec.name, opened.spec.revision) == ("acme/encoder", commit)
    assert opened.spec.family == family
    assert {path.name for path in opened.folder.iterdir()} == {p.name for p in folder.iterdir()}
    fetched = [request for request in hub_server.seen if "/resolve/" in request]
    assert not any(extra in request for request in fetched for extra in EXTRA)


def test_a_repository_with_a_pickle_only_says_how_to_convert_it(
    hub_server: HubServer, tmp_path: Path
) -> None:
    folder = save_encoder(tmp_path / "encoder", "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    fill(hub_server, "acme/old", folder)
    with pytest.raises(BackboneError) as refused:
        open_backbone("acme/old")
    assert "Backbone 'acme/old': no model.safetensors in the repository" in str(refused.value)
    assert str(refused.value).endswith("once: adapterhub convert acme/old NEW_FOLDER")
    assert not any("pytorch_model.bin" in request for request in hub_server.seen)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("acme/none", "there is no such repository, or it is private"),
        ("acme/encoder@v2", "the repository has no such revision"),
        ("other/gated", "terms accepted first"),
    ],
)
def test_what_the_hub_does_not_give_is_explained(
    source: str, reason: str, hub_server: HubServer, tmp_path: Path
) -> None:
    fill(hub_server, "acme/encoder", save_encoder(tmp_path / "encoder", "bert"))
    hub_server.state.create("other/gated", gated=True)
    with pytest.raises(BackboneError, match=f"cannot be fetched from the Hub: .*{reason}"):
        open_backbone(source)


def test_a_task_on_a_bert_is_published_and_pulled(
    run: Run,  # noqa: F811
    registry: Path,
    hub_server: HubServer,
    fresh_home: Callable[[], Path],
    tmp_path: Path,
) -> None:
    commit = fill(hub_server, "acme/encoder", registry.parent / "backbone")
    backbone = open_backbone(f"acme/encoder@{commit}")
    spec = tiny_task(backbone, "single_label", task="mood")
    entry = BackboneEntry(
        source="acme/encoder", revision=commit, fingerprint=spec.backbone.fingerprint
    )
    mine = tmp_path / "mine" / "registry.yaml"
    mine.parent.mkdir()
    add_version(mine, spec, head_tensors(spec), backbone_key="encoder", backbone_entry=entry)
    ran = run("publish", "mood", "--to", "acme/moods", "-r", mine)
    assert ran.code == 0, ran.err
    expected = Hub(mine, device="cpu").score(TEXTS, "mood", logits=True)["mood"].logits
    fresh_home()
    ran = run("add", "acme/moods:mood", "-r", tmp_path / "theirs.yaml")
    assert ran.code == 0, ran.err
    hub = Hub(tmp_path / "theirs.yaml", device="cpu")
    assert (hub.backbone.name, hub.backbone.family) == ("acme/encoder", "bert")
    found = hub.score(TEXTS, "mood", logits=True)["mood"].logits
    assert np.array_equal(expected, found)  # type: ignore[arg-type]
    card = hub_server.files("acme/moods")["README.md"].decode()
    assert "base_model:\n- acme/encoder\n" in card
