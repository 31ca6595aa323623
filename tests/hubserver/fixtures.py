"""A loopback Hub, and an environment that points to it, for tests of any folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapterhub.remote import calls
from tests.hubserver.server import HubServer

TOKEN = "hf_aliceSecretToken0123456789"
OF_HUB = ("HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN_PATH", "ADAPTERHUB_HUB_TIMEOUT")


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Returns a Hub with the account `alice` of `acme`, whose token is in the environment."""
    for name in OF_HUB:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(calls, "FIRST_WAIT", 0.01)
    with HubServer() as server:
        server.accounts.add(TOKEN, "alice", orgs=("acme",))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
        yield server


@pytest.fixture
def fresh_home(
    hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    """Returns a function that makes the cache of the Hub empty, as on another machine."""
    homes = iter(range(100))

    def fresh() -> Path:
        home = tmp_path / f"hf-home-{next(homes)}"
        monkeypatch.setenv("HF_HOME", str(home))
        return home

    return fresh
