"""`adapterhub score`: many tasks over texts, a stream or a file in one pass."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from adapterhub.commands import score_options as given
from adapterhub.commands.options import (
    AsJson,
    Backbone,
    Device,
    Dtype,
    MaxWindows,
    Registry,
    one_of,
    split_names,
)
from adapterhub.commands.printing import counted, note, print_json
from adapterhub.errors import DataError, UsageError

if TYPE_CHECKING:
    from adapterhub.commands.score_output import Target
    from adapterhub.commands.score_run import Tally
    from adapterhub.commands.score_tasks import Assignment
    from adapterhub.scoring.sources import Source


def score(
    texts: given.Texts = None,
    task: given.Tasks = None,
    file: given.File = None,
    out: given.Out = None,
    form: given.Form = None,
    text_column: given.TextColumn = None,
    pair_column: given.PairColumn = None,
    prefix: given.Prefix = "",
    on_error: given.OnError = "raise",
    force: given.Force = False,
    top_k: given.TopK = 1,
    all_labels: given.AllLabels = False,
    registry: Registry = None,
    backbone: Backbone = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    max_windows: MaxWindows = 16,
    as_json: AsJson = False,
) -> None:
    """Score texts with many tasks in one pass.

    Answers go to the terminal as a table, to a pipe as JSON Lines, or to a file with --out.
    """
    from adapterhub.commands.score_output import Target, check_target
    from adapterhub.commands.score_tasks import Asked, assign_tasks
    from adapterhub.remote.find import open_registry

    skip = one_of("--on-error", on_error, ("raise", "skip")) == "skip"
    if all_labels and top_k != 1:
        raise UsageError("--top-k and --all ask for different numbers of labels; give one.")
    source = _open_source(texts or [], file, form)
    out = None if out is None else Path(os.path.expanduser(out))
    target = Target(out, skip=skip, force=force, as_json=as_json)
    check_target(target, source)
    opened = open_registry(registry)
    best = None if all_labels else top_k
    asked = Asked(split_names(task), text_column, pair_column, prefix, best, backbone)
    assigned = assign_tasks(opened, source, asked)
    # From here on it takes seconds: torch, the backbone, the tasks.
    from adapterhub.commands.score_run import run
    from adapterhub.hub import Hub

    chosen = assigned.backbone
    hub = Hub(opened.path, backbone=chosen, device=device, dtype=dtype, max_windows=max_windows)
    hub.load(*assigned.request.names)
    tally = run(hub, source, assigned, target)
    _summarise(tally, assigned, target)
    if not tally.scored:
        raise typer.Exit(DataError.exit_code)


def _open_source(texts: list[str], file: Path | None, form: str | None) -> Source:
    from adapterhub.rows.formats import FORMATS, PACKED, FileFormat, Format, find_format
    from adapterhub.scoring.sources import file_source, stream_source, text_source

    known: dict[str, Format] = {name: name for name in FORMATS}
    asked = None if form is None else known[one_of("--format", form, known)]
    if texts and (file is not None or asked is not None):
        raise UsageError("There are texts, and --file or --format too; give one or the other.")
    if texts:
        if len(texts) == 1 and Path(texts[0]).suffix and os.path.isfile(texts[0]):
            note(f"adapterhub: '{texts[0]}' is scored as a text; the file is --file {texts[0]}")
        return text_source(texts)
    if file is not None:
        path = Path(os.path.expanduser(file))
        packed = path.suffix.lower() == PACKED
        return file_source(path, FileFormat(asked, packed) if asked else find_format(path))
    if asked == "parquet":
        raise UsageError("Parquet cannot be read from stdin; use --file.")
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("There are no texts; give some, or --file, or pipe them in.")
    # Not stdin itself, because what is not UTF-8 there shall cost one row only.
    stream = TextIOWrapper(
        sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline="\n"
    )
    return stream_source(stream, asked or "text")


def _summarise(tally: Tally, assigned: Assignment, target: Target) -> None:
    """Says what was done and what it cost; to stdout only as JSON where that is free."""
    from adapterhub.commands.explain import plan_values
    from adapterhub.commands.score_output import errors_path

    rows, out = tally.scored + tally.bad, target.path
    if target.as_json and out is not None:
        counts = {"rows": rows, "scored": tally.scored, "bad": tally.bad}
        cuts = {"truncated": tally.truncated, "seconds": round(tally.seconds, 3)}
        print_json({**counts, **cuts, "out": str(out), "plan": plan_values(assigned.plan)})
        return
    of_all = f" of {rows:,}" if tally.bad else ""
    parts = [
        f"scored {counted(tally.scored, 'row')}{of_all}",
        f"{rows / tally.seconds:,.0f} rows/s",
    ]
    if out is not None:
        parts.append(f"in {out}")
    if tally.bad and out is not None:
        parts.append(f"the {tally.bad:,} others in {errors_path(out)}")
    if tally.truncated:
        was = "was" if tally.truncated == 1 else "were"
        cut = f"{counted(tally.truncated, 'text')} {was} longer than its windows and cut"
        parts.append(f"{cut} (--max-windows)")
    note(f"adapterhub: {', '.join(parts)}\nadapterhub: {assigned.plan.summary}")
