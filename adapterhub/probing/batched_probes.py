"""All linear probes, or all with a hidden layer, fitted together as one batched problem.

There are G sources, the depths of each set of weights and then their mixes, each read by S
variants: the fitted targets times the weight decays of the grid.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from tqdm import tqdm

from adapterhub.probing.fit_settings import Probe
from adapterhub.probing.item_batches import Batch, ItemStates
from adapterhub.probing.items import NO_LABEL, SPLITS, Split
from adapterhub.probing.probe_inputs import Outcome, ProbeInputs
from adapterhub.probing.readouts import Parameters, Predicted
from adapterhub.probing.targets import Floats, Measured, MeasuredTarget

_DECAYED = ("first", "last")
_STEPS = 100
"""Steps in an epoch at least, where batches do not get too small; few rows have small batches."""
_SMALLEST_BATCH = 16
_ITEMS_AT_ONCE = 1024
_VALUES_AT_ONCE = 2**25
"""Outputs of all probes in a batch: 128 MiB, and some times as much with their gradients."""
_MIX_FACTOR = 5.0
"""Learning rate of the mix over that of the other parameters."""


def fit_batched(inputs: ProbeInputs, probe: Probe) -> list[Outcome]:
    """Returns all linear probes, or all with a hidden layer, on all sources and targets."""
    start = time.perf_counter()
    run = BatchedProbes(inputs, probe)
    best = [BestEpochs(run, target) for target in inputs.targets]
    epochs = inputs.settings.epochs
    for epoch in tqdm(range(1, epochs + 1), desc=f"{probe} probes", unit="epoch", disable=None):
        run.train((epoch - 1) / epochs, epoch / epochs)
        nats = run.measure("choosing", run.parameters, run.targets).nats
        for one in best:
            one.update(run, nats, epoch)
        if epoch - max(one.last_gain for one in best) >= inputs.settings.patience:
            break
    found = [outcome for one in best for outcome in one.outcomes(run)]
    seconds = (time.perf_counter() - start) / len(found)
    return [replace(outcome, seconds=seconds) for outcome in found]


class BatchedProbes:
    """The parameters of all probes, and their optimiser.

    Attributes:
        inputs: What they are fitted on.
        probe: Their architecture.
        decays: (S,) the weight decay of each variant.
        targets: (S,) the target of each variant.
        parameters: `first` (G, F, S, J), `mix` (sets of weights, S, depths), others (G, S, …).
    """

    def __init__(self, inputs: ProbeInputs, probe: Probe) -> None:
        settings, device = inputs.settings, inputs.device
        self.inputs = inputs
        self.probe = probe
        grid = settings.weight_decays
        self.decays = torch.tensor(grid).repeat(len(inputs.fitted)).to(device)
        self.targets = torch.tensor(inputs.fitted).repeat_interleave(len(grid)).to(device)
        self._states = {
            split: ItemStates(inputs.items[split], inputs.states, split) for split in SPLITS
        }
        self._scales = self._states["training"].scales(lambda: inputs.token_scales).to(device)
        self._draw = torch.Generator().manual_seed(settings.seed)
        width = settings.hidden_width if probe == "mlp" else None
        size = self._scales.mean.shape[1]
        own = inputs.readout.start(size, width, targets=self.targets, draw=self._draw)
        sources = len(inputs.sources)
        own = {name: value.repeat(sources, *(1,) * value.dim()) for name, value in own.items()}
        if inputs.has_mix:
            states = inputs.states
            own["mix"] = torch.zeros(len(states.weights), len(self.targets), len(states.depths))
        self.parameters = {name: value.to(device).requires_grad_() for name, value in own.items()}
        self._optimiser = torch.optim.Adam(
            {"params": [value], "factor": _MIX_FACTOR if name == "mix" else 1.0}
            for name, value in self.parameters.items()
        )
        values = sources * len(self.targets) * (own["first"].shape[-1] + inputs.readout.outputs)
        self._most = max(_SMALLEST_BATCH, _VALUES_AT_ONCE // values)
        items = inputs.items["training"].items
        self._batch = max(_SMALLEST_BATCH, min(settings.batch, items // _STEPS, self._most))

    @property
    def single(self) -> int:
        """Returns the number of sources that are one depth."""
        return len(self._scales.mean)

    def train(self, start: float, stop: float) -> None:
        """Trains for one epoch, which lies between two points of the schedule from 0 to 1."""
        batches = list(
            self.inputs.batches["training"].cut(self._batch, self._draw, most=self._most)
        )
        for step, batch in enumerate(batches):
            at = start + (stop - start) * step / len(batches)
            rate = self.inputs.settings.learning_rate * (1 + math.cos(math.pi * at)) / 2
            found = self.predict("training", batch, self.parameters, self.targets)
            labelled = (batch.labels != NO_LABEL).sum(1).clamp(min=1).to(self.inputs.device)
            # Every probe has the gradient of its own mean.
            loss = (found.nats.sum(-1) / labelled[self.targets]).sum()
            torch.autograd.backward([loss])
            self._step(rate)

    @torch.no_grad()
    def _step(self, rate: float) -> None:
        for name in _DECAYED:
            if name in self.parameters:
                values = self.parameters[name]
                axes = (1, 1, -1, 1) if name == "first" else (1, -1, 1, 1)
                values.mul_(1 - rate * self.decays.view(axes))
        for group in self._optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        self._optimiser.step()
        self._optimiser.zero_grad()

    def predict(
        self, split: Split, batch: Batch, own: Parameters, targets: torch.Tensor
    ) -> Predicted:
        """Returns the predictions of all probes on a batch."""
        values = self._scales.apply(self._states[split].read(batch.rows).to(self.inputs.device))
        single, first = self.single, own["first"]
        # (G, B, F) @ (G, F, S J) -> (G, B, S, J) -> (G, S, B, J)
        hidden = torch.bmm(values, first[:single].flatten(2))
        hidden = hidden.view(*hidden.shape[:2], *first.shape[2:]).transpose(1, 2)
        if "mix" in own:
            by_weights = values.view(len(own["mix"]), -1, *values.shape[1:])
            mixed = torch.einsum("wsd,wdbf->wsbf", own["mix"].softmax(-1), by_weights)
            hidden = torch.cat([hidden, mixed @ first[single:].transpose(1, 2)])
        hidden = hidden + own["first_bias"][:, :, None]
        return self.inputs.readout.predict(hidden, own, batch, targets)

    @torch.no_grad()
    def measure(self, split: Split, own: Parameters, targets: torch.Tensor) -> Measured:
        """Returns the predictions of all probes on all items of a split: (G, S, M)."""
        shape = (len(own["first"]), len(targets), self.inputs.items[split].items)
        nats, hits = np.zeros(shape), np.zeros(shape, np.bool_)
        for batch in self.inputs.batches[split].cut(min(_ITEMS_AT_ONCE, self._most)):
            found = self.predict(split, batch, own, targets)
            rows = batch.rows.numpy()
            nats[..., rows] = found.nats.cpu().double().numpy()
            hits[..., rows] = found.hits.cpu().numpy()
        return Measured(nats, hits)


class BestEpochs:
    """Of each probe on one target, its parameters after the epoch that is best so far.

    Attributes:
        target: The target.
        last_gain: The last epoch after which any probe was better than before.
    """

    def __init__(self, run: BatchedProbes, target: MeasuredTarget) -> None:
        self.target = target
        self.last_gain = 0
        self._variants = (run.targets == target.index).nonzero()[:, 0]
        shape = (len(run.inputs.sources), len(self._variants))
        self._nats = np.full(shape, target.prior)
        self._epochs = np.zeros(shape, np.int64)
        self._kept = self._now(run)

    def update(self, run: BatchedProbes, nats: Floats, epoch: int) -> None:
        """Keeps what is better than ever on the choosing rows, given all predictions (G, S, M)."""
        means = nats[:, self._variants.cpu().numpy()][..., self.target.chosen_on].mean(-1)
        is_better = means < self._nats
        if not is_better.any():
            return
        self.last_gain = epoch
        self._nats = np.where(is_better, means, self._nats)
        self._epochs = np.where(is_better, epoch, self._epochs)
        mask = torch.from_numpy(is_better).to(run.inputs.device)
        for name, value in self._now(run).items():
            own = mask[run.single :] if name == "mix" else mask
            shape = [*own.shape, *(1,) * (value.dim() - 2)]
            if name == "first":
                shape[1:3] = 1, own.shape[1]
            self._kept[name] = torch.where(own.view(shape), value, self._kept[name])

    def outcomes(self, run: BatchedProbes) -> Iterator[Outcome]:
        """Yields the probe of each source with the weight decay that is best."""
        best = self._nats.argmin(1)
        own = self._of(run, torch.from_numpy(best).to(run.inputs.device))
        index = torch.tensor([self.target.index], device=run.inputs.device)
        found = run.measure("measuring", own, index)
        mixes = own["mix"].softmax(-1)[:, 0].tolist() if "mix" in own else []
        parameters = sum(value[0].numel() for name, value in own.items() if name != "mix")
        for place, source in enumerate(run.inputs.sources):
            shares = None if source.depth is not None else tuple(mixes[place - run.single])
            epoch = int(self._epochs[place, best[place]])
            measured = Measured(found.nats[place, 0], found.hits[place, 0])
            yield Outcome(
                probe=run.probe,
                source=source,
                target=self.target,
                measured=measured if epoch else self.target.constant,
                epoch=epoch,
                weight_decay=run.inputs.settings.weight_decays[best[place]],
                parameters=parameters + len(shares or ()),
                shares=shares,
                seconds=0.0,
            )

    def _now(self, run: BatchedProbes) -> Parameters:
        """Returns the current parameters of the variants that predict the target."""
        return {
            name: value.detach().index_select(2 if name == "first" else 1, self._variants)
            for name, value in run.parameters.items()
        }

    def _of(self, run: BatchedProbes, chosen: torch.Tensor) -> Parameters:
        """Returns the kept parameters of one variant (G,) of each source."""
        found = {}
        for name, value in self._kept.items():
            own = chosen[run.single :] if name == "mix" else chosen
            rows = torch.arange(len(own), device=own.device)
            if name == "first":
                found[name] = value[rows, :, own].unsqueeze(2)
            else:
                found[name] = value[rows, own].unsqueeze(1)
        return found
