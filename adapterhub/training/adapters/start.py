"""The head that an adapter's training starts with: the best on frozen features.

It may read frozen depths below the adapter too, in a mix. So an adapter starts where the best
head alone ends, and what it reads below the fork costs no pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapterhub.errors import UsageError
from adapterhub.specs import HeadSpec
from adapterhub.training.candidates import depths_of, settings_of
from adapterhub.training.encoding import Source
from adapterhub.training.fit import fit
from adapterhub.training.material import Material
from adapterhub.training.options import TrainingOptions
from adapterhub.training.readers import MixedTaps
from adapterhub.training.search import search

if TYPE_CHECKING:
    from adapterhub.training.problem import Fitted


def start_heads(
    from_depth: int,
    alone: Fitted,
    material: Material,
    *,
    options: TrainingOptions,
    source: Source,
) -> list[Fitted]:
    """Returns heads that read over `from_depth`, the best first.

    Args:
        from_depth: Where the adapter starts.
        alone: The best head on the frozen trunk, at whatever depths.
        material: Frozen features of all depths, targets and judge.
        options: Which depths, poolings and shapes heads may have.
        source: Encoder and cache.

    Raises:
        UsageError: The options leave the head no depth over `from_depth`.
    """
    allowed = depths_of(options, source.encoder.depth)
    reads = [depth for depth in allowed if depth > from_depth]
    if not reads:
        raise UsageError(
            f"Option depths: the head reads no depth over {from_depth}, where the adapter "
            f"starts, so the adapter would change nothing."
        )
    # The deepest states pass through most of the adapter.
    deep = tuple(reads) if "depths" in options.model_fields_set else (max(reads),)
    above = options.model_copy(update={"depths": deep, "tolerance": 0.0})
    found = [search(material, options=above, source=source).chosen]
    found += _mixed(alone, allowed, material, options)
    if alone.head.depths[-1] >= reads[-1]:
        found.append(alone)
    return sorted(found, key=lambda one: -one.value)


def _mixed(
    alone: Fitted, allowed: Sequence[int], material: Material, options: TrainingOptions
) -> list[Fitted]:
    """Returns a mix of all allowed depths, of the shape that was best on the frozen trunk."""
    pooling = alone.head.pooling
    fits = material.tap_bytes * len(allowed) <= options.memory_bytes
    if not options.mixes or pooling == "attentive" or len(allowed) < 2 or not fits:
        return []
    heads = [HeadSpec(depths=tuple(allowed), pooling=pooling)]
    reader = MixedTaps.load(heads, material.tap, material.problem.device)
    return fit(
        reader,
        settings_of(options),
        hidden_width=alone.head.hidden_width,
        problem=material.problem,
    )
