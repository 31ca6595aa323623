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
from adapterhub.store.atomic import reason, sweep, write_atomic
from adapterhub.training.adapters.differentiable_passes import run_layers
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
    EpochRecord,
    RunConfig,
    TrainableAdapter,
    TrainableHead,
    make_optimiser,
    schedule,
)
from adapterhub.training.evaluation.memory import saved_bytes, state_bytes
from adapterhub.training.features.choice_items import ChoiceItems

_SUFFIX = ".run.safetensors"
_KEY = "run"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes:
        epoch: The current epoch, from 1.
        step: Its finished steps.
        loss: Sum of their losses.
        seconds: Their time.
        is_done: Whether the training is finished.
        history: The finished epochs.
    """

    epoch: int = 1
    step: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    is_done: bool = False
    history: tuple[EpochRecord, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The state of a run.

    Attributes:
        progress: Epoch and step.
        tensors: Current and best parameters and the optimiser's moments, by name.
    """

    progress: Progress
    tensors: dict[str, torch.Tensor]


class Checkpoints:
    """The checkpoint file of one run."""

    def __init__(self, folder: Path, meaning: object) -> None:
        """Names the file by a digest of what determines the run.

        Args:
            folder: Made when a checkpoint is written.
            meaning: Options and data, as JSON; a change makes another run.
        """
        digest = hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode())
        self.path = folder / f"{digest.hexdigest()[:32]}{_SUFFIX}"

    def read(self) -> Checkpoint | None:
        """Returns the last checkpoint; None if there is none or the file is damaged."""
        sweep(self.path.parent)
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                text = (file.metadata() or {})[_KEY]
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return Checkpoint(TypeAdapter(Progress).validate_json(text), tensors)
        # The run starts again: a damaged file costs time only.
        except (SafetensorError, ValueError, KeyError):
            self.remove()
            return None

    def write(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint atomically.

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
                f"The checkpoint of the training cannot be written to {self.path.parent}: "
                f"{reason(error)}. Choose another folder with the option cache_dir or "
                f"$ADAPTERHUB_CACHE."
            ) from error

    def remove(self) -> None:
        """Deletes the checkpoint."""
        self.path.unlink(missing_ok=True)


_NOW, _KEPT, _MOMENTS = "now/", "kept/", "moments/"
_SECONDS_PER_MINUTE = 60


class AdapterRun:
    """One training run, from its first step to the selected epoch."""

    def __init__(self, config: RunConfig, adapter: TrainableAdapter, head: TrainableHead) -> None:
        self.config = config
        self.adapter = adapter
        self.head = head
        adapter.module.to(config.device)
        head.to(config.device)
        self._parameters = {
            **{ADAPTER + name: p for name, p in adapter.parameters.items()},
            **{HEAD + name: p for name, p in head.named_parameters()},
        }
        self._optimiser = make_optimiser(self._parameters, config)
        self._kept: dict[str, torch.Tensor] = {}
        self._epoch, self._step, self._loss, self._seconds = 1, 0, 0.0, 0.0
        self._is_done = False
        self.history: list[EpochRecord] = []
        self.memory_bytes = 0

    @property
    def trained_numbers(self) -> int:
        """Returns how many numbers are trained."""
        return sum(parameter.numel() for parameter in self._parameters.values())

    @property
    def kept(self) -> EpochRecord:
        """Returns the first epoch with the best validation metric, or the last epoch."""
        if self.config.options.keep == "last":
            return self.history[-1]
        return max(self.history, key=lambda record: record.value)

    def train(self, checkpoints: Checkpoints | None = None) -> None:
        """Trains until the last epoch or early stopping, then restores the selected epoch.

        Args:
            checkpoints: From which a stopped run resumes; None writes none.

        Raises:
            TrainingError: The loss became NaN or infinite.
            UsageError: A checkpoint cannot be written.
        """
        saved = None if checkpoints is None else checkpoints.read()
        # Dropout draws from torch's global generator, whose state belongs to the caller.
        devices = [self.config.device] if self.config.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            self.memory_bytes = self._measure_memory()
            if saved is not None:
                self._restore(saved)
            while not self._is_done:
                self._run_epoch(checkpoints)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._kept[name])

    @torch.no_grad()
    def validation_logits(self) -> torch.Tensor:
        """Returns what the judge takes of all validation rows, for tagging their words: (M, K)."""
        part, device = self.config.validation, self.config.device
        self._switch(training=False)
        parts: list[torch.Tensor] = []
        order: list[torch.Tensor] = []
        lengths = part.lengths()
        for rows in reading_order(lengths, range(len(part)), max_tokens=self.config.max_tokens):
            batch = make_batch(part, rows, device=device)
            parts.append(self.head.predictions(self._logits(part, rows, batch), batch))
            order.append(batch.targets)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _measure_memory(self) -> int:
        """Returns the bytes that training takes beside the weights, on the batch of most tokens."""
        part, options = self.config.train, self.config.options
        lengths = part.lengths()
        steps = training_order(
            lengths, batch_size=options.batch_size, seed=self.config.seed, epoch=1
        )
        largest = max(steps, key=lambda rows: int(lengths[rows].sum()))
        self._switch(training=True)
        batch = make_batch(part, largest, device=self.config.device)
        weights = [*self.adapter.module.parameters(), *self._parameters.values()]
        kept = 0
        if len(batch.targets):
            kept = saved_bytes(lambda: self._batch_loss(largest, batch), weights)
        return kept + state_bytes(self._parameters.values())

    def _run_epoch(self, checkpoints: Checkpoints | None) -> None:
        """Runs the remaining steps of an epoch, validates, and writes a checkpoint."""
        config, options = self.config, self.config.options
        started = time.perf_counter() - self._seconds
        saved = time.monotonic()
        steps = training_order(
            config.train.lengths(),
            batch_size=options.batch_size,
            seed=config.seed,
            epoch=self._epoch,
        )
        self._switch(training=True)
        name = f"epoch {self._epoch} of {config.epochs}"
        # `disable=None` shows no bar where stderr is not a terminal.
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
        self._is_done = self._epoch >= config.epochs or waited >= options.patience
        self._epoch, self._step, self._loss, self._seconds = self._epoch + 1, 0, 0.0, 0.0
        if checkpoints is not None:
            checkpoints.write(self._snapshot())

    def _take_step(self, rows: Sequence[int]) -> float:
        """Takes one optimiser step; returns the loss before it."""
        config = self.config
        number = (self._epoch - 1) * config.steps_per_epoch + self._step
        # Dropout depends on the step alone, so that a resumed run has the same result.
        torch.manual_seed(config.seed * 1_000_003 + number)
        for group in self._optimiser.param_groups:
            group["lr"] = group["highest"] * schedule(number, config)
        batch = make_batch(config.train, rows, device=config.device)
        if not len(batch.targets):
            return 0.0  # Tagging: no text of this batch has words.
        loss = self._batch_loss(rows, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(self._epoch, number + 1, config.learning_rate)
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(self._parameters.values(), config.options.clip)
        self._optimiser.step()
        self.adapter.after_step(number)
        self._optimiser.zero_grad(set_to_none=True)
        return value

    def _batch_loss(self, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns the loss of training rows."""
        return self.head.loss(self._logits(self.config.train, rows, batch), batch)

    def _logits(self, part: Examples, rows: Sequence[int], batch: ExampleBatch) -> torch.Tensor:
        """Returns fp32 logits per row, or per word for tagging: (B, K) or (M, K).

        Of choices K is the most that a row has, of two texts 2 K.
        """
        config = self.config
        hidden = config.trunk.read(part, rows, batch)
        is_mixed = config.dtype != torch.float32
        with torch.autocast(config.device.type, config.dtype, enabled=is_mixed):
            taps = run_layers(
                hidden,
                batch.tokens,
                self.adapter.layer,
                start=config.from_depth,
                taps=self.head.spec.depths,
            )
        features = self.head.features(taps, batch.tokens, batch.picks)
        if batch.picks is not None:
            return self.head.logits(features)
        # As in scoring, logits are averaged over windows; of pairs apart, features.
        if batch.sides == 1:
            logits = _mean_of_windows(self.head.logits(features), batch)
        else:
            logits = self.head.logits(_compared(_mean_of_windows(features, batch), batch))
        if batch.items is None:
            return logits
        return batch.items.by_row(logits, torch.arange(len(rows), device=logits.device))

    def _validate(self, epoch: int) -> None:
        """Computes the validation metric, and keeps the parameters of the best epoch so far."""
        started = time.perf_counter()
        value = float(self.config.judge(self.validation_logits()[None])[0])
        seconds = self._seconds + time.perf_counter() - started
        self.history.append(EpochRecord(epoch, self._loss / max(1, self._step), value, seconds))
        if self.kept.epoch == epoch:
            self._kept = {name: p.detach().clone() for name, p in self._parameters.items()}

    def _switch(self, *, training: bool) -> None:
        self.adapter.module.train(training)
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
        device = self.config.device
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


def _compared(features: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
    """Returns the comparisons of pairs from the features of their texts: (texts, H) -> (N, 4H)."""
    if not isinstance(batch.items, ChoiceItems):
        first, second = features.view(-1, batch.sides, features.shape[1]).unbind(1)
        return compare(first, second)
    counts = batch.items.counts
    prompts = batch.items.starts + torch.arange(len(counts), device=counts.device)
    is_choice = torch.ones(len(features), dtype=torch.bool, device=features.device)
    is_choice[prompts] = False
    return compare(features[prompts].repeat_interleave(counts, dim=0), features[is_choice])


def _mean_of_windows(values: torch.Tensor, batch: ExampleBatch) -> torch.Tensor:
    """Returns the mean over the windows of each text: (W, …) -> (texts, …)."""
    sums = values.new_zeros(len(batch.counts), values.shape[1]).index_add(0, batch.texts, values)
    return sums / batch.counts[:, None]
