"""Shipped tasks, several registries, and what `add` copies, from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapterhub.remote.pin import pin
from adapterhub.store.registry import read_registry, shipped_registry
from tests.commands.conftest import Run
from tests.hubserver.server import HubServer
from tests.publishing.tasks import REPO
from tests.tiny import save_backbone, save_tasks

pytestmark = pytest.mark.slow
HEADS = shipped_registry().parent / "heads"
SHIPPED = HEADS / "sentiment-en.safetensors"


@pytest.fixture
def other_registry(tiny_registry: Path, tmp_path: Path) -> Path:
    """Returns a registry with `sentiment`, and with `themes`, which is `topics` of the tiny one."""
    path = tmp_path / "other" / "registry.yaml"
    pin(path, f"{tiny_registry}:sentiment")
    pin(path, f"{tiny_registry}:topics", name="themes")
    return path


def test_verbs_that_read_take_several_registries(
    run: Run, tiny_registry: Path, other_registry: Path
) -> None:
    both = ("-r", tiny_registry, "-r", other_registry)
    listed = run("list", *both, "--json").value
    assert listed["registries"] == [str(tiny_registry), str(other_registry)]
    names = {task["name"]: task["registry"] for task in listed["tasks"]}
    assert names["themes"] == str(other_registry)
    assert names[f"{tiny_registry}:sentiment"] == str(tiny_registry)
    assert run("list", *both, "--kind", "multi_label").out.split("\n")[2].startswith("topics")
    assert len(run("search", *both, "--kind", "multi_label", "--json").value["tasks"]) == 2
    assert (
        run("show", "themes", *both, "--json").value["file"].startswith(str(other_registry)[:-13])
    )
    assert run("explain", *both, "--json").value["tasks"] == 9
    assert run("doctor", *both, "--no-replay").out.count("registry: ") == 2
    refused = run("score", "a good day", "-t", "sentiment", *both)
    assert refused.code == 2
    assert f"Write '{tiny_registry}:sentiment' or '{other_registry}:sentiment'." in refused.err


def test_several_registries_are_scored_in_one_call(
    run: Run, tiny_registry: Path, other_registry: Path
) -> None:
    both = ("-r", tiny_registry, "-r", other_registry)
    place = f"{other_registry}:sentiment"
    row = run("score", "a good day", "-t", f"themes,topics,{place}", "--all", *both).rows[0]
    assert row["themes.labels"] == row["topics.labels"]
    alone = run("score", "a good day", "-t", "sentiment", "--all", "-r", tiny_registry).rows[0]
    assert row["sentiment.labels"] == alone["sentiment.labels"]
    # Without a name all that can read it; those of one name are told apart by their place.
    row = run("score", "a good day", *both).rows[0]
    labels = {f"{tiny_registry}:sentiment.label", f"{place}.label"}
    assert {"rating.value", "themes.labels", *labels} < row.keys()


@pytest.mark.parametrize("verb", ["train rows.csv -t x", "import ./x -t x", "update", "add ./x"])
def test_verbs_that_write_take_one_registry(run: Run, tiny_registry: Path, verb: str) -> None:
    refused = run(*verb.split(), "-r", tiny_registry, "-r", "other.yaml")
    assert refused.code == 2
    assert "'--registry' / '-r': it takes one value and has 2" in refused.err
    assert not Path("other.yaml").exists()


def test_shipped_tasks_are_not_changed(run: Run) -> None:
    for words in (("add", SHIPPED, "--as", "x"), ("train", "rows.csv", "-t", "x")):
        refused = run(*words, "-r", "shipped:")
        assert (refused.code, "are not changed" in refused.err) == (2, True)


def test_all_tasks_are_of_one_backbone(run: Run, tiny_registry: Path, tmp_path: Path) -> None:
    save_backbone(tmp_path / "foreign" / "backbone", seed=1)
    foreign = save_tasks(tmp_path / "foreign")
    both = ("-r", tiny_registry, "-r", foreign)
    names = f"{tiny_registry}:rating", f"{foreign}:rating"
    refused = run("score", "a good day", "-t", ",".join(names), *both)
    assert refused.code == 2
    assert refused.err.count("backbone (sha256:") == 2
    assert "one call runs one backbone" in refused.err
    # Both have the key `tiny`, each for its own; the task decides which is opened.
    for name, registry in zip(names, (tiny_registry, foreign), strict=True):
        row = run("score", "a good day", "-t", name, *both).rows[0]
        assert row == run("score", "a good day", "-t", "rating", "-r", registry).rows[0]


def test_add_copies_shipped_tasks_with_their_backbone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    added = run("add", "shipped:sentiment-en", "shipped:topic-zh:1", "-r", "own/registry.yaml")
    assert added.code == 0, added.err
    known = read_registry("own/registry.yaml")
    assert known.names() == ("sentiment-en", "topic-zh")
    assert [entry.source for entry in known.backbones.values()] == ["package:small-bilingual"]
    assert known.resolve("sentiment-en").path.read_bytes() == SHIPPED.read_bytes()
    before = known.path.read_bytes()
    again = run("add", "shipped:sentiment-en", SHIPPED, "-r", "own", "--json").value["tasks"]
    assert [(task["version"], task["is_new"]) for task in again] == [(1, False)] * 2
    assert "(there already)" in run("add", "shipped:sentiment-en", "-r", "own").out
    assert known.path.read_bytes() == before
    named = run("add", "shipped:sentiment-en", "--as", "mood", "-r", "own", "--json").value
    assert (named["task"], named["version"], named["is_new"]) == ("mood", 1, True)
    assert run("doctor", "-r", "own", "--no-replay").code == 0


def test_add_leaves_a_task_of_ones_own_alone(run: Run) -> None:
    assert run("add", HEADS / "topic-zh.safetensors", "--as", "sentiment-en").code == 0
    before = Path("registry.yaml").read_bytes()
    refused = run("add", "shipped:sentiment-en")
    assert refused.code == 2
    assert "newest version was not added from 'shipped:sentiment-en'" in refused.err
    assert Path("registry.yaml").read_bytes() == before
    refused = run("add", "shipped:sentimnt-en")
    assert (refused.code, "Did you mean 'shipped:sentiment-en'" in refused.err) == (2, True)
    assert "shipped:sentiment-zh" in run("add", "sentiment-zh").err


def test_add_takes_tasks_of_another_registry_with_their_folder(
    run: Run, tiny_registry: Path, other_registry: Path
) -> None:
    file = tiny_registry.parent / "heads" / "rating.safetensors"
    refused = run("add", file, "-r", "mine.yaml")
    assert refused.code == 5
    assert "./other/registry.yaml:rating" in refused.err
    name = os.path.relpath(tiny_registry)
    added = run("add", f"{name}:rating@prod", f"{other_registry}:themes", "-r", "mine.yaml")
    assert added.code == 0, added.err
    (entry,) = read_registry("mine.yaml").backbones.values()
    assert entry.source == str(tiny_registry.parent / "backbone")
    # Now the backbone is listed, so files of it can be added, several at once.
    heads = [
        tiny_registry.parent / "heads" / f"{name}.safetensors" for name in ("topics", "rating")
    ]
    added = run("add", *heads, "-r", "mine.yaml", "--json").value["tasks"]
    assert [(task["task"], task["is_new"]) for task in added] == [
        ("topics", True),
        ("rating", False),
    ]
    scored = run("score", "a good day", "-t", "themes,topics,rating", "-r", "mine.yaml").rows[0]
    assert scored["themes.labels"] == scored["topics.labels"]


def test_add_goes_back_only_where_that_is_allowed(run: Run, tiny_registry: Path) -> None:
    second = tiny_registry.parent / "heads" / "sentiment.safetensors"
    assert run("add", second, "--as", "rating2", "-r", tiny_registry).code == 0
    first = tiny_registry.parent / "heads" / "language.safetensors"
    assert run("add", first, "--as", "rating2", "-r", tiny_registry).code == 0
    assert run("add", f"{tiny_registry}:rating2", "-r", "mine.yaml").code == 0
    refused = run("add", f"{tiny_registry}:rating2:1", "-r", "mine.yaml")
    assert refused.code == 2
    assert "--allow-older" in refused.err
    added = run("add", f"{tiny_registry}:rating2:1", "-r", "mine.yaml", "--allow-older", "--json")
    assert added.value["version"] == 2
    assert read_registry("mine.yaml").resolve("rating2:2").path.read_bytes() == second.read_bytes()


def fresh(*words: object, home: Path) -> str:
    """Returns what a process prints that runs here with an empty home."""
    ran = subprocess.run(
        [sys.executable, "-m", "adapterhub", *map(str, words)],
        env={**os.environ, "HF_HOME": str(home), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_own_shipped_and_hub_tasks_and_a_file_in_one_call(
    run: Run, hub_server: HubServer, tmp_path: Path
) -> None:
    assert run("add", "shipped:sentiment-en", "--as", "mood").code == 0
    assert run("add", "shipped:sentiment-en", "-r", "other.yaml").code == 0
    published = run("publish", "mood", "shipped:topic-zh", "--to", REPO)
    assert published.out.splitlines()[:2] == [
        f"{REPO}:mood  version 1 (new)",
        f"{REPO}:topic-zh  version 1 (new)",
    ]
    Path("file.safetensors").write_bytes((HEADS / "question-type-en.safetensors").read_bytes())
    names = ["mood", "shipped:sentiment-en", f"{REPO}:topic-zh", "./file.safetensors"]
    names += ["./other.yaml:sentiment-en", "sentiment-en:1"]
    both = ("-r", "registry.yaml", "-r", "other.yaml")
    text = "Where is the best film of the year?"
    words = ("--out", "scored.jsonl", "--all", "--json", *both)
    told = json.loads(fresh("score", text, "-t", ",".join(names), *words, home=tmp_path / "home"))
    (trunk,) = told["plan"]["trunks"]
    assert (told["plan"]["tasks"], told["plan"]["passes"], trunk["branches"]) == (6, 2, [])
    row = json.loads(Path("scored.jsonl").read_text())
    # Names that several tasks have are told apart by what was asked for.
    shown = ["mood", *names[1:2], "topic-zh", "question-type-en", *names[4:]]
    columns = [f"{name}.labels" for name in shown]
    assert list(row) == ["text", *columns]
    for name, column in zip(names, columns, strict=True):
        alone = run("score", text, "-t", name, "--all", *both).rows[0]
        assert list(alone.values())[1:] == [row[column]]
    same = [row[f"{name}.labels"] for name in ("mood", "shipped:sentiment-en", "sentiment-en:1")]
    assert same == same[:1] * 3
