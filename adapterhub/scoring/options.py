"""The options of scoring a file; each is declared here once, with its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from adapterhub.option_models import Option, Options
from adapterhub.rows.formats import Format
from adapterhub.scoring.progress import ProgressMode

PartFormat = Literal["parquet", "jsonl"]


class ScoringOptions(Options):
    """Options of `Hub.score_file` and of `adapterhub score`."""

    text_column: Annotated[str | None, Option("NAME")] = None
    """Column of the text, or prompt, if not the tasks' own name."""
    pair_column: Annotated[str | None, Option("NAME")] = None
    """Column of the second text, of tasks on pairs, or of the choices."""
    prefix: str = ""
    """Put before the names of the columns of the predictions: `predicted_` makes
    predicted_spam.label."""
    on_error: Annotated[Literal["raise", "skip"], Option("raise|skip")] = "raise"
    """At a bad row: raise stops the run; skip leaves it out and, where something is written,
    puts it with the reason into <out>.errors.jsonl, or _errors.jsonl in a folder."""
    force: bool = False
    """Replace files that exist; in a folder start anew, whatever it holds of an earlier job."""
    keep_columns: Annotated[tuple[str, ...] | None, Option("NAME,NAME"), Field(strict=False)] = None
    """Columns of the input to write beside the predictions. Without it all; "" for none (in Python
    an empty list)."""
    mark_truncated: bool = False
    """Add a column `truncated`: whether a text was longer than all its windows, and cut."""
    part_rows: int = Field(default=16_384, ge=1)
    """Rows of the input per part; a run that was stopped goes on after the last whole part."""
    part_format: Annotated[PartFormat | None, Option("FORMAT")] = None
    """Format of the parts of a folder: parquet or jsonl. Without it parquet."""
    features_cache: Annotated[Path | None, Option("DIR"), Field(strict=False)] = None
    """Keep pooled features in this folder: a task that is added later and reads them, of
    the same texts, needs no pass of the encoder."""
    top_k: Annotated[int | None, Option("K", flags=("--top-k", "-k"))] = Field(default=1, ge=1)
    """Number of labels per text, best first, with their scores; --all gives all
    of them (in Python None)."""
    min_confidence: Annotated[float | None, Option("P")] = Field(default=None, ge=0, le=1)
    """Probability under which a task does not answer. Without it what its file says; 0 always
    predicts. Numbers and trees have none, and nor have several labels of --top-k."""
    format: Annotated[Format | None, Option("FORMAT")] = None
    """Format of files or a stream that are read: text, jsonl, csv, tsv, parquet or arrow. Without
    it the ending of the name decides; a stream without a name is text."""
    engine: Annotated[Literal["local", "ray"], Option("local|ray")] = "local"
    """Where files are scored: in this process, or in workers of Ray (extra `ray`)."""
    workers: Annotated[int | None, Option("N")] = Field(default=None, ge=1)
    """Processes of Ray, each with an encoder. Without it one per GPU, or per four processors."""
    num_gpus: Annotated[float, Option("N")] = Field(default=0.0, ge=0)
    """GPUs of each worker; 0.5 puts two of them on one."""
    progress: Annotated[ProgressMode | bool, Option("MODE", bare="auto")] = "auto"
    """Progress on stderr: auto and bar for a bar, if that is a terminal; json for a line with the
    figures every second; off. In Python also True and False."""
