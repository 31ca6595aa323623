"""One adapter and its head, trained on cached states: steps, validation, checkpoints."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from adapterhub.errors import TrainingError, UsageError
from adapterhub.model.heads.pair_features import compare
from adapterhub.store.atomic import reason, write_atomic
from adapterhub.training.adapters.differentiable_passes import TrainedHead, run_layers
from adapterhub.training.adapters.examples import (
    ExampleBatch,
    Examples,
    make_batch,
    reading_order,
    training_order,
)
from adapterhub.training.adapters.run_config import (
    ADAPTER,
    HEAD,
    Change,
    EpochRecord,
    Setup,
    make_optimiser,
    schedule,
)

_SUFFIX = ".run.safetensors"
_KEY = "run"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is.

    Attributes:
        epoch: The epoch that is under way, from 1.
        step: Steps of it that are done.
        loss: Sum of their losses.
        seconds: What they took.
        is_done: Whether the training is over.
        history: The epochs that are done.
    """

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    is_done: bool = False
    history: tuple[EpochRecord, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run at one moment.

    Attributes:
        progress: Where it is.
        tensors: Parameters, kept parameters and moments, by names that the run gives.
    """

    progress: Progress
    tensors: dict[str, torch.Tensor]


class Checkpoints:
    """The place of one run on disk."""

    def __init__(self, folder: Path, meaning: object) -> None:
        """Names the place by all that decides what the run does.

        Args:
            folder: Where runs are kept; made when one is written.
            meaning: Anything that JSON takes; other options are another run.
        """
        digest = hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode())
        self.path = folder / f"{digest.hexdigest()[:32]}{_SUFFIX}"

    def read(self) -> Checkpoint | None:
        """Returns the last state; None where there is none, or the file is damaged."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                text = (file.metadata() or {})[_KEY]
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return Checkpoint(TypeAdapter(Progress).validate_json(text), tensors)
        # What it held is trained again, so a damaged file costs time and nothing else.
        except (SafetensorError, ValueError, KeyError):
            self.remove()
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Keeps a state, whole or not at all.

        Raises:
            UsageError: The folder cannot be written.
        """
        metadata = {_KEY: json.dumps(asdict(checkpoint.progress))}
        data = safetensors.torch.save(checkpoint.tensors, metadata)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, data, replace=True)
        except OSError as error:
            raise UsageError(
                f"The state of the training cannot be kept in {self.path.parent}: "
                f"{reason(error)}. Choose another folder with the option cache_dir or "
                f"$ADAPTERHUB_CACHE."
            ) from error

    def remove(self) -> None:
        """Forgets the run."""
        self.path.unlink(missing_ok=True)


_NOW, _KEPT, _MOMENTS = "now/", "kept/", "moments/"
_SECONDS_PER_MINUTE = 60


class AdapterRun:
    """The state of one training, from its first step to the epoch that is kept."""

    def __init__(self, setup: Setup, change: Change, head: TrainedHead) -> None:
        self.setup = setup
        self.change = change
        self.head = head
        change.module.to(setup.device)
        head.to(setup.device)
        self._parameters = {
            **{ADAPTER + name: p for name, p in change.parameters.items()},
            **{HEAD + name: p for name, p in head.named_parameters()},
        }
        self._optimiser = make_optimiser(self._parameters, setup)
        self._kept: dict[str, torch.Tensor] = {}
        self._epoch, self._step, self._loss, self._seconds = 1, 0, 0.0, 0.0
        self._is_done = False
        self.history: list[EpochRecord] = []

    @property
    def kept(self) -> EpochRecord:
        """Returns the first epoch with the highest validation value, or the last of all."""
        if self.setup.options.keep == "last":
            return self.history[-1]
        return max(self.history, key=lambda record: record.value)

    def train(self, checkpoints: Checkpoints | None = None) -> None:
        """Trains until the last epoch or until patience ends, then restores the kept epoch.

        Args:
            checkpoints: Where a stopped run goes on from; None keeps nothing.

        Raises:
            TrainingError: The loss became NaN or infinite.
            UsageError: A checkpoint cannot be written.
        """
        saved = None if checkpoints is None else checkpoints.read()
        # Dropout draws from torch's own generator; the caller's shall not notice.
        devices = [self.setup.device] if self.setup.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            if saved is not None:
                self._restore(saved)
            while not self._is_done:
                self._run_epoch(checkpoints)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._kept[name])

    @torch.no_grad()
    def validation_logits(self) -> torch.Tensor:
        """Returns the outputs of all validation rows, for tagging of their words: (M, K)."""
        part, device = self.setup.validation, self.setup.device
        self._switch(training=False)
        values = torch.zeros(part.answers, self.setup.objective.outputs, device=device)
        lengths = part.lengths()
        for rows in reading_order(lengths, range(len(part)), max_tokens=self.setup.max_tokens):
            batch = make_batch(part, rows, device=device)
            values[batch.targets] = self._logits(part, rows, batch)
        return values

    def _run_epoch(self, checkpoints: Checkpoints | None) -> None:
        """Takes the steps of an epoch that are not done yet, validates, and keeps the state."""
        setup, options = self.setup, self.setup.options
        started = time.perf_counter() - self._seconds
        saved = time.monotonic()
        steps = training_order(
            setup.train.lengths(),
            batch_size=options.batch_size,
            seed=setup.seed,
            epoch=self._epoch,
        )
        self._switch(training=True)
        name = f"epoch {self._epoch} of {setup.epochs}"
        # `disable=None` is off where stderr is no terminal.
        with tqdm(
            total=len(steps), initial=self._step, desc=name, unit="step", disable=None
        ) as bar:
            for rows in steps[self._step :]:
                self._loss += self._take_step(rows)
                self._step += 1
                self._seconds = time.perf_counter() - started
                bar.update()
                minutes = (time.monotonic() - saved) / _SECONDS_PER_MINUTE
                if checkpoints is not None and minutes >= options.checkpoint_minutes:
                    checkpoints.write(self._snapshot())
                    saved = time.monotonic()
            self._validate(self._epoch)
            bar.set_postfix(loss=self.history[-1].loss, value=self.history[-1].value)
        waited = self._epoch - self.kept.epoch
        self._is_done = self._epoch >= setup.epochs or waited >= options.patience
        self._epoch, self._step, self._loss, self._seconds = self._epoch + 1, 0, 0.0, 0.0
        if checkpoints is not None:
            checkpoints.write(self._snapshot())

    def _take_step(self, rows: Sequence[int]) -> float:
        """Changes the parameters once and returns the loss before that."""
        setup = self.setup
        number = (self._epoch - 1) * setup.steps_per_epoch + self._step
        # Dropout depends on the step alone, so that a run that was stopped goes on alike.
        torch.manual_seed(setup.seed * 1_000_003 + number)
        for group in self._optimiser.param_groups:
            group["lr"] = group["highest"] * schedule(number, setup)
        batch = make_batch(setup.train, rows, device=setup.device)
        if not len(batch.targets):
            return 0.0  # Tagging: no text of this batch has a word.
        logits = self._logits(setup.train, rows, batch)
        objective = setup.objective
        loss = objective.loss(logits[None, None], objective.targets[batch.targets]).sum()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(self._epoch, number + 1, setup.learning_rate)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), setup.options.clip)
        self._optimiser.step()
        self.change.after_step(number)
        self._optimiser.zero_grad(set_to_none=True)
        return value

    def _logits(self, part: Examples, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns fp32 outputs per row, or per word for tagging: (B, K) or (M, K)."""
        setup = self.setup
        hidden = setup.trunk.read(part, rows, batch)
        is_mixed = setup.dtype != torch.float32
        with torch.autocast(setup.device.type, setup.dtype, enabled=is_mixed):
            taps = run_layers(
                hidden,
                batch.tokens,
                self.change.layer,
                start=setup.from_depth,
                taps=self.head.spec.depths,
            )
        features = self.head.features(taps, batch.tokens, batch.picks)
        if batch.picks is not None:
            return self.head.logits(features)
        # As in scoring, answers are averaged over windows; of texts that are compared, features.
        if batch.sides == 1:
            return _mean_of_windows(self.head.logits(features), batch)
        first, second = _mean_of_windows(features, batch).view(len(rows), batch.sides, -1).unbind(1)
        return self.head.logits(compare(first, second))

    def _validate(self, epoch: int) -> None:
        """Measures an epoch, and keeps its parameters if it is the one to keep so far."""
        started = time.perf_counter()
        value = float(self.setup.judge(self.validation_logits()[None])[0])
        seconds = self._seconds + time.perf_counter() - started
        self.history.append(EpochRecord(epoch, self._loss / max(1, self._step), value, seconds))
        if self.kept.epoch == epoch:
            self._kept = {name: p.detach().clone() for name, p in self._parameters.items()}

    def _switch(self, *, training: bool) -> None:
        self.change.module.train(training)
        self.head.train(training)

    def _snapshot(self) -> Checkpoint:
        tensors = {_KEPT + name: value for name, value in self._kept.items()}
        for name, parameter in self._parameters.items():
            tensors[_NOW + name] = parameter.detach()
            for kind, value in self._optimiser.state[parameter].items():
                tensors[f"{_MOMENTS}{kind}/{name}"] = value
        progress = Progress(
            self._epoch,
            self._step,
            self._loss,
            self._seconds,
            self._is_done,
            tuple(self.history),
        )
        return Checkpoint(progress, {name: t.cpu().contiguous() for name, t in tensors.items()})

    @torch.no_grad()
    def _restore(self, saved: Checkpoint) -> None:
        device = self.setup.device
        for name, parameter in self._parameters.items():
            parameter.copy_(saved.tensors[_NOW + name])
            self._kept[name] = saved.tensors[_KEPT + name].to(device)
        for key, value in saved.tensors.items():
            if key.startswith(_MOMENTS):
                kind, _, name = key.removeprefix(_MOMENTS).partition("/")
                own = value if kind == "step" else value.to(device)
                self._optimiser.state[self._parameters[name]][kind] = own
        found = saved.progress
        self._epoch, self._step = found.epoch, found.step
        self._loss, self._seconds = found.loss, found.seconds
        self._is_done, self.history = found.is_done, list(found.history)


def _mean_of_windows(values: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
    """Returns the mean over the windows of each text: (W, …) -> (B * sides, …)."""
    sums = values.new_zeros(len(batch.counts), values.shape[1]).index_add(0, batch.texts, values)
    return sums / batch.counts[:, None]
