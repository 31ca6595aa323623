"""A new head on the adapter of a task that exists: the adapter stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from adapterhub.errors import UsageError
from adapterhub.model.compiling import compile_adapter
from adapterhub.specs import AdapterSpec
from adapterhub.training.adapters.existing import existing_of, read_existing
from adapterhub.training.adapters.found import FittedAdapter, FoundAdapter
from adapterhub.training.encoding import Source
from adapterhub.training.options import TrainingOptions
from adapterhub.training.search import Found


@dataclass(frozen=True, slots=True, eq=False)
class Reused:
    """The adapter of another task.

    Attributes:
        spec: What it changes; with the same digest, so that both tasks share one branch.
        tensors: By the names of a head file.
        source: Gives the features of its branch.
    """

    spec: AdapterSpec
    tensors: Mapping[str, torch.Tensor]
    source: Source

    def reads(self, options: TrainingOptions) -> TrainingOptions:
        """Returns options by which heads read the branch, and no depth below it.

        Raises:
            UsageError: The options leave no such depth.
        """
        start, depth = self.spec.from_depth, self.source.encoder.depth
        depths = tuple(d for d in options.depths or range(depth + 1) if d > start)
        if not depths:
            raise UsageError(
                f"Option depths: the head reads no depth over {start}, where the adapter starts."
            )
        # The folds of cross-validation would need a file of their own for each.
        return options.model_copy(update={"depths": depths, "folds": 0})

    def join(self, found: Found) -> FoundAdapter:
        """Returns the head that was found together with the adapter."""
        chosen = found.chosen
        fitted = FittedAdapter(
            head=chosen.head,
            adapter=self.spec,
            tensors={**chosen.tensors, **self.tensors},
            apart=chosen.apart,
            setting=chosen.setting,
            value=chosen.value,
            epoch=chosen.epoch,
            seconds=0.0,
            checkpoints=None,
        )
        return FoundAdapter(fitted, found.table, ())


def reuse_adapter(reference: str, *, registry: Path, source: Source) -> Reused:
    """Returns the adapter of the task that `reference` names.

    Args:
        reference: A task of the registry, a head file, or a task on the Hub.
        registry: The registry.yaml for names without a place.
        source: The encoder that it shall run on.

    Raises:
        UsageError: The task has no adapter, or the name follows none of the forms.
        BackboneMismatchError: It was made for another backbone.
        HeadFileError: The file is damaged, or its adapter does not fit.
    """
    encoder = source.encoder
    head = read_existing(reference, registry=registry, backbone=encoder.spec)
    found = existing_of(head)
    compiled = compile_adapter(found.spec, head.tensors, encoder=encoder, source=head.source)
    return Reused(found.spec, found.tensors, replace(source, adapter=compiled))
