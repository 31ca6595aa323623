"""Vectors of the texts of a call, as `Hub.encode` returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from adapterhub.model.execution.text_features import FeatureOptions, features_of
from adapterhub.model.heads.heads import Array
from adapterhub.retrieval.options import EncodeOptions, encode_options
from adapterhub.scoring.progress import watching

if TYPE_CHECKING:
    from adapterhub.model.backbone.sentence_vectors import SentenceVectors
    from adapterhub.model.execution.run_trunk import ExecutionContext
    from adapterhub.model.execution.stages import Watch

Encoded = Array | tuple[Array, ...] | torch.Tensor | tuple[torch.Tensor, ...]
"""The vectors of N texts: (N, H), or for pooling `tokens` one (tokens, H) per text."""


def encode_texts(
    rows: Sequence[object],
    options: FeatureOptions,
    more: Mapping[str, object],
    *,
    context: ExecutionContext,
    sentence: SentenceVectors | None,
) -> Encoded:
    """Returns the vectors of checked rows; see `features_of`.

    Args:
        rows: Strings or records.
        options: What to compute.
        more: Options of `EncodeOptions`.
        context: As in `features_of`.
        sentence: As in `features_of`.

    Raises:
        UsageError: An option is unknown or not valid.
        AdapterHubError: As `features_of`.
    """
    further = encode_options(more)
    options = replace(
        options, normalize=further.normalize, truncate_dim=further.truncate_dim, role=further.role
    )
    depth = options.depth if type(options.depth) is int else context.encoder.depth
    with _watched(further, rows=len(rows), passes=depth) as watch:
        found = features_of(rows, options, context=context, sentence=sentence, watch=watch)
    if further.output == "numpy":
        return found
    device = context.encoder.device
    if isinstance(found, tuple):
        return tuple(torch.from_numpy(one).to(device) for one in found)
    return torch.from_numpy(found).to(device)


@contextmanager
def _watched(options: EncodeOptions, *, rows: int, passes: int) -> Iterator[Watch | None]:
    """Yields what is called after each batch: the caller's function, or what shows progress."""
    progress = options.progress
    if callable(progress):
        yield progress
    elif progress in ("off", False):
        yield None
    else:
        with watching(progress, total=rows, passes_per_text=passes) as shown:
            yield shown.advance
