"""The rows of a shipped task: a data set with the changes of its recipe."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from adapterhub.errors import DataError
from adapterhub.tags import OUTSIDE
from adapterhub.training.data.tagging import TaggedWords, join_words
from recipes.tasks.phrases import Parsed, phrase_tags
from recipes.tasks.questions import question_rows
from recipes.tasks.sentence_order import write_order
from recipes.tasks.sentences import sentence_rows

HERE = Path(__file__).resolve().parent
PARTS = ("train", "validation")
Row = dict[str, Any]
Change = Callable[[Row], Row]
"""Returns the changed columns of a row."""

WRITTEN = ("mentions", "questions", "sentences", "times")
"""Keys of recipes that add training rows to those of a data set."""

_QUOTES = {"``": '"', "''": '"', "-lrb-": "(", "-rrb-": ")"}
_QUOTED = re.compile(r'" (.*?) "')


def rows_of(recipe: dict[str, Any], data_dir: Path, target: Path, *, name: str) -> Path:
    """Returns the folder with the rows of a task, and removes their options from its recipe.

    Args:
        recipe: The recipe of the task.
        data_dir: One folder per data set.
        target: A new folder, which is made where something is changed.
        name: Of the task, for messages.

    Raises:
        DataError: A data set has no training rows, or a shard is missing.
    """
    if (order := recipe.pop("sentence_order", None)) is not None:
        return write_order(data_dir / recipe.pop("data"), target, **order)
    folder = data_set(data_dir / recipe.pop("data"), name)
    changes: list[Change] = []
    if (other := recipe.pop("cut_from", None)) is not None:
        changes.append(restored_score(data_set(data_dir / other, name)))
    if recipe.pop("joined", False):
        changes.append(joined_words(recipe["text"]))
    if (kind := recipe.pop("phrases", None)) is not None:
        changes.append(marked_phrases(kind, recipe["target"]))
    added: list[Row] = []
    if (file := recipe.pop("questions", None)) is not None:
        written = read_json(HERE / file)
        columns = (recipe["text"], recipe["pair"], recipe["target"])
        added = question_rows(written["sets"], written["labels"], columns)
    if (file := recipe.pop("sentences", None)) is not None:
        plain = read_json(HERE / file)
        rows = read_rows(folder / "train.jsonl.gz")
        added = sentence_rows(**plain, rows=rows, columns=(recipe["tokens"], recipe["target"]))
    times = recipe.pop("times", 1)
    if not (changes or added or times > 1):
        return folder
    return rewrite(folder, target, changes, added, times=times)


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, which may be packed with gzip."""
    content = path.read_bytes()
    return json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)


def data_set(folder: Path, name: str) -> Path:
    """Returns the folder of a data set.

    Raises:
        DataError: It has no training rows.
    """
    train_file = folder / "train.jsonl.gz"
    if not train_file.is_file():
        raise DataError(train_file, f"it is missing; task '{name}' is made from it")
    return folder


def rewrite(
    folder: Path, target: Path, changes: list[Change], added: list[Row], *, times: int = 1
) -> Path:
    """Writes a data set to the new folder `target`, and returns that.

    Args:
        folder: The data set.
        target: It is made.
        changes: Of the columns of each row.
        added: Training rows beside those of the data set.
        times: How often each training row of the data set stands there.
    """
    target.mkdir()
    for part in PARTS:
        is_learned = part == "train"
        with gzip.open(target / f"{part}.jsonl.gz", "wt", encoding="utf-8") as file:
            for row in read_rows(folder / f"{part}.jsonl.gz"):
                for change in changes:
                    row |= change(row)
                line = json.dumps(row, ensure_ascii=False) + "\n"
                file.write(line * (times if is_learned else 1))
            for row in added if is_learned else ():
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return target


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a file of a data set."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def restored_score(whole: Path) -> Change:
    """Returns the change that undoes a cut of scores to whole numbers, on average.

    Args:
        whole: The data set before the cut; its training rows give the mean of each number.
    """
    by_cut = defaultdict(list)
    for row in read_rows(whole / "train.jsonl.gz"):
        by_cut[math.floor(row["score"])].append(row["score"])
    means = {cut: fmean(scores) for cut, scores in by_cut.items()}
    return lambda row: {"score": means[math.floor(row["score"])]}


def joined_words(column: str) -> Change:
    """Returns the change that joins words and punctuation to ordinary text."""

    def change(row: Row) -> Row:
        words = tuple(_QUOTES.get(word, word) for word in row[column].replace("\\/", "/").split())
        text = join_words(TaggedWords(words, (OUTSIDE,) * len(words)), "auto").text
        return {column: _QUOTED.sub(r'"\1"', text)}

    return change


def marked_phrases(kind: str, column: str) -> Change:
    """Returns the change of parsed rows that puts the tags of a kind of phrases in a column."""

    def change(row: Row) -> Row:
        return {column: phrase_tags(kind, Parsed(row["upos"], row["head"], row["deprel"]))}

    return change
