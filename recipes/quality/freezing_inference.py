"""Inference time: frozen or not, by depth, and of one trunk with many heads."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModel

from adapterhub.hub import Hub
from adapterhub.model.adapters.freezing import freeze
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.specs import TaskSpec
from recipes.quality.freezing_record import DepthTime, Inference

Key = TypeVar("Key", int, str)

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

    calls = {depth: encode(depth) for depth in range(1, plan.num_hidden_layers + 1)}
    times = _time({**calls, 0: lambda: hub.score(rows, tasks)}, texts)
    depths = [DepthTime(depth=depth, milliseconds=times[depth]) for depth in calls]
    frozen, sizes = _frozen(backbone, texts)
    return Inference(
        texts=len(texts),
        frozen=frozen,
        bytes=sizes,
        depths=tuple(depths),
        tasks=plan.tasks,
        shared_passes=plan.passes,
        separate_passes=plan.separate_passes,
        shared_milliseconds=times[0],
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

    def run(one: Any) -> Callable[[], object]:
        def encode() -> None:
            with torch.inference_mode():
                for batch in tokens:
                    one(**batch)

        return encode

    depth = int(model.config.num_hidden_layers)
    models = {
        "trained": model.requires_grad_(),
        "frozen": copy.deepcopy(model).requires_grad_(False),
        "untied": freeze(copy.deepcopy(model), range(depth // 2), untie=True),
    }
    sizes = {
        state: sum(p.numel() * p.element_size() for p in one.parameters())
        for state, one in models.items()
    }
    return _time({state: run(one) for state, one in models.items()}, texts), sizes


def _time(calls: Mapping[Key, Callable[[], object]], texts: Sequence[str]) -> dict[Key, float]:
    """Returns milliseconds per text of each call; they take turns, as the machine may slow down."""
    found: dict[Key, list[float]] = {name: [] for name in calls}
    for repetition in range(_REPETITIONS + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if repetition:  # The first one warms up.
                found[name].append(time.perf_counter() - started)
    return {name: 1_000 * statistics.median(one) / len(texts) for name, one in found.items()}
