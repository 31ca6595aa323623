from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapterhub.errors import HeadFileError, RegistryError, UnknownTaskError, UsageError
from adapterhub.specs import Metric, TaskSpec, TrainingRecord
from adapterhub.store import editing
from adapterhub.store.atomic import OLD_SUFFIXES
from adapterhub.store.editing import registry_lock, set_alias, unlisted_files
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import encode_head, read_head
from adapterhub.store.owners import TEMP_SUFFIX
from adapterhub.store.registry import Resolved, read_registry
from adapterhub.store.versions import add_version
from adapterhub.store.yamlsafe import read_yaml
from tests.builders import backbone_entry, backbone_spec, head_tensors, task_spec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry" / "registry.yaml"


def add(path: Path, spec: TaskSpec | None = None, seed: int = 0, **options: object) -> Resolved:
    spec = spec or task_spec(task="spam")
    settings: dict[str, object] = {
        "backbone_key": "small",
        "backbone_entry": backbone_entry(spec.backbone),
        **options,
    }
    return add_version(path, spec, head_tensors(spec, seed), **settings)  # type: ignore[arg-type]


def full_spec() -> TaskSpec:
    metrics = (
        Metric(name="accuracy", value=1.0, split="validation", rows=10),
        Metric(name="ece", value=1e-7, split="validation", rows=10),
        Metric(name="accuracy", value=0.5, split="test", rows=10),
    )
    training = TrainingRecord(
        dataset="made up", data_digest="cd" * 32, rows=10, seed=0, candidates=1, epochs=1,
        learning_rate=0.1, weight_decay=0.0,
    )  # fmt: skip
    return task_spec(
        task="no", description="012", languages=("no", "en"), metrics=metrics, training=training
    )


LAYOUT = f"""\
schema: 1
backbones:
  small:
    source: package:small-test
    revision: null
    fingerprint: sha256:{"ab" * 32}
tasks:
  'no':
    kind: single_label
    backbone: small
    description: '012'
    languages: ['no', en]
    license: apache-2.0
    aliases: {{'on': 1, prod: 1}}
    versions:
      1:
        file: heads/no.safetensors
        size: SIZE
        sha256: SHA
        depths: [4]
        pooling: mean
        metrics: {{accuracy: 1.0, ece: 1.0e-07}}
        data_digest: {"cd" * 32}
        seed: 0
"""


def test_the_layout_of_the_file(path: Path) -> None:
    resolved = add(path, full_spec(), aliases=("prod", "on"))
    comment, text = path.read_text().split("\n", 1)
    assert comment.startswith("# adapterhub registry")
    layout = LAYOUT.replace("SIZE", str(resolved.record.size))
    assert text == layout.replace("SHA", repr_sha(resolved.record.sha256))


def repr_sha(sha: str) -> str:
    return yaml.safe_dump([sha], default_flow_style=True)[1:-2]


def test_versions_are_counted_and_kept(path: Path) -> None:
    first = add(path, aliases=("prod",))
    assert (first.version, first.path) == (1, path.parent / "heads" / "spam.safetensors")
    second = add(path, seed=1)
    assert (second.version, second.path) == (2, path.parent / "heads" / "spam.2.safetensors")
    registry = read_registry(path)
    assert registry.tasks["spam"].versions[1] == first.record
    assert registry.resolve("spam@prod").version == 1
    for resolved in (first, second):
        record = resolved.record
        assert read_head(resolved.path, sha256=record.sha256, size=record.size).spec.task == "spam"
    assert sorted(os.listdir(path.parent)) == ["heads", "registry.yaml", "registry.yaml.lock"]


def test_the_same_again_changes_nothing(path: Path) -> None:
    add(path)
    newest = add(path, seed=1)
    before = path.stat()
    assert add(path, seed=1) == newest
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # The bytes of an older version are a new version: that is a rollback with a number.
    assert add(path, seed=0).version == 3


def test_the_same_again_can_move_an_alias(path: Path) -> None:
    add(path, aliases=("prod",))
    add(path, seed=1)
    assert add(path, seed=1, aliases=("prod", "next")).version == 2
    assert read_registry(path).tasks["spam"].aliases == {"next": 2, "prod": 2}


@pytest.mark.parametrize("damage", [None, b"", b"other"])
def test_the_same_again_restores_a_lost_file(path: Path, damage: bytes | None) -> None:
    resolved = add(path)
    if damage is None:
        resolved.path.unlink()
    else:
        resolved.path.write_bytes(damage)
    assert add(path) == resolved
    read_head(resolved.path, sha256=resolved.record.sha256, size=resolved.record.size)


def test_the_newest_version_describes_the_task(path: Path) -> None:
    add(path, task_spec(task="spam", description="old", languages=("en",)))
    add(path, task_spec(task="spam", description="new", languages=("de",), license=None))
    entry = read_registry(path).tasks["spam"]
    assert (entry.description, entry.languages, entry.license) == ("new", ("de",), None)


def test_a_known_backbone_keeps_its_entry(path: Path) -> None:
    add(path)
    moved = BackboneEntry(source="../elsewhere", fingerprint=backbone_spec().fingerprint)
    add(path, seed=1, backbone_entry=moved)
    assert read_registry(path).backbones["small"].source == "package:small-test"


OTHER = backbone_spec(fingerprint=f"sha256:{'cd' * 32}")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (task_spec("multi_label", task="spam"), {}, "spam' is single_label on .* multi_label on"),
        (task_spec(task="spam"), {"backbone_key": "large"}, "on 'large' cannot be added"),
        (task_spec(task="spam", backbone=OTHER), {}, "another backbone key"),
        (task_spec(task="ham", backbone=OTHER), {}, "'small' is sha256:abab.*another backbone key"),
        (
            task_spec(task="ham"),
            {"backbone_entry": backbone_entry(OTHER)},
            "entry 'small' to add is",
        ),
        (task_spec(task="ham"), {"backbone_key": "No Name"}, "the change was refused"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_write(
    path: Path, spec: TaskSpec, options: dict[str, object], message: str
) -> None:
    add(path)
    before = (path.read_bytes(), os.listdir(path.parent / "heads"))
    with pytest.raises(RegistryError, match=message):
        add(path, spec, **options)
    assert (path.read_bytes(), os.listdir(path.parent / "heads")) == before


def test_bad_tensors_and_aliases_change_nothing(path: Path) -> None:
    spec = task_spec(task="spam")
    with pytest.raises(HeadFileError, match="is missing"):
        add_version(path, spec, {}, backbone_key="small", backbone_entry=backbone_entry())
    with pytest.raises(UsageError, match="alias 'Prod'"):
        add(path, aliases=("Prod",))
    assert not path.parent.exists()


def test_a_file_of_another_entry_is_never_replaced(path: Path) -> None:
    spam = add(path)
    path.write_text(path.read_text().replace("heads/spam.", "heads/ham."))
    spam.path.rename(spam.path.with_name("ham.safetensors"))
    with pytest.raises(RegistryError, match="is the file of both"):
        add(path, task_spec(task="ham"))
    resolved = read_registry(path).resolve("spam")
    read_head(resolved.path, sha256=resolved.record.sha256)


def test_a_heads_folder_outside_is_not_written(path: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    path.parent.mkdir()
    (path.parent / "heads").symlink_to(tmp_path / "outside")
    with pytest.raises(RegistryError, match="link out of the registry's folder"):
        add(path)
    assert os.listdir(tmp_path / "outside") == []


def test_a_linked_registry_is_written_through(path: Path, tmp_path: Path) -> None:
    add(path)
    link = tmp_path / "registry.yaml"
    link.symlink_to(path)
    assert add(link, seed=1).path.parent == path.parent / "heads"
    assert link.is_symlink()
    assert read_registry(path).resolve("spam").version == 2


def test_a_shared_registry_keeps_its_mode(path: Path) -> None:
    add(path)
    path.chmod(0o664)
    add(path, seed=1)
    assert path.stat().st_mode & 0o777 == 0o664


def test_a_broken_registry_is_not_overwritten(path: Path) -> None:
    add(path)
    path.write_text("schema: [1")
    with pytest.raises(RegistryError, match="not valid YAML"):
        add(path, seed=1)
    assert path.read_text() == "schema: [1"


class TestAliases:
    def test_set_and_move(self, path: Path) -> None:
        add(path)
        add(path, seed=1)
        assert set_alias(path, "spam", "prod", 2).version == 2
        moved = set_alias(path, "spam", "prod", 1)
        assert (moved.version, moved.alias) == (1, "prod")
        assert read_registry(path).resolve("spam").version == 2

    def test_set_the_same_changes_nothing(self, path: Path) -> None:
        add(path, aliases=("prod",))
        before = path.stat().st_ino
        set_alias(path, "spam", "prod", 1)
        assert path.stat().st_ino == before

    def test_unknown_and_bad(self, path: Path) -> None:
        add(path)
        with pytest.raises(UnknownTaskError, match="version of 'spam' '2'"):
            set_alias(path, "spam", "prod", 2)
        with pytest.raises(UnknownTaskError, match="Did you mean 'spam'"):
            set_alias(path, "spma", "prod", 1)
        with pytest.raises(UsageError, match="alias 'a b'"):
            set_alias(path, "spam", "a b", 1)
        with pytest.raises(RegistryError):
            set_alias(path.with_name("away.yaml"), "spam", "prod", 1)
        with pytest.raises(RegistryError, match="there is no such file"):
            set_alias(path.parent / "away" / "registry.yaml", "spam", "prod", 1)
        assert sorted(os.listdir(path.parent)) == ["heads", "registry.yaml", "registry.yaml.lock"]


def test_unlisted_files_are_named(path: Path) -> None:
    add(path)
    heads = path.parent / "heads"
    stray = [
        heads / "old.safetensors",
        path.parent / f".x{OLD_SUFFIXES[0]}",
        heads / f".y{TEMP_SUFFIX}",
    ]
    for file in stray:
        file.write_bytes(b"")
    assert unlisted_files(path) == sorted(stray)


def test_waiting_for_the_lock_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path)
    monkeypatch.setattr(editing, "LOCK_TIMEOUT", 0.05)
    with (
        registry_lock(path),
        pytest.raises(RegistryError, match=r"held the lock .*registry.yaml.lock") as refused,
    ):
        add(path, seed=1)
    assert f"process {os.getpid()} on {socket.gethostname()}. Wait for it" in str(refused.value)
    assert add(path, seed=1).version == 2


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True) | st.sampled_from(
    [
        "no",
        "on",
        "y",
        "null",
        "true",
        "012",
        "12",
        "1e5",
        "0x1f",
        "1_000",
        "2024-01-01",
        "_".join("ab"),
    ]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=names,
    key=names,
    aliases=st.lists(names, max_size=3, unique=True),
    description=st.text(max_size=40),
    value=st.floats(allow_nan=False, allow_infinity=False),
)
@pytest.mark.slow
def test_any_entry_reads_back_the_same_here_and_in_any_yaml_reader(
    tmp_path_factory: pytest.TempPathFactory,
    name: str, key: str, aliases: list[str], description: str, value: float,
) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("registry") / "registry.yaml"
    metrics = (Metric(name=description or "x", value=value, split="test", rows=1),)
    spec = task_spec(task=name, description=description, metrics=metrics)
    add(path, spec, backbone_key=key, aliases=tuple(aliases))
    entry = read_registry(path).tasks[name]
    assert entry.description == description
    assert entry.versions[1].metrics == {description or "x": value}
    assert entry.aliases == dict.fromkeys(aliases, 1)
    assert yaml.safe_load(path.read_bytes()) == read_yaml(path.read_bytes(), path).value
    assert (
        encode_head(spec, head_tensors(spec))
        == (path.parent / f"heads/{name}.safetensors").read_bytes()
    )
