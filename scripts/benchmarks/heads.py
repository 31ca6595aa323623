"""Many heads on one frozen encoder of several shapes, beside what transformers does."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, pipeline
from transformers.utils import logging as transformers_logging

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.specs import Pooling
from benchmarks.report import Check, Line, Report
from benchmarks.timing import matrix_rate, medians, seconds_of
from benchmarks.workloads import ALBERT_BASE, add_random_task, random_encoder, texts_around

TASKS = 32
TIMED = 8
BATCH = 32
LABELS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 28, 50, 77, 150)
WORKLOADS = {"~24 tokens": 24, "~88 tokens": 88}


@dataclass(frozen=True, slots=True)
class Shape:
    """An encoder to measure and its targets.

    Attributes:
        title: What it is.
        config: Its config.json.
        faster: How many times as fast as the pipeline it must be, by workload.
        many: Time of 32 tasks over that of one, at most.
    """

    title: str
    config: Mapping[str, object]
    faster: Mapping[str, float]
    many: float

    @property
    def depth(self) -> int:
        """Returns the number of its depths."""
        return int(str(self.config["num_hidden_layers"]))

    @property
    def shallow(self) -> int:
        """Returns a third of its depths."""
        return self.depth // 3


_BERT_BASE = {
    "model_type": "bert",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_MINILM = {
    "model_type": "bert",
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
SHAPES = {
    "albert-base": Shape("ALBERT base", ALBERT_BASE, {"~24 tokens": 2.5, "~88 tokens": 3.0}, 1.05),
    "bert-base": Shape("BERT base", _BERT_BASE, {"~24 tokens": 2.8, "~88 tokens": 2.8}, 1.05),
    "minilm": Shape("MiniLM L6", _MINILM, {"~24 tokens": 2.8, "~88 tokens": 2.8}, 1.25),
}

ONE, MANY, SHALLOW = "hub, 1 task", f"hub, {TASKS} tasks", "hub, 1 task at a third of the depth"
PIPELINE = f"transformers pipeline, batch {BATCH}"
MODEL = f"transformers model, padded, batch {BATCH}"
SEPARATE = f"{TASKS} separate transformers models"


def run(*, texts: Path, device: str, repeats: int, rows: int, shapes: tuple[str, ...]) -> Report:
    """Returns the figures of heads-only scoring on encoders with random weights."""
    lines: list[Line] = []
    checks: list[Check] = []
    for name in shapes:
        shape = SHAPES[name]
        with tempfile.TemporaryDirectory() as folder:
            setting = _Setting(shape, Path(folder), device)
            for workload, tokens in WORKLOADS.items():
                chosen = texts_around(texts, setting.backbone, tokens=tokens, rows=rows)
                seconds = _measure(setting, chosen, repeats=repeats)
                called = f"{shape.title}, {workload}"
                lines.extend(_lines(called, setting, chosen, seconds, matrix_rate(device)))
                checks.extend(_checks(called, shape, seconds, shape.faster[workload]))
                print(f"{called}: measured", file=sys.stderr, flush=True)
    title = f"Random weights, fp32, {device}, {torch.get_num_threads()} threads"
    return Report(title, tuple(lines), tuple(checks))


class _Setting:
    """An encoder, the hub with its tasks, and transformers' classifier."""

    def __init__(self, shape: Shape, folder: Path, device: str) -> None:
        self.shape = shape
        self.backbone = random_encoder(folder / "encoder", shape.config)
        self.hub = _make_hub(folder / "registry.yaml", self.backbone, shape, device)
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        model = AutoModelForSequenceClassification.from_pretrained(
            str(self.backbone.folder), num_labels=2, dtype=torch.float32
        )
        self.classifier: Any = model.train(False).to(device)


def _make_hub(registry: Path, backbone: Backbone, shape: Shape, device: str) -> Hub:
    depth = shape.depth
    add_random_task(registry, backbone, "one", labels=2, depth=depth, pooling="cls")
    add_random_task(registry, backbone, "shallow", labels=2, depth=shape.shallow, pooling="cls")
    for index in range(TASKS):
        labels = LABELS[index % len(LABELS)]
        pooling: Pooling = "mean" if index % 2 else "cls"
        add_random_task(
            registry, backbone, f"task-{index}", labels=labels, depth=depth, pooling=pooling
        )
    hub = Hub(registry, device=device)
    hub.load("one", "shallow", *_many())
    return hub


def _many() -> list[str]:
    return [f"task-{index}" for index in range(TASKS)]


def _measure(setting: _Setting, texts: list[str], *, repeats: int) -> dict[str, float]:
    hub, backbone, classifier = setting.hub, setting.backbone, setting.classifier
    device = str(hub.encoder.device)
    pipe = pipeline(
        "text-classification", model=classifier, tokenizer=backbone.tokenizer, device=device
    )
    runs: dict[str, Callable[[], object]] = {
        PIPELINE: lambda: pipe(texts, batch_size=BATCH),
        MODEL: lambda: _padded(classifier, backbone, texts),
        ONE: lambda: hub.score(texts, "one"),
        MANY: lambda: hub.score(texts, _many()),
        SHALLOW: lambda: hub.score(texts, "shallow"),
    }
    seconds = medians(runs, repeats=repeats, device=device)
    # All passes are alike and 32 take minutes: some are timed on one batch, and scaled.
    few = texts[:BATCH]
    passes = seconds_of(lambda: [_padded(classifier, backbone, few) for _ in range(TIMED)], device)
    separate = passes * TASKS / TIMED
    return {**seconds, SEPARATE: separate * len(texts) / len(few)}


@torch.inference_mode()
def _padded(model: Any, backbone: Backbone, texts: list[str]) -> list[torch.Tensor]:
    logits = []
    for first in range(0, len(texts), BATCH):
        inputs = backbone.tokenizer(
            texts[first : first + BATCH],
            padding=True,
            truncation=True,
            max_length=512,
            return_token_type_ids=True,
            return_tensors="pt",
        ).to(model.device)
        logits.append(model(**inputs).logits.cpu())
    return logits


def _lines(
    workload: str, setting: _Setting, texts: list[str], seconds: dict[str, float], rate: float
) -> list[Line]:
    backbone, shape = setting.backbone, setting.shape
    lengths = [len(backbone.tokenizer.encode(text)) for text in texts]
    name = f"{workload} (mean {sum(lengths) / len(lengths):.0f})"
    useful = _operations(backbone, sum(lengths))
    first = seconds[PIPELINE]
    lines = []
    for system, found in seconds.items():
        share = {SHALLOW: shape.shallow / shape.depth, SEPARATE: TASKS}.get(system, 1.0)
        lines.append(
            Line(
                workload=name,
                system=system,
                seconds=found,
                texts_per_second=len(texts) / found,
                ratio=first / found,
                utilisation=share * useful / found / rate,
            )
        )
    return lines


def _operations(backbone: Backbone, tokens: int) -> float:
    config = backbone.config
    block = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return 2.0 * tokens * block * config.num_hidden_layers


def _checks(workload: str, shape: Shape, seconds: dict[str, float], faster: float) -> list[Check]:
    one, many = seconds[ONE], seconds[MANY]
    return [
        Check(f"{workload}: {TASKS} tasks / 1 task", many / one, shape.many, at_most=True),
        Check(f"{workload}: 1 task, times the pipeline", seconds[PIPELINE] / one, faster, False),
        Check(f"{workload}: a third of the depth / all", seconds[SHALLOW] / one, 0.4, True),
        Check(
            f"{workload}: {TASKS} tasks, times separate models",
            seconds[SEPARATE] / many,
            32.0,
            False,
        ),
    ]
