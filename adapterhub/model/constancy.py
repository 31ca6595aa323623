"""Heads that answer the same to every text, because their weights are all zero."""

from __future__ import annotations

import warnings

from adapterhub.errors import ConstantHeadWarning
from adapterhub.store.headfile import HeadFile

_MAPS = ("head.weight", "head.hidden.weight")


def is_constant(head: HeadFile) -> bool:
    """Returns whether no text can change the answer: a map that all features pass is zero."""
    return any(name in head.tensors and not bool(head.tensors[name].any()) for name in _MAPS)


def warn_if_constant(head: HeadFile) -> None:
    """Warns of a head that answers the same to every text; it is loaded all the same."""
    if is_constant(head):
        warnings.warn(ConstantHeadWarning(head.spec.task, head.source), stacklevel=2)
