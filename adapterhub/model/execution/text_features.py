"""Features for people who bring their own heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapterhub.errors import UsageError
from adapterhub.inputs import read_fields
from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.pooling import POOLINGS
from adapterhub.model.encoder.tokens import Window, batches
from adapterhub.model.execution.call import refuse_bad_rows
from adapterhub.model.execution.run_trunk import Answering, mean_of_windows, tokens_of_rows
from adapterhub.model.heads.heads import Array
from adapterhub.plan import Reading, Tap

_SHORTEST_WINDOW = 8


def features_of(
    rows: Sequence[object], *, tap: Tap, reading: Reading, answering: Answering
) -> Array | tuple[Array, ...]:
    """Returns features in fp32: (N, H), or for pooling `tokens` one (tokens, H) per row.

    Args:
        rows: Strings or records.
        tap: Depth and pooling to read.
        reading: The fields and the window.
        answering: Where it is computed.

    Raises:
        UsageError: No such depth, pooling, fields or window.
        InputError: A row cannot be read.
    """
    _check(tap, reading, answering.encoder)
    given = read_fields(rows, reading.fields)
    refuse_bad_rows([given])
    return encode_rows(given.inputs, tap=tap, reading=reading, answering=answering)


def encode_rows(
    inputs: Sequence[tuple[str, ...]], *, tap: Tap, reading: Reading, answering: Answering
) -> Array | tuple[Array, ...]:
    """Returns the features that a head on `tap` would read, in fp32.

    (N, H), the mean over a row's windows; for `tokens` one (tokens, H) array per row.
    """
    encoder, tokenizer = answering.encoder, answering.tokenizer
    rows = tokenizer.rows(inputs, reading=reading, max_windows=answering.max_windows)
    windows = tokenizer.windows(rows, reading=reading)
    order: list[Window] = []
    parts: list[Array] = []
    packed = batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device)
    for states in each_depth(packed, (tap.depth,), encoder=encoder):
        order.extend(states.batch.windows)
        parts.append(POOLINGS[tap.pooling](states.hidden, states.batch).cpu().numpy())
    values = np.concatenate(parts)
    if tap.pooling == "tokens":
        return tokens_of_rows(values, order, rows)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    return mean_of_windows(values, order, counts, np.arange(len(rows)))


def _check(tap: Tap, reading: Reading, encoder: Encoder) -> None:
    fields = reading.fields
    if not 0 <= tap.depth <= encoder.depth:
        raise UsageError(f"depth is {tap.depth}; this backbone has 0 to {encoder.depth}.")
    if tap.pooling not in POOLINGS:
        raise UsageError(f"pooling is {tap.pooling!r}; expected cls, mean, max or tokens.")
    if len(fields) not in (1, 2) or (tap.pooling == "tokens" and len(fields) == 2):
        raise UsageError(f"fields are {fields}; expected one, or two without pooling 'tokens'.")
    if not _SHORTEST_WINDOW <= reading.max_length <= encoder.max_positions:
        raise UsageError(
            f"max_length is {reading.max_length}; expected {_SHORTEST_WINDOW} to "
            f"{encoder.max_positions}."
        )
