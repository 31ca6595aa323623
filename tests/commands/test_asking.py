"""`list`, `show`, `explain` and `info`: what people and programs get to read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adapterhub.model.backbone import sources
from adapterhub.model.backbone.checkpoint import read_weights
from adapterhub.model.backbone.config import read_config
from adapterhub.store.headfile import write_head
from adapterhub.store.registry import read_registry
from tests.builders import head_tensors
from tests.commands.conftest import Run
from tests.encoders import FAMILY_NAMES, save_model
from tests.tiny import TASKS, open_tiny, save_backbone, tiny_task

NAMES = sorted(task["task"] for task in TASKS)


def test_list_shows_every_task(run: Run, tiny_registry: Path) -> None:
    ran = run("list", "-r", tiny_registry)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].split()[:3] == ["task", "version", "kind"]
    assert [line.split()[0] for line in lines[2:]] == NAMES
    assert "1 @prod" in ran.out
    assert all(line == line.rstrip() for line in lines)


def test_list_as_json_and_a_folder_for_the_registry(run: Run, tiny_registry: Path) -> None:
    value = run("list", "-r", tiny_registry.parent, "--json").value
    assert [task["name"] for task in value["tasks"]] == NAMES
    rating = next(task for task in value["tasks"] if task["name"] == "rating")
    assert rating["kind"] == "regression"
    assert rating["depths"] == [1, 3]
    assert rating["aliases"] == {"prod": 1}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--kind", "tagging"), ["entities"]),
        (("--language", "en"), NAMES),
        (("--language", "fr"), []),
        (("-l", "en", "--kind", "regression"), ["rating"]),
    ],
)
def test_list_filters(
    run: Run, tiny_registry: Path, words: tuple[str, ...], names: list[str]
) -> None:
    value = run("list", "-r", tiny_registry, "--json", *words).value
    assert [task["name"] for task in value["tasks"]] == names


def test_list_finds_the_registry_upwards(
    run: Run, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_registry.parent / "deep" / "deeper"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert run("list", "--json").value["registry"] == str(tiny_registry)


def test_list_without_any_such_task_says_so(run: Run, tiny_registry: Path) -> None:
    ran = run("list", "-r", tiny_registry, "-l", "fr")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith("No such task in ")


def test_show_says_what_a_task_reads_and_costs(run: Run, tiny_registry: Path) -> None:
    out = run("show", "topics@prod", "-r", tiny_registry).out
    fields = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert fields["labels"] == "politics, science, sport"
    assert fields["aliases"] == "@prod -> 1"
    assert fields["cost"].startswith("reads depth 2 of 4: 0.50 of a separate model's passes")


def test_show_as_json_holds_the_whole_spec(run: Run, tiny_registry: Path) -> None:
    value = run("show", "rating:1", "-r", tiny_registry, "--json").value
    record = read_registry(tiny_registry).resolve("rating").record
    assert value["sha256"] == record.sha256
    assert (value["version"], value["newest"]) == (1, 1)
    assert (value["passes"], value["separate_passes"]) == (3, 4)
    assert value["spec"]["head"]["depths"] == [1, 3]
    assert len(value["spec"]["known_answers"]) == 2


def test_show_opens_a_head_file(run: Run, tiny_registry: Path) -> None:
    file = tiny_registry.parent / "heads" / "entities.safetensors"
    value = run("show", file, "-r", tiny_registry, "--json").value
    assert value["spec"]["task"] == "entities"
    assert "version" not in value


def test_show_refuses_a_file_that_is_not_the_listed_one(run: Run, tiny_registry: Path) -> None:
    file = tiny_registry.parent / "heads" / "entities.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    ran = run("show", "entities", "-r", tiny_registry, "--json")
    assert ran.code == 5
    assert json.loads(ran.err)["error"] == "IntegrityError"


def test_explain_prints_the_plan(run: Run, tiny_registry: Path) -> None:
    out = run("explain", "sentiment,topics", "entails", "-r", tiny_registry).out
    assert "text + text_pair" in out
    assert "3 tasks: 4 + 3 = 7 passes per text" in out


def test_explain_as_json_and_all_tasks_by_default(run: Run, tiny_registry: Path) -> None:
    ran = run("explain", "-r", tiny_registry, "--json")
    assert ran.value["tasks"] == len(NAMES)
    assert ran.value["passes"] == 7
    assert {trunk["stop"] for trunk in ran.value["trunks"]} == {3, 4}
    assert "no task named" in ran.err


def test_info_shows_the_arithmetic(run: Run, tiny_backbone_folder: Path) -> None:
    ran = run("info", tiny_backbone_folder)
    assert ran.code == 0
    assert "V*E + E*H" in ran.out
    assert "4 depths cost what 4 distinct layers cost" in ran.out
    value = run("info", tiny_backbone_folder, "--json").value
    sizes = value["sizes"]
    table = sizes["vocab_size"] * 16 + 16 * 32
    assert value["parameters"]["factored_table"] == table
    # Windows of 128 and 512 tokens do not fit the 64 positions.
    assert [row["length"] for row in value["operations"]] == [20, 32]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_info_of_a_family(run: Run, tmp_path: Path, family: str) -> None:
    save_model(tmp_path, family, vocab_size=50)
    out = run("info", tmp_path).out
    longest = 62 if "roberta" in family else 64
    assert f": {family}, V=50 " in out
    assert f"windows up to {longest} tokens" in out
    assert ("this ALBERT" in out) == (family == "albert")
    value = run("info", tmp_path, "--json").value
    assert value["family"] == family
    # What the encoder holds: without the types that it does not have and positions never read.
    weights = read_weights(tmp_path, read_config(tmp_path)).values()
    assert value["bytes"]["float32"] == sum(weight.numel() * 4 for weight in weights)
    assert value["bytes"]["float16"] * 2 == value["bytes"]["float32"]
    assert bool(value["operations"][0]["embedding"]) == (family in ("albert", "electra"))


def test_info_of_short_windows(run: Run, tmp_path: Path) -> None:
    value = run("info", save_backbone(tmp_path, max_position_embeddings=8), "--json").value
    assert [row["length"] for row in value["operations"]] == [8]


def test_info_needs_the_config_only(
    run: Run, tiny_backbone_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache := tmp_path / "cache").mkdir()

    def snapshot(repository: str, *, allow_patterns: list[str], **_: object) -> str:
        for name in allow_patterns:
            shutil.copy(tiny_backbone_folder / name, cache)
        return str(cache)

    monkeypatch.setattr(sources, "snapshot_download", snapshot)
    assert run("info", "owner/tiny").out.startswith("owner/tiny: albert, V=")
    assert [path.name for path in cache.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ("{", "cannot be read"),
        ('{"model_type": "gpt2"}', "'gpt2', which cannot run here: it is a decoder"),
        ("{}", "no model_type"),
        ("[1]", "not a JSON object"),
        ('{"model_type": "albert", "hidden_size": "wide"}', "'hidden_size' expected int"),
        ('{"model_type": "albert", "hidden_size": 0}', "hidden_size 0; expected 1 or more"),
    ],
)
def test_info_refuses_what_cannot_run(run: Run, tmp_path: Path, config: str, part: str) -> None:
    (tmp_path / "config.json").write_text(config)
    ran = run("info", tmp_path)
    assert ran.code == 5
    assert part in ran.err


def test_a_terminal_gets_no_orders_from_a_description(run: Run, tmp_path: Path) -> None:
    backbone = open_tiny(tmp_path / "backbone")
    description = "nice\x1b]0;owned\x07\x1b[2J\nlicence  forged\x9b31m"
    spec = tiny_task(backbone, "single_label", description=description)
    write_head(tmp_path / "a.safetensors", spec, head_tensors(spec))
    out = run("show", str(tmp_path / "a.safetensors")).out
    (line,) = (line for line in out.splitlines() if "nice" in line)
    assert line.endswith("nice\ufffd]0;owned\ufffd\ufffd[2J licence  forged\ufffd31m")
    assert out.replace("\n", "").isprintable()
