"""Tasks with LoRA of their own on one frozen encoder, beside PEFT and the adapters library."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AlbertForSequenceClassification
from transformers.utils import logging as transformers_logging

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.format import adapter_from_peft
from adapterhub.shapes import tensor_shapes
from adapterhub.specs import HeadSpec, TaskSpec
from adapterhub.store.adapter_names import module_path
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.versions import add_version
from benchmarks.report import Check, Line, Report
from benchmarks.timing import matrix_rate, medians
from benchmarks.workloads import ALBERT_BASE, add_random_task, random_encoder, texts_around

COUNTS = (1, 2, 4, 8, 16)
FORKS = (0, 6, 8, 10)
RANK = 8
DEPTH = 12
TOKENS = 24
BATCH = 32

ONE = "hub, 1 head on the trunk"
SWITCHED = "PEFT, set_adapter and one pass per task"
MIXED = "PEFT, mixed batch (adapter_names)"
PARALLEL = "adapters library, Parallel"


def run(*, texts: Path, device: str, repeats: int, rows: int, peer: Path | None) -> Report:
    """Returns the figures of T tasks with adapters on the base size with random weights.

    Args:
        texts: Where real texts are.
        device: Where everything runs.
        repeats: Timed turns of each system; the median counts.
        rows: Texts per turn.
        peer: The Python of an environment with the `adapters` library; None leaves it out.
    """
    lines: list[Line] = []
    checks: list[Check] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backbone = random_encoder(folder / "base", ALBERT_BASE)
        chosen = texts_around(texts, backbone, tokens=TOKENS, rows=rows)
        hub = _make_hub(folder / "registry.yaml", backbone, device)
        model = _make_peft(backbone, device)
        rate = matrix_rate(device)
        for count in COUNTS:
            runs = _runs(hub, model, backbone, chosen, count)
            seconds = medians(runs, repeats=repeats, device=device)
            if peer is not None:
                seconds[PARALLEL] = _parallel(peer, backbone, chosen, count, repeats, folder)
            lines += _lines(hub, backbone, chosen, count, seconds, rate)
            checks += _checks(hub, count, seconds)
            print(f"{count} tasks: measured", file=sys.stderr, flush=True)
    title = (
        f"LoRA rank {RANK} on query and value, base size, random weights, fp32, {device}, "
        f"{torch.get_num_threads()} threads"
    )
    return Report(title, tuple(lines), tuple(checks))


def _names(fork: int, count: int) -> list[str]:
    return [f"from-{fork}-task-{index}" for index in range(count)]


def _ours(fork: int) -> str:
    return f"hub, adapters from depth {fork}"


def _make_hub(registry: Path, backbone: Backbone, device: str) -> Hub:
    add_random_task(registry, backbone, "one", labels=2, depth=DEPTH, pooling="cls")
    for fork in FORKS:
        for index, name in enumerate(_names(fork, max(COUNTS))):
            _add_task(registry, backbone, name, fork, seed=100 * fork + index)
    hub = Hub(registry, device=device)
    hub.load("one", *(name for fork in FORKS for name in _names(fork, max(COUNTS))))
    return hub


def _add_task(registry: Path, backbone: Backbone, name: str, fork: int, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    width = backbone.spec.hidden_size
    depths = range(fork, DEPTH)
    shapes = {"lora_A.weight": (RANK, width), "lora_B.weight": (width, RANK)}
    state = {
        f"{module_path(depth, site)}.{factor}": torch.randn(shape, generator=generator) * 0.02
        for depth in depths
        for site in ("query", "value")
        for factor, shape in shapes.items()
    }
    config = LoraConfig(r=RANK, target_modules=["query", "value"])
    adapter = adapter_from_peft(state, config, num_hidden_layers=DEPTH, tied=False)
    spec = TaskSpec(
        task=name,
        kind="single_label",
        labels=("no", "yes"),
        max_length=512,
        backbone=backbone.spec,
        adapter=adapter.spec,
        head=HeadSpec(depths=(DEPTH,), pooling="cls"),
    )
    head = {
        key: torch.randn(shape, generator=generator) * 0.02
        for key, shape in tensor_shapes(spec).items()
    }
    entry = BackboneEntry(source=str(backbone.folder), fingerprint=backbone.spec.fingerprint)
    tensors = {**head, **adapter.tensors}
    add_version(registry, spec, tensors, backbone_key="base", backbone_entry=entry)


def _make_peft(backbone: Backbone, device: str) -> PeftModel:
    """Returns what PEFT offers: T adapters on one model, each shared by all depths."""
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    plain = AlbertForSequenceClassification.from_pretrained(
        str(backbone.folder), num_labels=2, dtype=torch.float32
    )
    config = LoraConfig(r=RANK, target_modules=["query", "value"], init_lora_weights=False)
    model = get_peft_model(plain, config, adapter_name="task-0")
    for index in range(1, max(COUNTS)):
        model.add_adapter(f"task-{index}", config)
    return model.eval().to(device)


def _runs(
    hub: Hub, model: PeftModel, backbone: Backbone, texts: list[str], count: int
) -> dict[str, Callable[[], object]]:
    runs: dict[str, Callable[[], object]] = {
        SWITCHED: lambda: _switched(model, backbone, texts, count),
        MIXED: lambda: _mixed(model, backbone, texts, count),
        ONE: lambda: hub.score(texts, "one"),
    }
    for fork in FORKS:
        names = _names(fork, count)
        runs[_ours(fork)] = lambda names=names: hub.score(texts, names)  # type: ignore[misc]
    return runs


@torch.inference_mode()
def _switched(model: PeftModel, backbone: Backbone, texts: list[str], count: int) -> None:
    for index in range(count):
        model.set_adapter(f"task-{index}", inference_mode=True)
        for first in range(0, len(texts), BATCH):
            model(**_padded(backbone, texts[first : first + BATCH], model.device)).logits.cpu()


@torch.inference_mode()
def _mixed(model: PeftModel, backbone: Backbone, texts: list[str], count: int) -> None:
    rows = [(text, f"task-{index}") for index in range(count) for text in texts]
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        inputs = _padded(backbone, [text for text, _ in part], model.device)
        model(**inputs, adapter_names=[name for _, name in part]).logits.cpu()


def _padded(backbone: Backbone, texts: list[str], device: torch.device) -> dict[str, torch.Tensor]:
    inputs = backbone.tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=512,
        return_token_type_ids=True,
        return_tensors="pt",
    ).to(device)
    return dict(inputs)


def _parallel(
    python: Path, backbone: Backbone, texts: list[str], count: int, repeats: int, folder: Path
) -> float:
    """Returns the median seconds of the adapters library, in its own environment."""
    job = folder / "parallel.json"
    ids = [backbone.tokenizer.encode(text) for text in texts]
    content = {
        "config": str(backbone.folder / "config.json"),
        "ids": ids,
        "count": count,
        "rank": RANK,
        "batch": BATCH,
        "repeats": repeats,
    }
    job.write_text(json.dumps(content), encoding="utf-8")
    script = Path(__file__).with_name("adapters_library.py")
    done = subprocess.run(
        # -I: this folder has a module named as the library.
        [str(python), "-I", str(script), str(job)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the adapters library failed: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def _lines(
    hub: Hub,
    backbone: Backbone,
    texts: list[str],
    count: int,
    seconds: dict[str, float],
    rate: float,
) -> list[Line]:
    config = backbone.config
    tokens = sum(len(backbone.tokenizer.encode(text)) for text in texts)
    block = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    passes = {_ours(fork): hub.explain(_names(fork, count)).passes for fork in FORKS}
    passes[ONE] = DEPTH
    slowest = seconds[SWITCHED]
    return [
        Line(
            workload=f"{count} tasks",
            system=system,
            seconds=found,
            texts_per_second=len(texts) / found,
            ratio=slowest / found,
            utilisation=2.0 * tokens * block * passes.get(system, DEPTH * count) / found / rate,
        )
        for system, found in seconds.items()
    ]


def _checks(hub: Hub, count: int, seconds: dict[str, float]) -> list[Check]:
    per_pass = seconds[ONE] / DEPTH
    checks = []
    for fork in FORKS:
        passes = hub.explain(_names(fork, count)).passes
        found = seconds[_ours(fork)] / (per_pass * passes)
        name = f"{count} tasks from depth {fork}: time / time of the plan's {passes} passes"
        checks.append(Check(name, found, 1.15, at_most=True))
    if count == 8:
        best = min(seconds[name] for name in (SWITCHED, MIXED, PARALLEL) if name in seconds)
        name = "8 tasks from depth 8, times the best peer"
        checks.append(Check(name, best / seconds[_ours(8)], 4.5, at_most=False))
    return checks
