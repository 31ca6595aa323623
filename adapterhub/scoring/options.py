"""The options of scoring a file; each is declared here once, with its help."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError

from adapterhub.errors import UsageError
from adapterhub.rows.formats import Format
from adapterhub.specs import Spec


class ScoringOptions(Spec):
    """Options of `Hub.score_file`; the description of a field is its help on the command line."""

    text_column: str | None = Field(
        default=None, description="Column of the text, if not the tasks' own name."
    )
    pair_column: str | None = Field(
        default=None, description="Column of the second text, of tasks on pairs."
    )
    prefix: str = Field(
        default="", description="Put before the names of the columns of the predictions."
    )
    on_error: Literal["raise", "skip"] = Field(
        default="raise",
        description="At a bad row: stop, or leave it out; of a file that is written, it goes to "
        "<out>.errors.jsonl.",
    )
    force: bool = Field(default=False, description="Replace files that exist.")
    top_k: int | None = Field(
        default=1,
        ge=1,
        description="Give the k best labels with their scores; None gives all labels.",
    )
    format: Format | None = Field(
        default=None,
        description="Of a file or stream that is read: text, jsonl, csv, tsv or parquet. Without "
        "it the ending of the name says it, and a stream is text.",
    )
    progress: bool = Field(
        default=True, description="Show a progress bar on stderr, if that is a terminal."
    )


def scoring_options(**values: object) -> ScoringOptions:
    """Returns options from keyword arguments or a command line.

    Raises:
        UsageError: An option is unknown or its value makes no sense.
    """
    try:
        return ScoringOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"Option {name}: {first['msg']}, found {first['input']!r}.") from error
