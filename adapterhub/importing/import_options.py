"""What a folder does not say about the task in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adapterhub.option_models import Option, Options
from adapterhub.specs import MAX_WINDOW, FieldName, Kind, Label, Language, TaskName


class ImportOptions(Options):
    """What the folder of an imported task does not contain."""

    labels: Annotated[tuple[Label, ...], Option("A,B", "config.json")] = ()
    """Labels in the order of the model's outputs."""
    kind: Annotated[Kind | None, Option("KIND", "what it was trained for")] = None
    """Kind of the task."""
    fields: Annotated[
        tuple[FieldName, ...],
        Option(shown="", flags=("--pair",), constant=("text", "text_pair")),
    ] = Field(default=("text",), min_length=1, max_length=2)
    """Input fields of the task: one text, or a pair of texts."""
    max_length: Annotated[int | None, Option(shown="the backbone's positions")] = Field(
        default=None, ge=8, le=MAX_WINDOW
    )
    """Window in tokens."""
    tied: Annotated[
        bool | None, Option(shown="what its names say", flags=("--tied/--per-depth",))
    ] = None
    """Whether one adapter serves all depths; without it the names of its tensors decide."""
    any_base: bool = False
    """Import an adapter although it names another model than the backbone as its base."""
    description: str = Field(default="", max_length=2_000)
    """One line on what the task predicts."""
    languages: Annotated[tuple[Language, ...], Option("A,B")] = ()
    """Languages of the task's texts, for instance en,zh."""
    license: str | None = None
    """Licence of the task."""
    aliases: Annotated[tuple[TaskName, ...], Option("A,B")] = ()
    """Aliases that point to the task."""
