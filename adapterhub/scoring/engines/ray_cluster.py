"""Ray, as far as we need it: a cluster to work in, and a function that runs in its actors."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapterhub.errors import AdapterHubError, ClusterError, MissingExtraError, UsageError

if TYPE_CHECKING:
    import numpy as np

_STORE_BYTES = 200 * 2**20
"""Of the object store of a cluster of our own, through which only numbers and manifests pass."""
_CPUS_PER_WORKER = 4
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise it says of each kind of actor of Ray Data that it may not restart.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Read when Ray is imported: what it writes to stdout when actors were killed, or end.
    "RAY_DEDUP_LOGS_SKIP_REGEX": r"\(PartActor\)|^A worker died or was killed while executing",
}
_SETTINGS = {
    "enable_progress_bars": False,
    # Of an actor that is killed while it starts; 0 would end the run.
    "max_consecutive_actor_init_deaths": 9,
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Resources:
    """What the actors take.

    Attributes:
        workers: Number of actors.
        cpus: Processors of each.
        gpus: GPUs of each; may be a part of one.
    """

    workers: int
    cpus: int
    gpus: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one number.

    Attributes:
        number: The number.
        value: What the function returned; None after an error.
        error: What it raised, if that is an error of ours.
        process: Name of the machine and number of the process.
    """

    number: int
    value: Any
    error: AdapterHubError | None
    process: tuple[str, int]


class PartActor:
    """Runs the function in a process of Ray."""

    def __init__(self, function: Callable[[int], object]) -> None:
        self._function = function

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outcome of each number."""
        import numpy as np

        found = np.empty(len(batch["number"]), object)
        for place, number in enumerate(batch["number"]):
            found[place] = self._outcome(int(number))
        return {"outcome": found}

    def _outcome(self, number: int) -> Outcome:
        process = os.uname().nodename, os.getpid()
        try:
            return Outcome(number, self._function(number), None, process)
        except AdapterHubError as error:
            # As a value: what an actor raises comes back in a traceback of Ray.
            return Outcome(number, None, error, process)


@contextlib.contextmanager
def cluster(workers: int | None, gpus: float) -> Iterator[Resources]:
    """Joins the cluster of this process or of RAY_ADDRESS, else starts one for the block.

    Args:
        workers: Number of actors; None for one per GPU, or one per four processors.
        gpus: GPUs per actor.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: The cluster is too small.
        ClusterError: It cannot be reached or started.
    """
    with _quiet_environment():
        ray = _import_ray()
    with _quiet_environment(), _quiet_loggers():
        if ray.is_initialized():
            yield resources_in(ray.nodes(), workers, gpus)
            return
        try:
            _start(ray, workers)
            yield resources_in(ray.nodes(), workers, gpus)
        finally:
            ray.shutdown()


def run_in_actors(
    function: Callable[[int], object], numbers: Sequence[int], resources: Resources
) -> Iterator[Outcome]:
    """Yields what a function makes of each number, in any order, from actors of Ray Data.

    If an actor is killed, another one takes over. Actors end with the iterator.

    Args:
        function: Pickled once for each actor.
        numbers: The numbers.
        resources: Of the actors.

    Raises:
        ClusterError: Actors cannot be started, or a function raised what is no error of ours.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_items

    context = DataContext.get_current()
    before = {name: getattr(context, name) for name in _SETTINGS if hasattr(context, name)}
    for name in before:
        setattr(context, name, _SETTINGS[name])
    dataset = from_items(
        [{"number": number} for number in numbers], override_num_blocks=len(numbers)
    ).map_batches(
        PartActor,
        fn_constructor_kwargs={"function": function},
        compute=ActorPoolStrategy(size=min(resources.workers, len(numbers))),
        batch_size=1,
        num_cpus=resources.cpus,
        num_gpus=resources.gpus,
    )
    for name, value in before.items():
        setattr(context, name, value)
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            yield from batch["outcome"]
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise ClusterError(f"Ray: {last.strip()} (see the logs of Ray on its machines).") from error


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    return ray


def _start(ray: Any, workers: int | None) -> None:
    """Joins the cluster that RAY_ADDRESS names, or starts one on this machine."""
    address = os.environ.get("RAY_ADDRESS")
    own = (
        {}
        if address
        else {
            "num_cpus": max(os.cpu_count() or 1, workers or 1),
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
        }
    )
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = (
            f"the cluster at {address} (RAY_ADDRESS) cannot be joined"
            if address
            else "no cluster can be started here"
        )
        raise ClusterError(f"Ray: {where}: {error}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            # Ray has a handler of its own, which would end us with another exit code.
            for number, handler in handlers.items():
                signal.signal(number, handler)


def resources_in(nodes: Sequence[Any], workers: int | None, gpus: float) -> Resources:
    """Returns how many actors fit into the nodes of a cluster, and what each can have.

    Raises:
        UsageError: So many do not fit.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in alive]
    if workers is None:
        fitting = sum(int(node.get("GPU", 0) / gpus) for node in alive) if gpus else 0
        workers = max(1, fitting if gpus else sum(cpus) // _CPUS_PER_WORKER)
    room = sum(int(node.get("GPU", 0) / gpus) for node in alive) if gpus else workers
    if room < workers or sum(cpus) < workers:
        has = f"{sum(cpus)} processors and {sum(int(n.get('GPU', 0)) for n in alive)} GPUs"
        each = f" with {gpus:g} GPU each" if gpus else ""
        raise UsageError(
            f"{workers} workers{each} do not fit into the cluster, which has {has}; give a "
            f"smaller --workers or --num-gpus (workers=…, num_gpus=…)."
        )
    share = sum(cpus) // workers
    while sum(one // share for one in cpus) < workers:
        share -= 1
    return Resources(workers, share, gpus)


@contextlib.contextmanager
def _quiet_environment() -> Iterator[None]:
    """Keeps Ray from reporting its use to its makers, and from writing to our streams."""
    added = {name: value for name, value in _QUIET.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Leaves out what Ray says about its progress, once it has been imported."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
