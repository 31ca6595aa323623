"""What names, languages and digests look like, and the names of poolings and linear maps."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, StringConstraints

Pooling = Literal["cls", "mean", "max", "attentive", "tokens"]
TextPooling = Literal["cls", "mean", "max", "attentive"]
Site = Literal["query", "key", "value", "dense", "ffn", "ffn_output"]
Activation = Literal["gelu", "tanh", "relu"]

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
SITES: tuple[Site, ...] = get_args(Site)
"""The linear maps of a block: the last part of their names in transformers."""
BLOCK_METHOD = "block"
"""The one method that is not of PEFT: an own copy of the whole block at its depths."""
TEXT_POOLINGS: tuple[TextPooling, ...] = get_args(TextPooling)
APART_POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "max")
"""Poolings without parameters: of pairs whose texts are encoded separately, of prototypes."""

TASK_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
FINGERPRINT_PATTERN = r"^sha256:[0-9a-f]{64}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) < len(labels):
        raise ValueError("one is named twice")
    return labels


TaskName = Annotated[str, StringConstraints(pattern=TASK_NAME_PATTERN)]
Fingerprint = Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]
LabelOrder = Annotated[tuple[Label, ...], AfterValidator(_distinct)]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$")]

MAX_LABELS = 10_000
MAX_WINDOW = 65_536  # tokens; a backbone has its own limit, its positions
