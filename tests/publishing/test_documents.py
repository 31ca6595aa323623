"""What the documents show of the Hub runs, against a Hub on this machine."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from adapterhub import Hub
from adapterhub.cli import app
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer

ROOT = Path(__file__).resolve().parent.parent.parent
REPO = "your-name/albert-heads"
BLOCK = re.compile(r"^```(python|sh) hub\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("document", ["README.md", "docs/publishing.md", "docs/loading.md"])
def test_what_documents_show_runs(
    document: str, hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_server.accounts.add(TOKEN, "your-name")
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
    assert blocks
    if document == "docs/loading.md":
        Hub().publish(["sentiment-en", "topic-zh"], REPO, tag="v1")
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, document, "exec"), {"__name__": "__main__"})
            continue
        for line in text.splitlines():
            name, *words = shlex.split(line)
            assert name == "adapterhub"
            # Once something is pinned here, that registry is the nearest.
            with pytest.raises(SystemExit) as ended:
                app(words)
            assert ended.value.code == 0, line
    assert "heads/sentiment-en.safetensors" in hub_server.files(REPO)


def test_publishing_and_loading_take_six_lines() -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    lines = [line for line in blocks[0][1].splitlines() if line.strip()]
    assert len(lines) <= 6


def test_the_demo_can_be_started() -> None:
    subprocess.run(["bash", "-n", str(ROOT / "scripts/demo_hub")], check=True)
    compile((ROOT / "scripts/demo_hub.py").read_text(encoding="utf-8"), "demo_hub.py", "exec")
