"""Which of several registries a name is looked up in, and what an error says to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.errors import RegistryError, RemovedTaskError, UnknownTaskError, UsageError
from adapterhub.store import registries as registries_module
from adapterhub.store.changes import remove, rename
from adapterhub.store.editing import change_registry
from adapterhub.store.references import parse_reference
from adapterhub.store.registries import Registries, locate_registries
from adapterhub.store.registry import read_registry, registry_to_write, shipped_registry
from tests.store.test_registry import TEXT


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Returns two registries: both have `entities`, one has `spam`, the other `ham`."""
    paths = []
    for folder, name in (("one", "spam"), ("two", "ham")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "registry.yaml")
        paths[-1].write_text(TEXT.replace("spam", name))
    return paths[0], paths[1]


def holder(registries: Registries, name: str) -> Path:
    registry, found = registries.resolve(parse_reference(name))
    assert found.path.is_relative_to(registry.path.parent)
    return registry.path


def test_a_name_that_one_of_them_has_is_found_there(two: tuple[Path, Path]) -> None:
    one, other = two
    registries = Registries(two)
    assert holder(registries, "spam@prod") == one
    assert holder(registries, "ham:3") == other
    assert registries.resolve(parse_reference("ham:3"))[1].version == 3
    assert holder(registries, f"{other}:entities") == other
    assert holder(Registries([one]), f"{other}:ham") == other
    assert holder(registries, "shipped:sentiment-en") == shipped_registry().resolve()


def test_a_name_that_both_have_is_refused_with_the_way_out(two: tuple[Path, Path]) -> None:
    one, other = two
    registries = Registries(two)
    with pytest.raises(UsageError, match="is in 2 registries") as caught:
        registries.resolve(parse_reference("entities:2"))
    assert f"Write '{one}:entities:2' or '{other}:entities:2'." in str(caught.value)
    names = [listed.name for listed in registries.tasks()]
    assert names == [f"{one}:entities", "spam", f"{other}:entities", "ham"]
    assert [holder(registries, name) for name in names] == [one, one, other, other]
    assert [listed.name for listed in Registries([one]).tasks()] == ["entities", "spam"]


def test_a_registry_of_another_name_or_its_folder_is_a_place_too(two: tuple[Path, Path]) -> None:
    one, other = two[0], two[1].rename(two[1].with_name("tasks"))
    registries = Registries([one, other])
    assert [holder(registries, task.name) for task in registries.tasks()] == [
        one,
        one,
        other,
        other,
    ]
    assert holder(registries, f"{one.parent}:entities") == one
    named = registries.named(map(parse_reference, (f"{one.parent}:entities", "ham", f"{other}:x")))
    assert named == {f"{one}:entities", "ham"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sentiment-en", "Did you mean 'shipped:sentiment-en'?"),
        ("sentimnt-en", "Did you mean 'shipped:sentiment-en'?"),
        ("spm", "Did you mean 'spam'?"),
        (
            "shipped:sentimnt-en",
            "Did you mean 'shipped:sentiment-en'? `adapterhub list -r shipped:`",
        ),
        ("shipped:spam", "`adapterhub list -r shipped:` shows all"),
        ("sentiment-en:7", "Did you mean 'shipped:sentiment-en'?"),
    ],
)
def test_an_unknown_name_says_which_was_meant(two: tuple[Path, Path], name: str, hint: str) -> None:
    with pytest.raises(UnknownTaskError) as caught:
        holder(Registries(two), name)
    assert hint in str(caught.value)


def test_the_shipped_tasks_are_not_suggested_where_they_are_in_use() -> None:
    with pytest.raises(UnknownTaskError, match="Did you mean 'sentiment-en'"):
        holder(Registries([shipped_registry()]), "sentimnt-en")


def test_a_former_name_is_ambiguous_too_and_a_removed_one_is_not(two: tuple[Path, Path]) -> None:
    one, other = two
    change_registry(one, rename("spam", "junk"))
    assert Registries(two).resolve(parse_reference("spam@prod"))[1].task == "junk"
    change_registry(other, rename("ham", "spam"))
    with pytest.raises(UsageError, match="is in 2 registries"):
        holder(Registries(two), "spam")
    assert holder(Registries(two), f"{one}:spam") == one
    change_registry(one, remove("junk", None))
    with pytest.raises(RemovedTaskError):
        holder(Registries(two), "junk")
    change_registry(other, rename("spam", "junk"))
    assert holder(Registries(two), "junk") == other


def test_one_file_counts_once_and_is_read_once(
    two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    link = one.with_name("link.yaml")
    link.symlink_to(one)
    reads: list[Path] = []

    def counting(path: Path) -> object:
        reads.append(path)
        return read_registry(path)

    monkeypatch.setattr(registries_module, "read_registry", counting)
    registries = Registries([one, other, link])
    assert registries.paths == two
    assert holder(registries, f"{link}:spam") == holder(registries, "spam") == one
    assert reads == [one, other, link]
    one.write_text("schema: 9")
    # The call goes on with the state that it began with, by whatever name.
    assert holder(registries, "spam") == holder(registries, f"{one}:spam") == one
    with pytest.raises(RegistryError):
        holder(Registries(two), "spam")


def test_a_file_that_no_name_needs_is_not_read(two: tuple[Path, Path]) -> None:
    one, other = two
    one.write_text("broken: [")
    assert holder(Registries([one]), f"{other}:ham") == other


def test_places_of_registries(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two
    monkeypatch.chdir(one.parent)
    assert locate_registries(None) == (one,)
    assert locate_registries([".", other, "registry.yaml"]) == (one, other)
    assert locate_registries([one, "shipped:"]) == (one, shipped_registry())
    for wrong in ([], [None], [one, None]):
        with pytest.raises(UsageError, match="The registries are"):
            locate_registries(wrong)
    with pytest.raises(UsageError, match="are not changed"):
        registry_to_write("shipped:")
