"""Compares backbones on the ten steering sets, as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from transformers import AlbertModel, AlbertTokenizer

from recipes.backbone.probes import (
    STEERING_SETS,
    SURFACE_SETS,
    probe_depths,
    probe_words,
    read_probe_rows,
)


@dataclass(frozen=True)
class SetResult:
    """What was found on one set, macro-F1 in [0, 1].

    Attributes:
        name: The set.
        language: `en` or `zh`.
        asks: The ability it tests.
        words: TF-IDF + logistic regression.
        depths: By backbone, one value per depth from 0.
    """

    name: str
    language: str
    asks: str
    words: float
    depths: dict[str, list[float]]


@dataclass(frozen=True)
class Steering:
    """The results on all sets."""

    sets: list[SetResult]

    def save(self, path: Path) -> None:
        """Writes them as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


def read_steering(path: Path) -> Steering:
    """Returns what `Steering.save` wrote."""
    return Steering([SetResult(**item) for item in json.loads(path.read_text())["sets"]])


@dataclass(frozen=True)
class Contender:
    """A backbone in a comparison."""

    model: AlbertModel
    tokenizer: AlbertTokenizer


def compare(
    data: Path, contenders: Mapping[str, Contender], *, train: int = 1200, validation: int = 600
) -> Steering:
    """Returns the macro-F1 of probes on all steering sets, for every contender and depth.

    Args:
        data: Folder of the data sets.
        contenders: Backbones by name; models in eval mode.
        train: Rows of each set that probes are fitted on.
        validation: Rows on which they are evaluated.
    """
    results = []
    for item in (*STEERING_SETS, *SURFACE_SETS):
        rows = read_probe_rows(data, item, train=train, validation=validation)
        depths = {
            name: probe_depths(rows, one.model, one.tokenizer) for name, one in contenders.items()
        }
        results.append(SetResult(item.title, item.language, item.asks, probe_words(rows), depths))
    return Steering(results)


def best_table(steering: Steering) -> str:
    """Returns Markdown: per set the best depth's macro-F1 of each backbone, beside TF-IDF."""
    names = list(steering.sets[0].depths)
    lines = [
        f"| set | language | target | TF-IDF | {' | '.join(names)} |",
        f"| --- | --- | --- | ---: | {' | '.join('---:' for _ in names)} |",
    ]
    for found in steering.sets:
        cells = [f"{max(v):.1%} (depth {int(np.argmax(v))})" for v in found.depths.values()]
        head = f"| {found.name} | {found.language} | {found.asks} | {found.words:.1%} |"
        lines.append(f"{head} {' | '.join(cells)} |")
    return "\n".join(lines)


def depth_table(steering: Steering, name: str) -> str:
    """Returns Markdown: mean macro-F1 of one backbone by ability and depth, best in bold."""
    depths = range(len(steering.sets[0].depths[name]))
    lines = [
        f"| target | {' | '.join(f'depth {depth}' for depth in depths)} |",
        f"| --- | {' | '.join('---:' for _ in depths)} |",
    ]
    for asks in dict.fromkeys(found.asks for found in steering.sets):
        rows = [found.depths[name] for found in steering.sets if found.asks == asks]
        means = np.mean(rows, axis=0)
        cells = [f"{v:.1%}" if v < means.max() else f"**{v:.1%}**" for v in means]
        lines.append(f"| {asks} | {' | '.join(cells)} |")
    return "\n".join(lines)
