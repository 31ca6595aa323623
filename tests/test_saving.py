from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adapterhub import save_tasks
from adapterhub.errors import RegistryError
from adapterhub.importing.import_task import ImportedTask
from adapterhub.store.registry import read_registry
from tests.builders import head_tensors
from tests.tiny import open_tiny, tiny_task


def test_several_tasks_are_saved_at_once(tmp_path: Path) -> None:
    backbone = open_tiny(tmp_path / "mine" / "backbone")
    tasks = []
    for name in ("spam", "ham"):
        spec = tiny_task(backbone, task=name, kind="single_label")
        tasks.append(ImportedTask(spec, head_tensors(spec), backbone, ("prod",)))
    path = tmp_path / "mine" / "registry.yaml"
    saved = save_tasks(tasks, path.parent)
    assert [(one.task, one.version) for one in saved] == [("spam", 1), ("ham", 1)]
    registry = read_registry(path)
    assert registry.resolve("ham@prod").backbone.source == "./backbone"
    assert len(registry.backbones) == 1
    before = path.read_bytes()
    wrong = tiny_task(backbone, task="ham", kind="regression")
    other = replace(tasks[1], spec=wrong, tensors=head_tensors(wrong))
    new = replace(tasks[0], tensors=head_tensors(tasks[0].spec, 1))
    with pytest.raises(RegistryError, match="'ham' is single_label"):
        save_tasks([new, other], path)
    assert path.read_bytes() == before
    assert save_tasks([new], path)[0].version == 2
