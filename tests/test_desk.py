"""The desk of the examples: rows that people wrote, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from adapterhub import Hub
from scripts.examples.service import desk


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        ('{"language": "en", "text": "a"}\n\n{"language": "fr", "text": "b"}\n', "line 3: needs"),
        ('{"language": "en"}\n', "line 1: needs a text"),
        ("[]\n", "line 1: needs"),
        ("{\n", "is no JSON Lines file"),
    ],
)
def test_a_file_that_is_none_ends_with_its_problem(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    file = tmp_path / "messages.jsonl"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match=problem):
        desk.read_rows(file)


def test_texts_are_shown_whole_and_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[bold]我昨天从上海飞北京，[/x]行李到现在还没找到，怎么办？"
    desk.desk(Hub(), [{"language": "zh", "text": text}], Console(width=110))
    shown = capsys.readouterr().out
    first = "".join(line[1:40].strip() for line in shown.splitlines())
    assert text in first
