"""One trial of an adapter, from its shape to the selected epoch, and what trials share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from adapterhub.errors import UsageError
from adapterhub.families import FAMILIES
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.format import PeftAdapter
from adapterhub.specs import BLOCK_METHOD, SITES, HeadSpec
from adapterhub.training.adapter_options import AdapterOptions, Shape, asked_depths
from adapterhub.training.adapters.differentiable_passes import TrainedHead, axes_of, scale_of
from adapterhub.training.adapters.examples import Examples, read_examples
from adapterhub.training.adapters.result import FittedAdapter
from adapterhub.training.adapters.run_config import (
    RunConfig,
    TrainableAdapter,
    TrainableHead,
    product_dtype,
)
from adapterhub.training.adapters.train_loop import AdapterRun, Checkpoints
from adapterhub.training.adapters.trainable.encoder_copy import EncoderCopy
from adapterhub.training.adapters.trainable.injection import BlockCopies, PeftLayers
from adapterhub.training.adapters.trainable.peft_methods import sites_of_config, with_own_names
from adapterhub.training.adapters.trained_parser import TrainedParser
from adapterhub.training.adapters.trunk import OpenTrunk, TrunkLayout, open_trunk
from adapterhub.training.features.encoding import FeatureSource
from adapterhub.training.features.standardized_features import Scale
from adapterhub.training.heads.candidates import Hyperparameters, depths_of
from adapterhub.training.heads.fit_inputs import FitInputs, matching_inputs
from adapterhub.training.heads.measured_head import search_measured
from adapterhub.training.heads.parsers.search import rank_parsers
from adapterhub.training.heads.search_heads import SearchResult, search_heads
from adapterhub.training.options import TrainingOptions
from adapterhub.training.warm_start import WarmStart

_PLAIN = {"mixes": False, "hidden_widths": (), "poolings": ("cls", "mean", "max")}
"""An adapter makes mixes and hidden layers superfluous."""


def choose_head_shape(
    last: int, fit_inputs: FitInputs, *, options: TrainingOptions, source: FeatureSource
) -> tuple[HeadSpec, int]:
    """Returns the shape of the head to train, the best on frozen states, and how many were tried.

    By default it is a linear head on the deepest states, which pass through the whole adapter, with
    the best pooling, for parsing a biaffine one. Depths, poolings, shapes and mixes of the options
    replace that.

    Args:
        last: The head reads above this depth: where the adapter starts, or the last of single
            depths that it changes.
        fit_inputs: Frozen features, targets and judge.
        options: Which heads are candidates.
        source: Encoder and cache.

    Raises:
        UsageError: The options leave the head no depth over `last`.
    """
    reads = head_depths(last, options, source.encoder.depth)
    given = options.model_fields_set
    changes: dict[str, object] = {n: value for n, value in _PLAIN.items() if n not in given}
    changes["depths"] = reads if _reads_any(options) else reads[-1:]
    changed = options.model_copy(update={**changes, "tolerance": 0.0})
    if fit_inputs.trees:
        return rank_parsers(fit_inputs, options=changed, depth=source.encoder.depth)
    found = search_heads((fit_inputs,), options=changed, source=source)
    return found.chosen.head, found.table.candidates


def head_depths(last: int, options: TrainingOptions, depth: int) -> tuple[int, ...]:
    """Returns the depths that a head may read on an adapter.

    Args:
        last: As in `choose_head_shape`.
        options: May name depths.
        depth: Number of depths of the backbone.

    Raises:
        UsageError: There is none over `last`.
    """
    reads = tuple(d for d in depths_of(options, depth) if d > last)
    if not reads:
        raise UsageError(
            f"Option depths: the head reads no depth over {last}, so what the adapter changes "
            f"there would change nothing."
        )
    return reads


def _reads_any(options: TrainingOptions) -> bool:
    """Returns whether a head beside an adapter may read other depths than the deepest."""
    given = options.model_fields_set
    if options.tune is None:
        return not given.isdisjoint({"depths", "mixes"})
    # A recipe says which depths change, and the deepest has passed through all of them.
    return "depths" in given or ("mixes" in given and options.mixes)


_RATE = 5e-4
_RATES: Mapping[str, float] = {
    BLOCK_METHOD: 2e-4,
    "embeddings": 2e-4,
    "all": 5e-5,
    "ia3": 1e-2,
    "vera": 1e-2,
}
"""By method, or by recipe where that trains the encoder itself."""
# Epochs by default: as many as see 40,000 rows, between 4 and 20.
_MOST_EPOCHS, _FEWEST_EPOCHS, _VISITS = 20, 4, 40_000
_RUNS = "runs"
_DECIDING = frozenset({"seed", "max_length", "max_windows", "metric"})
"""The options that determine a run, beside rows, labels and head. With others in its name, such as
the path of the rows, a stopped run would not resume."""


@dataclass(frozen=True, slots=True, eq=False)
class Fork:
    """What all adapters that start at one depth share.

    Attributes:
        from_depth: That depth.
        head: What the head reads and its shape.
        candidates: How many heads were fitted to choose it.
        scale: Of the features that it reads.
        trunk: The states at that depth.
    """

    from_depth: int
    head: HeadSpec
    candidates: int
    scale: Scale
    trunk: OpenTrunk


@dataclass(frozen=True, eq=False)
class AdapterTrials:
    """The trials of adapters for one task.

    Attributes:
        all_inputs: Targets, judge and frozen features, with pairs together and apart.
        options: Of the whole training.
        source: Encoder, tokenizer and cache.
        backbone: The frozen model, a copy of which gets the adapter.
        warm_start: The adapter that training starts from, if any.
    """

    all_inputs: Sequence[FitInputs]
    options: TrainingOptions
    source: FeatureSource
    backbone: Backbone
    warm_start: WarmStart | None = None

    @property
    def adapter(self) -> AdapterOptions:
        """Returns the options of the adapter."""
        return self.options.adapter or AdapterOptions()

    @cached_property
    def alone(self) -> SearchResult:
        """Returns the best head on the frozen trunk."""
        return search_measured(self.all_inputs, options=self.options, source=self.source)

    @cached_property
    def fit_inputs(self) -> FitInputs:
        """Returns the rows as that head reads them: adapters are trained with one encoding only."""
        return matching_inputs(self.alone.chosen.apart, self.all_inputs)

    @cached_property
    def train(self) -> Examples:
        """Returns the training rows."""
        return self._examples(self.fit_inputs.splits.train.inputs)

    @cached_property
    def validation(self) -> Examples:
        """Returns the validation rows."""
        return self._examples(self.fit_inputs.splits.validation.inputs)

    def fork(self, from_depth: int) -> Fork:
        """Returns what adapters from a depth on share.

        Raises:
            UsageError: The options leave the head no depth above it.
        """
        last = (asked_depths(self.adapter) or (from_depth,))[-1]
        head, candidates = choose_head_shape(
            last, self.fit_inputs, options=self.options, source=self.source
        )
        layout = TrunkLayout(
            from_depth, self.fit_inputs.reading, self.options.max_windows, self.adapter.trunk_dtype
        )
        return Fork(
            from_depth,
            head=head,
            candidates=candidates,
            scale=scale_of(head, self.fit_inputs.tap),
            trunk=open_trunk((self.train, self.validation), layout, self.source),
        )

    def fit(self, fork: Fork, rank: int) -> FittedAdapter:
        """Returns a trained adapter from `fork` on.

        Raises:
            UsageError: PEFT does not know the method, cannot use it here, or it cannot start from
                the given adapter.
            TrainingError: The loss became NaN or infinite.
        """
        config = self._run_config(fork)
        adapter = self._trainable(fork, rank, config.steps)
        if isinstance(adapter, EncoderCopy):
            config = replace(config, trunk=adapter)
        if self.warm_start is not None:
            adapter.load_weights(self.warm_start)
        head = self._new_head(fork)
        run = AdapterRun(config, adapter, head)
        checkpoints = None if adapter.has_own_state else self._checkpoints(fork, rank)
        run.train(checkpoints)
        exported = adapter.export()
        spec = exported.spec if isinstance(exported, PeftAdapter) else None
        epochs = run.history
        return FittedAdapter(
            head=head.spec,
            adapter=spec,
            tensors={**head.export(), **({} if spec is None else exported.tensors)},
            weights=exported.tensors if spec is None else {},
            apart=self.fit_inputs.reading.apart,
            hyperparameters=Hyperparameters(config.learning_rate, self.adapter.weight_decay),
            value=run.kept.value,
            epoch=run.kept.epoch,
            seconds=sum(record.seconds for record in epochs) / len(epochs),
            parameters=run.trained_numbers,
            memory_bytes=run.memory_bytes,
            checkpoints=checkpoints,
            earlier=None if self.warm_start is None else self.warm_start.record,
        )

    def _trainable(self, fork: Fork, rank: int, steps: int) -> TrainableAdapter:
        """Returns what trains beside the head, at its start."""
        tune = self.options.tune
        if tune is not None and tune.makes_backbone:
            depth = 0 if tune.recipe == "embeddings" else fork.head.depths[-1]
            return EncoderCopy(self.backbone, depth=depth)
        passes = range(fork.from_depth, fork.head.depths[-1])
        shape = shape_of(self.adapter, self.backbone, passes=passes, rank=rank, steps=steps)
        return make_adapter(shape, self.backbone, seed=self.options.seed)

    def _new_head(self, fork: Fork) -> TrainableHead:
        """Returns a head with initial weights."""
        objective, trees = self.fit_inputs.problem.objective, self.fit_inputs.trees
        dropout, seed = self.adapter.head_dropout, self.options.seed
        if not trees:
            head = TrainedHead(
                fork.head, fork.scale, objective=objective, dropout=dropout, seed=seed
            )
            if objective.projects:
                tap = self.fit_inputs.tap
                head.start_at(axes_of(fork.head, fork.scale, tap, objective.outputs))
            return head
        return TrainedParser(
            fork.head,
            fork.scale,
            targets=trees["train"].targets().to(self.source.encoder.device),
            prior=objective.prior,
            dropout=dropout,
            seed=seed,
        )

    def _run_config(self, fork: Fork) -> RunConfig:
        options, encoder, problem = self.adapter, self.source.encoder, self.fit_inputs.problem
        few = max(_FEWEST_EPOCHS, _VISITS // len(self.train))
        method = options.method if isinstance(options.method, str) else ""
        if self.options.tune is not None and self.options.tune.makes_backbone:
            method = self.options.tune.recipe
        return RunConfig(
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
        splits = self.fit_inputs.splits
        meaning = {
            "backbone": self.backbone.spec.fingerprint,
            "device": str(self.source.encoder.device),
            "train": splits.train.digest(),
            "validation": splits.validation.digest(),
            "labels": splits.train.labels,
            "kind": splits.train.kind,
            "apart": self.fit_inputs.reading.apart,
            "options": self.options.model_dump(mode="json", include=set(_DECIDING)),
            "adapter": self.adapter.model_dump(mode="json"),
            "existing": None if self.warm_start is None else self.warm_start.spec.digest,
            "from_depth": fork.from_depth,
            "head": fork.head.model_dump(mode="json"),
            "rank": rank,
        }
        if self.options.tune is not None and self.options.tune.makes_backbone:
            # Other recipes are what the adapter's options say.
            meaning["tune"] = str(self.options.tune)
        return Checkpoints(self.source.cache / _RUNS, meaning)

    def _examples(self, inputs: Sequence[tuple[str, ...]]) -> Examples:
        return read_examples(
            inputs,
            kind=self.fit_inputs.splits.train.kind,
            tokenizer=self.source.tokenizer,
            reading=self.fit_inputs.reading,
            max_windows=self.options.max_windows,
        )


def shape_of(
    options: AdapterOptions, backbone: Backbone, *, passes: range, rank: int, steps: int
) -> Shape:
    """Returns the shape of an adapter.

    Args:
        options: Of the adapter.
        backbone: What it changes.
        passes: Those that it changes where the options name none.
        rank: Its rank.
        steps: Steps that its training takes at most.
    """
    family = FAMILIES[backbone.spec.family]
    return Shape(
        method=options.method,
        depths=asked_depths(options) or tuple(passes),
        sites=options.sites or sites_of_config(options.method, family) or SITES,
        rank=rank,
        alpha=options.alpha or 2.0 * rank,
        dropout=options.dropout,
        tie_depths=options.tie_depths,
        steps=steps,
    )


def make_adapter(shape: Shape, backbone: Backbone, *, seed: int) -> TrainableAdapter:
    """Returns a copy of the backbone with a new adapter.

    Raises:
        UsageError: PEFT does not know the method, or cannot use it here.
    """
    if shape.method == BLOCK_METHOD:
        return BlockCopies(backbone.model, shape)
    shape = with_own_names(shape, FAMILIES[backbone.spec.family])
    with torch.random.fork_rng([]):
        return PeftLayers(backbone.model, shape, seed=seed)
