"""Options of an import: what the folder itself does not contain."""

from __future__ import annotations

from pydantic import Field, ValidationError

from adapterhub.errors import UsageError
from adapterhub.specs import FieldName, Kind, Label, Language, Spec, TaskName


class ImportOptions(Spec):
    """Options of an import.

    Attributes:
        kind: Kind of the task; None takes that of the model's training.
        labels: Labels in the order of the logits; none takes those of config.json.
        fields: The input fields: one text or a pair.
        max_length: Window in tokens; None takes the backbone's limit, 512 at most.
        tied: Whether all depths share one adapter; None decides by the names of the tensors.
        description: Description for people.
        languages: Languages of the texts.
        license: Licence of the task.
        aliases: Aliases that will point to the new version.
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
    """Returns validated options.

    Raises:
        UsageError: A value is not valid.
    """
    try:
        return ImportOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"Option {name}: {first['msg']}, found {first['input']!r}.") from error
