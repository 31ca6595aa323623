"""Scores the example texts with every shipped task in one pass; run it by `scripts/demo`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from examples.service import desk
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapterhub import AdapterHubError, Hub, Scores

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "scripts" / "examples"
LANGUAGES = {"en": "English", "zh": "Chinese"}
REPEATS = 2
WITHIN = 1.0
"""How far a value may be from the expected one, see examples/README.md."""

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="show every text")
    parser.add_argument("--more", action="store_true", help="score the texts of more.jsonl too")
    parser.add_argument("--registry", type=Path, default=ROOT / "registry.yaml")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    # Narrower, or into a file, the tables would break in the middle of words.
    console.width = max(console.width, 110)

    hub = Hub(arguments.registry, device=arguments.device)
    names = [task.name for task in hub.tasks()]
    if not names:
        sys.exit(f"{hub.registry_path} has no tasks yet.")
    records = read_examples(more=arguments.more)
    console.print(f"[bold]The plan[/] of one call with {len(names)} tasks\n")
    console.print(str(hub.explain(names)), markup=False, soft_wrap=True)

    # `skip`: a task for pairs has no answer for one text, and that is no error here.
    scores = hub.score(records, names, on_error="skip")
    for language in LANGUAGES:
        rows = [pair for pair in enumerate(records) if pair[1]["language"] == language]
        shown = rows if arguments.all else one_of_each(rows)
        show_answers(console, hub, scores, shown, language)
    if not arguments.all:
        console.print("  One text of each sort; `scripts/demo --all` shows all of them.")
    show_agreement(console, hub, scores, records)
    show_times(console, hub, records, names)
    show_desk(console, hub)


def read_examples(*, more: bool) -> list[Record]:
    """Returns the example records, `more` of them or not, one language after the other."""
    names = [*LANGUAGES, *(["more"] if more else [])]
    files = [(EXAMPLES / f"{name}.jsonl").read_text(encoding="utf-8") for name in names]
    records = [json.loads(line) for file in files for line in file.splitlines()]
    return sorted(records, key=lambda record: list(LANGUAGES).index(record["language"]))


def show_answers(
    console: Console, hub: Hub, scores: Scores, rows: Sequence[tuple[int, Record]], language: str
) -> None:
    """Prints texts of one language beside what the tasks of that language answer."""
    tasks = [
        task.name
        for task in hub.tasks()
        # A vector says nothing to people; the desk below finds texts by it.
        if task.kind != "embedding" and (not task.languages or language in task.languages)
    ]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0))
    table.add_column(f"{LANGUAGES[language]} text", width=36)
    table.add_column("answers", ratio=1)
    for row, record in rows:
        fields = tuple(name for name in ("text", "text_pair") if name in record)
        asked, others = Text(), []
        for name in (name for name in tasks if hub.spec(name).fields == fields):
            answer, expected = scores[name][row], record["expected"].get(name)
            if expected is None:
                others.append(f"{name} {described(answer, briefly=True)}")
            else:
                asked.append(answer_text(name, answer, expected)).append("\n")
        text = " / ".join(shortened(record[field]) for field in fields)
        table.add_row(Text(text), asked.append("; ".join(others), style="dim"))
    console.print(table)


def one_of_each(rows: Sequence[tuple[int, Record]]) -> list[tuple[int, Record]]:
    """Returns the first of each sort of text, by the ids without their numbers."""
    first: dict[str, tuple[int, Record]] = {}
    for row, record in rows:
        first.setdefault(re.sub(r"-\d+$", "", record["id"]), (row, record))
    return list(first.values())


def shortened(text: str) -> str:
    """Returns a text of 60 characters at most."""
    return text if len(text) <= 60 else f"{text[:59]}…"


def answer_text(name: str, answer: Any, expected: Any) -> Text:
    """Returns one answer as a line that says whether it is the expected one."""
    good = agrees(answer, expected)
    note = "as expected" if good else f"expected {described(expected)}"
    return Text(f"{name} {described(answer)} ({note})", style="green" if good else "yellow")


def described(answer: Any, *, briefly: bool = False) -> str:
    """Returns an answer, or an expected one, in a few words."""
    if isinstance(answer, list):
        first = answer[:2] if briefly else answer
        return ", ".join(described(one, briefly=briefly) for one in first) or "none"
    if not isinstance(answer, dict):
        return f"{answer:g}" if isinstance(answer, float) else str(answer)
    if "value" in answer:
        return f"{answer['value']:.1f}"
    if "word" in answer:
        return f"{answer['entity_group']}={answer['word']}"
    return str(answer["label"]) if briefly else f"{answer['label']} {answer['score']:.2f}"


def agrees(answer: Any, expected: Any) -> bool:
    """Returns whether an answer is the expected one, see examples/README.md."""
    if isinstance(expected, float):
        return bool(abs(answer["value"] - expected) <= WITHIN)
    if isinstance(expected, str):
        return bool(answer["label"] == expected)
    if not expected:
        return not answer
    if isinstance(expected[0], dict):
        bare = [
            [(span["entity_group"], span["word"]) for span in spans] for spans in (answer, expected)
        ]
        return sorted(bare[0]) == sorted(bare[1])
    if isinstance(answer, dict):
        return bool(answer["label"] in expected)
    return bool(answer) and bool(answer[0]["label"] in expected)


def show_agreement(console: Console, hub: Hub, scores: Scores, records: Sequence[Record]) -> None:
    """Prints how many expected answers each task gave, beside what it reached in training."""
    found: dict[str, list[bool]] = defaultdict(list)
    for row, record in enumerate(records):
        for name, expected in record["expected"].items():
            if name in scores:
                found[name].append(agrees(scores[name][row], expected))
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("task", "as expected", "measured on rows of its set"):
        table.add_column(heading)
    for task in hub.tasks():
        good, asked = sum(found[task.name]), len(found[task.name])
        metric = next((f"{name} {value:.3f}" for name, value in task.metrics.items()), "")
        table.add_row(task.name, f"{good} of {asked}" if asked else "none asked", metric)
    good, asked = (sum(map(count, found.values())) for count in (sum, len))
    table.add_row("all", f"{good} of {asked}", "", style="bold")
    console.print(table)


def show_times(console: Console, hub: Hub, records: list[Record], names: list[str]) -> None:
    """Prints how long all tasks take in one call, and in one call for each."""

    def together() -> None:
        hub.score(records, names, on_error="skip")

    def apart() -> None:
        for name in names:
            hub.score(records, name, on_error="skip")

    console.print(f"  Timing both ways, {REPEATS} times each after a first one …")
    best = best_times([together, apart])
    for what, seconds in zip(("one call for all tasks", "one call per task"), best, strict=True):
        rate = len(records) / seconds
        console.print(f"  {what:<24}{seconds:8.3f} s {rate:10.0f} texts/s with all their answers")
    console.print(
        f"  {best[1] / best[0]:.1f} times faster together, for {len(names)} tasks on "
        f"{len(records)} texts on {hub.encoder.device} (best of {REPEATS})."
    )


def show_desk(console: Console, hub: Hub) -> None:
    """Prints what a customer-service desk makes of a few messages."""
    messages = desk.read_rows(desk.HERE / "messages.jsonl")
    chosen = [row for language in LANGUAGES for row in _first(messages, language)]
    console.print("\n[bold]A customer-service desk[/], all tasks of a message in one call\n")
    desk.desk(hub, chosen, console)
    console.print(
        "  scripts/examples/service/desk.py has it, and the other messages. A label or slot under "
        "even odds\n  is left out, and a question unlike those of the FAQ is not answered."
    )


def _first(messages: list[Record], language: str, count: int = 4) -> list[Record]:
    return [row for row in messages if row["language"] == language][:count]


def best_times(calls: Sequence[Callable[[], None]]) -> list[float]:
    """Returns the shortest time of each call in seconds, after one that warms it up."""
    best = [float("inf")] * len(calls)
    for repeat in range(REPEATS + 1):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if repeat:
                best[index] = min(best[index], time.perf_counter() - start)
    return best


if __name__ == "__main__":
    try:
        main()
    except AdapterHubError as error:
        sys.exit(f"adapterhub: {error}")
