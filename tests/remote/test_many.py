"""Many tasks in one call: few requests beside their files, which come several at a time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapterhub.remote.calls import current_place
from adapterhub.remote.find import find_all
from adapterhub.remote.parallel import THREADS
from adapterhub.remote.pin import pin, update
from adapterhub.remote.search import list_repositories
from adapterhub.store.registry import read_registry
from tests.hubserver.faults import stall, status
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO, put
from tests.remote.filled import fill

TRANSFER = re.compile(r"/resolve/.*\.safetensors|/cdn/")


def beside_transfers(server: HubServer) -> list[str]:
    """Returns the requests that are not for a head file, and clears the log."""
    found = [f"{how} {path}" for how, path in server.faults.log if not TRANSFER.search(path)]
    assert {how for how, path in server.faults.log if TRANSFER.search(path)} <= {"GET"}
    server.faults.log.clear()
    return found


@pytest.mark.slow
def test_a_hundred_tasks_take_few_requests_beside_their_files(
    hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = fill(hub_server, REPO, *(f"task-{number}" for number in range(100)))
    names = [f"{REPO}:{name}" for name in heads]
    found = find_all(names, Path("none"))
    assert [task.data for task in found] == list(heads.values())
    assert hub_server.faults.count("GET", "/cdn/") == 100
    # The commit with the list of files, and the registry, which is at another address.
    assert len(beside_transfers(hub_server)) == 3
    find_all(names, Path("none"))
    assert len(beside_transfers(hub_server)) == 1
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    pin(tmp_path / "registry.yaml", *names)
    assert len(beside_transfers(hub_server)) == 3


@pytest.mark.slow
def test_an_update_takes_few_requests_too(hub_server: HubServer, tmp_path: Path) -> None:
    heads = fill(hub_server, REPO, *(f"task-{number}" for number in range(12)))
    hub_server.put(REPO, "config.json", b"{}")
    registry = tmp_path / "registry.yaml"
    pin(registry, *(f"{REPO}:{name}" for name in heads))
    # One more, which the Hub counts as a download.
    assert len(beside_transfers(hub_server)) == 4
    put(*list(heads)[:3], seed=1)
    hub_server.faults.log.clear()
    done = update(read_registry(registry), (), allow_older=False)
    assert [one.state for one in done].count("updated") == 3
    assert len(beside_transfers(hub_server)) == 4


def test_a_repository_is_looked_up_once_for_all_its_names(hub_server: HubServer) -> None:
    repos = [f"acme/heads-{number}" for number in range(3)]
    for repo in repos:
        fill(hub_server, repo, "spam", "topic")
    find_all([f"{repo}:{task}" for task in ("spam", "topic") for repo in repos], Path("none"))
    for repo in repos:
        assert hub_server.faults.count("GET", f"{repo}/revision/") == 1
        assert hub_server.faults.count("GET", f"{repo}/resolve/.*registry") == 1


def test_several_files_come_at_a_time_and_the_first_refusal_ends_it(hub_server: HubServer) -> None:
    heads = fill(hub_server, REPO, *(f"task-{number}" for number in range(40)))
    hub_server.faults.add("GET", "/cdn/", stall(0.3), times=THREADS)
    hub_server.faults.add("GET", "/resolve/.*safetensors", status(418), times=None)
    with pytest.raises(Exception, match="status 418"):
        find_all([f"{REPO}:{name}" for name in heads], Path("none"))
    assert hub_server.faults.count("GET", "/resolve/.*safetensors") <= THREADS


def test_searching_reads_one_list_and_each_registry(hub_server: HubServer) -> None:
    repos = [f"acme/heads-{number}" for number in range(5)]
    for repo in repos:
        fill(hub_server, repo, "spam")
        hub_server.put(repo, "README.md", b"---\nlibrary_name: adapterhub\n---\n")
    hub_server.faults.log.clear()
    assert len(list_repositories(current_place())) == 5
    assert hub_server.faults.count("GET", "/revision/") == 0
    assert hub_server.faults.count("GET", "/resolve/.*registry") == 5
