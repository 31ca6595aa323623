"""Texts or records in, predictions out: read, scored and written in chunks of constant size."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapterhub.scoring.scorer import Scorer as Scorer

__all__ = ["Scorer"]


def __getattr__(name: str) -> object:
    """Imports the public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'adapterhub.scoring' has no attribute {name!r}")
    return getattr(import_module("adapterhub.scoring.scorer"), name)
