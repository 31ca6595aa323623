from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapterhub.errors import RegistryError, UnknownTaskError, UsageError
from adapterhub.store import registry as registry_module
from adapterhub.store.registry import find_registry, read_registry

SHA = "0" * 64
TEXT = f"""\
schema: 1
backbones:
  small:
    source: package:small
    revision: null
    fingerprint: sha256:{SHA}
tasks:
  spam:
    kind: single_label
    backbone: small
    languages: [en, no]
    aliases: {{prod: 1, next: 3}}
    versions:
      1: {{file: heads/spam.safetensors, size: 10, sha256: '{SHA}', depths: [4], pooling: mean}}
      3:
        file: heads/spam.3.safetensors
        size: 10
        sha256: '{SHA}'
        depths: [2, 4]
        pooling: cls
        metrics: {{accuracy: 1, macro_f1: 0.5}}
  entities:
    kind: tagging
    backbone: small
    languages: [de-CH]
    versions:
      2: {{file: heads/e.safetensors, size: 10, sha256: '{SHA}', depths: [4], pooling: tokens}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "registry.yaml"
    path.write_text(TEXT)
    return path


def test_names_and_search(path: Path) -> None:
    registry = read_registry(path)
    assert registry.names() == ("entities", "spam")
    assert registry.search() == ("entities", "spam")
    assert registry.search(language="no") == ("spam",)
    assert registry.search(language="de") == ("entities",)
    assert registry.search(language="NO") == registry.search(language="no-SE") == ("spam",)
    assert registry.search(language="d") == registry.search(language="e-n") == ()
    assert registry.search(kind="single_label") == ("spam",)
    assert registry.search(language="en", kind="tagging") == ()
    with pytest.raises(UsageError, match="The language is empty"):
        registry.search(language="")
    with pytest.raises(UsageError, match="Unknown kind 'nonsense'"):
        registry.search(kind="nonsense")  # type: ignore[arg-type]


def test_resolve(path: Path) -> None:
    registry = read_registry(path)
    newest = registry.resolve("spam")
    assert (newest.task, newest.version, newest.alias) == ("spam", 3, None)
    assert newest.record.metrics == {"accuracy": 1.0, "macro_f1": 0.5}
    assert newest.record.depths == (2, 4)
    assert newest.backbone.source == "package:small"
    assert newest.path == path.parent / "heads" / "spam.3.safetensors"
    assert registry.resolve("spam:1").version == 1
    assert registry.resolve("spam@prod").version == 1
    assert registry.resolve("spam@next").alias == "next"


@pytest.mark.parametrize(
    ("reference", "message", "near"),
    [
        ("spma", "Unknown task 'spma'. Did you mean 'spam'?", "spam"),
        ("spam@prd", "Unknown alias of 'spam' 'prd'. Did you mean 'prod'?", "prod"),
        ("spam:2", "Unknown version of 'spam' '2'. Known: 1, 3.", None),
        ("entities@prod", "Unknown alias of 'entities' 'prod'", None),
    ],
)
def test_unknown_names(path: Path, reference: str, message: str, near: str | None) -> None:
    with pytest.raises(UnknownTaskError) as caught:
        read_registry(path).resolve(reference)
    assert message in str(caught.value)
    assert caught.value.nearest == near


@pytest.mark.parametrize("reference", ["a/b:c", "./x.safetensors"])
def test_other_references_are_not_looked_up(path: Path, reference: str) -> None:
    with pytest.raises(UsageError, match="does not name a task of the registry"):
        read_registry(path).resolve(reference)


def test_find(path: Path) -> None:
    deep = path.parent / "a" / "b"
    deep.mkdir(parents=True)
    assert find_registry(deep) == path
    assert find_registry(path.parent) == path
    assert find_registry(Path(path.anchor)) is None


def test_nothing_in_it_can_be_changed(path: Path) -> None:
    registry = read_registry(path)
    with pytest.raises(TypeError):
        registry.tasks["x"] = registry.tasks["spam"]  # type: ignore[index]
    with pytest.raises(TypeError):
        registry.tasks["spam"].aliases["prod"] = 3  # type: ignore[index]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema: 1", "schema: 5", "line 1: made by a newer adapterhub (schema 5"),
        ("schema: 1", "schema: '1'", "line 1: schema: Input should be a valid integer"),
        ("schema: 1", "schema: true", "line 1: schema: Input should be a valid integer"),
        ("schema: 1\n", "", "schema: Field required"),
        ("tasks:", "hosts:", "tasks: Field required"),
        ("  spam:", "  Spam:", "line 8: tasks.Spam: String should match"),
        ("  spam:", "  12:", "line 8: tasks.12: Input should be a valid string, found 12; put"),
        ("  entities:", "  spam:", "line 22: the key 'spam' occurs twice"),
        ("kind: tagging", "kind: nonsense", "line 23: tasks.entities.kind: Input should be"),
        ("kind: tagging", "kind: no", "found 'no'"),
        ("kind: tagging", "kind: tagging\n    code: x", "line 24: tasks.entities.code: Extra"),
        ("backbone: small", "backbone: away", "task 'spam' names the backbone 'away'"),
        ("size: 10,", "size: '10',", "line 14: tasks.spam.versions.1.size: Input should be"),
        ("size: 10,", "size: 0,", "greater than or equal to 1, found 0"),
        ("size: 10,", "size: true,", "valid integer"),
        (f"'{SHA}'", "'00'", "sha256: String should match"),
        (f"'{SHA}'", "000", "sha256: String should match"),
        ("      3:", "      '3':", "line 15: tasks.spam.versions.3: Input should be"),
        ("      3:", "      0:", "greater than or equal to 1"),
        ("      3:", "      1:", "line 15: the key 1 occurs twice"),
        ("next: 3", "next: 2", "line 8: tasks.spam: the alias 'next' points to version 2"),
        ("next: 3", "next: three", "tasks.spam.aliases.next: Input should be a valid integer"),
        ("next: 3", "Next: 3", "aliases.Next"),
        ("depths: [2, 4]", "depths: [4, 2]", "not ascending"),
        ("depths: [2, 4]", "depths: []", "at least 1 item"),
        ("depths: [2, 4]", "depths: 4", "valid tuple"),
        ("depths: [2, 4]", "depths: ['4']", "valid integer"),
        ("pooling: cls", "pooling: sum", "line 20: tasks.spam.versions.3.pooling"),
        ("macro_f1: 0.5", "macro_f1: .nan", "valid number"),
        ("languages: [de-CH]", "languages: [1]", "put it in quotes"),
        ("heads/e.", "heads/spam.3.", "is the file of both spam:3 and entities:2"),
        ("heads/e.", "heads/SPAM.3.", "is the file of both spam:3 and entities:2"),
        ("heads/e.", "../e.", "not a plain path"),
        ("heads/e.", "heads/../../e.", "not a plain path"),
        ("heads/e.", "heads/%2e%2e/e.", "relative path"),
        ("heads/e.", "/e.", "relative path"),
        ("heads/e.", "C:/e.", "relative path"),
        ("heads/e.", "heads\\e.", "relative path"),
        ("heads/e.", "heads//e.", "not a plain path"),
        ("heads/e.", "./e.", "not a plain path"),
        ("heads/e.safetensors", "heads/e.bin", "does not end in '.safetensors'"),
        ("heads/e.safetensors", "e.safetensors/", "not a plain path"),
    ],
)  # fmt: skip
def test_what_is_refused(path: Path, old: str, new: str, message: str) -> None:
    assert old in TEXT
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(RegistryError) as caught:
        read_registry(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is empty"),
        ("# only a comment\n", "it is empty"),
        ("- a\n", "not a mapping"),
        ("a", "not a mapping"),
        ("schema: 1\nbackbones: {}\ntasks:\n", "tasks: Input should be a valid"),
    ],
)
def test_empty_and_other_content(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(RegistryError, match=message):
        read_registry(path)


def test_no_tasks_is_fine(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfschema: 1\r\nbackbones: {}\r\ntasks: {}\r\n")
    assert read_registry(path).names() == ()
    with pytest.raises(UnknownTaskError, match="There is none yet"):
        read_registry(path).resolve("spam")


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no such file"):
        read_registry(tmp_path / "registry.yaml")
    with pytest.raises(RegistryError, match="Is a directory"):
        read_registry(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RegistryError, match="not a regular file"):
        read_registry(tmp_path / "pipe")


def test_nine_megabytes_are_refused(path: Path) -> None:
    path.write_text(TEXT + "#" * (9 * 2**20))
    with pytest.raises(RegistryError, match="at most 8388608"):
        read_registry(path)


def test_links_may_not_lead_out(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "e.safetensors").write_bytes(b"")
    (path.parent / "heads").mkdir()
    (path.parent / "heads" / "e.safetensors").symlink_to(outside / "e.safetensors")
    with pytest.raises(RegistryError, match="link out of the registry's folder"):
        read_registry(path).resolve("entities")
    (path.parent / "heads" / "e.safetensors").unlink()
    (path.parent / "heads").rmdir()
    (path.parent / "heads").symlink_to(outside)
    with pytest.raises(RegistryError, match="link out of the registry's folder"):
        read_registry(path).resolve("entities")


def test_links_inside_are_fine(path: Path) -> None:
    (path.parent / "heads").mkdir()
    (path.parent / "heads" / "e.safetensors").symlink_to(path.parent / "real.safetensors")
    assert read_registry(path).resolve("entities").path == path.parent / "real.safetensors"


def test_a_linked_registry_reads_beside_its_target(
    path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("link") / "registry.yaml"
    link.symlink_to(path)
    assert read_registry(link) is read_registry(path)
    assert read_registry(link).resolve("spam").path.parent == path.parent / "heads"


class TestCache:
    def test_an_unchanged_file_is_not_read_again(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.utime(path, (1, 1))
        first = read_registry(path)
        monkeypatch.setattr(registry_module, "parse_registry", None)
        monkeypatch.setattr(registry_module.hashlib, "sha256", None)
        assert read_registry(path) is first

    def test_a_fresh_file_is_compared_by_content(self, path: Path) -> None:
        first = read_registry(path)
        status = path.stat()
        assert read_registry(path) is first
        # Same inode, size and time: only the content tells.
        path.write_text(TEXT.replace("prod: 1", "prod: 3"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_ino == status.st_ino
        assert read_registry(path).resolve("spam@prod").version == 3

    def test_a_changed_file_is_read_again(self, path: Path) -> None:
        os.utime(path, (1, 1))
        read_registry(path)
        path.write_text(TEXT.replace("prod: 1", "prod: 3"))
        os.utime(path, (2, 2))
        assert read_registry(path).resolve("spam@prod").version == 3

    def test_it_stays_small(self, tmp_path: Path) -> None:
        for number in range(40):
            path = tmp_path / f"{number}.yaml"
            path.write_text(TEXT)
            read_registry(path)
        assert len(registry_module._CACHE) <= 16


def test_the_example_in_the_docs_is_valid(path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "head-file.md").read_text()
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    assert read_registry(path).resolve("sentiment-en@prod").record.size == 12345


@pytest.mark.slow
def test_listing_imports_no_torch(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from adapterhub.store import editing, registry; "
        f"registry.read_registry(Path({str(path)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
