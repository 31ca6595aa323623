"""Cards of tasks that are made without a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapterhub.diagnostics import Diagnostics, ReliabilityBin
from adapterhub.publishing.files import extras_of, files_of
from adapterhub.publishing.layout import Present
from adapterhub.publishing.merging import Merged, merge
from adapterhub.remote.find import FoundTask
from adapterhub.specs import Calibration, Metric, TrainingRecord
from adapterhub.store.registry import parse_registry
from tests.builders import backbone_spec
from tests.publishing.tasks import REPO, to_publish

ALBERT = backbone_spec(name="albert/albert-base-v2", revision="b" * 40, num_hidden_layers=12)
DIAGNOSTICS = Diagnostics(
    split="validation",
    rows=100,
    reliability=tuple(
        ReliabilityBin(score=x / 10, hits=x / 10, answers=20) for x in (1, 3, 5, 7, 9)
    ),
    confusion=((40, 9), (1, 50)),
)
RECORD = TrainingRecord(
    dataset="acme/reviews",
    dataset_license="cc-by-4.0",
    data_digest="ab" * 32,
    rows=900,
    seed=3,
    candidates=120,
    epochs=30,
    learning_rate=0.005,
    weight_decay=0.1,
)
METRICS = (
    Metric(name="accuracy", value=0.9, split="validation", rows=100),
    Metric(name="ece", value=0.02, split="validation", rows=100),
)


def full(name: str = "spam", **changes: Any) -> FoundTask:
    """Returns a task whose head file says all that a card can tell, but nothing to draw."""
    spec: dict[str, Any] = {
        "description": "Whether a review praises.",
        "backbone": ALBERT,
        "depths": (6,),
        "metrics": METRICS,
        "training": RECORD,
        "calibration": Calibration(temperature=1.5),
        "languages": ("en", "pt-BR"),
        **changes,
    }
    return to_publish(name, **spec)


def files(*tasks: FoundTask, before: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Returns the files of a publication on top of those of an earlier one."""
    known = before or {}
    merged = merged_with(known, *tasks)
    there = Present(known.get("README.md"), known, known.__getitem__)
    changed = files_of(merged, tasks, repo=REPO, extras=extras_of(tasks), there=there)
    return {path: data for path, data in {**known, **changed}.items() if data is not None}


def merged_with(known: dict[str, bytes], *tasks: FoundTask) -> Merged:
    path = Path("registry.yaml")
    content = parse_registry(known["registry.yaml"], path) if known else None
    return merge(content, tasks, place=path)


def card(*tasks: FoundTask, before: dict[str, bytes] | None = None) -> str:
    return files(*tasks, before=before)["README.md"].decode()
