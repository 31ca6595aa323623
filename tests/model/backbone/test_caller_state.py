"""What we compute does not depend on the state of torch that the caller has set."""

from __future__ import annotations

import contextlib
import random
import threading
import timeit
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from adapterhub import TrainingOptions, train
from adapterhub.hub import Hub
from adapterhub.model.backbone.caller_state import inference, own_state
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.results import Scores

NAMES = ("sentiment", "topics", "rating", "entails", "entities", "language")
ROWS = [{"text": "the film was good", "text_pair": "a bad day"}] * 2


@contextlib.contextmanager
def setting(change: Callable[[], object], restore: Callable[[], object]) -> Iterator[None]:
    change()
    try:
        yield
    finally:
        restore()


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    return setting(
        lambda: torch.set_default_dtype(dtype), lambda: torch.set_default_dtype(torch.float32)
    )


def precision(name: str) -> AbstractContextManager[None]:
    return setting(
        lambda: torch.set_float32_matmul_precision(name),
        lambda: torch.set_float32_matmul_precision("highest"),
    )


def deterministic() -> AbstractContextManager[None]:
    return setting(
        lambda: torch.use_deterministic_algorithms(True),
        lambda: torch.use_deterministic_algorithms(False),
    )


STATES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "default dtype float64": lambda: default_dtype(torch.float64),
    "default dtype bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device meta": lambda: torch.device("meta"),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic algorithms": deterministic,
    "anomaly mode": torch.autograd.detect_anomaly,
    "precision medium": lambda: precision("medium"),
    "precision high": lambda: precision("high"),
    "attention by mathematics": lambda: sdpa_kernel(SDPBackend.MATH),
    "attention of GPUs": lambda: sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION),
    "errors of numpy": lambda: np.errstate(all="raise"),
}
states = pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection")


def assert_close(found: Scores, expected: Scores) -> None:
    for name in expected:
        mine, theirs = found[name].logits, expected[name].logits
        assert mine is not None
        assert theirs is not None
        for one, other in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@states
@pytest.mark.slow
def test_scores_are_the_same(
    tiny_registry: Path, state: Callable[[], AbstractContextManager[object]]
) -> None:
    hub = Hub(tiny_registry, device="cpu")
    expected = hub.score(ROWS, NAMES, logits=True)
    features = hub.encode("the film was good")
    with state():
        found = hub.score(ROWS, NAMES, logits=True)
        opened = Hub(tiny_registry, device="cpu")
        loaded = opened.score(ROWS, NAMES, logits=True)
        np.testing.assert_allclose(opened.encode("the film was good"), features, atol=1e-5)
    assert_close(found, expected)
    assert_close(loaded, expected)
    # What was opened there works anywhere.
    assert_close(opened.score(ROWS, NAMES, logits=True), expected)


@pytest.fixture(scope="module")
def trained_plainly(tiny_backbone_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    return head(tiny_backbone_folder, tmp_path_factory.mktemp("plain"))


def head(backbone: Path, cache: Path) -> dict[str, torch.Tensor]:
    rows = [
        {"text": f"a {'good' if row % 2 else 'bad'} day {row}", "label": str(row % 2)}
        for row in range(24)
    ]
    options = TrainingOptions(
        epochs=1, cache_dir=cache, depths=(2,), poolings=("mean",), hidden_widths=(), folds=0,
        learning_rates=(0.01,), weight_decays=(0.5,),
    )  # fmt: skip
    return dict(train(rows, task="own", options=options, registry=None, backbone=backbone).tensors)


@pytest.mark.slow
@states
def test_training_is_the_same(
    tiny_backbone_folder: Path,
    tmp_path: Path,
    trained_plainly: dict[str, torch.Tensor],
    state: Callable[[], AbstractContextManager[object]],
) -> None:
    with state():
        found = head(tiny_backbone_folder, tmp_path)
    assert found.keys() == trained_plainly.keys()
    for name, tensor in trained_plainly.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


def test_training_neither_reads_nor_moves_random_numbers(
    tiny_backbone_folder: Path, tmp_path: Path, trained_plainly: dict[str, torch.Tensor]
) -> None:
    torch.manual_seed(99)
    random.seed(99)
    before = torch.get_rng_state(), random.getstate()
    found = head(tiny_backbone_folder, tmp_path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    for name, tensor in trained_plainly.items():
        assert torch.equal(found[name], tensor)


def test_what_is_drawn_within_is_not_missing_outside() -> None:
    @own_state
    def draw() -> float:
        return float(torch.rand(()) + np.random.rand() + random.random())  # noqa: NPY002

    first = torch.get_rng_state(), random.getstate()
    assert draw() == draw()
    assert torch.equal(first[0], torch.get_rng_state())
    assert first[1] == random.getstate()


@inference
def products() -> tuple[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(256, 256, generator=generator, dtype=torch.float32, device="cpu")
    return torch.backends.mkldnn.matmul.fp32_precision, left @ left


@pytest.mark.parametrize("name", ["high", "medium"])
def test_products_have_full_precision_and_the_setting_is_restored(name: str) -> None:
    _, expected = products()
    with precision(name):
        held, found = products()
        assert torch.get_float32_matmul_precision() == name
        with pytest.raises(RuntimeError, match="fails"):
            failing()
        assert torch.get_float32_matmul_precision() == name
    assert held == "ieee"
    assert torch.equal(found, expected)


@inference
def failing() -> None:
    raise RuntimeError("it fails")


def test_the_setting_of_one_backend_is_held_too() -> None:
    _, expected = products()
    backend = torch.backends.mkldnn.matmul
    with setting(
        lambda: setattr(backend, "fp32_precision", "bf16"),
        lambda: setattr(backend, "fp32_precision", "ieee"),
    ):
        assert torch.equal(products()[1], expected)
        assert backend.fp32_precision == "bf16"


def test_the_first_of_two_threads_to_end_does_not_restore_the_setting() -> None:
    entered, leave = threading.Event(), threading.Event()

    @inference
    def wait() -> None:
        entered.set()
        leave.wait(10)

    with precision("medium"):
        other = threading.Thread(target=wait)
        other.start()
        entered.wait(10)
        products()
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert products()[0] == "ieee"
        leave.set()
        other.join()
        assert torch.get_float32_matmul_precision() == "medium"


def test_what_the_caller_sets_meanwhile_stays() -> None:
    @inference
    def change() -> None:
        torch.set_float32_matmul_precision("high")

    with precision("medium"):
        change()
        assert torch.get_float32_matmul_precision() == "high"


@own_state
def new_tensor() -> torch.Tensor:
    return torch.ones(2, requires_grad=True).cos()


@states
def test_code_of_others_runs_in_a_fresh_state(
    state: Callable[[], AbstractContextManager[object]],
) -> None:
    with state():
        before = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
        made = new_tensor()
        after = torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()
    assert before == after
    assert (made.dtype, made.device.type) == (torch.float32, "cpu")
    assert made.requires_grad
    assert not made.is_inference()


def test_a_call_costs_microseconds() -> None:
    @inference
    def nothing() -> None:
        pass

    assert min(timeit.repeat(nothing, number=1_000, repeat=5)) < 0.1


def test_a_backbone_that_was_opened_in_inference_mode_can_be_trained_on(
    tiny_backbone_folder: Path,
) -> None:
    with torch.inference_mode():
        backbone = open_backbone(tiny_backbone_folder)
    assert not any(weight.is_inference() for weight in backbone.weights.values())
