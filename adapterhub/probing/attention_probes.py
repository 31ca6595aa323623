"""Probes with the architecture of the encoder's block: an own block with random weights, read out.

Each is trained by itself: it has as many parameters as the block, so that all of them together
would take the memory of dozens of blocks with their gradients.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from adapterhub.model.encoder.pooling import pool_mean
from adapterhub.model.encoder.tokens import groups_of
from adapterhub.probing.fit_settings import FitSettings
from adapterhub.probing.item_batches import Batch
from adapterhub.probing.items import NO_LABEL, Indices, Split
from adapterhub.probing.probe_inputs import Outcome, ProbeInputs, Source
from adapterhub.probing.readouts import Parameters, Predicted
from adapterhub.probing.targets import Measured, MeasuredTarget
from adapterhub.probing.text_reader import TextReader
from adapterhub.training.adapters.differentiable_passes import run_layer
from adapterhub.training.adapters.run_config import product_dtype

_STEPS = 100
"""Steps in all at least: few texts are read in smaller batches, and more often."""
_SMALLEST_BATCH = 8
_MOST_EPOCHS = 20
_WARMUP = 0.1
_READOUT_RATE = 3.0
"""Learning rate of the readout over that of the block."""
_MIX_RATE = 0.05
"""That of the mix, which has to move from equal shares to one depth in few steps."""
_CLIP = 1.0
_DECAY = 0.01
_TOKENS_AT_ONCE = 8192


def fit_attention(inputs: ProbeInputs) -> list[Outcome]:
    """Returns the attention probes on all sources and targets."""
    outcomes = []
    pairs = [(source, index) for source in inputs.sources for index in inputs.fitted]
    for source, index in tqdm(pairs, desc="attention probes", unit="probe", disable=None):
        start = time.perf_counter()
        found = _fit_one(inputs, source, index)
        seconds = (time.perf_counter() - start) / len(found)
        outcomes += [replace(one, seconds=seconds) for one in found]
    return outcomes


def _fit_one(inputs: ProbeInputs, source: Source, index: int) -> list[Outcome]:
    """Returns one attention probe, fitted on one target, on all that is measured of it."""
    settings = inputs.settings
    probe = AttentionProbe(inputs, source, index)
    targets = [target for target in inputs.targets if target.index == index]
    kept = [_Kept(target.prior, 0, probe.state()) for target in targets]
    texts = np.flatnonzero(inputs.batches["training"].counts)
    steps, epochs = _plan(len(texts), settings)
    draw = torch.Generator().manual_seed(settings.seed)
    for epoch in range(1, epochs + 1):
        shuffled = texts[torch.randperm(len(texts), generator=draw).numpy()]
        for step, part in enumerate(np.array_split(shuffled, steps)):
            done = (epoch - 1) * steps + step
            probe.train(part, _factor(done / (epochs * steps)))
        nats = probe.measure("choosing").nats
        means = [float(nats[target.chosen_on].mean()) for target in targets]
        kept = [
            _Kept(mean, epoch, probe.state()) if mean < one.nats else one
            for mean, one in zip(means, kept, strict=True)
        ]
        if epoch - max(one.epoch for one in kept) >= settings.patience:
            break
    return [probe.outcome(target, one) for target, one in zip(targets, kept, strict=True)]


def _plan(texts: int, settings: FitSettings) -> tuple[int, int]:
    """Returns the number of steps of an epoch, and of epochs."""
    least = texts * settings.attention_epochs // _STEPS
    size = max(_SMALLEST_BATCH, min(settings.attention_batch, least))
    steps = max(1, math.ceil(texts / size))
    return steps, max(settings.attention_epochs, min(_MOST_EPOCHS, math.ceil(_STEPS / steps)))


def _factor(at: float) -> float:
    """Returns the factor of the learning rates at a point of the training from 0 to 1."""
    return min(1.0, (at + 0.01) / _WARMUP, (1 - at) / (1 - _WARMUP))


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """The best epoch so far, by the mean of nats on the choosing rows, and its parameters."""

    nats: float
    epoch: int
    state: dict[str, torch.Tensor]


class AttentionProbe:
    """A block with random weights over the states of a text, then a linear readout.

    Attributes:
        layer: The block.
        readout: The parameters of the readout, and of the mix.
    """

    def __init__(self, inputs: ProbeInputs, source: Source, index: int) -> None:
        settings, states, device = inputs.settings, inputs.states, inputs.device
        self._inputs, self._source = inputs, source
        self._targets = torch.tensor([index], device=device)
        self._reader = TextReader(inputs, source)
        self.layer: nn.Module = states.layer(settings.seed).to(device)
        places = inputs.items["training"].places
        size = states.hidden_size * (1 if places is None else places.shape[1])
        draw = torch.Generator().manual_seed(settings.seed)
        own = inputs.readout.start(size, None, targets=self._targets, draw=draw)
        if source.depth is None:
            own["mix"] = torch.zeros(len(states.depths))
        self.readout: Parameters = {
            name: value.to(device).requires_grad_() for name, value in own.items()
        }
        self._optimiser = self._make_optimiser()
        self._dtype = _product_dtype(device)

    def _make_optimiser(self) -> torch.optim.Optimizer:
        rate = self._inputs.settings.attention_rate
        matrices = [p for p in self.layer.parameters() if p.dim() > 1]
        vectors = [p for p in self.layer.parameters() if p.dim() == 1]
        read = [value for name, value in self.readout.items() if name != "mix"]
        mix = [value for name, value in self.readout.items() if name == "mix"]
        plain = {"weight_decay": 0.0}
        groups: list[dict[str, object]] = [
            {"params": matrices, "highest": rate, "weight_decay": _DECAY},
            {"params": vectors, "highest": rate, **plain},
            {"params": read, "highest": rate * _READOUT_RATE, **plain},
            {"params": mix, "highest": _MIX_RATE, **plain},
        ]
        return torch.optim.AdamW(groups, fused=self._inputs.device.type in ("cpu", "cuda"))

    @property
    def parameters(self) -> int:
        """Returns the number of trained parameters."""
        return sum(p.numel() for p in (*self.layer.parameters(), *self.readout.values()))

    def predict(self, split: Split, texts: Indices) -> tuple[Batch, Predicted]:
        """Returns the items of texts, and their predictions: (1, 1, B)."""
        read = self._reader.read(split, texts, self.readout.get("mix"))
        with torch.autocast(
            self._inputs.device.type, self._dtype, enabled=self._dtype != torch.float32
        ):
            hidden = run_layer(self.layer, read.hidden, read.tokens).float()
        if read.places is None:
            values = pool_mean(hidden, read.tokens)
        else:
            values = hidden[read.places].flatten(1)
        own = {name: value[None] for name, value in self.readout.items()}
        # (B, F) @ (F, J) -> (1, 1, B, J)
        outputs = values @ self.readout["first"][:, 0] + self.readout["first_bias"][0]
        return read.batch, self._inputs.readout.predict(
            outputs[None, None], own, read.batch, self._targets
        )

    def train(self, texts: Indices, factor: float) -> None:
        """Takes one step, on the items of some training texts."""
        batch, found = self.predict("training", texts)
        labelled = int((batch.labels[self._targets.cpu()] != NO_LABEL).sum())
        torch.autograd.backward([found.nats.sum() / max(1, labelled)])
        nn.utils.clip_grad_norm_([*self.layer.parameters(), *self.readout.values()], _CLIP)
        for group in self._optimiser.param_groups:
            group["lr"] = group["highest"] * factor
        self._optimiser.step()
        self._optimiser.zero_grad()

    @torch.no_grad()
    def measure(self, split: Split) -> Measured:
        """Returns the predictions of all items of a split: (M,)."""
        items = self._inputs.items[split]
        nats, hits = np.zeros(items.items), np.zeros(items.items, np.bool_)
        lengths = items.lengths
        texts = np.flatnonzero(self._inputs.batches[split].counts)
        texts = texts[np.argsort(lengths[texts], kind="stable")]
        for part in groups_of(texts, lambda text: int(lengths[text]), max_tokens=_TOKENS_AT_ONCE):
            batch, found = self.predict(split, np.array(part))
            nats[batch.rows.numpy()] = found.nats[0, 0].cpu().double().numpy()
            hits[batch.rows.numpy()] = found.hits[0, 0].cpu().numpy()
        return Measured(nats, hits)

    def state(self) -> dict[str, torch.Tensor]:
        """Returns a copy of all parameters."""
        return {name: value.detach().clone() for name, value in self._named().items()}

    def outcome(self, target: MeasuredTarget, kept: _Kept) -> Outcome:
        """Returns what the probe is after the epoch that is best for a target."""
        with torch.no_grad():
            for name, value in self._named().items():
                value.copy_(kept.state[name])
        mix = self.readout.get("mix")
        return Outcome(
            probe="attention",
            source=self._source,
            target=target,
            measured=self.measure("measuring") if kept.epoch else target.constant,
            epoch=kept.epoch,
            weight_decay=_DECAY,
            parameters=self.parameters,
            shares=None if mix is None else tuple(mix.softmax(-1).tolist()),
            seconds=0.0,
        )

    def _named(self) -> Parameters:
        return {**dict(self.layer.named_parameters(prefix="layer")), **self.readout}


def _product_dtype(device: torch.device) -> torch.dtype:
    """Returns the dtype of the block's products: bf16 where the device multiplies it faster."""
    if device.type == "cpu":
        # Measured on a block of 384: 1.6 times as fast; without these instructions it is slower.
        has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
        return torch.bfloat16 if has_bf16() else torch.float32
    return product_dtype("auto", device)
