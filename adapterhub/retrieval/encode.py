"""Vectors of the texts of a call, as `Hub.encode` returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from adapterhub.decoding import BEST
from adapterhub.errors import UsageError
from adapterhub.model.execution.call import make_request
from adapterhub.model.execution.text_features import (
    FeatureOptions,
    check_size,
    features_of,
    shaped,
)
from adapterhub.model.heads.heads import Array
from adapterhub.opening import HubParts
from adapterhub.retrieval.options import EncodeOptions, encode_options
from adapterhub.scoring.progress import watching

if TYPE_CHECKING:
    from adapterhub.model.execution.stages import Watch

Encoded = Array | tuple[Array, ...] | torch.Tensor | tuple[torch.Tensor, ...]
"""The vectors of N texts: (N, H), of a task (N, K), for pooling `tokens` one (tokens, H) each."""

_OF_THE_TASK = ("depth", "pooling", "max_length", "prompt", "role")
"""What a task says of its vectors, or has none of."""


def encode_texts(
    rows: Sequence[object],
    options: FeatureOptions,
    more: Mapping[str, object],
    *,
    parts: HubParts,
) -> Encoded:
    """Returns the vectors of checked rows; see `features_of`.

    Args:
        rows: Strings or records.
        options: What to compute.
        more: Options of `EncodeOptions`.
        parts: The backbone, and the tasks that may make the vectors.

    Raises:
        UsageError: An option is unknown or not valid, contradicts a task, or the task makes none.
        AdapterHubError: As `features_of`, or as `Hub.score` of a task.
    """
    further, context = encode_options(more), parts.context
    options = replace(
        options, normalize=further.normalize, truncate_dim=further.truncate_dim, role=further.role
    )
    if further.task is not None:
        found: Array | tuple[Array, ...] = _of_task(rows, options, further, parts)
    else:
        depth = options.depth if type(options.depth) is int else context.encoder.depth
        own = parts.backbone.sentence
        with _watched(further, rows=len(rows), passes=depth) as watch:
            found = features_of(rows, options, context=context, sentence=own, watch=watch)
    if further.output == "numpy":
        return found
    device = context.encoder.device
    if isinstance(found, tuple):
        return tuple(torch.from_numpy(one).to(device) for one in found)
    return torch.from_numpy(found).to(device)


def _of_task(
    rows: Sequence[object], options: FeatureOptions, further: EncodeOptions, parts: HubParts
) -> Array:
    """Returns the vectors of a task of the kind that makes some: (N, K) fp32.

    Raises:
        UsageError: An option contradicts the task, or it is of another kind.
        AdapterHubError: As `Hub.score`.
    """
    column = _column(options)
    names = parts.names.own(cast("str", further.task))
    ((name, full),) = names.items()
    spec = parts.tasks.spec(full)
    if not spec.row.of_vectors:
        raise UsageError(
            f"Task '{name}' is of the kind {spec.kind}, and only those of the kind embedding make "
            f"vectors; hub.score gives its predictions."
        )
    check_size(options.truncate_dim, spec.outputs)
    call = parts.tasks.open_call(names, fields={name: {spec.fields[0]: column}}, answers=BEST)
    request = make_request(tuple(rows), BEST, on_error="raise", logits=True)
    prepared = call.prepare_request(request)
    with _watched(further, rows=len(rows), passes=spec.deepest) as watch:
        scores = call.decode(call.compute(prepared, watch=watch))
    vectors = cast("Array", scores[name].logits)
    return shaped(vectors, options.truncate_dim, normalize=options.normalize is not False)


def _column(options: FeatureOptions) -> str:
    """Returns the field that a task's text is read from.

    Raises:
        UsageError: An option says something else of the vectors than the task.
    """
    given = [name for name in _OF_THE_TASK if getattr(options, name) is not None]
    if given:
        raise UsageError(
            f"{' and '.join(given)} cannot be given beside task: its file says how its vectors are "
            f"made. Leave {'it' if len(given) == 1 else 'them'} out, or the task."
        )
    fields = [options.fields] if isinstance(options.fields, str) else list(options.fields)
    if len(fields) != 1 or not isinstance(fields[0], str):
        raise UsageError(f"fields are {fields!r:.80}; a task makes vectors of one text.")
    return fields[0]


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
