"""Times the `adapters` library's Parallel composition; runs in an environment of its own.

    python adapters_library.py job.json

It needs an older transformers than adapterhub. Prints the median seconds of one turn.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import adapters
import adapters.composition as ac
import torch
from adapters import AlbertAdapterModel, LoRAConfig
from transformers import AlbertConfig


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    torch.manual_seed(0)
    model = AlbertAdapterModel(AlbertConfig.from_pretrained(job["config"]))
    names = [f"task-{index}" for index in range(job["count"])]
    for name in names:
        model.add_adapter(name, config=LoRAConfig(r=job["rank"], attn_matrices=["q", "v"]))
        model.add_classification_head(name, num_labels=2)
    model.active_adapters = ac.Parallel(*names) if len(names) > 1 else names[0]
    model.active_head = names if len(names) > 1 else names[0]
    model.eval()
    print(f"adapters {adapters.__version__}", file=sys.stderr)
    turn(model, job)
    times = []
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        turn(model, job)
        times.append(time.perf_counter() - start)
    print(statistics.median(times))


@torch.inference_mode()
def turn(model: AlbertAdapterModel, job: dict) -> None:
    ids, size = job["ids"], job["batch"]
    for first in range(0, len(ids), size):
        rows = ids[first : first + size]
        longest = max(map(len, rows))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        model(input_ids=padded, attention_mask=mask)


if __name__ == "__main__":
    main()
