"""Heads that answer the same to every text: found, warned of, and loaded all the same."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import pytest

from adapterhub.errors import ConstantHeadWarning
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.execution.known_answers import is_constant
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import encode_head, parse_head
from adapterhub.store.versions import add_version
from tests.builders import head_tensors, task_spec
from tests.commands.conftest import Run, run  # noqa: F401
from tests.tiny import tiny_task


@pytest.fixture
def dull_registry(tiny_registry: Path) -> Path:
    """Returns the tiny registry with a task `dull` whose weights are all zero."""
    backbone = open_backbone(tiny_registry.parent / "backbone")
    spec = tiny_task(backbone, "single_label", task="dull")
    tensors = head_tensors(spec)
    tensors["head.weight"].zero_()
    entry = BackboneEntry(source="./backbone", fingerprint=backbone.spec.fingerprint)
    add_version(tiny_registry, spec, tensors, backbone_key="tiny", backbone_entry=entry)
    return tiny_registry


@pytest.mark.parametrize("name", ["head.weight", "head.hidden.weight", "head.bias"])
def test_a_map_of_zeros_makes_a_head_constant(name: str) -> None:
    spec = task_spec(hidden_width=4)
    tensors = head_tensors(spec)
    assert not is_constant(parse_head(encode_head(spec, tensors), source="x"))
    tensors[name].zero_()
    found = is_constant(parse_head(encode_head(spec, tensors), source="x"))
    assert found is (name != "head.bias")


def test_loading_a_constant_head_warns(dull_registry: Path) -> None:
    hub = Hub(dull_registry, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hub.load("sentiment")
    with pytest.warns(ConstantHeadWarning, match="'dull' predicts the same for every") as found:
        scores = hub.score(["good", "bad"], "dull")["dull"]
    assert scores[0] == scores[1]
    warned = found[0].message
    assert str(pickle.loads(pickle.dumps(warned))) == str(warned)


def test_the_command_line_says_so_in_a_line(run: Run, dull_registry: Path) -> None:  # noqa: F811
    ran = run("score", "good", "-t", "dull", "-r", dull_registry)
    assert ran.code == 0
    assert ran.err.splitlines()[0].startswith("adapterhub: Task 'dull' predicts the same for")
    doctor = run("doctor", "-r", dull_registry)
    assert doctor.code == 0
    (line,) = [line for line in doctor.out.splitlines() if "dull" in line]
    assert line.startswith("note")
    assert "weights are all zero" in line
