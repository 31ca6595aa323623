"""Texts with answers, made up from the vocabulary of the tiny backbone."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

_GOOD = ("good", "early")
_BAD = ("bad", "late")
_THINGS = ("the day is {}", "a {} film", "the food was {} and not very {}", "she is {}")


def sentiment_rows(count: int = 48, seed: int = 0) -> Rows:
    """Returns rows whose label follows from one word."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        label, words = ("positive", _GOOD) if index % 2 else ("negative", _BAD)
        word = draw.choice(words)
        text = draw.choice(_THINGS).format(word, word)
        rows.append({"text": f"{text} {index}", "label": label})
    return rows


def doubtful_rows(count: int, seed: int) -> Rows:
    """Returns rows of which one word is nearly always right, and another one often wrong."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label, words = draw.choice((("positive", _GOOD), ("negative", _BAD)))
        word = draw.choice(words)
        if draw.random() < (0.03 if word in ("good", "bad") else 0.35):
            label = "negative" if label == "positive" else "positive"
        text = draw.choice(_THINGS).format(word, word)
        rows.append({"text": f"{text} {draw.randrange(10**6)}", "label": label})
    return rows


def outside_rows(count: int, seed: int, label: str = "oos") -> Rows:
    """Returns rows that none of the words is in which the labels follow from."""
    draw = random.Random(seed)
    words = ("city", "he", "not", "very", "she")
    texts = (f"{' '.join(draw.choices(words, k=4))} {draw.randrange(10**6)}" for _ in range(count))
    return [{"text": text, "label": label} for text in texts]


def pair_rows(count: int = 48, seed: int = 0) -> Rows:
    """Returns pairs labelled by whether the second text is good."""
    second = sentiment_rows(count, seed + 1)
    return [
        {"text": "it is a day", "text_pair": row["text"], "label": row["label"]} for row in second
    ]


def topic_rows(count: int = 48, seed: int = 0) -> Rows:
    """Returns rows with none, one or two labels."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        words = [word for word in ("film", "food") if draw.random() < 0.5]
        text = f"the day {index} {' and '.join(words)}"
        rows.append({"text": text, "labels": [f"has-{word}" for word in words]})
    return rows


def rating_rows(count: int = 48, seed: int = 0) -> Rows:
    """Returns rows whose score follows from one word."""
    rows = sentiment_rows(count, seed)
    return [
        {"text": row["text"], "score": 4.5 if row["label"] == "positive" else 1} for row in rows
    ]


def tagged_rows(count: int = 48, seed: int = 0) -> Rows:
    """Returns words with tags: a city is always two words."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        words, tags = ["she", "was", "early"], ["O", "O", "O"]
        if index % 3:
            place = draw.randrange(len(words) + 1)
            words[place:place] = ["city", draw.choice(("day", "film"))]
            tags[place:place] = ["B-place", "I-place"]
        rows.append({"tokens": [*words, str(index)], "tags": [*tags, "O"]})
    return rows


def tree_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns sentences in which each word says what its head is.

    `was` is the root, `she` its subject; `good` or `bad` hangs on the `day` or `film` behind it,
    which hangs on `was`, and `early` on the root too. The city 中国 is one word of two units.
    """
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        words, relations = ["she", "was"], ["nsubj", "root"]
        heads = [2, 0]
        if draw.random() < 0.7:
            words += [draw.choice(("good", "bad")), draw.choice(("day", "film"))]
            heads += [len(words), 2]
            relations += ["amod", "obj"]
        if draw.random() < 0.5:
            words.append("early")
            heads.append(2)
            relations.append("advmod")
        if draw.random() < 0.5:
            words.append("中国")
            heads.append(2)
            relations.append("obl:loc")
        if draw.random() < 0.3:
            words = [draw.choice(("not", "very")), *words]
            heads = [3, *(head + 1 if head else 0 for head in heads)]
            relations = ["dep", *relations]
        rows.append({"tokens": words, "head": heads, "deprel": relations})
    return rows


def question_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns questions whose answer is the Han characters of a context, or that have none."""
    draw = random.Random(seed)
    words = ("the", "it", "a", "good", "day", "film", "was", "she")
    rows = []
    for index in range(count):
        before = " ".join(draw.choice(words) for _ in range(draw.randrange(1, 9)))
        after = " ".join(draw.choice(words) for _ in range(draw.randrange(1, 9)))
        answer = draw.choice(("中国", "天", "中")) if index % 4 else ""
        answers = [{"text": answer, "start": len(before) + 1}] if answer else []
        context = f"{before} {answer} {after}" if answer else f"{before} {after}"
        rows.append({"question": f"is it {index} ?", "context": context, "answers": answers})
    return rows


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes JSON Lines, packed where the name ends in .gz."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def choice_rows(count: int = 48, seed: int = 0) -> Rows:
    """Returns prompts with two to four choices, of which one is good or early."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        right = draw.randrange(size := draw.randint(2, 4))
        words = [draw.choice(_GOOD if place == right else _BAD) for place in range(size)]
        choices = [f"it was {word} {draw.choice('abc')}" for word in words]
        rows.append({"prompt": f"the film {index}", "choices": choices, "label": str(right)})
    return rows


def partner_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns pairs of texts that share three letters, each among words that say nothing."""
    draw = random.Random(seed)
    noise = "the it is a good bad day film food late early very was he she city".split()  # noqa: SIM905
    rows = []
    for _ in range(count):
        letters = draw.sample("abcdefghijklmnopqrstuvwxyz", 3)
        texts = [draw.choices(noise, k=5) + draw.sample(letters, 3) for _ in range(2)]
        for words in texts:
            draw.shuffle(words)
        rows.append(dict(zip(("text", "text_pair"), map(" ".join, texts), strict=True)))
    return rows


def alike_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns pairs with a score: how many of their three letters both texts have."""
    draw = random.Random(seed)
    rows = []
    for row in partner_rows(count, seed):
        words = row["text_pair"].split()
        for place in [place for place, word in enumerate(words) if len(word) == 1 and word != "a"]:
            if draw.random() < 0.5:
                words[place] = draw.choice("的一是在不了有和人这")
        shared = set(row["text"].split()) & {word for word in words if len(word) == 1}
        rows.append({**row, "text_pair": " ".join(words), "score": float(len(shared))})
    return rows


def star_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns rows of one to three stars: bad, good, or very good."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        stars = index % 3
        word = ("bad", "good", "very early")[stars]
        text = draw.choice(_THINGS).format(word, word)
        rows.append({"text": f"{text} {index}", "stars": f"{stars + 1} star{'s' * (stars > 0)}"})
    return rows


def number_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns rows of two numbers in different units, each of which follows from one word."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        good, late = draw.random() < 0.5, draw.random() < 0.5
        text = f"a {'good' if good else 'bad'} day and a {'late' if late else 'early'} film {index}"
        rows.append({"text": text, "valence": 0.9 if good else 0.1, "minutes": 40.0 * late})
    return rows


def value_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns the same with both numbers in one column, of which every fifth row lacks one."""
    rows = []
    for index, row in enumerate(number_rows(count, seed)):
        text, values = row["text"], {name: row[name] for name in ("valence", "minutes")}
        rows.append({"text": text, "values": values | ({} if index % 5 else {"minutes": None})})
    return rows


_QUEUES = (
    ("mail.late", "the film was late"),
    ("mail.early", "she was early"),
    ("food", "the food was good"),
)


def queue_rows(count: int = 60, seed: int = 0) -> Rows:
    """Returns rows labelled by leaves of a tree; some under `mail` say no more than that."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        leaf, text = _QUEUES[index % 3]
        label = "mail" if leaf != "food" and index % 5 == 0 else leaf
        rows.append({"text": f"{text} {draw.choice('abc')} {index}", "label": label})
    return rows


ROWS: Mapping[str, Callable[[int, int], Rows]] = {
    "single_label": sentiment_rows,
    "multi_label": topic_rows,
    "regression": rating_rows,
    "tagging": tagged_rows,
    "parsing": tree_rows,
    "multiple_choice": choice_rows,
    "question_answering": question_rows,
    "embedding": partner_rows,
    "prototype": sentiment_rows,
    "ordinal": star_rows,
    "numbers": value_rows,
    "label_tree": queue_rows,
}
"""What makes labelled rows of each kind, of a number and a seed, in columns of usual names."""
