"""What an owner does with a task of a local registry: alias, deprecate, remove, rename."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub.errors import RegistryError, RemovedTaskError, UnknownTaskError, UsageError
from adapterhub.remote.find import find
from adapterhub.store import changes
from adapterhub.store.changes import Change
from adapterhub.store.editing import change_registry, unlisted_files
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry, task_info
from adapterhub.store.versions import add_version
from tests.builders import backbone_entry, head_tensors, task_spec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with three versions of `spam` and one of `ham`."""
    path = tmp_path_factory.mktemp("made") / "registry.yaml"
    for seed in range(3):
        add(path, "spam", seed)
    add(path, "ham", 9)
    return path.parent


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """Returns a registry of its own with the tasks of `made`."""
    return Path(shutil.copytree(made, tmp_path / "own")) / "registry.yaml"


def add(path: Path, name: str, seed: int) -> int:
    spec = task_spec(task=name)
    found = add_version(
        path,
        spec,
        head_tensors(spec, seed),
        backbone_key="tiny",
        backbone_entry=backbone_entry(),
    )
    return found.version


def sha(path: Path, name: str) -> str:
    """Returns the digest of the head file that a name means, after it was read."""
    return find(name, path).sha256


def test_an_alias_moves_to_a_version_or_to_where_another_points(path: Path) -> None:
    change_registry(path, changes.set_alias("spam", "prod", "1"))
    change_registry(path, changes.set_alias("spam", "next", "3"))
    registry = change_registry(path, changes.set_alias("spam", "prod", "@next"))
    assert dict(registry.tasks["spam"].aliases) == {"prod": 3, "next": 3}
    before = path.read_bytes()
    change_registry(path, changes.set_alias("spam", "prod", "next"))
    assert path.read_bytes() == before
    registry = change_registry(path, changes.remove_alias("spam", "next"))
    assert dict(registry.tasks["spam"].aliases) == {"prod": 3}
    assert registry == read_registry(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changes.set_alias("spam", "prod", "4"), "Unknown version of 'spam' '4'"),
        (changes.set_alias("spam", "prod", "absent"), "Unknown alias of 'spam' 'absent'"),
        (changes.set_alias("spa", "prod", "1"), "Did you mean 'spam'"),
        (changes.remove_alias("spam", "prod"), "Unknown alias of 'spam'"),
        (changes.deprecate("spa", "bad"), "Did you mean 'spam'"),
        (changes.deprecate("spam", "bad", "eggs"), "Unknown task 'eggs'"),
        (changes.deprecate("spam", "bad", "spam"), "is the same task"),
        (changes.remove("spam", 4), "Unknown version of 'spam' '4'"),
        (changes.remove("ham", 1), "is the only one of 'ham'"),
        (changes.rename("spam", "ham"), "There is a task 'ham' already"),
        (changes.rename("eggs", "bacon"), "Unknown task 'eggs'"),
    ],
)
def test_what_is_refused_changes_nothing(path: Path, change: Change, problem: str) -> None:
    before = path.read_bytes()
    with pytest.raises(UsageError, match=problem):
        change_registry(path, change)
    assert path.read_bytes() == before


def test_names_and_reasons_are_checked_before_anything_is_read() -> None:
    wrong: list[tuple[Callable[..., Change], tuple[str, ...]]] = [
        (changes.set_alias, ("spam", "Not A Name", "1")),
        (changes.set_alias, ("spam", "prod", "-1")),
        (changes.rename, ("spam", "Not A Name")),
        (changes.deprecate, ("spam", "")),
        (changes.deprecate, ("spam", "bell \a")),
        (changes.deprecate, ("spam", "x" * 501)),
        (changes.deprecate, ("spam", "bad", "./file.safetensors")),
    ]
    for make, given in wrong:
        with pytest.raises(UsageError):
            make(*given)


def test_a_deprecated_task_works_and_says_why(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = path.read_bytes()
    registry = change_registry(path, changes.deprecate("spam", "Trained on test rows", "ham"))
    told = "Trained on test rows. Use 'ham' instead."
    assert task_info(registry, "spam").deprecated == told
    with caplog.at_level(logging.WARNING, "adapterhub"):
        sha(path, "spam:2")
    assert caplog.messages == [f"Task 'spam' is deprecated: {told}"]
    assert add(path, "spam", 7) == 4
    assert read_registry(path).tasks["spam"].deprecated is not None
    change_registry(path, changes.remove("spam", 4))
    change_registry(path, changes.deprecate("spam", None))
    assert add(path, "spam", 8) == 5
    assert b"deprecated" not in path.read_bytes()
    assert before.startswith(b"# adapterhub")


def test_a_registry_without_the_later_fields_keeps_its_bytes(path: Path) -> None:
    before = path.read_bytes()
    assert b"schema: 1\n" in before
    change_registry(path, changes.deprecate("spam", "bad"))
    assert b"schema: 2\n" in path.read_bytes()
    change_registry(path, changes.deprecate("spam", None))
    assert path.read_bytes() == before


def test_the_number_of_a_removed_version_is_not_used_again(path: Path) -> None:
    kept = {name: sha(path, name) for name in ("spam:1", "spam:2", "ham")}
    change_registry(path, changes.remove("spam", 3, "Wrong labels."))
    assert {name: sha(path, name) for name in kept} == kept
    assert sha(path, "spam") == kept["spam:2"]
    assert not (path.parent / "heads/spam.3.safetensors").exists()
    with pytest.raises(RemovedTaskError, match=r"Version 3 of 'spam' was removed.*: Wrong labels"):
        sha(path, "spam:3")
    assert add(path, "spam", 2) == 4
    assert unlisted_files(path) == []


def test_a_version_that_an_alias_points_to_is_not_removed(path: Path) -> None:
    change_registry(path, changes.set_alias("spam", "prod", "3"))
    with pytest.raises(UsageError, match="alias 'prod' of 'spam' points to version 3"):
        change_registry(path, changes.remove("spam", 3))


def test_a_removed_task_leaves_its_numbers(path: Path) -> None:
    change_registry(path, changes.remove("spam", None, "No licence", "ham"))
    assert [file.name for file in (path.parent / "heads").iterdir()] == ["ham.safetensors"]
    with pytest.raises(RemovedTaskError, match=r"owner: No licence\. Use 'ham' instead\.$"):
        sha(path, "spam")
    with pytest.raises(RemovedTaskError):
        change_registry(path, changes.remove("spam", None))
    assert add(path, "spam", 0) == 4
    assert read_registry(path).retired == {}
    assert sha(path, "spam") == sha(path, "spam:4")
    for number in (1, 2, 3):
        with pytest.raises(RemovedTaskError, match=f"Version {number} of .*: No licence"):
            sha(path, f"spam:{number}")
    with pytest.raises(UnknownTaskError, match="Known: 4"):
        sha(path, "spam:5")


def test_a_renamed_task_is_found_by_both_names(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_registry(path, changes.set_alias("spam", "prod", "1"))
    names = ("{}", "{}:1", "{}:3", "{}@prod")
    before = {name: sha(path, name.format("spam")) for name in names}
    change_registry(path, changes.rename("spam", "junk"))
    assert {name: sha(path, name.format("junk")) for name in names} == before
    assert not caplog.messages
    assert {name: sha(path, name.format("spam")) for name in names} == before
    assert set(caplog.messages) == {"Task 'spam' was renamed to 'junk'; use that name."}
    assert read_registry(path).names() == ("ham", "junk")
    assert add(path, "junk", 5) == 4
    change_registry(path, changes.set_alias("spam", "prod", "4"))
    assert dict(read_registry(path).tasks["junk"].aliases) == {"prod": 4}
    with pytest.raises(UsageError, match="former name of 'junk'"):
        change_registry(path, changes.remove("spam", None))


def test_renamed_twice_and_back(path: Path) -> None:
    digest = sha(path, "spam")
    change_registry(path, changes.rename("spam", "junk"))
    change_registry(path, changes.rename("junk", "waste"))
    assert {sha(path, name) for name in ("spam", "junk", "waste")} == {digest}
    with pytest.raises(UsageError, match="was renamed to 'waste' already"):
        change_registry(path, changes.rename("spam", "rubbish"))
    with pytest.raises(UsageError, match="was the name of another task"):
        change_registry(path, changes.rename("ham", "junk"))
    change_registry(path, changes.rename("waste", "spam"))
    assert {sha(path, name) for name in ("spam", "junk", "waste")} == {digest}
    assert read_registry(path).names() == ("ham", "spam")


def test_a_new_task_may_have_the_old_name_here(path: Path) -> None:
    old = sha(path, "spam")
    change_registry(path, changes.rename("spam", "junk"))
    assert add(path, "spam", 9) == 4
    assert sha(path, "spam") != old
    assert {sha(path, "junk:1"), sha(path, "junk")} != {sha(path, "spam")}
    assert unlisted_files(path) == []


def test_a_file_that_is_open_or_shared_stays_readable(path: Path) -> None:
    opened = find("spam:3", path)
    change_registry(path, changes.remove("spam", 3))
    assert opened.load().spec.task == "spam"
    assert read_head(path.parent / "heads/spam.safetensors").spec.task == "spam"


def test_a_file_of_another_registry_in_the_folder_stays(path: Path) -> None:
    other = shutil.copy(path, path.with_name("other.yaml"))
    change_registry(path, changes.remove("spam", None))
    assert sha(other, "spam:3")
    change_registry(other, changes.remove("spam", 2))
    assert sorted(file.name for file in (path.parent / "heads").iterdir()) == [
        "ham.safetensors",
        "spam.3.safetensors",
        "spam.safetensors",
    ]


def test_a_file_that_cannot_be_deleted_is_named(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = path.parent / "heads/spam.3.safetensors"
    head.unlink()
    head.mkdir()
    change_registry(path, changes.remove("spam", 3))
    assert 3 not in read_registry(path).tasks["spam"].versions
    assert f"{head} is not used any more and cannot be deleted" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("retired:\n  spam: {last: 3}\n", "is a task and the retired name of one"),
        ("retired:\n  eggs: {last: 0}\n", "greater than or equal to 1"),
        ("retired:\n  eggs: {last: 1, why: x}\n", "Extra inputs"),
        ('retired:\n  eggs: {last: 1, reason: "a\\u202eb"}\n', "String should match"),
    ],
)
def test_what_a_registry_may_say(path: Path, text: str, problem: str) -> None:
    data = path.read_text().replace("schema: 1\n", "schema: 2\n")
    path.write_text(data.replace("tasks:\n", f"{text}tasks:\n", 1))
    with pytest.raises(RegistryError, match=problem):
        read_registry(path)


def test_names_that_lead_in_a_circle_end(path: Path) -> None:
    data = path.read_text().replace("schema: 1\n", "schema: 2\n")
    circle = "retired:\n  a: {last: 1, renamed: b}\n  b: {last: 1, renamed: a}\n"
    path.write_text(data.replace("tasks:\n", f"{circle}tasks:\n", 1))
    with pytest.raises(UnknownTaskError):
        read_registry(path).resolve("a")
