"""Which head is trained with an adapter: one that suits the frozen states where it reads."""

from __future__ import annotations

from adapterhub.errors import UsageError
from adapterhub.training.candidates import depths_of
from adapterhub.training.encoding import Source
from adapterhub.training.material import Material
from adapterhub.training.options import TrainingOptions
from adapterhub.training.search import Found, search

_PLAIN = {"mixes": False, "hidden_widths": (), "poolings": ("cls", "mean", "max")}
"""An adapter makes of the states what a mix or a hidden layer would have to."""


def find_shape(
    from_depth: int, material: Material, *, options: TrainingOptions, source: Source
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
