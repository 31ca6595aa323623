"""The commands of a card work as they are printed: in a fresh process with an empty home."""

from __future__ import annotations

import re
import shutil
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

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLE = "A warm and funny film."
# A start of the command line takes seconds; that it starts is seen elsewhere.
SHOWN = """
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


def card_of(server: HubServer) -> str:
    return server.files(REPO)["README.md"].decode()


def blocks(text: str, kind: str) -> list[str]:
    return [code for found, code in BLOCK.findall(text) if found == kind]


def sections(text: str) -> dict[str, str]:
    """Returns the text of each task of a card."""
    found = re.findall(r"<!-- adapterhub:task:(\S+) .*?-->(.*?)<!-- /adapterhub", text, re.DOTALL)
    return dict(found)


def run_all(text: str, folder: Path, url: str) -> str:
    """Returns what the blocks of a card print, all in one fresh process, in their order."""
    return run_python(SHOWN.format(blocks=BLOCK.findall(text)), folder, url=url)


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
    printed = run_all(card_of(hub_server), tmp_path, hub_server.url)
    assert printed.count("sentiment-en") >= 2
    assert "positive" in printed


@pytest.mark.slow
def test_commands_of_tasks_on_a_folder_work_beside_it(
    hub: Hub, hub_server: HubServer, tmp_path: Path
) -> None:
    hub.publish(["entails"], REPO)
    text = card_of(hub_server)
    assert "is not in this repository" in text
    shutil.copytree(hub.registry_path.parent / "backbone", tmp_path / "work" / "backbone")
    printed = run_all(text, tmp_path / "work", hub_server.url)
    assert '"entails.label"' in printed


@pytest.mark.slow
def test_commands_of_tasks_on_a_backbone_of_the_hub_work(
    hub_server: HubServer, tmp_path: Path
) -> None:
    backbone = on_hub(hub_server, save_backbone(tmp_path / "albert"), "acme/tiny")
    specs = [
        tiny_task(backbone, "tagging", task="names"),
        tiny_task(backbone, "parsing", task="trees"),
    ]
    tasks = [*map(made_task, specs), adapted(backbone, "deep", (2, 3))]
    publish(REPO, tasks, DEFAULTS)
    text = card_of(hub_server)
    assert "adapterhub.unrolled(base)" in sections(text)["deep"]
    run_all(text, tmp_path, hub_server.url)


@pytest.mark.slow
def test_plain_peft_opens_what_the_card_says_it_opens(
    hub_server: HubServer, tmp_path: Path
) -> None:
    backbone = on_hub(hub_server, save_encoder(tmp_path / "bert", "bert"), "acme/bert")
    model = trained(plain(backbone), family_settings("lora", "bert"))
    spec, tensors = adapter_task(backbone, from_model(model), task="deep")
    publish(REPO, [task_in(encode_head(spec, tensors), "deep")], DEFAULTS)
    text = sections(card_of(hub_server))["deep"]
    assert "Plain PEFT opens the adapter" in text
    (code,) = [one for one in blocks(text, "python") if "PeftModel" in one]
    check = (
        "import sys, torch\n"
        "assert 'adapterhub' not in sys.modules\n"
        "print(model(input_ids=torch.tensor([[2, 5, 3]])).last_hidden_state.shape)\n"
        "print(type(model).__name__)\n"
    )
    printed = run_python(code + check, tmp_path / "plain", url=hub_server.url)
    assert "PeftModelForFeatureExtraction" in printed
