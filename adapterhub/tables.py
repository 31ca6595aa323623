"""The columns that a task's answers take in a table, and their types in Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from adapterhub.specs import Kind

if TYPE_CHECKING:
    import pyarrow as pa


def has_score_column(kind: Kind, top_k: int | None) -> bool:
    """Returns whether a task has one label per row, with its score in a column of its own."""
    return kind == "single_label" and top_k == 1


def score_column(name: str) -> str:
    """Returns the column of the scores of a task's labels."""
    return f"{name}_score"


def column_types(name: str, kind: Kind, *, top_k: int | None) -> dict[str, pa.DataType]:
    """Returns the type of each column of a task's answers, by its name and in order."""
    import pyarrow as pa

    if has_score_column(kind, top_k):
        return {name: pa.string(), score_column(name): pa.float64()}
    if kind == "regression":
        return {name: pa.float64()}
    if kind == "tagging":
        span = [("word", pa.string()), ("start", pa.int64()), ("end", pa.int64())]
        entity = pa.struct([("entity_group", pa.string()), ("score", pa.float64()), *span])
        return {name: pa.list_(entity)}
    return {name: pa.list_(pa.struct([("label", pa.string()), ("score", pa.float64())]))}


def task_columns(
    name: str, kind: Kind, answers: Sequence[object], *, top_k: int | None
) -> dict[str, list[object]]:
    """Returns each column of a task's answers; None in rows that were not scored."""
    if has_score_column(kind, top_k):
        labels = [_item(answer, "label") for answer in answers]
        return {name: labels, score_column(name): [_item(answer, "score") for answer in answers]}
    if kind == "regression":
        return {name: [_item(answer, "value") for answer in answers]}
    return {name: list(answers)}


def _item(answer: object, key: str) -> object:
    return answer.get(key) if isinstance(answer, Mapping) else None
