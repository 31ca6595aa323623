"""Publishes and loads tasks against a Hub on this machine; run it by `scripts/demo_hub`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.hubserver.server import HubServer

OWNER = "your-name"
REPO = f"{OWNER}/albert-heads"
BACKBONE = f"{OWNER}/small-bilingual"
CARD_LINES = 60
ONE_LINE = f"""\
from adapterhub import Hub

hub = Hub.from_hub("{REPO}:sentiment-en")
print(hub.score("A warm and funny film.").to_columns(), "on", hub.backbone.name)
"""


def main() -> None:
    with HubServer() as server, tempfile.TemporaryDirectory() as folder:
        server.accounts.add("hf_demo", OWNER)
        say(f"A Hub listens on {server.url}. It is empty, and gone when this ends.")
        surroundings = {**os.environ, "HF_ENDPOINT": server.url, "HF_TOKEN": "hf_demo"}
        for name in ("HF_HOME", "HF_HUB_CACHE"):
            surroundings.pop(name, None)
        here = {**surroundings, "HF_HOME": f"{folder}/here"}
        say("The lines of the README, in a process of their own:")
        code = readme_lines()
        show_code(code)
        run([sys.executable, "-c", code], here, folder)
        say("The backbone gets a repository of its own, which the tasks name from now on:")
        adapterhub(["publish-backbone", BACKBONE], here, folder)
        names = ["sentiment-en", "topic-zh", "--to", REPO, "--base-model", BACKBONE]
        adapterhub(["publish", *names], here, folder)
        show_repository(server)
        say("Another process, whose home is empty and which has no token:")
        other = {**surroundings, "HF_HOME": f"{folder}/other"}
        del other["HF_TOKEN"]
        task = f"{REPO}:sentiment-en"
        show_code(ONE_LINE)
        run([sys.executable, "-c", ONE_LINE], other, folder)
        adapterhub(["search", "--remote", "--language", "zh"], other, folder)
        adapterhub(["score", "A warm and funny film.", "--task", task], other, folder)
        adapterhub(["add", f"{REPO}:topic-zh", "--as", "topic"], other, folder)
        say("And with the network away:")
        away = {**other, "HF_HUB_OFFLINE": "1"}
        adapterhub(["score", "A dull and endless film.", "--task", task], away, folder)
        adapterhub(["score", "股市今日大涨", "--task", "topic"], away, folder)
        show_requests(server)


def readme_lines() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^```python hub\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, "README.md shows how to publish"
    return found[1]


def say(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def show_code(code: str) -> None:
    print("\n".join(f"    {line}" for line in code.splitlines()), flush=True)


def run(words: list[str], environment: Mapping[str, str], folder: str) -> None:
    done = subprocess.run(words, env=dict(environment), cwd=folder)
    if done.returncode:
        sys.exit(done.returncode)


def adapterhub(words: list[str], environment: Mapping[str, str], folder: str) -> None:
    print(f"$ adapterhub {' '.join(words)}", flush=True)
    run([sys.executable, "-m", "adapterhub", *words], environment, folder)


def show_repository(server: HubServer) -> None:
    repository = server.repository(REPO)
    say(f"{REPO} holds now:")
    for commit in repository.history():
        print(f"    commit {commit.oid[:12]}  {commit.title}")
    for path, file in sorted(repository.resolve("main").files.items()):
        print(f"    {len(file.data):>8} bytes  {path}")
    card = server.files(REPO)["README.md"].decode()
    lines = card.split("\n---\n", 1)[1].strip().splitlines()
    say(f"The card, its first {CARD_LINES} lines:")
    print("\n".join(f"    {line}" for line in lines[:CARD_LINES]))


def show_requests(server: HubServer) -> None:
    routes = Counter(
        f"{method} {re.sub(r'[0-9a-f]{40,}', '…', path.partition('?')[0])}"
        for method, path in server.faults.log
    )
    say(f"What the Hub was asked, {routes.total()} requests:")
    for route, times in sorted(routes.items()):
        print(f"    {times:>3} × {route}")


if __name__ == "__main__":
    main()
