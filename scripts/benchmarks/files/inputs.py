"""Files of rows of about 20 tokens, and hubs with encoders of several sizes to score them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from benchmarks.workloads import ALBERT_BASE, add_random_task, random_encoder, texts_around

InputFormat = Literal["jsonl", "csv", "parquet"]
Encoders = Literal["small", "base", "shipped"]

TOKENS = 20
TASKS = ("first", "second", "third", "fourth", "fifth")
"""Linear heads with random weights on the mean of the last depth, with these names."""

_SMALL = {
    "model_type": "albert",
    "embedding_size": 32,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "hidden_act": "gelu_new",
    "classifier_dropout_prob": 0.0,
}
"""So small that a million rows take minutes: what grows with them is not the encoder."""

_TITLES: dict[Encoders, str] = {
    "small": "random ALBERT, 2 depths, H 64",
    "base": "random ALBERT base",
    "shipped": "shipped backbone",
}
_SENTENCES = 256
# A row ends with its number, which makes it another text than all before.
_NUMBER_TOKENS = 3
_BLOCK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Setting:
    """An encoder, and a registry of tasks on it.

    Attributes:
        title: What it is.
        backbone: The encoder's files.
        registry: The registry.
    """

    title: str
    backbone: Backbone
    registry: Path

    def open(self) -> Hub:
        """Returns a hub with the first task resident."""
        hub = Hub(self.registry, device="cpu")
        hub.load(TASKS[0])
        return hub


def make_setting(encoder: Encoders, folder: Path) -> Setting:
    """Returns an encoder with a registry of tasks, in a new folder in `folder`."""
    own = folder / encoder
    own.mkdir()
    if encoder == "shipped":
        backbone = open_backbone("package:small-bilingual")
    else:
        config = _SMALL if encoder == "small" else ALBERT_BASE
        backbone = random_encoder(own / "encoder", config)
    depth = backbone.spec.num_hidden_layers
    registry = own / "registry.yaml"
    for name in TASKS:
        add_random_task(registry, backbone, name, labels=3, depth=depth, pooling="mean")
    return Setting(_TITLES[encoder], backbone, registry)


def sentences(source: Path, backbone: Backbone) -> list[str]:
    """Returns texts of mixed lengths, of which rows are made."""
    tokens = TOKENS - _NUMBER_TOKENS
    return texts_around(source, backbone, tokens=tokens, rows=_SENTENCES)


def make_rows(texts: list[str], count: int) -> Iterator[dict[str, object]]:
    """Yields rows with an `id` and a `text`, always the same ones; no text occurs twice."""
    for number in range(count):
        yield {"id": number, "text": f"{texts[number % len(texts)]} {number}"}


def write_rows(path: Path, texts: list[str], rows: int) -> Path:
    """Writes the rows to a file of the format that its name says."""
    records = make_rows(texts, rows)
    if path.suffix == ".parquet":
        _write_parquet(path, records)
        return path
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, ("id", "text"))
            table.writeheader()
            table.writerows(records)
        else:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in records)
    return path


def _write_parquet(path: Path, records: Iterator[dict[str, object]]) -> None:
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        while block := list(islice(records, _BLOCK_ROWS)):
            writer.write_table(pa.Table.from_pylist(block, schema))
