"""What must hold whatever the tasks and texts are: the promises of one shared encoder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import open_backbone
from tests.encoders import FAMILY_NAMES, save_encoder
from tests.tiny import add_task, plain_tensors, save_tasks, tiny_task

SINGLE = ("sentiment", "topics", "rating", "entities", "trees", "language")
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


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(family, marks=[] if family == "albert" else pytest.mark.slow)
        for family in FAMILY_NAMES
    ],
)
def _registry_original(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Returns a registry with one task of every kind on an encoder of each family."""
    folder = tmp_path_factory.mktemp(str(request.param))
    # Positions of some families start behind the padding token; tasks read 64.
    save_encoder(folder / "backbone", request.param, max_position_embeddings=66)
    return save_tasks(folder)


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
    weights = plain_tensors(hub.encoder)
    before = logits_of(hub, TEXTS, ("sentiment", "rating"))
    hub.load("topics", "entities", "trees", "language")
    assert_same(before, logits_of(hub, TEXTS, ("sentiment", "rating")))
    replace_topics(hub, tiny_registry)
    assert_same(before, logits_of(hub, TEXTS, ("sentiment", "rating")))
    hub.unload("topics", "entities", "trees", "language")
    assert_same(before, logits_of(hub, TEXTS, ("sentiment", "rating")))
    assert all(map(torch.equal, weights, plain_tensors(hub.encoder)))


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


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_gpu_gives_the_answers_of_the_cpu(tiny_registry: Path) -> None:
    on_cpu = logits_of(Hub(tiny_registry, device="cpu"), RECORDS, ALL)
    on_gpu = logits_of(Hub(tiny_registry, device="cuda"), RECORDS, ALL)
    for task in ALL:
        assert greatest_difference(on_cpu[task], on_gpu[task]) <= 1e-3
