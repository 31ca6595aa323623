"""A Hub in other processes: forked, spawned, pickled."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from adapterhub.errors import (
    AdapterHubError,
    BackboneMismatchError,
    ResidentError,
    UnknownTaskError,
    UsageError,
)
from adapterhub.hub import Hub
from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from tests.tiny import add_task, save_backbone, tiny_task

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
TEXTS = ["the film was good", "a bad day, it is late"] * 8

AFTER_FORK = """
import os, signal, sys, torch
import numpy as np
from adapterhub import Hub, TrainingOptions, train

torch.set_num_threads(2)
registry, cache = sys.argv[1:]
texts = ["A warm and funny film that I would happily see again."] * 32
hub = Hub(registry, device="cpu")
expected = hub.score(texts, "sentiment-en", logits=True)["sentiment-en"].logits
# A product that is large enough for two threads, whatever the tokens are.
torch.ones(512, 512) @ torch.ones(512, 512)
child = os.fork()
if child == 0:
    signal.alarm(60)
    hub.load("sentiment-en")  # whose numbers are checked, in many threads if it may
    torch.set_num_threads(2)
    found = hub.score(texts, ["sentiment-en", "spam-en"], logits=True)["sentiment-en"].logits
    np.testing.assert_allclose(found, expected, atol=1e-5)
    rows = [{"text": f"{text} {n}", "label": str(n % 2)} for n, text in enumerate(texts)]
    options = TrainingOptions(
        epochs=1, cache_dir=cache, depths=(2,), hidden_widths=(), ngrams=False, folds=0
    )
    train(rows, task="own", options=options, registry=None)
    os._exit(0 if torch.get_num_threads() == 1 else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def in_child(call: Callable[[], object], seconds: int = 30) -> str:
    """Returns the error of a call in a forked child, or an empty string."""
    out, put = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        try:
            call()
            os.write(put, b"-")
        except AdapterHubError as error:
            os.write(put, str(error).encode())
        finally:
            os._exit(0)
    os.close(put)
    with os.fdopen(out, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    assert text, "the child was killed or crashed"
    return text.removeprefix("-")


@forks
@pytest.mark.slow
def test_a_child_works_after_its_parent_computed_with_two_threads(tmp_path: Path) -> None:
    registry = Path(__file__).parents[1] / "registry.yaml"
    command = [sys.executable, "-c", AFTER_FORK, str(registry), str(tmp_path)]
    ran = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "2"}, timeout=240, check=False
    )
    assert ran.returncode == 0


@forks
def test_a_child_scores_and_loads(hub: Hub) -> None:
    hub.load("sentiment")

    def work() -> None:
        hub.score(TEXTS, ["sentiment", "topics", "entities"])
        hub.encode(TEXTS)

    assert in_child(work) == ""


@forks
def test_a_lock_that_another_thread_held_is_free_in_the_child(hub: Hub) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with hub._tasks._lock, hub._tasks._resident._lock:
            entered.set()
            leave.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait(10)
    try:
        assert in_child(lambda: hub.score(TEXTS, "sentiment")) == ""
    finally:
        leave.set()
        other.join()


@forks
def test_a_child_whose_fork_cut_off_a_call_refuses(hub: Hub) -> None:
    entered, leave = threading.Event(), threading.Event()

    @inference
    def hold() -> None:
        entered.set()
        leave.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait(10)
    try:
        for call in (
            lambda: hub.score(TEXTS, "sentiment"),
            lambda: hub.load("topics"),
            lambda: hub.encode(TEXTS),
            lambda: Hub(hub.registry_path, device="cpu"),
        ):
            assert "forked while another thread" in in_child(call)
    finally:
        leave.set()
        other.join()
    hub.score(TEXTS, "sentiment")


@forks
def test_a_forked_child_cannot_use_a_gpu(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.encoder, "device", torch.device("cuda"))
    assert "on cuda, which a forked process cannot use" in in_child(lambda: hub.load("sentiment"))


def logits(hub: Hub, task: str = "sentiment") -> np.ndarray:
    found = hub.score(TEXTS, task, logits=True)[task].logits
    assert isinstance(found, np.ndarray)
    return found


def fail(_: int) -> None:
    raise UnknownTaskError("sentimant", ["sentiment"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_hub_is_an_argument_of_a_pool(hub: Hub, method: str) -> None:
    expected = logits(hub)
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        np.testing.assert_allclose(pool.submit(logits, hub).result(120), expected, atol=1e-5)
        with pytest.raises(UnknownTaskError, match="Did you mean 'sentiment'"):
            pool.submit(fail, 0).result(60)


@pytest.mark.parametrize(
    "again", [lambda hub: pickle.loads(pickle.dumps(hub)), copy.deepcopy, copy.copy]
)
def test_a_pickled_hub_keeps_its_versions(
    hub: Hub, tmp_path: Path, again: Callable[[Hub], Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = logits(hub)
    hub.load("sentiment@prod")
    spec = tiny_task(
        _backbone(hub), "single_label", task="sentiment", labels=("negative", "positive")
    )
    add_task(hub.registry_path, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=7)
    monkeypatch.chdir(tmp_path)
    other = again(hub)
    assert other is not hub
    assert other._tasks.names() == ("sentiment", "sentiment@prod")
    np.testing.assert_allclose(logits(other), first, atol=1e-5)
    assert other.score(TEXTS, "sentiment")["sentiment"].made_by.version == 1
    other.load("sentiment")
    assert other.score(TEXTS, "sentiment")["sentiment"].made_by.version == 2


def _backbone(hub: Hub) -> Backbone:
    return open_backbone(hub.registry_path.parent / "backbone")


def test_a_pickled_hub_keeps_its_settings(
    tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_registry.parent)
    hub = Hub(
        ".", backbone="./backbone", device="cpu", dtype="bfloat16", max_bytes="1MB", max_windows=2
    )
    data = pickle.dumps(hub)
    monkeypatch.chdir("/")
    other = pickle.loads(data)
    assert other.registry_path == tiny_registry
    assert other.encoder.dtype == torch.bfloat16
    assert other._settings == hub._settings
    assert other._settings.max_bytes == 10**6


def test_a_pickled_hub_is_refused_where_something_has_changed(
    hub: Hub, tiny_registry: Path
) -> None:
    hub.load("sentiment")
    file = tiny_registry.parent / "heads" / "topics.safetensors"
    hub.load(str(file))
    data = pickle.dumps(hub)
    file.unlink()
    (tiny_registry.parent / "heads" / "rating.safetensors").rename(file)
    with pytest.raises(ResidentError, match="where the Hub was pickled"):
        pickle.loads(data)
    save_backbone(tiny_registry.parent / "backbone", seed=5)
    with pytest.raises(BackboneMismatchError):
        pickle.loads(data)


def test_results_are_pickled(hub: Hub) -> None:
    scores = hub.score(TEXTS, ["sentiment", "entities"], logits=True)
    again = pickle.loads(pickle.dumps(scores))
    assert list(again.rows()) == list(scores.rows())
    assert pickle.loads(pickle.dumps(hub.tasks())) == hub.tasks()
    plan = hub.explain(["sentiment", "entities"])
    assert str(pickle.loads(pickle.dumps(plan))) == str(plan)
    assert pickle.loads(pickle.dumps(hub.spec("sentiment"))) == hub.spec("sentiment")


def test_an_encoder_says_how_to_get_one_elsewhere(hub: Hub) -> None:
    for call in (lambda: pickle.dumps(hub.encoder), lambda: copy.deepcopy(hub.encoder)):
        with pytest.raises(UsageError, match="make one in each process"):
            call()
