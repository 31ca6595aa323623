"""Options of verbs that have no class of options in the library."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from adapterhub.commands.options import (
    BACKBONE_HELP,
    JSON_HELP,
    OWN_REGISTRY_HELP,
    REGISTRIES_HELP,
    REGISTRY_TO_WRITE_HELP,
    USE_HELP,
)
from adapterhub.option_models import Option, Options
from adapterhub.rows.formats import Format

if TYPE_CHECKING:
    from adapterhub.store.registries import Registries


class HubOptions(Options):
    """How the tasks of a registry are loaded."""

    backbone: Annotated[str | None, Option("NAME")] = Field(None, description=BACKBONE_HELP)
    device: Annotated[str, Option("NAME")] = "auto"
    """cpu, cuda, cuda:<n>, mps or auto."""
    dtype: Annotated[str, Option("NAME")] = "float32"
    """float32, float16 or bfloat16."""
    max_windows: int = Field(default=16, ge=1)
    """Maximum number of windows per text; what is beyond them is cut."""

    def check_names(self) -> None:
        """Checks, without torch, the names of device and dtype.

        Raises:
            UsageError: One is not valid.
        """
        from adapterhub.model.backbone.devices import check_device, check_dtype

        check_device(self.device)
        check_dtype(self.dtype)

    def check_backbone(self, registries: Registries, backbone: str | Path | None) -> None:
        """Checks, without torch, the backbone that the hub is opened with.

        Args:
            registries: Of the tasks.
            backbone: The chosen one.

        Raises:
            BackboneError: The backbone cannot be opened, as far as its files say.
        """
        from adapterhub.model.backbone.sources import check_backbone

        check_backbone(registries, backbone)


class PlaceOptions(Options):
    """Where a new task goes, and the backbone that it is for."""

    registry: Annotated[Path | None, Option(flags=("--registry", "-r"))] = Field(
        None, description=REGISTRY_TO_WRITE_HELP
    )
    backbone: Annotated[str | None, Option("NAME")] = Field(None, description=BACKBONE_HELP)

    @property
    def where(self) -> str | Path:
        """Returns the registry, as the library takes it."""
        from adapterhub.store.registry import NEAREST

        return self.registry or NEAREST

    @property
    def option(self) -> str:
        """Returns the option that names the registry, for a command to copy; may be empty."""
        return "" if self.registry is None else f" --registry {shlex.quote(str(self.registry))}"


class OutputOptions(Options):
    """How a verb shows what it measured."""

    plot: Annotated[Path | None, Option("FILE")] = None
    """Draw it to a .png, .svg or .pdf file too."""
    as_json: Annotated[bool, Option(flags=("--json",))] = Field(False, description=JSON_HELP)

    def check_plot(self) -> None:
        """Checks, before any work, that a plot can be drawn if one is wanted.

        Raises:
            UsageError: The file cannot be written, as far as its name and folder say.
            MissingExtraError: matplotlib is not installed.
        """
        from adapterhub.plots.figure_files import check_plot

        if self.plot is not None:
            check_plot(self.plot)


class MeasuringOptions(OutputOptions):
    """What `eval` measures, and how it shows that."""

    min_confidence: Annotated[float | None, Option("P", "what its file says")] = Field(
        default=None, ge=0, le=1
    )
    """Probability under which a task does not answer, of which coverage and accuracy are
    measured."""


class ScoreArguments(Options):
    """What `score` reads and writes, beside the options of scoring a file."""

    file: Annotated[Path | None, Option(flags=("--file", "-f"))] = None
    """Read rows of a .jsonl, .csv, .tsv, .txt (each also with .gz or .zst), .parquet or .arrow
    file, or of all files of a folder or of a pattern such as 'data/*.csv'."""
    out: Annotated[str | None, Option("PATH", flags=("--out", "-o"))] = None
    """Write a .jsonl, .csv, .tsv (each also with .gz or .zst), .parquet or .arrow file, or parts
    into a folder: a name without an ending, or with / at its end."""
    registry: Annotated[tuple[Path, ...], Option(flags=("--registry", "-r"), repeated=True)] = (
        Field((), description=REGISTRIES_HELP)
    )
    all_labels: Annotated[bool, Option(flags=("--all",))] = False
    """Give all labels with their scores."""
    no_progress: bool = False
    """Show no progress, as --progress off."""


class NearestArguments(Options):
    """What `nearest` reads and writes, beside the texts and the options of an index."""

    queries: Annotated[Path | None, Option("FILE")] = None
    """File of queries, in any format of the texts, or - for stdin; each row is written with what
    is found."""
    query_column: Annotated[str | None, Option("NAME", "text")] = None
    """Column of the queries."""
    query_format: Annotated[Format | None, Option("FORMAT")] = None
    """Format of the queries' file. Without it the ending of the name decides; stdin is text."""
    each: bool = False
    """Find the nearest other texts of each text."""
    index: Annotated[Path | None, Option("DIR")] = None
    """Save the index in this folder; one that is there is used if it was made of the same texts,
    settings and backbone."""
    out: Annotated[Path | None, Option("FILE", flags=("--out", "-o"))] = None
    """Write the queries with what is found to a .jsonl, .csv, .tsv, .parquet or .arrow file."""
    registry: Annotated[tuple[Path, ...], Option(flags=("--registry", "-r"), repeated=True)] = (
        Field((), description=REGISTRIES_HELP)
    )
    as_json: Annotated[bool, Option(flags=("--json",))] = Field(False, description=JSON_HELP)


class SearchOptions(Options):
    """Where to search, and for what on the Hugging Face Hub."""

    remote: bool = False
    """Search the Hugging Face Hub instead."""
    base_model: Annotated[str | None, Option("OWNER/NAME")] = None
    """With --remote: only for this backbone."""
    author: Annotated[str | None, Option("OWNER")] = None
    """With --remote: only of this owner."""
    limit: int = Field(default=20, ge=1, le=200)
    """With --remote: maximum number of repositories, at most 200."""


class AliasOptions(Options):
    """What `alias` does with an alias."""

    remove: bool = False
    """Remove the alias."""
    registry: Annotated[Path | None, Option(flags=("--registry", "-r"))] = Field(
        None, description=OWN_REGISTRY_HELP
    )


class LabelOptions(Options):
    """What `label` does with the labels of a prototype task."""

    text: Annotated[tuple[str, ...], Option("TEXT", repeated=True)] = ()
    """add: an example of the label. Repeatable."""
    examples: Annotated[Path | None, Option("FILE")] = None
    """add: a file of examples with a column text; where no LABEL is given also a column label, and
    all its labels are added in one version. A column description takes the place of text."""
    describe: Annotated[str | None, Option("SENTENCE")] = None
    """add: a sentence that says what texts the label is for; counts as one more example."""
    extend: bool = False
    """add: the label is there already, and gets more examples."""
    registry: Annotated[Path | None, Option(flags=("--registry", "-r"))] = Field(
        None, description=OWN_REGISTRY_HELP
    )
    as_json: Annotated[bool, Option(flags=("--json",))] = Field(False, description=JSON_HELP)


class DeprecateOptions(Options):
    """How a task is deprecated."""

    use: Annotated[str | None, Option("NAME")] = Field(None, description=USE_HELP)
    undo: bool = False
    """Take the deprecation back."""
