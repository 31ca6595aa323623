"""Inference time: frozen or not, by depth, and of one trunk with many heads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from adapterhub.hub import Hub
from adapterhub.model.adapters.freezing import freeze
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.specs import TaskSpec
from recipes.quality.freezing_record import DepthTime, Inference

_REPETITIONS = 5
_BATCH = 32
_WINDOW = 128


def measure_inference(registry: Path, texts: Sequence[str], backbone: Backbone) -> Inference:
    """Returns times per text, each the median of some repetitions.

    Args:
        registry: Its tasks that read one text and have no adapter share a trunk.
        texts: What is encoded.
        backbone: An ALBERT, which transformers opens too.
    """
    hub = Hub(registry)
    tasks = [task.name for task in hub.tasks() if _is_head(hub.spec(task.name))]
    hub.load(*tasks)
    plan = hub.explain(tasks)
    rows = list(texts)

    def encode(depth: int) -> Callable[[], object]:
        return lambda: hub.encode(rows, depth=depth, pooling="mean")

    depths = [
        DepthTime(depth=depth, milliseconds=_time(encode(depth), texts))
        for depth in range(1, plan.num_hidden_layers + 1)
    ]
    frozen, sizes = _frozen(backbone, texts)
    return Inference(
        texts=len(texts),
        frozen=frozen,
        bytes=sizes,
        depths=tuple(depths),
        tasks=plan.tasks,
        shared_passes=plan.passes,
        separate_passes=plan.separate_passes,
        shared_milliseconds=_time(lambda: hub.score(rows, tasks), texts),
        separate_milliseconds=depths[-1].milliseconds * plan.tasks,
    )


def _is_head(spec: TaskSpec) -> bool:
    return spec.adapter is None and spec.fields == ("text",)


def _frozen(backbone: Backbone, texts: Sequence[str]) -> tuple[dict[str, float], dict[str, int]]:
    """Returns time and size of transformers' own model: trained, frozen, and partly untied."""
    model: Any = AutoModel.from_pretrained(backbone.folder, dtype=torch.float32).eval()
    tokens = [
        backbone.tokenizer(
            list(texts[start : start + _BATCH]),
            padding=True,
            truncation=True,
            max_length=_WINDOW,
            return_tensors="pt",
        )
        for start in range(0, len(texts), _BATCH)
    ]

    def run() -> None:
        with torch.inference_mode():
            for batch in tokens:
                model(**batch)

    def untie() -> None:
        model.requires_grad_()
        freeze(model, range(model.config.num_hidden_layers // 2), untie=True)

    steps: dict[str, Callable[[], object]] = {
        "trained": model.requires_grad_,
        "frozen": lambda: model.requires_grad_(False),
        "untied": untie,
    }
    times, sizes = {}, {}
    for state, change in steps.items():
        change()
        times[state] = _time(run, texts)
        sizes[state] = sum(p.numel() * p.element_size() for p in model.parameters())
    return times, sizes


def _time(call: Callable[[], object], texts: Sequence[str]) -> float:
    """Returns milliseconds per text."""
    call()
    found = []
    for _ in range(_REPETITIONS):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return 1_000 * statistics.median(found) / len(texts)
