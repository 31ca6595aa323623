"""Many heads on one frozen encoder, beside what transformers does."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AlbertForSequenceClassification, pipeline
from transformers.utils import logging as transformers_logging

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.specs import Pooling
from benchmarks.report import Check, Line, Report
from benchmarks.timing import matrix_rate, medians, seconds_of
from benchmarks.workloads import add_random_task, random_base, texts_around

TASKS = 32
TIMED = 8
BATCH = 32
SHALLOW = 4
LABELS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 28, 50, 77, 150)
WORKLOADS = {"~24 tokens": (24, 2.5), "~88 tokens": (88, 3.0)}

ONE, MANY, AT_DEPTH_4 = "hub, 1 task", f"hub, {TASKS} tasks", f"hub, 1 task at depth {SHALLOW}"
PIPELINE = f"transformers pipeline, batch {BATCH}"
MODEL = f"transformers model, padded, batch {BATCH}"
SEPARATE = f"{TASKS} separate transformers models"


def run(*, texts: Path, device: str, repeats: int, rows: int) -> Report:
    """Returns the figures of heads-only scoring on the base size with random weights."""
    with tempfile.TemporaryDirectory() as name:
        backbone = random_base(Path(name) / "base")
        hub = _make_hub(Path(name) / "registry.yaml", backbone, device)
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        classifier = AlbertForSequenceClassification.from_pretrained(
            str(backbone.folder), num_labels=2, dtype=torch.float32
        )
        classifier.train(False).to(device)
        lines: list[Line] = []
        checks: list[Check] = []
        for workload, (tokens, target) in WORKLOADS.items():
            chosen = texts_around(texts, backbone, tokens=tokens, rows=rows)
            seconds = _measure(hub, backbone, classifier, chosen, repeats=repeats)
            rate = matrix_rate(device)
            lines.extend(_lines(workload, backbone, chosen, seconds, rate))
            checks.extend(_checks(workload, seconds, target))
            print(f"{workload}: measured", file=sys.stderr, flush=True)
    title = f"ALBERT base size, random weights, fp32, {device}, {torch.get_num_threads()} threads"
    return Report(title, tuple(lines), tuple(checks))


def _make_hub(registry: Path, backbone: Backbone, device: str) -> Hub:
    add_random_task(registry, backbone, "one", labels=2, depth=12, pooling="cls")
    add_random_task(registry, backbone, "shallow", labels=2, depth=SHALLOW, pooling="cls")
    for index in range(TASKS):
        labels = LABELS[index % len(LABELS)]
        pooling: Pooling = "mean" if index % 2 else "cls"
        add_random_task(
            registry, backbone, f"task-{index}", labels=labels, depth=12, pooling=pooling
        )
    hub = Hub(registry, device=device)
    hub.load("one", "shallow", *_many())
    return hub


def _many() -> list[str]:
    return [f"task-{index}" for index in range(TASKS)]


def _measure(
    hub: Hub,
    backbone: Backbone,
    classifier: AlbertForSequenceClassification,
    texts: list[str],
    *,
    repeats: int,
) -> dict[str, float]:
    device = str(hub.encoder.device)
    pipe = pipeline(
        "text-classification", model=classifier, tokenizer=backbone.tokenizer, device=device
    )
    runs: dict[str, Callable[[], object]] = {
        PIPELINE: lambda: pipe(texts, batch_size=BATCH),
        MODEL: lambda: _padded(classifier, backbone, texts),
        ONE: lambda: hub.score(texts, "one"),
        MANY: lambda: hub.score(texts, _many()),
        AT_DEPTH_4: lambda: hub.score(texts, "shallow"),
    }
    seconds = medians(runs, repeats=repeats, device=device)
    # All passes are alike and 32 take minutes: some are timed on one batch, and scaled.
    few = texts[:BATCH]
    passes = seconds_of(lambda: [_padded(classifier, backbone, few) for _ in range(TIMED)], device)
    separate = passes * TASKS / TIMED
    return {**seconds, SEPARATE: separate * len(texts) / len(few)}


@torch.inference_mode()
def _padded(
    model: AlbertForSequenceClassification, backbone: Backbone, texts: list[str]
) -> list[torch.Tensor]:
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
    workload: str, backbone: Backbone, texts: list[str], seconds: dict[str, float], rate: float
) -> list[Line]:
    lengths = [len(backbone.tokenizer.encode(text)) for text in texts]
    name = f"{workload} (mean {sum(lengths) / len(lengths):.0f})"
    useful = _operations(backbone, sum(lengths))
    first = seconds[PIPELINE]
    lines = []
    for system, found in seconds.items():
        share = {AT_DEPTH_4: SHALLOW / 12, SEPARATE: TASKS}.get(system, 1.0)
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


def _checks(workload: str, seconds: dict[str, float], target: float) -> list[Check]:
    one = seconds[ONE]
    return [
        Check(f"{workload}: {TASKS} tasks / 1 task", seconds[MANY] / one, 1.05, at_most=True),
        Check(f"{workload}: 1 task, times the pipeline", seconds[PIPELINE] / one, target, False),
        Check(f"{workload}: depth {SHALLOW} / depth 12", seconds[AT_DEPTH_4] / one, 0.4, True),
        Check(
            f"{workload}: {TASKS} tasks, times separate models",
            seconds[SEPARATE] / seconds[MANY],
            32.0,
            False,
        ),
    ]
