"""Features for people who bring their own heads."""

from __future__ import annotations

from collections.abc import Sequence

from adapterhub.call import refuse_bad_rows
from adapterhub.errors import UsageError
from adapterhub.inputs import read_fields
from adapterhub.model.encoder import Encoder
from adapterhub.model.execution import Answering, encode_rows
from adapterhub.model.heads import Array
from adapterhub.plan import Reading, Tap
from adapterhub.specs import POOLINGS

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
    return encode_rows(
        given.inputs,
        tap=tap,
        reading=reading,
        answering=answering,
    )


def _check(tap: Tap, reading: Reading, encoder: Encoder) -> None:
    fields = reading.fields
    if not 0 <= tap.depth <= encoder.depth:
        raise UsageError(f"depth is {tap.depth}; this backbone has 0 to {encoder.depth}.")
    if tap.pooling not in POOLINGS or tap.pooling == "attentive":
        raise UsageError(f"pooling is {tap.pooling!r}; expected cls, mean, max or tokens.")
    if len(fields) not in (1, 2) or (tap.pooling == "tokens" and len(fields) == 2):
        raise UsageError(f"fields are {fields}; expected one, or two without pooling 'tokens'.")
    if not _SHORTEST_WINDOW <= reading.max_length <= encoder.max_positions:
        raise UsageError(
            f"max_length is {reading.max_length}; expected {_SHORTEST_WINDOW} to "
            f"{encoder.max_positions}."
        )
