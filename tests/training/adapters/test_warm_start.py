"""Adapters that start from the adapter of another task."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from adapterhub import Hub
from adapterhub.errors import BackboneMismatchError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.store.headfile import read_head
from adapterhub.training.adapter_options import adapter_options
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.train import train
from tests.tiny import save_backbone
from tests.training.rows import Rows, rating_rows, sentiment_rows

pytest.importorskip("sklearn")

QUICK: dict[str, Any] = {
    "learning_rates": (0.01,),
    "weight_decays": (0.01,),
    "validation_fraction": 0.25,
    "ngrams": False,
    "poolings": ("mean",),
    "hidden_widths": (),
}
FIRST: dict[str, Any] = {"from_depth": 2, "rank": 2, "epochs": 2, "sites": ("query", "value")}
# A step size that changes nothing shows what the training began with.
STILL: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}


class Tasks:
    """A registry with a task `first` that has an adapter."""

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        self.registry = folder / "tasks" / "registry.yaml"
        self._cache, self._backbone = folder / "cache", backbone

    def train(self, name: str, rows: Rows, **adapter: Any) -> TrainedTask:
        options = training_options(
            **QUICK,
            cache_dir=self._cache,
            dataset="films",
            dataset_license="CC0",
            adapter=adapter_options(**adapter),
        )
        return self.run(name, rows, options)

    def run(self, name: str, rows: Rows, options: TrainingOptions) -> TrainedTask:
        return train(
            rows, task=name, options=options, registry=self.registry, backbone=self._backbone
        )


@pytest.fixture
def tasks(tiny_backbone: Backbone, tmp_path: Path) -> Tasks:
    return Tasks(tmp_path, tiny_backbone)


@pytest.fixture(scope="module")
def _first(tiny_backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    Tasks(folder, tiny_backbone).train("first", sentiment_rows(64), **{**FIRST, "epochs": 1})
    return folder


@pytest.fixture
def with_first(_first: Path, tiny_backbone: Backbone, tmp_path: Path) -> Tasks:
    """Returns a registry of its own to each test, in which `first` is trained."""
    shutil.copytree(_first, tmp_path / "copy")
    return Tasks(tmp_path / "copy", tiny_backbone)


def factors(trained: TrainedTask) -> dict[str, torch.Tensor]:
    return {name: t for name, t in trained.tensors.items() if name.startswith("adapter.")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        {"method": "lora"},
        {"method": "dora"},
        {"method": "vera"},
        {"method": "lora", "tie_depths": True},
        {"method": "loha"},
        {"method": "block", "sites": None},
    ],
    ids=lambda first: "-".join(map(str, first.values())),
)
def test_an_adapter_begins_with_the_numbers_and_the_shape_of_another(
    first: dict[str, Any], tasks: Tasks
) -> None:
    one = tasks.train("first", sentiment_rows(64), **{**FIRST, "learning_rate": 1e-2, **first})
    two = tasks.train("second", rating_rows(64), continue_from="first", **STILL)
    assert one.spec.adapter is not None
    assert two.spec.adapter is not None
    names = ("method", "depths", "sites", "tie_depths", "parameters")
    mine, other = ({n: getattr(s.spec.adapter, n) for n in names} for s in (two, one))
    assert mine == other
    assert factors(two).keys() == factors(one).keys()
    for name, tensor in factors(one).items():
        torch.testing.assert_close(factors(two)[name], tensor, rtol=1e-5, atol=1e-7)
    record = two.spec.training
    assert record is not None
    assert record.continued_from is not None
    assert record.continued_from.model_dump() == {
        "task": "first",
        "adapter": one.spec.adapter.digest,
        "dataset": "films",
        "dataset_license": "CC0",
    }
    assert "Training started from the adapter of 'first'." in two.table.notes
    hub = Hub(tasks.registry, device="cpu")
    assert hub.score(["the food was good"], tasks=["first", "second"])["second"][0] is not None
    assert two.saved is not None
    assert read_head(two.saved.path).spec.training == record


@pytest.mark.slow
def test_it_is_trained_on_and_leaves_the_other_as_it_was(tasks: Tasks) -> None:
    one = tasks.train("first", sentiment_rows(64), **FIRST)
    assert one.saved is not None
    before = one.saved.path.read_bytes()
    two = tasks.train("second", rating_rows(64), continue_from="first", epochs=2)
    assert any(not torch.equal(factors(two)[name], t) for name, t in factors(one).items())
    assert one.saved.path.read_bytes() == before


@pytest.mark.slow
def test_depths_that_the_other_does_not_change_begin_anew(tasks: Tasks) -> None:
    one = tasks.train("first", sentiment_rows(64), **{**FIRST, "from_depth": 3})
    two = tasks.train("second", rating_rows(64), continue_from="first", from_depth=2, **STILL)
    assert two.spec.adapter is not None
    assert two.spec.adapter.depths == (2, 3)
    for name, tensor in factors(two).items():
        if name in factors(one):
            torch.testing.assert_close(tensor, factors(one)[name], rtol=1e-5, atol=1e-7)
        elif "lora_B" in name:
            assert float(tensor.abs().max()) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 4}, "adapter of 'first': lora_alpha is 4 there and 8 here|r is 2 there and 4"),
        ({"method": "dora"}, "use_dora is False there and True here"),
        ({"method": "ia3"}, "adapter of 'first': "),
        ({"tie_depths": True}, "tie_depths is False there and True here"),
        (
            {"sites": ("ffn",)},
            "which changes query, value at depths 2 to 3; this one changes ffn at",
        ),
        ({"method": "pissa"}, "cannot continue from another one"),
        ({"method": "adalora"}, "cannot continue from another one"),
        ({"method": LoraConfig(r=8, lora_alpha=4)}, "r is 2 there and 8 here"),
    ],
    ids=["rank", "dora", "ia3", "tied", "sites", "pissa", "adalora", "config"],
)
def test_another_shape_is_refused(changes: dict[str, Any], message: str, with_first: Tasks) -> None:
    before = with_first.registry.read_bytes()
    with pytest.raises(UsageError, match=message):
        with_first.train("second", rating_rows(64), continue_from="first", epochs=1, **changes)
    assert with_first.registry.read_bytes() == before


@pytest.mark.slow
def test_other_depths_are_refused(with_first: Tasks) -> None:
    options = training_options(
        **QUICK,
        depths=(2,),
        adapter=adapter_options(continue_from="first", from_depth=0, epochs=1),
    )
    with pytest.raises(UsageError, match=r"at depths 2 to 3; this one changes .* at depths 0 to 1"):
        with_first.run("second", rating_rows(64), options)


@pytest.mark.slow
def test_a_task_without_adapter_or_of_another_backbone_is_refused(
    with_first: Tasks, tmp_path: Path
) -> None:
    with_first.run("plain", sentiment_rows(64), training_options(**QUICK))
    with pytest.raises(UsageError, match="'plain' has no adapter"):
        with_first.train("second", rating_rows(64), continue_from="plain")
    other = Tasks(tmp_path / "other", open_backbone(save_backbone(tmp_path / "backbone", seed=1)))
    head = next(with_first.registry.parent.glob("heads/first*"))
    with pytest.raises(BackboneMismatchError):
        other.train("second", rating_rows(64), continue_from=str(head))
