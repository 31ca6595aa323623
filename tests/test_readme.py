"""What the documents show runs: every Python snippet and every `adapterhub` command, in order.

A snippet marked ```python network needs the Hugging Face Hub and is only compiled.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from adapterhub.cli import app
from adapterhub.store.headfile import read_head
from adapterhub.store.registry import read_registry
from tests.encoders import save_encoder
from tests.importing.pickles import save_pickled
from tests.sentence_files import write_old

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    "docs/abstention.md",
    "docs/adapters.md",
    "docs/add-a-task.md",
    "docs/architecture.md",
    "docs/few-examples.md",
    "docs/freezing.md",
    "docs/head-file.md",
    "docs/nearest.md",
    "docs/probing.md",
)
PAGES = (
    *("README.md", "CHANGELOG.md", "scripts/examples/README.md"),
    *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))),
)
SCRIPTS = ("scripts/demo", "scripts/desk", "scripts/test", "scripts/build_heads")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    place: str


def _blocks(document: str, *kinds: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], f"{document}:{text.count(chr(10), 0, found.start()) + 2}")
        for found in re.finditer(r"^```([\w ]+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        if found[1].split()[0] in kinds
    ]


def _with(kind: str) -> list[str]:
    return [document for document in DOCUMENTS if _blocks(document, kind)]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the working folder, which has the examples, of those to train on only some."""
    examples = tmp_path / "scripts" / "examples"
    shutil.copytree(ROOT / "scripts" / "examples", examples)
    tickets = (examples / "tickets.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (examples / "tickets.jsonl").write_text("".join(tickets[:32]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAPTERHUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("document", _with("python"))
def test_python_snippets_run(
    document: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in _blocks(document, "python"):
        _run_python(block)
        printed = capsys.readouterr().out
        counts = re.findall(r"^# ([\d,]+ of [\d,]+ parameters)", block.text, re.MULTILINE)
        assert all(count in printed for count in counts), printed


@pytest.mark.slow
@pytest.mark.parametrize("document", _with("sh"))
def test_shell_commands_run(
    document: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in _blocks(document, "sh"):
        _run_commands(block, capsys)


@pytest.mark.slow
def test_the_page_of_encoders_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_old(save_encoder(workplace / "minilm", "bert"))
    save_pickled(workplace / "albert_tiny_zh")
    blocks = _blocks("docs/encoders.md", "python", "sh")
    assert {block.kind for block in blocks} == {"python", "python network", "sh"}
    for block in blocks:
        if block.kind == "sh":
            _run_commands(block, capsys)
        else:
            _run_python(block)


def test_the_chinese_page_has_the_code_and_the_parts_of_the_english_one() -> None:
    english, chinese = "docs/freezing.md", "docs/freezing.zh.md"
    kinds = ("python", "console")
    assert [one.text for one in _blocks(english, *kinds)] == [
        one.text for one in _blocks(chinese, *kinds)
    ]
    parts = [
        re.findall(
            r"^(#+|\||- |<!--.*-->)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE
        )
        for page in (english, chinese)
    ]
    assert parts[0] == parts[1]


def _run_python(block: Block) -> None:
    code = compile(block.text, block.place, "exec")
    if block.kind == "python":
        exec(code, {"__name__": "__main__"})


def _run_commands(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    for line in block.text.splitlines():
        name, *words = shlex.split(line)
        if name in SCRIPTS:
            continue
        assert name == "adapterhub", f"{block.place}: who is {name}?"
        with pytest.raises(SystemExit) as ended:
            app(words)
        assert ended.value.code == 0, f"{block.place}: {line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_that_are_named_can_be_started(script: str) -> None:
    path = ROOT / script
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    if text.splitlines()[0].endswith("bash"):
        subprocess.run(["bash", "-n", str(path)], check=True)
    else:
        compile(text, script, "exec")


@pytest.mark.parametrize("document", PAGES)
def test_links_and_paths_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        path = (ROOT / document).parent / target if target else ROOT / document
        assert path.exists(), target
        assert not heading or heading in _anchors(path), f"{target}#{heading}"
    for path in re.findall(r"`((?:scripts|recipes|docs|tests)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def _anchors(page: Path) -> set[str]:
    """Returns what GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_architecture_shows_the_folders_that_there_are() -> None:
    package = ROOT / "adapterhub"
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("| in `adapterhub/` |")[2].partition("\n\n")[0]
    shown = {
        place.rstrip("/")
        for row in table.splitlines()[2:]
        for place in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    # By their files: a folder that is gone may still hold a __pycache__.
    files = [path.relative_to(package) for path in package.rglob("*.*") if path.suffix != ".pyc"]
    depths = {"model": 2, "scoring": 2, "training": 2}
    folders = {"/".join(path.parts[:-1][: depths.get(path.parts[0], 1)]) for path in files}
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert shown == modules | folders - {"", "model", "training"}
    for path in re.findall(r"`((?:model|training|remote)/[\w./]+)`", text):
        assert (package / path).exists(), path


def test_the_shipped_tasks_are_those_of_the_recipes() -> None:
    recipes = yaml.safe_load(
        (ROOT / "recipes/tasks/shipped_tasks.yaml").read_text(encoding="utf-8")
    )
    assert set(read_registry(ROOT / "registry.yaml").names()) == set(recipes["tasks"])


def test_expected_answers_are_answers_that_the_tasks_can_give() -> None:
    registry = read_registry(ROOT / "registry.yaml")
    specs = {name: read_head(registry.resolve(name).path).spec for name in registry.names()}
    for file in ("en.jsonl", "zh.jsonl"):
        lines = (ROOT / "scripts/examples" / file).read_text(encoding="utf-8").splitlines()
        for record in map(json.loads, lines):
            for task, expected in record["expected"].items():
                spec = specs[task]
                assert set(spec.fields) <= set(record), record["id"]
                assert record["language"] in spec.languages
                assert _labels_of(expected) <= set(spec.labels), record["id"]


def _labels_of(expected: object) -> set[str]:
    if isinstance(expected, list):
        return {f"B-{one['entity_group']}" if isinstance(one, dict) else one for one in expected}
    return {expected} if isinstance(expected, str) else set()
