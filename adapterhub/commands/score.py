"""`adapterhub score`: many tasks over texts, a stream or a file in one pass."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, split_names
from adapterhub.commands.printing import (
    is_screen,
    note,
    print_line,
    print_table,
    to_stdout,
)
from adapterhub.commands.score_summary import summarise
from adapterhub.errors import DataError, UsageError

if TYPE_CHECKING:
    from adapterhub.commands.verb_options import HubOptions, ScoreArguments
    from adapterhub.hub import Hub
    from adapterhub.kinds import What
    from adapterhub.results import ParsedWord
    from adapterhub.rows.formats import Format
    from adapterhub.scoring.job.job import ScoringJob
    from adapterhub.scoring.options import ScoringOptions
    from adapterhub.scoring.pipeline.chunks import ScoredChunk
    from adapterhub.scoring.sources.row_source import RowSource

_NUMBERS = 4
_CELL = 60
_MOST_BAD_SHOWN = 20


@uses(
    "adapterhub.commands.verb_options:ScoreArguments",
    "adapterhub.scoring.options:ScoringOptions",
    "adapterhub.commands.verb_options:HubOptions",
)
def score(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT...", help="Texts. Without any: --file, or one per line of stdin."
        ),
    ] = None,
    *,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            metavar="NAME",
            help="Task to run, named as in `show`; repeat it, or write a,b. Without it all tasks "
            "of the registries that can read the input.",
        ),
    ] = None,
    given: ScoreArguments,
    options: ScoringOptions,
    loading: HubOptions,
    as_json: AsJson = False,
) -> None:
    """Score texts with many tasks in one pass.

    Predictions go to the terminal as a table, to a pipe as JSON Lines, or to a file with --out.
    """
    from adapterhub.model.backbone.sources import absolute_source
    from adapterhub.scoring.engines.first_rows import check_first_rows
    from adapterhub.scoring.job.fingerprint import EncoderSettings
    from adapterhub.scoring.job.target import find_target
    from adapterhub.scoring.score_file import prepare, run
    from adapterhub.store.registries import open_registries

    if given.all_labels and options.top_k != 1:
        raise UsageError("--top-k and --all ask for different numbers of labels; give one.")
    loading.check_names()
    out = None if given.out is None else find_target(given.out, options)
    # No bar where rows fill the screen.
    fills = out is None and is_screen(sys.stdout) and options.progress == "auto"
    progress = "off" if given.no_progress or fills else options.progress
    top_k = None if given.all_labels else options.top_k
    options = options.model_copy(update={"top_k": top_k, "progress": progress})
    source = _open_source(texts or [], given.file, options.format)
    opened = open_registries(given.registry)
    encoder = EncoderSettings(loading.backbone, loading.dtype, loading.max_windows)
    names = split_names(task)
    job = prepare(opened, source, out=out, tasks=names, options=options, encoder=encoder)
    assigned = job.assigned
    _note_choice(job, chosen=bool(task))
    if not job.is_done:
        loading.check_backbone(opened, assigned.backbone)
        job = check_first_rows(job)
    # From here on it takes seconds: torch, the backbone, the tasks.
    settings = {**loading.model_dump(), "backbone": absolute_source(assigned.backbone)}
    open_hub = partial(_open_hub, opened.paths, settings)
    show = Screen(job, as_json=as_json).show if out is None else None
    done = run(open_hub, job, show)
    summarise(done, as_json=as_json)
    if done.bad and not done.scored:
        raise typer.Exit(DataError.exit_code)


def _note_choice(job: ScoringJob, *, chosen: bool) -> None:
    """Says which tasks run where none were named, and which columns they read."""
    assigned = job.assigned
    if not chosen:
        left_out = ", ".join(assigned.left_out)
        also = f" (left out for lack of a column: {left_out})" if left_out else ""
        names = ", ".join(assigned.request.names)
        note(f"adapterhub: no --task given, so all that can read this: {names}{also}")
    for line in assigned.notes:
        note(f"adapterhub: {line}")


def _open_hub(paths: tuple[Path, ...], settings: Mapping[str, Any]) -> Hub:
    """Opens a hub, in this process or in a worker."""
    from adapterhub.hub import Hub

    return Hub(paths, **settings)


class Screen:
    """Prints chunks to stdout: a table on a terminal, JSON Lines to a pipe; bad rows to stderr."""

    def __init__(self, job: ScoringJob, *, as_json: bool) -> None:
        from adapterhub.results import prediction_columns

        self._job = job
        self._as_table = is_screen(sys.stdout) and not as_json
        request, shown = job.assigned.request, job.assigned.shown
        self._shown = [c for c in shown if request.keep is None or c in request.keep]
        top_k = request.answers.top_k
        self._tasks = {
            name: prediction_columns(name, spec.kind, top_k=top_k)
            for name, spec in job.assigned.specs.items()
        }
        self._bad = 0

    def show(self, chunk: ScoredChunk) -> None:
        """Prints the rows of a chunk."""
        for bad in chunk.bad[: max(_MOST_BAD_SHOWN - self._bad, 0)]:
            file = bad.file or self._job.source.name
            note(f"adapterhub: skipped {file}, {bad.place}: {bad.problem}")
        self._bad += len(chunk.bad)
        if self._as_table:
            print_rows(chunk.rows, self._shown, self._tasks)
            return
        from adapterhub.scoring.output.writers import json_line

        for row in chunk.rows:
            print_line(json_line(row))
        with to_stdout() as stdout:
            stdout.flush()


def print_rows(
    rows: Sequence[Mapping[str, object]],
    shown: Sequence[str],
    tasks: Mapping[str, Mapping[str, What]],
) -> None:
    """Prints rows as a table: the columns that were read, then one cell per task.

    Args:
        rows: The rows, with the predictions of all tasks.
        shown: The columns that were read.
        tasks: By name of a task, what each column of its predictions holds.
    """

    def cells(row: Mapping[str, object]) -> list[str]:
        texts = (" ".join(str(row.get(column, "")).split()) for column in shown)
        cut = [text if len(text) <= _CELL else f"{text[: _CELL - 1]}…" for text in texts]
        held = [{what: row[column] for column, what in own.items()} for own in tasks.values()]
        return [*cut, *map(prediction_text, held)]

    if rows:
        print_table((*shown, *tasks), map(cells, rows))


def prediction_text(held: Mapping[What, Any]) -> str:
    """Returns the prediction of one task for people: `positive 0.98`, `Paris=LOC`, `3.41`.

    Of a tree it is `Anna=nsubj of sings, sings=root`, of a question `Oslo 0.98`. It is `- 0.38`
    where there is no answer, or none over the minimum of confidence; of a vector its first numbers.

    Args:
        held: What the columns of the task hold in one row.
    """
    if "label" in held:
        return f"{held['label'] or '-'} {held['score']:.2f}"
    if "choice" in held:
        return f"{held['choice'] or '-'} {held['score']:.2f}"
    if "value" in held:
        return f"{held['value']:.3g}"
    if "vector" in held:
        return _vector_text(held["vector"])
    if "values" in held:
        return ", ".join(f"{one['name']} {one['value']:.3g}" for one in held["values"])
    if "entities" in held:
        parts = [f"{entity['word']}={entity['entity_group']}" for entity in held["entities"]]
    elif "choices" in held:
        parts = [f"{choice['choice']} {choice['score']:.2f}" for choice in held["choices"]]
    elif "words" in held:
        parts = [_word_text(word, held["words"]) for word in held["words"]]
    elif "answer" in held or "answers" in held:
        answers = held.get("answers", [held])
        parts = [f"{one['answer'] or '-'} {one['score']:.2f}" for one in answers]
    else:
        parts = [f"{label['label']} {label['score']:.2f}" for label in held["labels"]]
    return ", ".join(parts) or "-"


def _vector_text(vector: Sequence[float]) -> str:
    shown = ", ".join(f"{number:.3f}" for number in vector[:_NUMBERS])
    return shown if len(vector) <= _NUMBERS else f"{shown}, … ({len(vector)} numbers)"


def _word_text(word: ParsedWord, words: Sequence[ParsedWord]) -> str:
    head = f" of {words[word['head'] - 1]['word']}" if word["head"] else ""
    return f"{word['word']}={word['relation']}{head}"


def _open_source(texts: list[str], file: Path | None, form: Format | None) -> RowSource:
    from adapterhub.scoring.sources.open_source import open_source, stream_source

    if texts and (file is not None or form is not None):
        raise UsageError("There are texts, and --file or --format too; give one or the other.")
    if texts and len(texts) == 1 and Path(texts[0]).suffix and os.path.isfile(texts[0]):
        note(f"adapterhub: '{texts[0]}' is scored as a text; the file is --file {texts[0]}")
    if texts or file is not None:
        return open_source(texts or file, form)
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("There are no texts; give some, or --file, or pipe them in.")
    return stream_source(stdin_bytes(), form or "text", name="stdin")


def stdin_bytes() -> BinaryIO:
    """Returns stdin without its decoding, so that what is not UTF-8 costs one row only.

    It is read in a thread, which may wait for a line for ever. A process that ends meanwhile must
    not find it in Python's own reader, which it closes.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):
        return sys.stdin.buffer  # it is no file, for instance in a notebook
