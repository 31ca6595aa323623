"""A customer-service desk in English and Chinese: every task of a message in one call.

    scripts/desk [FILE]

Reads messages.jsonl, or a FILE with the columns `language` and `text`. Each message gets what its
language has tasks for: an intent, slots, sentiment, spam, and a vector by which the right answer of
a small FAQ is found. What no task is sure of, the desk does not answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapterhub import AdapterHubError, Hub, Index
from adapterhub.errors import DataError

HERE = Path(__file__).resolve().parent
TASKS = {
    "en": ["intent-en", "travel-slots-en", "sentiment-en", "spam-en", "sentences-en"],
    "zh": ["names-zh", "time-zh", "sentiment-zh", "sentences-zh"],
}
SURE = 0.5
"""The probability from which on a label or a slot counts."""
UNKNOWN = "I do not know"


def main() -> None:
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "messages.jsonl"
    console = Console(highlight=False)
    console.width = max(console.width, 110)
    messages = read_rows(file)
    desk(Hub(), messages, console)


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Returns the records of a JSON Lines file.

    Raises:
        DataError: A line is none, or lacks a language that the desk has, or a text.
    """
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            TASKS[row["language"]], row["text"]
        except (ValueError, KeyError, TypeError):
            wanted = f"a record with a language ({' or '.join(TASKS)}) and a text"
            raise DataError(str(file), f"line {number} is not {wanted}") from None
        rows.append(row)
    return rows


def desk(hub: Hub, messages: list[dict[str, Any]], console: Console) -> None:
    """Prints messages beside what the desk makes of them."""
    faq = {language: open_faq(hub, language) for language in TASKS}
    similar = {language: usual_similarity(index) for language, index in faq.items()}
    pairs = [(message["text"], TASKS[message["language"]]) for message in messages]
    scores = hub.score_rows(pairs, min_confidence=SURE)

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 1, 0))
    table.add_column("message", width=38)
    table.add_column("predictions", ratio=1)
    table.add_column("answer of the FAQ", width=36)
    for row, message in enumerate(messages):
        language = message["language"]
        own: dict[str, Any] = {name: scores[name][row] for name in TASKS[language]}
        vector = own.pop(f"sentences-{language}")["vector"]
        found = faq[language].query_vectors([vector], top_k=1, min_score=similar[language])[0]
        predictions = "; ".join(filter(None, (described(*pair) for pair in own.items())))
        answers = [str(hit.record["answer"]) for hit in found if hit.record]
        cells = message["text"], predictions or UNKNOWN, *(answers or [UNKNOWN])
        table.add_row(*[Text(cell) for cell in cells])
    console.print(table)


def open_faq(hub: Hub, language: str) -> Index:
    """Returns the questions of the FAQ in one language, as vectors."""
    rows = [row for row in read_rows(HERE / "faq.jsonl") if row["language"] == language]
    return Index.build(hub, rows, task=f"sentences-{language}", progress=False)


def usual_similarity(index: Index) -> float:
    """Returns how similar questions of the FAQ are to the nearest other one: the median.

    A message has to be nearer to a question than these are to one another.
    """
    return median(hit.score for found in index.neighbours(1) for hits in found for hit in hits)


def described(name: str, answer: Any) -> str:
    """Returns a prediction in a few words; nothing for a label or slots that no task is sure of."""
    if isinstance(answer, list):
        spans = (f"{span['entity_group']}={span['word']}" for span in answer)
        return ", ".join(spans)
    label = answer["label"]
    return "" if label is None else f"{name.rsplit('-', 1)[0]} {label} {answer['score']:.2f}"


if __name__ == "__main__":
    try:
        main()
    except (AdapterHubError, OSError) as error:
        sys.exit(f"adapterhub: {error}")
