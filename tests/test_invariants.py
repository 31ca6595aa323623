"""What must hold whatever the tasks and texts are: the promises of one shared encoder."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub.errors import UsageError
from adapterhub.hub import Hub
from adapterhub.model.backbone import open_backbone
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.versions import add_version
from tests.builders import head_tensors, task_spec
from tests.tiny import add_task, tiny_task

SINGLE = ("sentiment", "topics", "rating", "entities", "language")
ALL = (*SINGLE, "entails")
TEXTS = (
    "the film was good",
    "a bad day",
    "it is late and the city was not very early",
    "中国的天气很好",
    "he",
    "she was early, he was late! the food: very good " * 3,
    "a good day in the city, 中国 and 上海",
)
RECORDS = [
    {"text": text, "text_pair": other} for text, other in zip(TEXTS, reversed(TEXTS), strict=True)
]
FP32 = 1e-5


Logits = dict[str, list[np.ndarray]]


def logits_of(hub: Hub, rows: Sequence[object], tasks: Sequence[str]) -> Logits:
    scores = hub.score(rows, tasks=list(tasks), logits=True)  # type: ignore[arg-type]
    return {name: list(scores[name].logits) for name in scores}  # type: ignore[arg-type]


def greatest_difference(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    return max(
        (float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True) if a.size), default=0.0
    )


def test_many_tasks_in_one_call_equal_each_alone(hub: Hub) -> None:
    together = logits_of(hub, RECORDS, ALL)
    for task in ALL:
        alone = logits_of(hub, RECORDS, [task])
        assert greatest_difference(together[task], alone[task]) == 0.0


def test_order_of_tasks_does_not_matter(hub: Hub) -> None:
    forward = logits_of(hub, RECORDS, ALL)
    backward = logits_of(hub, RECORDS, tuple(reversed(ALL)))
    assert list(backward) == list(reversed(ALL))
    for task in ALL:
        assert greatest_difference(forward[task], backward[task]) == 0.0


def test_order_of_texts_does_not_matter(hub: Hub) -> None:
    order = random.Random(0).sample(range(len(RECORDS)), len(RECORDS))
    straight = logits_of(hub, RECORDS, ALL)
    shuffled = logits_of(hub, [RECORDS[i] for i in order], ALL)
    for task in ALL:
        back = [shuffled[task][order.index(i)] for i in range(len(order))]
        assert greatest_difference(straight[task], back) <= FP32


def test_neighbours_do_not_change_a_score(hub: Hub) -> None:
    together = logits_of(hub, RECORDS, ALL)
    for row, record in enumerate(RECORDS):
        alone = logits_of(hub, [record], ALL)
        for task in ALL:
            assert greatest_difference([together[task][row]], alone[task]) <= FP32


def test_the_same_text_twice_gets_the_same_score(hub: Hub) -> None:
    found = logits_of(hub, [TEXTS[2], *TEXTS, TEXTS[2]], SINGLE)
    for task in SINGLE:
        assert greatest_difference([found[task][0]], [found[task][-1]]) <= FP32


def test_swapping_leaves_the_encoder_and_the_other_tasks_bit_identical(tiny_registry: Path) -> None:
    hub = Hub(tiny_registry, device="cpu")
    hub.load("sentiment", "rating")
    weights = [tensor.clone() for tensor in hub.encoder.tensors()]
    before = logits_of(hub, TEXTS, ("sentiment", "rating"))
    hub.load("topics", "entities", "language")
    assert_same(before, logits_of(hub, TEXTS, ("sentiment", "rating")))
    replace_topics(hub, tiny_registry)
    assert_same(before, logits_of(hub, TEXTS, ("sentiment", "rating")))
    hub.unload("topics", "entities", "language")
    assert_same(before, logits_of(hub, TEXTS, ("sentiment", "rating")))
    assert all(map(torch.equal, weights, hub.encoder.tensors()))


def replace_topics(hub: Hub, registry: Path) -> None:
    """Adds a second version of `topics` and replaces the resident one by it."""
    backbone = open_backbone(registry.parent / "backbone")
    spec = tiny_task(backbone, "multi_label", task="topics", depths=(2,), pooling="cls")
    before = hub.score(TEXTS, "topics", logits=True)["topics"]
    add_task(registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=99)
    hub.load("topics")
    after = hub.score(TEXTS, "topics", logits=True)["topics"]
    assert (before.made_by.version, after.made_by.version) == (1, 2)
    assert not np.array_equal(before.logits, after.logits)  # type: ignore[arg-type]


def assert_same(one: Logits, other: Logits) -> None:
    for task in one:
        assert greatest_difference(one[task], other[task]) == 0.0


NAMED = 12
CALLS = 2_500
THREADS = 8


@pytest.fixture
def telling_registry(tmp_path: Path, tiny_backbone_folder: Path) -> Path:
    """Returns a registry whose tasks answer with their own name, so a mix-up shows itself."""
    backbone = open_backbone(tiny_backbone_folder)
    registry = tmp_path / "registry.yaml"
    for index in range(NAMED):
        labels = tuple(f"task-{other}" for other in range(NAMED))
        depth = 1 + index % 4
        spec = task_spec(
            "single_label",
            backbone=backbone.spec,
            task=f"task-{index}",
            labels=labels,
            depths=(depth,),
            pooling=("cls", "mean", "max")[index % 3],
        )
        tensors = head_tensors(spec, seed=index)
        tensors["head.weight"].zero_()
        tensors["head.bias"].zero_()
        tensors["head.bias"][index] = 10.0
        add_version(
            registry,
            spec,
            tensors,
            backbone_key="tiny",
            backbone_entry=BackboneEntry(
                source=str(tiny_backbone_folder), fingerprint=backbone.spec.fingerprint
            ),
        )
    return registry


def count_wrong_answers(hub: Hub, names: list[str], seed: int) -> tuple[int, int]:
    """Returns how many answers one thread got, and how many were another task's."""
    pick = random.Random(seed)
    answered = wrong = 0
    for _ in range(CALLS // 2):
        asked = pick.sample(names, 2)
        scores = hub.score(["a good day"], tasks=asked)
        for name in asked:
            answer = scores[name][0]
            answered += 1
            wrong += answer["label"] != name or scores[name].made_by.task != name  # type: ignore[index, call-overload]
    return answered, wrong


def load_and_unload(hub: Hub, names: list[str], done: threading.Event) -> int:
    """Returns how many tasks it loaded until `done`."""
    pick = random.Random(99)
    loaded = 0
    while not done.is_set():
        hub.load(pick.choice(names))
        loaded += 1
        # The budget evicts too, so this one may have gone by itself.
        with contextlib.suppress(UsageError):
            hub.unload(pick.choice(names))
    return loaded


@pytest.mark.filterwarnings("ignore::adapterhub.errors.ConstantHeadWarning")  # made so
def test_threads_never_get_another_tasks_answer_while_tasks_come_and_go(
    telling_registry: Path,
) -> None:
    hub = Hub(telling_registry, device="cpu", max_bytes="16kB")
    names = [f"task-{index}" for index in range(NAMED)]
    done = threading.Event()
    with ThreadPoolExecutor(THREADS + 1) as pool:
        swapper = pool.submit(load_and_unload, hub, names, done)
        scorers = [pool.submit(count_wrong_answers, hub, names, seed) for seed in range(THREADS)]
        try:
            counts = [scorer.result() for scorer in scorers]
        finally:
            done.set()
        assert swapper.result() > 100
    assert sum(answered for answered, _ in counts) == THREADS * CALLS == 20_000
    assert sum(wrong for _, wrong in counts) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_gpu_gives_the_answers_of_the_cpu(tiny_registry: Path) -> None:
    on_cpu = logits_of(Hub(tiny_registry, device="cpu"), RECORDS, ALL)
    on_gpu = logits_of(Hub(tiny_registry, device="cuda"), RECORDS, ALL)
    for task in ALL:
        assert greatest_difference(on_cpu[task], on_gpu[task]) <= 1e-3
