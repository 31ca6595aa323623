"""What a folder does not say about the task in it."""

from __future__ import annotations

from pydantic import Field, ValidationError

from adapterhub.errors import UsageError
from adapterhub.specs import FieldName, Kind, Label, Language, Spec, TaskName


class ImportOptions(Spec):
    """What the user says about a task that is imported.

    Attributes:
        kind: What it answers; None takes what its model was trained for.
        labels: Its labels in the order of its outputs; none takes those of its config.json.
        fields: The input fields it reads: one text or a pair.
        max_length: Window in tokens; None takes as much as the backbone reads, 512 at most.
        tied: Whether one adapter serves all depths; None takes what the names of its tensors say.
        description: For people.
        languages: Of its texts.
        license: Of the task.
        aliases: Aliases that shall point to it.
    """

    kind: Kind | None = None
    labels: tuple[Label, ...] = ()
    fields: tuple[FieldName, ...] = Field(default=("text",), min_length=1, max_length=2)
    max_length: int | None = Field(default=None, ge=8, le=512)
    tied: bool | None = None
    description: str = Field(default="", max_length=2_000)
    languages: tuple[Language, ...] = ()
    license: str | None = None
    aliases: tuple[TaskName, ...] = ()


def import_options(**values: object) -> ImportOptions:
    """Returns options, from values of users.

    Raises:
        UsageError: One makes no sense.
    """
    try:
        return ImportOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"Option {name}: {first['msg']}, found {first['input']!r}.") from error
