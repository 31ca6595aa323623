"""The labels of a task, as its training rows name them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from adapterhub.specs import MAX_LABELS, Kind
from adapterhub.training.records import Records
from adapterhub.training.tagging import Span, tag_labels

Target = str | tuple[str, ...] | float | tuple[Span, ...]


def labels_of(target: Target) -> tuple[str, ...]:
    """Returns the labels that one target names; for tagging its entity types as `B-x`."""
    if isinstance(target, str):
        return (target,)
    if isinstance(target, tuple):
        return tuple(f"B-{part.entity}" if isinstance(part, Span) else part for part in target)
    return ()


def find_labels(kind: Kind, targets: Sequence[Target], records: Records) -> tuple[str, ...]:
    """Returns the labels of a task with these training targets, in the order of its outputs.

    Args:
        kind: Kind of the task.
        targets: Of all training rows.
        records: Where they come from, for messages.

    Raises:
        DataError: The targets are all alike, or too many different ones.
    """
    found = {label for target in targets for label in labels_of(target)}
    if kind == "regression":
        if len(set(targets)) < 2:
            records.refuse(f"all training rows have the value {targets[0]!r}")
        if len(set(np.asarray(targets, dtype=np.float32))) < 2:
            records.refuse("the values differ by less than a float32 can tell; take their mean off")
        return ()
    fewest = 2 if kind == "single_label" else 1
    if len(found) < fewest:
        names = f"only the label '{next(iter(found))}'" if found else "no labels at all"
        records.refuse(f"the training rows hold {names}; nothing can be learned")
    labels = tag_labels(found) if kind == "tagging" else tuple(sorted(found, key=_naturally))
    if len(labels) > MAX_LABELS:
        records.refuse(
            f"the training rows hold {len(labels)} labels, at most {MAX_LABELS} are allowed; if "
            f"they are numbers to be predicted, the kind is 'regression'"
        )
    return labels


def _naturally(label: str) -> list[tuple[bool, int, str]]:
    # "2" before "10": runs of digits compare as numbers, and come before letters.
    parts = re.findall(r"([0-9]+)|([^0-9]+)", label)
    return [(not digits, int(digits or 0), digits or other) for digits, other in parts]
