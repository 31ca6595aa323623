"""Features of texts for other heads than those of adapterhub."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapterhub.errors import UsageError, check_type
from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.pooling import POOLINGS
from adapterhub.model.encoder.tokens import Window, batches
from adapterhub.model.execution.call import read_texts, refuse_bad_rows
from adapterhub.model.execution.run_trunk import ExecutionContext, mean_of_windows, tokens_of_rows
from adapterhub.model.heads.heads import Array
from adapterhub.plan import Reading, Tap

# As TaskSpec.max_length: room for three special tokens and a few tokens of each field.
_SHORTEST_WINDOW = 8


def features_of(
    rows: Sequence[object], *, tap: Tap, reading: Reading, context: ExecutionContext
) -> Array | tuple[Array, ...]:
    """Returns features of checked rows, see `encode_rows`.

    Args:
        rows: Strings or records.
        tap: The depth and the pooling.
        reading: The fields and the window.
        context: The encoder, its tokenizer and the maximum number of windows.

    Raises:
        UsageError: The depth, pooling, fields or window are not valid.
        InputError: A row cannot be read.
    """
    _check(tap, reading, context.encoder)
    given = read_texts(rows, reading.fields, context.tokenizer)
    refuse_bad_rows([given])
    return encode_rows(given.inputs, tap=tap, reading=reading, context=context)


@inference
def encode_rows(
    inputs: Sequence[tuple[str, ...]], *, tap: Tap, reading: Reading, context: ExecutionContext
) -> Array | tuple[Array, ...]:
    """Returns the fp32 features that a head on `tap` reads.

    (N, H), the mean over a row's windows; for pooling `tokens` one (tokens, H) array per row.
    """
    encoder, tokenizer = context.encoder, context.tokenizer
    rows = tokenizer.rows(inputs, reading=reading, max_windows=context.max_windows)
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
    check_type(tap.depth, int, "depth", "a whole number")
    check_type(reading.max_length, int, "max_length", "a whole number of tokens")
    check_type(tap.pooling, str, "pooling", "cls, mean, max or tokens")
    for field in fields:
        check_type(field, str, "One of the fields", "the name of a field")
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
