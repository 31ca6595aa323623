"""Publishers of one repository of the loopback Hub: many at once, and some that are killed."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adapterhub.errors import AdapterHubError
from adapterhub.remote import calls
from adapterhub.store.headfile import parse_head
from adapterhub.store.registry import parse_registry
from tests.hubserver.faults import LOST, RESET, status
from tests.hubserver.fixtures import OF_HUB, TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO, put, to_publish
from tests.soak.figures import Effort, Figure, exactly, none, processes

FIRST_WAIT = 0.01
"""The Hub of the tests is near; with the usual waits 50 publishers would mostly sleep."""


@contextlib.contextmanager
def loopback_hub(folder: Path) -> Iterator[HubServer]:
    """Runs a Hub, to which the environment points until the block ends."""
    before, wait = dict(os.environ), calls.FIRST_WAIT
    for name in OF_HUB:
        os.environ.pop(name, None)
    try:
        with HubServer() as server:
            server.accounts.add(TOKEN, "alice", orgs=("acme",))
            home = str(folder / "hf-home")
            os.environ |= {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": home}
            calls.FIRST_WAIT = FIRST_WAIT
            yield server
    finally:
        calls.FIRST_WAIT = wait
        os.environ.clear()
        os.environ |= before


def many_publishers(folder: Path, effort: Effort) -> list[Figure]:
    """Publishes one task each from as many threads as there are rounds, at once."""
    return _publish_at_once(folder, effort, trouble=0.0)


def many_publishers_in_trouble(folder: Path, effort: Effort) -> list[Figure]:
    """The same while 3 % of all requests fail, some of them after they took effect."""
    return _publish_at_once(folder, effort, trouble=0.03)


def _publish_at_once(folder: Path, effort: Effort, *, trouble: float) -> list[Figure]:
    names = [f"task-{number}" for number in range(effort.rounds or 1)]
    with loopback_hub(folder) as server:
        put("first")
        server.faults.log.clear()
        kinds = (status(503), status(429, Retry_After="0"), RESET, LOST)
        for fault in kinds if trouble else ():
            server.faults.add("*", "", fault, times=None, chance=trouble / len(kinds))
        with ThreadPoolExecutor(len(names)) as pool:
            failed = sum(not worked for worked in pool.map(_put, names))
        server.faults.clear()
        commits = server.repository(REPO).commits.values()
        parents = Counter(commit.parent for commit in commits)
        kept, broken = _heads(server)
        card = server.files(REPO)["README.md"].decode()
        in_card = sum(
            len(re.findall(rf"^\| \[?`{name}`", card, re.MULTILINE)) == 1 for name in names
        )
        return [
            none("publishers that failed", failed),
            exactly("tasks kept", len(kept), 1 + len(names)),
            none("heads that do not load or are another's", broken),
            exactly("tasks once in the card", in_card, len(names)),
            exactly("commits", len(server.repository(REPO).history()), 2 + len(names)),
            none("commits beside another one", sum(count > 1 for count in parents.values())),
            Figure("commits tried", server.faults.count("POST", "/commit/main"), len(names)),
        ]


def _put(name: str) -> bool:
    try:
        put(name)
    except AdapterHubError as error:
        print(f"publishing {name}: {error}")
        return False
    return True


def _heads(server: HubServer) -> tuple[set[str], int]:
    """Returns the tasks in the repository, and how many of their files are missing or wrong."""
    files = server.files(REPO)
    content = parse_registry(files["registry.yaml"], Path("registry.yaml"))
    broken = 0
    for name, entry in content.tasks.items():
        for record in entry.versions.values():
            data = files.get(record.file)
            if data is None:
                broken += 1
                continue
            head = parse_head(data, source=record.file)
            broken += head.sha256 != record.sha256 or head.spec.task != name
    return set(content.tasks), broken


def killed_publishers(folder: Path, effort: Effort) -> list[Figure]:
    """Kills publishers at random moments; what the Hub lists must load after each."""
    pick = random.Random(0)
    kills = broken = changed = 0
    with loopback_hub(folder) as server:
        put("first")
        first = to_publish("first").data
        for kill in effort.steps():
            publisher = processes().Process(target=_put_forever, args=(kill, server.url, folder))
            publisher.start()
            seen = len(server.faults.log)
            end = time.monotonic() + 30
            while len(server.faults.log) == seen and time.monotonic() < end:
                time.sleep(0.001)
            time.sleep(pick.uniform(0.0, 0.5))
            publisher.kill()
            publisher.join()
            kills += publisher.exitcode == -signal.SIGKILL
            broken += _heads(server)[1]
            changed += server.files(REPO)["heads/first.safetensors"] != first
        put("last")
        tasks, wrong = _heads(server)
    return [
        effort.done("publishers killed", kills),
        none("heads listed that do not load", broken + wrong),
        none("changes of a task published before", changed),
        Figure("tasks that the dead have published", len(tasks) - 2, at_least=0),
    ]


def _put_forever(kill: int, url: str, folder: Path) -> None:
    os.environ |= {"HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / f"home-{kill}")}
    calls.FIRST_WAIT = FIRST_WAIT
    for number in range(1_000_000):
        put(f"task-{kill}-{number}")
