"""Tasks that come, go and are replaced while threads score with them."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from adapterhub.errors import ConstantHeadWarning, IntegrityError, UsageError
from adapterhub.hub import Hub
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.known_answers import make_known_answers
from adapterhub.store.editing import set_alias
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import Addition, add_versions
from tests.builders import head_tensors
from tests.soak.figures import Effort, Figure, exactly, none
from tests.tiny import PROBES, open_tiny, tiny_task

SCORERS, LOADERS = 32, 4
HEADS, VERSIONS = 64, 4
ROWS, ASKED = 32, 8
SWAPS = 4
"""Heads that are replaced and unloaded at least, however soon the answers are reached."""
TEXTS = (
    "the film was good",
    "a bad day",
    "he was early",
    "it is late and the city was not very early",
    "中国的天气很好",
    "food",
)
TOLERANCE = 1e-5


def save_heads(folder: Path, *, heads: int, versions: int, named: bool) -> Path:
    """Writes a registry of `head-<n>` with versions, the newest of which is `live`.

    Args:
        folder: Where it is written.
        heads: Number of tasks.
        versions: Versions of each.
        named: Whether a version predicts its own name, `head-<n>@<version>`, for every text: its
            weights are zero, the bias of that label is 10. Otherwise weights are random.
    """
    backbone = open_tiny(folder / "backbone")
    encoder, tokenizer = Encoder(backbone, device="cpu"), TextTokenizer(backbone.tokenizer)
    entry = BackboneEntry(source="./backbone", fingerprint=backbone.spec.fingerprint)
    additions = []
    for head, version in itertools.product(range(heads), range(1, versions + 1)):
        name = f"head-{head}"
        spec = tiny_task(backbone, "single_label", task=name, labels=(f"{name}@{version}", "wrong"))
        tensors = head_tensors(spec, seed=version)
        if named:
            tensors["head.weight"] = torch.zeros_like(tensors["head.weight"])
            tensors["head.bias"] = torch.tensor([10.0, 0.0])
        known = make_known_answers(spec, tensors, PROBES, encoder=encoder, tokenizer=tokenizer)
        spec = spec.model_copy(update={"known_answers": known})
        additions.append(Addition(spec, tensors, entry, "tiny", ("live",)))
    add_versions(folder / "registry.yaml", additions)
    return folder / "registry.yaml"


@dataclass
class Live:
    """When which version of a task was live: from the change to it until the next one is loaded."""

    spans: list[tuple[int, float, float]] = field(default_factory=lambda: [(VERSIONS, 0, math.inf)])

    def begin(self, version: int) -> None:
        self.spans = [*self.spans[-20:], (version, time.monotonic(), math.inf)]

    def settle(self) -> None:
        now = time.monotonic()
        older = [(version, since, min(until, now)) for version, since, until in self.spans[:-1]]
        self.spans = [*older, self.spans[-1]]

    def during(self, version: int, start: float, end: float) -> bool:
        return any(
            version == one and since <= end and until >= start for one, since, until in self.spans
        )


@dataclass
class Tally:
    """What all threads have counted."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, **counts: int) -> None:
        with self.lock:
            for name, count in counts.items():
                self.counts[name] = self.counts.get(name, 0) + count

    def __getitem__(self, name: str) -> int:
        with self.lock:
            return self.counts.get(name, 0)


def swap_under_load(folder: Path, effort: Effort) -> list[Figure]:
    """32 threads score while 4 load, unload and replace 64 heads that predict their own name."""
    hub = Hub(save_heads(folder, heads=HEADS, versions=VERSIONS, named=True), device="cpu")
    live = {f"head-{head}": Live() for head in range(HEADS)}
    tally, done = Tally(), threading.Event()
    with _crowded_threads(), ThreadPoolExecutor(SCORERS + LOADERS) as pool:
        loaders = [
            pool.submit(_replace_until, done, hub, dict(list(live.items())[loader::LOADERS]), tally)
            for loader in range(LOADERS)
        ]
        scorers = [pool.submit(_score_until, done, hub, live, tally) for _ in range(SCORERS)]
        for _ in Effort(seconds=effort.seconds).steps():
            was_swapped = min(tally["replaced"], tally["unloaded"]) >= SWAPS
            enough = was_swapped and tally["answers"] >= (effort.rounds or math.inf)
            if enough or any(map(_failed, loaders)):
                break
            time.sleep(0.05)
        done.set()
        errors = [one.exception() for one in (*loaders, *scorers) if one.exception() is not None]
    for error in errors:
        print(f"swap_under_load: {error!r}")
    hub.unload(*(task.name + "@live" for task in hub.tasks() if task.resident))
    return [
        effort.done("answers", tally["answers"]),
        none("answers of another head or version", tally["wrong"]),
        none("answers of a version that was not live", tally["stale"]),
        none("calls or loads that failed", len(errors)),
        Figure("heads replaced", tally["replaced"], at_least=SWAPS),
        Figure("heads unloaded", tally["unloaded"], at_least=SWAPS),
        none("bytes resident at the end", hub.resident_bytes),
    ]


def _failed(future: Future[None]) -> bool:
    return future.done() and future.exception() is not None


@contextlib.contextmanager
def _crowded_threads() -> Iterator[None]:
    """Lets threads take turns often, so that 32 scorers do not starve four loaders."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantHeadWarning)
            yield
    finally:
        sys.setswitchinterval(before)


def _score_until(done: threading.Event, hub: Hub, live: dict[str, Live], tally: Tally) -> None:
    pick = random.Random(threading.get_ident())
    names = sorted(live)
    while not done.is_set():
        asked = [f"{name}@live" for name in pick.sample(names, ASKED)]
        texts = pick.choices(TEXTS, k=ROWS)
        start = time.monotonic()
        if pick.random() < 0.25:
            scores = hub.score_rows([(text, asked) for text in texts])
        else:
            scores = hub.score(texts, asked)
        end = time.monotonic()
        wrong = stale = answers = 0
        for reference in asked:
            found, name = scores[reference], reference.removesuffix("@live")
            version = found.made_by.version or 0
            answers += len(found.answers)
            wrong += sum(answer["label"] != f"{name}@{version}" for answer in found.answers)  # type: ignore[index,call-overload]
            wrong += found.made_by.task != name
            stale += ROWS * (not live[name].during(version, start, end))
        tally.add(answers=answers, wrong=wrong, stale=stale)


def _replace_until(done: threading.Event, hub: Hub, live: dict[str, Live], tally: Tally) -> None:
    """Moves `live` of its own tasks to other versions, loads these, and unloads some."""
    pick = random.Random(threading.get_ident())
    while not done.is_set():
        name = pick.choice(sorted(live))
        version = pick.randint(1, VERSIONS)
        live[name].begin(version)
        set_alias(hub.registry_path, name, "live", version)
        hub.load(f"{name}@live")
        live[name].settle()
        tally.add(replaced=1)
        if pick.random() < 0.5:
            hub.unload(f"{name}@live")
            tally.add(unloaded=1)


def same_task_loads(folder: Path, effort: Effort) -> list[Figure]:
    """32 threads load and unload one task, each as often as there are rounds."""
    hub = Hub(save_heads(folder, heads=1, versions=1, named=False), device="cpu")
    expected = hub.score(list(TEXTS), "head-0", logits=True)["head-0"].logits
    tally = Tally()

    def work(_: int) -> None:
        for _ in effort.steps():
            hub.load("head-0")
            # Another thread may have unloaded it meanwhile.
            with contextlib.suppress(UsageError):
                hub.unload("head-0")
            tally.add(loads=1)

    with ThreadPoolExecutor(SCORERS) as pool:
        list(pool.map(work, range(SCORERS)))
    after = hub.score(list(TEXTS), "head-0", logits=True)["head-0"].logits
    hub.unload("head-0")
    return [
        Figure("loads", tally["loads"], at_least=SCORERS * (effort.rounds or 1)),
        none("logits that differ afterwards", int(not np.array_equal(expected, after))),
        none("bytes resident at the end", hub.resident_bytes),
    ]


def replaced_in_a_batch(folder: Path, effort: Effort) -> list[Figure]:
    """Replaces a head again and again under batches; each must be of one version throughout."""
    registry = save_heads(folder, heads=1, versions=2, named=False)
    texts = [text for text in TEXTS for _ in range(40)]
    expected = _expected_logits(registry, texts, versions=(1, 2))
    hub, tally = Hub(registry, device="cpu"), Tally()

    def replace(step: int) -> None:
        set_alias(registry, "head-0", "live", 1 + step % 2)
        hub.load("head-0@live")

    def score() -> None:
        found = hub.score(texts, "head-0@live", logits=True)["head-0@live"]
        version = found.made_by.version or 0
        torn = np.abs(np.asarray(found.logits) - expected[version]).max() > TOLERANCE
        tally.add(batches=1, torn=int(torn), **{f"version {version}": 1})

    replaced = _beside_scorers(score, replace, effort)
    return [
        effort.done("replacements", replaced),
        none("batches that are not of one version", tally["torn"]),
        Figure("batches of version 1", tally["version 1"], at_least=1),
        Figure("batches of version 2", tally["version 2"], at_least=1),
    ]


def failed_reloads(folder: Path, effort: Effort) -> list[Figure]:
    """Tries to load a damaged version over the one that serves."""
    registry = save_heads(folder, heads=1, versions=2, named=False)
    set_alias(registry, "head-0", "live", 1)
    hub, tally = Hub(registry, device="cpu"), Tally()
    hub.load("head-0@live")
    texts = list(TEXTS)
    expected = _expected_logits(registry, texts, versions=(1,))[1]
    damaged = read_registry(registry).resolve("head-0:2").path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x55")
    set_alias(registry, "head-0", "live", 2)

    def reload(_: int) -> None:
        try:
            hub.load("head-0@live")
        except IntegrityError:
            tally.add(refused=1)

    def score() -> None:
        found = hub.score(texts, "head-0@live", logits=True)["head-0@live"]
        same = found.made_by.version == 1
        same = same and np.abs(np.asarray(found.logits) - expected).max() <= TOLERANCE
        tally.add(served=1, other=int(not same))

    tried = _beside_scorers(score, reload, effort)
    return [
        effort.done("reloads of a damaged version", tried),
        exactly("refused", tally["refused"], tried),
        Figure("calls served meanwhile", tally["served"], at_least=1),
        none("calls not served by the old version", tally["other"]),
    ]


def _expected_logits(
    registry: Path, texts: Sequence[str], *, versions: Sequence[int]
) -> dict[int, np.ndarray]:
    hub = Hub(registry, device="cpu")
    names = {version: f"head-0:{version}" for version in versions}
    scores = hub.score(list(texts), list(names.values()), logits=True)
    return {version: np.asarray(scores[name].logits) for version, name in names.items()}


def _beside_scorers(score: Callable[[], None], step: Callable[[int], None], effort: Effort) -> int:
    """Calls `step` in this thread while four others call `score`; returns how often."""
    done = threading.Event()

    def score_until() -> None:
        while not done.is_set():
            score()

    with ThreadPoolExecutor(4) as pool:
        scorers = [pool.submit(score_until) for _ in range(4)]
        steps = 0
        try:
            for number in effort.steps():
                step(number)
                steps += 1
        finally:
            done.set()
        for scorer in scorers:
            scorer.result()
    return steps
