"""The arguments and options of `adapterhub score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT...", help="Texts. Without any: --file, or one per line of stdin."),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        metavar="NAME",
        help="Task to run, named as in `show`; repeat it, or write a,b. Without it all tasks of "
        "the registry that can read the input.",
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="Read rows of a .jsonl, .csv, .tsv, .parquet or .txt file.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="FILE", help="Write a .jsonl, .csv, .tsv or .parquet file."
    ),
]
Form = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="FORMAT", help="Of stdin or --file: text, jsonl, csv, tsv or parquet."
    ),
]
TextColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of the text, if not the tasks' own name.")
]
PairColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of the second text, of tasks on pairs.")
]
Prefix = Annotated[
    str, typer.Option(metavar="TEXT", help="Put before the names of the answers' columns.")
]
OnError = Annotated[
    str,
    typer.Option(
        metavar="raise|skip",
        help="At a bad row: stop, or leave it out; with --out it goes to <out>.errors.jsonl.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
TopK = Annotated[
    int,
    typer.Option(
        "--top-k", "-k", min=1, metavar="K", help="Give the k best labels with their scores."
    ),
]
AllLabels = Annotated[bool, typer.Option("--all", help="Give all labels with their scores.")]
