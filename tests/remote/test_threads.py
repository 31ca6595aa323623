"""The Hub used by many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

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
