"""Predictions that are equal up to the last digits of their scores."""

from __future__ import annotations

from typing import Any


def is_close(one: Any, other: Any, tolerance: float = 1e-5) -> bool:
    """Returns whether rows, lists or tables are equal, floats up to `tolerance`."""
    if hasattr(one, "to_pylist"):
        return is_close(one.to_pylist(), other.to_pylist(), tolerance)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= tolerance
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and is_close(
            list(one.values()), list(other.values()), tolerance
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            is_close(left, right, tolerance) for left, right in zip(one, other, strict=True)
        )
    return type(one) is type(other) and bool(one == other)
