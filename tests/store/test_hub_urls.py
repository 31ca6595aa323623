"""Addresses of the Hub in the place of names."""

from __future__ import annotations

import pytest

from adapterhub.errors import UsageError
from adapterhub.store.references import parse_reference, parse_repository

SITE = "https://huggingface.co"


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("acme/heads", "acme/heads", None),
        ("acme/heads@v1", "acme/heads", "v1"),
        ("hub:acme/heads", "acme/heads", None),
        (f"{SITE}/acme/heads", "acme/heads", None),
        (f"{SITE}/acme/heads/", "acme/heads", None),
        (f"{SITE}/acme/heads.git", "acme/heads", None),
        (f"{SITE}/acme/heads?not-for-all-audiences=true#use", "acme/heads", None),
        (f"{SITE}/acme/heads/tree/main", "acme/heads", None),
        (f"{SITE}/acme/heads/tree/main/heads", "acme/heads", None),
        (f"{SITE}/acme/heads/tree/v1.0", "acme/heads", "v1.0"),
        (f"{SITE}/acme/heads/tree/refs%2Fpr%2F3", "acme/heads", "refs/pr/3"),
        (f"{SITE}/acme/heads/discussions/3", "acme/heads", "refs/pr/3"),
        (f"{SITE}/acme/heads/commit/{'a' * 40}", "acme/heads", "a" * 40),
        (f"{SITE}/acme/heads/blob/main/README.md", "acme/heads", None),
        (f"{SITE}/acme/heads/blob/dev/heads/x.safetensors", "acme/heads", "dev"),
        ("http://HuggingFace.co/acme/heads", "acme/heads", None),
        ("huggingface.co/acme/heads", "acme/heads", None),
        ("hf.co/acme/heads", "acme/heads", None),
        ("hf://acme/heads", "acme/heads", None),
        ("hf://models/acme/heads@dev", "acme/heads", "dev"),
        ("hf://acme/heads@refs/pr/3/heads/x.safetensors", "acme/heads", "refs/pr/3"),
        ("https://mirror.example:8443/hub/acme/heads/tree/v1", "acme/heads", "v1"),
    ],
)
def test_an_address_of_a_repository(
    text: str, repo: str, revision: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example:8443/hub/")
    found = parse_repository(text)
    assert (found.name, found.revision) == (repo, revision)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (f"{SITE}/acme/heads/blob/main/heads/x.safetensors", "acme/heads:x:1"),
        (f"{SITE}/acme/heads/resolve/main/heads/x.3.safetensors?download=true", "acme/heads:x:3"),
        (f"{SITE}/acme/heads/blob/v1/heads/a-b_c.safetensors", "acme/heads@v1:a-b_c:1"),
        (f"{SITE}/acme/heads/blob/main/tasks/x.md", "acme/heads:x"),
        (f"{SITE}/acme/heads/blob/v1/tasks/x-y.md#use", "acme/heads@v1:x-y"),
        (f"{SITE}/acme/heads:x", "acme/heads:x"),
        (f"{SITE}/acme/heads:x@prod", "acme/heads:x@prod"),
        (f"{SITE}/acme/heads/tree/dev:x:2", "acme/heads@dev:x:2"),
        ("hf.co/acme/heads:x", "acme/heads:x"),
        ("hf://acme/heads@dev/heads/x.2.safetensors", "acme/heads@dev:x:2"),
        ("hf://acme/heads:x", "acme/heads:x"),
    ],
)
def test_an_address_of_a_task(text: str, same: str) -> None:
    found, named = parse_reference(text), parse_reference(same)
    assert found.text == text
    assert [getattr(found, field) for field in ("kind", "repo", "revision", "task", "version")] == [
        getattr(named, field) for field in ("kind", "repo", "revision", "task", "version")
    ]
    assert found.alias == named.alias


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/acme/heads",
        "https://huggingface.co.example.com/acme/heads",
        "https://example.com/huggingface.co/acme/heads",
        "ftp://huggingface.co/acme/heads",
        "file:///etc/passwd",
        "s3://bucket/heads",
        "https://huggingface.co/datasets/acme/rows",
        "https://huggingface.co/spaces/acme/app",
        "https://huggingface.co/acme",
        "https://huggingface.co/",
        "https://huggingface.co/acme/heads/edit/main/README.md",
        "https://huggingface.co/acme/heads/tree/..",
        "https://huggingface.co/acme/..%2F..%2Fetc",
        "https://huggingface.co/-acme/heads",
        "hf://datasets/acme/rows",
        "hf://acme",
        "https://[acme/heads",
        "acme://heads[1",
    ],
)
def test_other_addresses_are_refused(text: str) -> None:
    for parse in (parse_repository, parse_reference):
        with pytest.raises(UsageError):
            parse(text)


def test_a_token_in_an_address_is_not_repeated() -> None:
    with pytest.raises(UsageError, match="user name or a token") as refused:
        parse_repository("https://ann:hf_secret@huggingface.co/acme/heads")
    assert "hf_secret" not in str(refused.value)


def test_a_repository_alone_is_no_task() -> None:
    with pytest.raises(UsageError, match="write 'acme/heads:task' for a task on the Hub"):
        parse_reference(f"{SITE}/acme/heads")
