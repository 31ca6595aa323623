from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.errors import UsageError
from adapterhub.store.references import Reference, absolute, check_name, parse_reference

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sentiment", {"kind": "task", "task": "sentiment"}),
        ("012", {"kind": "task", "task": "012"}),
        ("sentiment@prod", {"kind": "task", "task": "sentiment", "alias": "prod"}),
        ("sentiment@3", {"kind": "task", "task": "sentiment", "alias": "3"}),
        ("sentiment:3", {"kind": "task", "task": "sentiment", "version": 3}),
        ("org/repo:spam", {"kind": "hub", "repo": "org/repo", "task": "spam"}),
        ("hub:Org/my.repo:spam", {"kind": "hub", "repo": "Org/my.repo", "task": "spam"}),
        ("o/r:spam:3", {"kind": "hub", "repo": "o/r", "task": "spam", "version": 3}),
        ("o/r:spam@v1", {"kind": "hub", "repo": "o/r", "task": "spam", "alias": "v1"}),
        (
            f"org/repo:spam@{COMMIT}",
            {"kind": "hub", "repo": "org/repo", "task": "spam", "revision": COMMIT},
        ),
        (
            "o/r@refs/pr/1:spam@prod",
            {
                "kind": "hub",
                "repo": "o/r",
                "revision": "refs/pr/1",
                "task": "spam",
                "alias": "prod",
            },
        ),
        ("shipped:spam", {"kind": "shipped", "task": "spam"}),
        ("shipped:spam:3", {"kind": "shipped", "task": "spam", "version": 3}),
        ("shipped:spam@prod", {"kind": "shipped", "task": "spam", "alias": "prod"}),
        ("shipped/repo:spam", {"kind": "hub", "repo": "shipped/repo", "task": "spam"}),
        # As before there was `shipped:`, in registries that have a task of this name.
        ("shipped", {"kind": "task", "task": "shipped"}),
        ("shipped:3", {"kind": "task", "task": "shipped", "version": 3}),
        ("shipped@prod", {"kind": "task", "task": "shipped", "alias": "prod"}),
        ("snipped:3", {"kind": "task", "task": "snipped", "version": 3}),
        (
            "./o/registry.yaml:spam",
            {"kind": "registry", "task": "spam", "registry": Path("o/registry.yaml")},
        ),
        (
            "/o/tasks.yml:spam:3",
            {"kind": "registry", "task": "spam", "version": 3, "registry": Path("/o/tasks.yml")},
        ),
        (
            "../r.yaml:spam@prod",
            {"kind": "registry", "task": "spam", "alias": "prod", "registry": Path("../r.yaml")},
        ),
        ("./o:spam", {"kind": "registry", "task": "spam", "registry": Path("o")}),
        ("~/a:b.yaml:spam", {"kind": "registry", "task": "spam", "registry": Path("~/a:b.yaml")}),
        ("./a.safetensors:3", {"kind": "file", "path": Path("a.safetensors:3")}),
        ("./a:3.safetensors", {"kind": "file", "path": Path("a:3.safetensors")}),
        ("./r.yaml", {"kind": "file", "path": Path("r.yaml")}),
        ("./r.yaml:a/b.safetensors", {"kind": "file", "path": Path("r.yaml:a/b.safetensors")}),
        ("hub:o/r.yaml:spam", {"kind": "hub", "repo": "o/r.yaml", "task": "spam"}),
        ("./a.safetensors", {"kind": "file", "path": Path("a.safetensors")}),
        ("../b/a b.safetensors", {"kind": "file", "path": Path("../b/a b.safetensors")}),
        ("/x/a.safetensors", {"kind": "file", "path": Path("/x/a.safetensors")}),
    ],
)
def test_forms(text: str, expected: dict[str, object]) -> None:
    assert parse_reference(text) == Reference(text=text, **expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "Write name"),
        ("Sentiment", "a-z"),
        ("sentimént", "a-z"),
        ("sentiment ", "a-z"),
        ("sentiment\n", "a-z"),
        ("sentiment:", "version ''"),
        ("sentiment:0", "version '0'"),
        ("sentiment:-1", "version '-1'"),
        ("sentiment:1.5", "version '1.5'"),
        ("sentiment:٣", "version"),
        ("sentiment:" + "9" * 40, "version"),
        ("sentiment:1@prod", "version"),
        ("sentiment@", "alias ''"),
        ("sentiment@a@b", "alias 'a@b'"),
        ("sentiment@A", "alias 'A'"),
        ("x" * 65, "1 to 64"),
        ("org/repo", "'org/repo:task' for a task on the Hub or './org/repo' for a file"),
        ("heads/a.safetensors", "'./heads/a.safetensors' for a file"),
        ("a.safetensors", "'./a.safetensors' for a file"),
        ("hub:", "'owner/repository:task'"),
        ("hub:repo:a", "'owner/repository:task'"),
        ("a/b/c:d", "'owner/repository:task' for the Hub or './a/b/c:d' for a file"),
        ("hub:../b:a", "'owner/repository:task'"),
        ("a/b:C", "a-z"),
        ("a/b:", "a-z"),
        ("a/b:c:0", "version '0'"),
        ("a/b@:c", "revision ''"),
        ("a/b@x/../y:c", "revision"),
        ("a/b@-x:c", "revision"),
        (f"a/b@v1:c@{COMMIT.upper()}", "alias"),
        ("shipped:", "shipped:name"),
        ("shipped:Spam", "a-z"),
        ("shipped:a/b", "a-z"),
        ("shipped:spam:0", "version '0'"),
        ("shipped:spam@", "alias ''"),
        ("shiped:spam", "write 'shipped:spam'"),
        ("Shipped:spam@prod", "write 'shipped:spam@prod'"),
        ("package:spam", "write 'shipped:spam'"),
        ("shipped/spam", "write 'shipped:spam'"),
        ("./r.yaml:", "Write name"),
        ("./r.yaml:spam:x", "version 'x'"),
        ("own:spam", "'./own:spam' for a task of a registry in that folder"),
        ("o/registry.yaml:spam", "write './o/registry.yaml:spam'"),
    ],
)
def test_bad_forms_say_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="does not name a task") as caught:
        parse_reference(text)
    assert hint in str(caught.value)


@given(
    st.text(max_size=20)
    | st.from_regex(r"(hub:|shipped:|\./r\.yaml:)?[a-z/]{1,5}[:@][a-z0-9.:@/]{0,7}")
)
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_reference(text).text == text


def test_names() -> None:
    check_name("a-b_9", "alias")
    with pytest.raises(UsageError, match=r"The alias 'a.b' is not allowed"):
        check_name("a.b", "alias")
    check_name("shipped", "alias")
    with pytest.raises(UsageError, match="stands before the tasks that ship"):
        check_name("shipped", "task")


def test_absolute_names_are_the_same_task_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("./r.yaml:spam:3") == f"{tmp_path}/r.yaml:spam:3"
    assert absolute("~/r.yaml:spam@prod") == "/home/me/r.yaml:spam@prod"
    for name in ("spam@prod", "shipped:spam:1", "acme/heads:spam"):
        assert absolute(name) == name
