"""A Hub that holds tasks which no request has put there."""

from __future__ import annotations

from pathlib import Path

from adapterhub.publishing.merging import merge
from tests.hubserver.server import HubServer
from tests.hubserver.state import File
from tests.publishing.tasks import to_publish


def fill(server: HubServer, repo: str, *names: str, seed: int = 0) -> dict[str, bytes]:
    """Makes a repository with random heads; returns their bytes by name."""
    tasks = [to_publish(name, seed=seed) for name in names]
    merged = merge(None, tasks, place=Path("registry.yaml"))
    files = {"registry.yaml": File(merged.data, lfs=False)}
    for task in tasks:
        path = merged.content.tasks[task.name].versions[1].file
        files[path] = File(task.data, lfs=True)
    server.fill(repo, files)
    return {task.name: task.data for task in tasks}
