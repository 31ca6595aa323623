"""The columns that a task was trained on, in its head file and in other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapterhub.specs import Role, TaskSpec
from adapterhub.training.data.columns import DESCRIPTION, TEXT, TEXT_PAIR
from adapterhub.training.data.records import parts_of_target
from adapterhub.training.options import TrainingOptions

_USUAL_NAMES: Mapping[Role, str] = {
    "text": TEXT,
    "pair": TEXT_PAIR,
    "tokens": "tokens",
    "heads": "head",
    "question": "question",
    "context": "context",
}
_OPTIONS: Mapping[Role, str] = {"question": "text", "context": "pair"}
"""The options that name columns, where they are not called as what they name."""


def recorded_columns(roles: Mapping[Role, str], options: TrainingOptions) -> dict[Role, str] | None:
    """Returns what a head file records, or None where everything has its usual name."""
    if roles.get("text") == DESCRIPTION and "text" not in options.model_fields_set:
        # Descriptions of labels are no texts to be scored.
        roles = {**roles, "text": TEXT}
    others = {role: name for role, name in roles.items() if _USUAL_NAMES.get(role, name) != name}
    return dict(roles) if others or options.target is not None else None


def with_trained_columns(
    options: TrainingOptions, spec: TaskSpec, columns: Sequence[str]
) -> TrainingOptions:
    """Returns options with the names of columns at training, where these are there.

    An option that is given stays. The two texts of a pair are found together or not at all, so
    that no text of another pair is read beside one of this.

    Args:
        options: Of the reading.
        spec: The task.
        columns: Those of the data.
    """
    record = spec.training
    if record is None:
        return options
    given = options.model_fields_set
    known = {} if record.columns is None else record.columns
    changes: dict[str, str] = {}
    groups: tuple[tuple[Role, ...], ...] = (
        ("text", "pair"),
        ("question", "context"),
        ("tokens",),
        ("heads",),
        ("target",),
    )
    for group in groups:
        roles = [one for one in group if one in known and _OPTIONS.get(one, one) not in given]
        names = [known[role] for role in roles]
        if spec.row.names_numbers and group == ("target",):
            names = [part for name in names for part in parts_of_target(name, columns)]
        if set(names) <= set(columns):
            changes.update((_OPTIONS.get(role, role), known[role]) for role in roles)
    if record.join_tokens is not None and "join_tokens" not in given:
        changes["join_tokens"] = record.join_tokens
    return options.model_copy(update=changes)
