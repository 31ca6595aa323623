"""The Hub used by many threads, and by a child that was forked while they used it."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapterhub.remote import session
from adapterhub.remote.find import find_all
from tests.hubserver.faults import CUT, status
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.remote.filled import fill


@pytest.mark.slow
def test_many_threads_load_the_same_tasks_from_an_empty_cache(hub_server: HubServer) -> None:
    heads = fill(hub_server, REPO, *(f"task-{number}" for number in range(20)))
    hub_server.faults.add("GET", "/(cdn|resolve)/", status(503), times=10)
    hub_server.faults.add("GET", "/(cdn|resolve)/", CUT, times=10)

    def load(_: int) -> list[bytes]:
        return [task.data for task in find_all([f"{REPO}:{name}" for name in heads], Path("none"))]

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(load, range(12)):
            assert found == list(heads.values())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_forked_amid_requests_makes_its_own(
    hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = fill(hub_server, REPO, *(f"task-{number}" for number in range(20)))
    names = [f"{REPO}:{name}" for name in heads]
    stopped = threading.Event()

    def keep_loading(number: int) -> None:
        while not stopped.is_set():
            find_all(names[number::4], Path("none"))

    workers = [threading.Thread(target=keep_loading, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    try:
        # As if a thread of the parent were just preparing the client.
        with session._INSTALLING:
            child = os.fork()
        if child == 0:
            signal.alarm(20)
            os.environ["HF_HUB_CACHE"] = str(tmp_path / "child")
            found = find_all(names, Path("none"))
            os._exit(0 if [task.data for task in found] == list(heads.values()) else 1)
        deadline = time.monotonic() + 20
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert done == (child, 0)
    finally:
        stopped.set()
        for worker in workers:
            worker.join()
