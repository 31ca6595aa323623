"""The customer-service desk of scripts/examples/service, as users start it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DESK = ROOT / "scripts" / "examples" / "service" / "desk.py"


def run(*words: object, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "HF_HUB_OFFLINE": "1", "COLUMNS": "160"}
    command = [sys.executable, str(DESK), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_every_message_is_shown_and_the_faq_answers_its_own_questions(tmp_path: Path) -> None:
    faq = [json.loads(line) for line in (DESK.parent / "faq.jsonl").read_text().splitlines()]
    own = [{"language": row["language"], "text": row["text"]} for row in faq]
    odd = [{"language": "en", "text": "<b>zzz</b> qqq [red]xx[/red]"}]
    odd.append({"language": "zh", "text": "我昨天从上海飞北京，行李到现在还没有找到，应该怎么办？"})
    file = tmp_path / "messages.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in own + odd), encoding="utf-8")
    done = run(file, home=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = re.sub(r"\s", "", done.stdout)
    assert all(re.sub(r"\s", "", row["answer"])[:8] in shown for row in faq)
    assert "[red]xx[/red]" in shown
    assert "Idonotknow" in shown
    assert "…" not in shown


@pytest.mark.slow
def test_a_message_of_another_language_is_named(tmp_path: Path) -> None:
    file = tmp_path / "messages.jsonl"
    file.write_text('{"language": "en", "text": "Hi"}\n{"language": "fr", "text": "Oui"}\n')
    done = run(file, home=tmp_path)
    assert done.returncode == 1
    assert "line 2 is not a record with a language (en or zh) and a text" in done.stderr
    assert "Traceback" not in done.stderr
