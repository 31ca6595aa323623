"""One adapter from its shape to the epoch that is kept, and what several trials share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.specs import BLOCK_METHOD, SITES, HeadSpec
from adapterhub.training.adapter_options import AdapterOptions, Shape
from adapterhub.training.adapters.differentiable_passes import TrainedHead, scale_of
from adapterhub.training.adapters.examples import Examples, read_examples
from adapterhub.training.adapters.full_block import UntiedBlock
from adapterhub.training.adapters.injection import Injected, depths_of_config, sites_of_config
from adapterhub.training.adapters.result import FittedAdapter
from adapterhub.training.adapters.run_config import Change, Setup, product_dtype
from adapterhub.training.adapters.train_loop import AdapterRun, Checkpoints
from adapterhub.training.adapters.trunk import Level, Opened, open_trunk
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.standardized_features import Scale
from adapterhub.training.heads.candidates import Setting, depths_of
from adapterhub.training.heads.fit_inputs import Material, read_by
from adapterhub.training.heads.search_heads import Found, search, search_ways
from adapterhub.training.options import TrainingOptions
from adapterhub.training.warm_start import Existing

_PLAIN = {"mixes": False, "hidden_widths": (), "poolings": ("cls", "mean", "max")}
"""An adapter makes of the states what a mix or a hidden layer would have to."""


def find_shape(
    from_depth: int, material: Material, *, options: TrainingOptions, source: FeatureSource
) -> Found:
    """Returns heads on frozen states, the chosen one of which has the shape to train.

    It reads the deepest states, which pass through all of the adapter; the pooling is the best of
    linear heads. Depths, poolings, shapes and mixes that the options name are tried instead.

    Args:
        from_depth: Where the adapter starts.
        material: Frozen features, targets and judge.
        options: Which heads may be tried.
        source: Encoder and cache.

    Raises:
        UsageError: The options leave the head no depth over `from_depth`.
    """
    reads = tuple(d for d in depths_of(options, source.encoder.depth) if d > from_depth)
    if not reads:
        raise UsageError(
            f"Option depths: the head reads no depth over {from_depth}, where the adapter "
            f"starts, so the adapter would change nothing."
        )
    given = options.model_fields_set
    changes: dict[str, object] = {n: value for n, value in _PLAIN.items() if n not in given}
    changes["depths"] = reads if {"depths", "mixes"} & given else reads[-1:]
    return search(
        material, options=options.model_copy(update={**changes, "tolerance": 0.0}), source=source
    )


_RATE = 5e-4
_RATES: Mapping[str, float] = {BLOCK_METHOD: 2e-4, "ia3": 1e-2, "vera": 1e-2}
_MOST_EPOCHS, _FEWEST_EPOCHS, _VISITS = 20, 4, 40_000
_RUNS = "runs"
_DECIDING = frozenset({"seed", "max_length", "max_windows", "metric"})
"""The options that decide what a run does. Rows, labels and the head are in its name themselves;
others, such as where the rows lie, would make a run that was stopped begin anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """What all adapters that start at one depth share.

    Attributes:
        from_depth: That depth.
        head: What the head reads and its shape.
        candidates: How many heads were fitted on frozen features to find that.
        scale: Mean and deviation of the features that it reads.
        trunk: The states at that depth.
    """

    from_depth: int
    head: HeadSpec
    candidates: int
    scale: Scale
    trunk: Opened


@dataclass(frozen=True, eq=False)
class Workbench:
    """Rows, options and the frozen parts, as all trials of one task use them.

    Attributes:
        materials: Targets, judge and frozen features, for each way of reading the rows.
        options: Of the whole training.
        source: Encoder, tokenizer and cache.
        backbone: The frozen model, which PEFT's layers are put into a copy of.
        existing: The adapter that training goes on from, if any.
    """

    materials: Sequence[Material]
    options: TrainingOptions
    source: FeatureSource
    backbone: Backbone
    existing: Existing | None = None

    @property
    def adapter(self) -> AdapterOptions:
        """Returns the options of the adapter."""
        return self.options.adapter or AdapterOptions()

    @cached_property
    def alone(self) -> Found:
        """Returns the best head on the frozen trunk."""
        return search_ways(self.materials, options=self.options, source=self.source)

    @cached_property
    def material(self) -> Material:
        """Returns the rows as that head reads them: to train with every way costs too much."""
        return read_by(self.alone.chosen.apart, self.materials)

    @cached_property
    def train(self) -> Examples:
        """Returns the training rows."""
        return self._examples(self.material.splits.train.inputs)

    @cached_property
    def validation(self) -> Examples:
        """Returns the validation rows."""
        return self._examples(self.material.splits.validation.inputs)

    def fork(self, from_depth: int) -> Fork:
        """Returns what adapters from a depth on need.

        Raises:
            UsageError: The options leave the head no depth above it.
        """
        found = find_shape(from_depth, self.material, options=self.options, source=self.source)
        level = Level(
            from_depth, self.material.reading, self.options.max_windows, self.adapter.trunk_dtype
        )
        return Fork(
            from_depth,
            head=found.chosen.head,
            candidates=found.table.candidates,
            scale=scale_of(found.chosen.head, self.material.tap),
            trunk=open_trunk((self.train, self.validation), level, self.source),
        )

    def fit(self, fork: Fork, rank: int) -> FittedAdapter:
        """Returns a trained adapter from `fork` on.

        Raises:
            UsageError: PEFT does not know the method, or cannot use it as asked, or it cannot go on
                from the adapter that it was given.
            TrainingError: The loss became NaN or infinite.
        """
        setup = self._setup(fork)
        shape = self.shape(fork, rank, setup.steps)
        change = make_change(shape, self.backbone, seed=self.options.seed)
        if self.existing is not None:
            change.begin_with(self.existing)
        head = TrainedHead(
            fork.head,
            fork.scale,
            objective=self.material.problem.objective,
            dropout=self.adapter.head_dropout,
            seed=self.options.seed,
        )
        run = AdapterRun(setup, change, head)
        checkpoints = None if change.plans_ahead else self._checkpoints(fork, rank)
        run.train(checkpoints)
        exported = change.export()
        epochs = run.history
        return FittedAdapter(
            head=head.spec,
            adapter=exported.spec,
            tensors={**head.export(), **exported.tensors},
            apart=self.material.reading.apart,
            setting=Setting(setup.learning_rate, self.adapter.weight_decay),
            value=run.kept.value,
            epoch=run.kept.epoch,
            seconds=sum(record.seconds for record in epochs) / len(epochs),
            checkpoints=checkpoints,
            earlier=None if self.existing is None else self.existing.record,
        )

    def shape(self, fork: Fork, rank: int, steps: int) -> Shape:
        """Returns what is built for a rank."""
        options = self.adapter
        depths = tuple(range(fork.from_depth, fork.head.depths[-1]))
        own = depths_of_config(options.method)
        if own is not None and fork.from_depth == min(own):
            depths = tuple(depth for depth in depths if depth in own)
        return Shape(
            method=options.method,
            depths=depths,
            sites=options.sites or sites_of_config(options.method) or SITES,
            rank=rank,
            alpha=options.alpha or 2.0 * rank,
            dropout=options.dropout,
            tie_depths=options.tie_depths,
            steps=steps,
        )

    def _setup(self, fork: Fork) -> Setup:
        options, encoder, problem = self.adapter, self.source.encoder, self.material.problem
        few = max(_FEWEST_EPOCHS, _VISITS // len(self.train))
        method = options.method if isinstance(options.method, str) else ""
        return Setup(
            options=options,
            objective=problem.objective,
            judge=problem.judge,
            trunk=fork.trunk.trunk,
            from_depth=fork.from_depth,
            train=self.train,
            validation=self.validation,
            epochs=options.epochs or min(_MOST_EPOCHS, few),
            learning_rate=options.learning_rate or _RATES.get(method, _RATE),
            max_tokens=encoder.batch_tokens,
            seed=self.options.seed,
            device=encoder.device,
            dtype=product_dtype(options.precision, encoder.device),
        )

    def _checkpoints(self, fork: Fork, rank: int) -> Checkpoints:
        splits = self.material.splits
        meaning = {
            "backbone": self.backbone.spec.fingerprint,
            "device": str(self.source.encoder.device),
            "train": splits.train.digest(),
            "validation": splits.validation.digest(),
            "labels": splits.train.labels,
            "kind": splits.train.kind,
            "apart": self.material.reading.apart,
            "options": self.options.model_dump(mode="json", include=set(_DECIDING)),
            "adapter": self.adapter.model_dump(mode="json"),
            "existing": None if self.existing is None else self.existing.spec.digest,
            "from_depth": fork.from_depth,
            "head": fork.head.model_dump(mode="json"),
            "rank": rank,
        }
        return Checkpoints(self.source.cache / _RUNS, meaning)

    def _examples(self, inputs: Sequence[tuple[str, ...]]) -> Examples:
        return read_examples(
            inputs,
            kind=self.material.splits.train.kind,
            tokenizer=self.source.tokenizer,
            reading=self.material.reading,
            max_windows=self.options.max_windows,
        )


def make_change(shape: Shape, backbone: Backbone, *, seed: int) -> Change:
    """Returns a copy of the backbone with the adapter of a shape in it.

    Raises:
        UsageError: PEFT does not know the method, or cannot use it as asked.
    """
    if shape.method == BLOCK_METHOD:
        return UntiedBlock(backbone.model, shape)
    with torch.random.fork_rng([]):
        return Injected(backbone.model, shape, seed=seed)
