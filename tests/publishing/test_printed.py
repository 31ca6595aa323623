"""The commands of a card work as they are printed, on a machine that has nothing of them yet.

Those of tasks that ship run in a fresh process; its start takes seconds, so that the others run in
this one, with an empty cache of the Hub.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapterhub import Hub
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.publishing.publish import publish
from adapterhub.remote.find import FoundTask, task_in
from adapterhub.specs import TaskSpec
from adapterhub.store.headfile import encode_head
from tests.adapters import adapter_task, config_of, make_adapter
from tests.builders import head_tensors
from tests.encoders import save_encoder
from tests.hubserver.server import HubServer
from tests.peft.family_models import family_settings, trained
from tests.peft.test_families import from_model, plain
from tests.publishing.fresh import run_python
from tests.publishing.tasks import DEFAULTS, REPO
from tests.publishing.test_elsewhere import put_backbone
from tests.tiny import save_backbone, tiny_task

PLAIN = "acme/plain"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = "A warm and funny film."
# A start of the command line takes seconds; that it starts is seen elsewhere.
SHOWN = """\
import io, shlex, sys
from adapterhub.cli import app

for kind, text in {blocks!r}:
    if kind == "python":
        exec(text, {{}})
        continue
    for line in text.splitlines():
        first, bar, second = line.partition(" | ")
        if bar:
            echo, printed = shlex.split(first)
            assert echo == "echo", line
            sys.stdin = io.TextIOWrapper(io.BytesIO(printed.encode() + b"\\n"))
        name, *words = shlex.split(second if bar else first)
        assert name == "adapterhub", line
        try:
            app(words)
        except SystemExit as ended:
            assert ended.code == 0, line
        else:
            raise AssertionError(line)
"""


def card_of(server: HubServer, repo: str = REPO) -> str:
    return server.files(repo)["README.md"].decode()


def blocks(text: str, kind: str) -> list[str]:
    return [code for found, code in BLOCK.findall(text) if found == kind]


def sections(text: str) -> dict[str, str]:
    """Returns the text of each task of a card."""
    found = re.findall(r"<!-- adapterhub:task:(\S+) .*?-->(.*?)<!-- /adapterhub", text, re.DOTALL)
    return dict(found)


def run_here(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the blocks of a card in a folder, in their order."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(sys, "stdin", sys.stdin)  # which some of them replace
    exec(SHOWN.format(blocks=BLOCK.findall(text)), {})


def made_task(spec: TaskSpec, seed: int = 0) -> FoundTask:
    data = encode_head(spec, head_tensors(spec, seed))
    return task_in(data, spec.task)


def adapted(backbone: Backbone, name: str, depths: tuple[int, ...]) -> FoundTask:
    """Returns a task whose adapter PEFT made at some depths."""
    _, adapter = make_adapter(backbone, config_of("Lora", depths, r=2))
    spec, tensors = adapter_task(backbone, adapter, task=name)
    return task_in(encode_head(spec, tensors), name)


def on_hub(server: HubServer, folder: Path, name: str) -> Backbone:
    """Returns a backbone that was put on the Hub, opened from there."""
    return open_backbone(put_backbone(server, folder, name))


@pytest.mark.slow
def test_commands_of_shipped_tasks_work(hub_server: HubServer, tmp_path: Path) -> None:
    pair = '{"text": "今天天气好", "text_pair": "天气不错"}'
    tasks = ["sentiment-en", "same-question-zh"]
    Hub().publish(tasks, REPO, examples=[EXAMPLE, pair])
    found = sections(card_of(hub_server))
    assert set(found) == set(tasks)
    assert EXAMPLE in found["sentiment-en"]
    code = SHOWN.format(blocks=BLOCK.findall(card_of(hub_server)))
    printed = run_python(code, tmp_path, url=hub_server.url)
    assert printed.count("sentiment-en") >= 2
    assert "positive" in printed


@pytest.mark.slow
def test_commands_of_tasks_on_a_folder_work_beside_it(
    hub: Hub,
    hub_server: HubServer,
    fresh_home: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hub.publish(["entails"], REPO)
    text = card_of(hub_server)
    assert "is not in this repository" in text
    shutil.copytree(hub.registry_path.parent / "backbone", tmp_path / "work" / "backbone")
    fresh_home()
    run_here(text, tmp_path / "work", monkeypatch)
    assert '"entails.label"' in capfd.readouterr().out


@pytest.mark.slow
def test_commands_of_tasks_on_backbones_of_the_hub_work(
    hub_server: HubServer, tmp_path: Path
) -> None:
    """transformers reads the address of the Hub when it is imported: in one fresh process."""
    albert = on_hub(hub_server, save_backbone(tmp_path / "albert"), "acme/tiny")
    specs = [
        tiny_task(albert, "tagging", task="names"),
        tiny_task(albert, "parsing", task="trees"),
    ]
    publish(REPO, [*map(made_task, specs), adapted(albert, "deep", (2, 3))], DEFAULTS)
    card = card_of(hub_server)
    assert "adapterhub.unrolled(base)" in sections(card)["deep"]
    bert = on_hub(hub_server, save_encoder(tmp_path / "bert", "bert"), "acme/bert")
    model = trained(plain(bert), family_settings("lora", "bert"))
    spec, tensors = adapter_task(bert, from_model(model), task="plain")
    publish(PLAIN, [task_in(encode_head(spec, tensors), "plain")], DEFAULTS)
    text = sections(card_of(hub_server, PLAIN))["plain"]
    assert "Plain PEFT opens the adapter" in text
    (code,) = [one for one in blocks(text, "python") if "PeftModel" in one]
    check = (
        "import sys, torch\n"
        "assert 'adapterhub' not in sys.modules\n"
        "print(model(input_ids=torch.tensor([[2, 5, 3]])).last_hidden_state.shape)\n"
        "print(type(model).__name__)\n"
    )
    shown = SHOWN.format(blocks=BLOCK.findall(card))
    printed = run_python(code + check + shown, tmp_path / "work", url=hub_server.url)
    assert "PeftModelForFeatureExtraction" in printed
    assert all(f'"{name}.' in printed for name in ("names", "trees", "deep"))
