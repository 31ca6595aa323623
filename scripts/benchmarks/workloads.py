"""Texts with real lengths, random encoders of usual shapes, and tasks on them."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.backbone.sources import locate
from adapterhub.model.tokenizers.tokenizer_files import TOKENIZER_FILES
from adapterhub.shapes import tensor_shapes
from adapterhub.specs import HeadSpec, Pooling, TaskSpec
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.versions import add_version

ALBERT_BASE = {
    "model_type": "albert",
    "embedding_size": 128,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu_new",
    "classifier_dropout_prob": 0.0,
}


def random_encoder(folder: Path, config: Mapping[str, object]) -> Backbone:
    """Returns an encoder with random weights and the shipped tokenizer.

    Args:
        folder: Made for its files.
        config: Settings of its config.json, with the model_type, without the vocabulary's size.
    """
    shipped, _ = locate("package:small-bilingual", only=("config.json", *TOKENIZER_FILES))
    folder.mkdir(parents=True)
    for name in TOKENIZER_FILES:
        if (shipped / name).is_file():
            shutil.copy(shipped / name, folder / name)
    known = json.loads((shipped / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    settings = {**config, "vocab_size": known["vocab_size"]}
    chosen = AutoConfig.for_model(**settings)
    AutoModel.from_config(chosen).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return open_backbone(folder)


def add_random_task(
    registry: Path, backbone: Backbone, name: str, *, labels: int, depth: int, pooling: Pooling
) -> None:
    """Adds a linear head with random weights."""
    spec = TaskSpec(
        task=name,
        kind="single_label",
        labels=tuple(f"label {index}" for index in range(labels)),
        max_length=512,
        backbone=backbone.spec,
        head=HeadSpec(depths=(depth,), pooling=pooling),
    )
    tensors = {key: torch.randn(shape) * 0.02 for key, shape in tensor_shapes(spec).items()}
    entry = BackboneEntry(source=str(backbone.folder), fingerprint=backbone.spec.fingerprint)
    add_version(registry, spec, tensors, backbone_key="base", backbone_entry=entry)


def texts_around(
    source: Path, backbone: Backbone, *, tokens: int, rows: int, seed: int = 0
) -> list[str]:
    """Returns `rows` texts of mixed lengths whose mean is about `tokens`, special ones included.

    Lengths run from a quarter of the mean to two and a half times it, as the texts come. A
    source with too few long texts has neighbours joined.
    """
    pool = list(dict.fromkeys(_read_texts(source)))
    random.Random(seed).shuffle(pool)
    measured = [(text, _length(backbone, text)) for text in pool[: 60 * rows]]
    fitting = [pair for pair in measured if tokens / 4 <= pair[1] <= 2.5 * tokens]
    if len(fitting) < rows:
        fitting = _joined(measured, tokens, rows)
    return _with_mean(fitting, tokens, rows)


def _with_mean(pairs: list[tuple[str, int]], tokens: int, rows: int) -> list[str]:
    """Returns texts picked one by one from the side of the mean that is lacking."""
    short = [text for text, length in pairs if length <= tokens]
    long = [text for text, length in pairs if length > tokens]
    lengths = dict(pairs)
    chosen: list[str] = []
    total = 0
    while len(chosen) < rows and (short or long):
        wants_long = total < tokens * len(chosen)
        side = (long or short) if wants_long or not short else short
        chosen.append(side.pop())
        total += lengths[chosen[-1]]
    return chosen


def _joined(measured: list[tuple[str, int]], tokens: int, rows: int) -> list[tuple[str, int]]:
    """Returns texts made of neighbours, of lengths from half to one and a half of `tokens`."""
    pick = random.Random(1)
    joined = []
    for _ in range(rows):
        parts: list[str] = []
        length = 2
        wanted = pick.uniform(0.5, 1.5) * tokens
        while length < wanted:
            text, size = pick.choice(measured)
            parts.append(text)
            length += size - 2
        joined.append((" ".join(parts), length))
    return joined


def _length(backbone: Backbone, text: str) -> int:
    return len(backbone.tokenizer.encode(text))


def _read_texts(source: Path) -> Iterator[str]:
    files = [source] if source.is_file() else sorted(source.rglob("*.jsonl*"))
    for file in files:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if isinstance(row.get("text"), str):
                    yield row["text"]
