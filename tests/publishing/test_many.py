"""Many tasks in one publication: few requests, several transfers at a time, each bounded."""

from __future__ import annotations

import re
import time

import pytest

from adapterhub.errors import RemoteError, RemoteUnavailableError
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.publishing.task_changes import rename_task
from adapterhub.remote.operation import TIMEOUT_VARIABLE
from adapterhub.remote.parallel import THREADS
from tests.hubserver.faults import RESET, stall, status
from tests.hubserver.server import HubServer
from tests.publishing.tasks import DEFAULTS, REPO, put, to_publish

pytestmark = pytest.mark.slow

TRANSFERS = re.compile(r"/lfs-store/")


def beside_transfers(server: HubServer) -> list[str]:
    return [f"{method} {path}" for method, path in server.faults.log if not TRANSFERS.search(path)]


def test_three_hundred_tasks_take_few_requests_beside_the_transfers(hub_server: HubServer) -> None:
    tasks = [to_publish(f"task-{number}", seed=number) for number in range(300)]
    publish(REPO, tasks, DEFAULTS)
    assert len(beside_transfers(hub_server)) <= 40, beside_transfers(hub_server)
    assert hub_server.faults.count("PUT", "/lfs-store/") == 300
    assert len([path for path in hub_server.files(REPO) if path.startswith("heads/")]) == 300
    hub_server.faults.log.clear()
    publish(REPO, tasks, PublishOptions(tag="v1"))
    assert len(beside_transfers(hub_server)) <= 10
    assert hub_server.faults.count("PUT", "/lfs-store/") == 0


def test_several_files_go_at_a_time_within_the_same_limits(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMEOUT_VARIABLE, "0.6")
    hub_server.faults.add("PUT", "/lfs-store/", stall(), times=None)
    start = time.monotonic()
    with pytest.raises(RemoteUnavailableError, match="uploading heads/"):
        put(*(f"task-{number}" for number in range(12)))
    assert time.monotonic() - start <= 0.6 + 1
    assert 1 < hub_server.faults.count("PUT", "/lfs-store/") <= THREADS


def test_a_file_that_fails_is_sent_again_alone(hub_server: HubServer) -> None:
    hub_server.faults.add("PUT", "/lfs-store/", RESET, times=2)
    put("a", "b", "c")
    assert hub_server.faults.count("PUT", "/lfs-store/") == 5
    assert len(hub_server.repository(REPO).history()) == 2


def test_an_address_that_expired_is_asked_for_again(hub_server: HubServer) -> None:
    hub_server.faults.add("PUT", "/lfs-store/", status(403, "Request has expired"))
    put("a", "b", "c")
    assert hub_server.faults.count("POST", "/lfs/objects/batch") == 2
    assert len([path for path in hub_server.files(REPO) if path.startswith("heads/")]) == 3


def test_what_the_storage_refuses_ends_the_publication(hub_server: HubServer) -> None:
    hub_server.faults.add("PUT", "/lfs-store/", status(403, "Access denied"), times=None)
    with pytest.raises(RemoteError, match=r"uploading heads/\w.safetensors .*Access denied"):
        put(*"abcdefgh")
    assert list(hub_server.repository(REPO).branches) == ["main"]
    assert "registry.yaml" not in hub_server.files(REPO)


def test_equal_files_go_once(hub_server: HubServer) -> None:
    put("a", "b")
    assert hub_server.faults.count("PUT", "/lfs-store/") == 2
    hub_server.faults.log.clear()
    put("a", repo="acme/others")
    assert hub_server.faults.count("PUT", "/lfs-store/") == 0
    assert hub_server.files("acme/others")["heads/a.safetensors"] == to_publish("a").data


def test_pages_of_new_versions_are_not_read_back(hub_server: HubServer) -> None:
    names = [f"task-{number}" for number in range(60)]
    put(*names)
    page = hub_server.files(REPO)["tasks/task-5.md"]
    hub_server.put(REPO, "tasks/task-5.md", b"By hand.\n" + page)
    for seed in (1, 2):
        hub_server.faults.log.clear()
        put(*names, seed=seed)
        assert len(beside_transfers(hub_server)) <= 16, beside_transfers(hub_server)
        assert b"By hand." in hub_server.files(REPO)["tasks/task-5.md"]
    hub_server.faults.log.clear()
    put("task-5", seed=3)
    assert hub_server.faults.count("GET", "/tasks/task-5.md") > 0
    assert b"By hand." in hub_server.files(REPO)["tasks/task-5.md"]
    rename_task(f"{REPO}:task-5", "five")
    files = hub_server.files(REPO)
    assert "tasks/task-5.md" not in files
    assert files["tasks/five.md"].count(b"By hand.") == 1
    assert b"task:task-5" not in files["tasks/five.md"]
