"""The loopback Hub as the real client sees it, without any of our code in between."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hubserver.fixtures import TOKEN
from tests.hubserver.routes import PAGE
from tests.hubserver.server import HubServer

REPO = "acme/things"


@pytest.fixture
def api(hub_server: HubServer, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return HfApi(hub_server.url, token=TOKEN)


def add(path: str, data: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, io.BytesIO(data))


def test_a_folder_goes_up_and_comes_back(api: HfApi, tmp_path: Path) -> None:
    folder = tmp_path / "up"
    (folder / "inner").mkdir(parents=True)
    content = {f"inner/{number}.txt": b"x" * number for number in range(2 * PAGE)}
    content |= {"a.safetensors": bytes(range(256)) * 40, "README.md": b"---\ntags: [a]\n---\nhi\n"}
    for path, data in content.items():
        (folder / path).write_bytes(data)
    api.create_repo(REPO, private=True)
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    api.upload_folder(repo_id=REPO, folder_path=folder)
    back = Path(api.snapshot_download(REPO, cache_dir=tmp_path / "cache"))
    assert {path: (back / path).read_bytes() for path in content} == content
    # The tree is on several pages.
    assert {file.path for file in api.list_repo_tree(REPO, recursive=True)} >= set(content)


def test_a_stale_parent_is_a_conflict(api: HfApi, hub_server: HubServer) -> None:
    api.create_repo(REPO)
    first = api.model_info(REPO).sha
    api.create_commit(REPO, [add("a", b"1")], commit_message="one", parent_commit=first)
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_commit(REPO, [add("a", b"2")], commit_message="two", parent_commit=first)
    assert caught.value.response.status_code == 412
    assert hub_server.files(REPO)["a"] == b"1"


def test_branches_tags_and_pull_requests(api: HfApi) -> None:
    api.create_repo(REPO)
    made = api.create_commit(REPO, [add("a", b"1")], commit_message="one", create_pr=True)
    assert made.pr_num == 1
    api.create_tag(REPO, tag="v1")
    refs = api.list_repo_refs(REPO, include_pull_requests=True)
    assert [ref.name for ref in refs.branches] == ["main"]
    assert [ref.name for ref in refs.tags] == ["v1"]
    assert [ref.ref for ref in refs.pull_requests or ()] == ["refs/pr/1"]
    assert not api.file_exists(REPO, "a")
    assert api.file_exists(REPO, "a", revision="refs/pr/1")
    api.delete_tag(REPO, tag="v1")
    assert api.list_repo_refs(REPO).tags == []


def test_files_are_replaced_and_removed(api: HfApi, hub_server: HubServer) -> None:
    api.create_repo(REPO)
    api.create_commit(REPO, [add("a", b"1"), add("b", b"2")], commit_message="both")
    api.create_commit(REPO, [CommitOperationDelete("a"), add("b", b"3")], commit_message="less")
    assert hub_server.files(REPO).get("a") is None
    assert hub_server.files(REPO)["b"] == b"3"
    assert [commit.title for commit in api.list_repo_commits(REPO)] == [
        "less",
        "both",
        "initial commit",
    ]


def test_a_repository_can_move_and_go(api: HfApi, tmp_path: Path) -> None:
    api.create_repo(REPO)
    api.create_commit(REPO, [add("a", b"1")], commit_message="one")
    api.move_repo(REPO, "acme/other")
    path = api.hf_hub_download(REPO, "a", cache_dir=tmp_path)
    assert Path(path).read_bytes() == b"1"
    api.delete_repo("acme/other")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/other")


def test_what_is_not_there_has_the_errors_of_the_hub(api: HfApi, hub_server: HubServer) -> None:
    api.create_repo(REPO)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="absent")
    with pytest.raises(EntryNotFoundError):
        api.get_hf_file_metadata(url=f"{hub_server.url}/{REPO}/resolve/main/absent")
    hub_server.state.create("google/gated", gated=True)
    hub_server.put("google/gated", "a", b"1")
    assert api.model_info("google/gated").gated == "auto"
    with pytest.raises(GatedRepoError):
        api.get_hf_file_metadata(url=f"{hub_server.url}/google/gated/resolve/main/a")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_repo("google/mine")
    assert caught.value.response.status_code == 403


def test_models_are_listed_by_tag_page_by_page(api: HfApi, hub_server: HubServer) -> None:
    for number in range(2 * PAGE + 1):
        hub_server.state.create(f"acme/m{number}", private=number == 0)
        hub_server.put(f"acme/m{number}", "README.md", b"---\nlibrary_name: adapterhub\n---\n")
    hub_server.state.create("acme/unrelated")
    assert len(list(api.list_models(filter="adapterhub"))) == 2 * PAGE + 1
    assert len(list(api.list_models(filter="adapterhub", limit=2))) == 2
    assert len(list(api.list_models(filter="adapterhub", token=False))) == 2 * PAGE


def test_who_asks_is_known(api: HfApi) -> None:
    found = api.whoami()
    assert found["name"] == "alice"
    assert found["auth"]["accessToken"]["role"] == "write"


def test_a_bad_card_is_refused(api: HfApi) -> None:
    api.create_repo(REPO)
    with pytest.raises(ValueError, match=r"Invalid metadata in README.md"):
        api.create_commit(REPO, [add("README.md", b"---\na: [\n---\n")], commit_message="bad")
