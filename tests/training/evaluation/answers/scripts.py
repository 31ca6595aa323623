"""The evaluation scripts of question answering, written down again from what they publish.

SQuAD: `evaluate-v2.0.py` of https://rajpurkar.github.io/SQuAD-explorer/ (`normalize_answer`,
`compute_exact`, `compute_f1`, `get_raw_scores`, `make_eval_dict` by `HasAns` and `NoAns`).
CMRC: `cmrc2018_evaluate.py` of https://github.com/ymcui/cmrc2018 (`mixed_segmentation`,
`remove_punctuation`, `find_lcs`, `calc_f1_score`, `calc_em_score`), with `str.split` in the place
of NLTK: the texts of tests have no signs between words of other scripts than Chinese.
"""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

Raw = dict[str, float]
"""A value by the id of a question."""


def normalize_answer(text: str) -> str:
    text = "".join(sign for sign in text.lower() if sign not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split())


def compute_exact(gold: str, found: str) -> int:
    return int(normalize_answer(gold) == normalize_answer(found))


def compute_f1(gold: str, found: str) -> float:
    gold_tokens, tokens = normalize_answer(gold).split(), normalize_answer(found).split()
    if not gold_tokens or not tokens:
        return int(gold_tokens == tokens)
    same = sum((collections.Counter(gold_tokens) & collections.Counter(tokens)).values())
    if same == 0:
        return 0
    precision, recall = same / len(tokens), same / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


def squad_scores(document: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, float]:
    """Returns what the script prints for predictions by id, in percent."""
    exact: Raw = {}
    f1: Raw = {}
    answerable: dict[str, bool] = {}
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                own = question["id"]
                answerable[own] = bool(question["answers"])
                golds = [one["text"] for one in question["answers"]]
                golds = [text for text in golds if normalize_answer(text)] or [""]
                exact[own] = max(compute_exact(gold, found[own]) for gold in golds)
                f1[own] = max(compute_f1(gold, found[own]) for gold in golds)
    scores = _means(exact, f1, list(answerable))
    for name, wanted in (("HasAns", True), ("NoAns", False)):
        own_ids = [own for own, has in answerable.items() if has == wanted]
        if own_ids:
            part = _means(exact, f1, own_ids)
            scores |= {f"{name}_{key}": value for key, value in part.items()}
    return scores


def _means(exact: Raw, f1: Raw, ids: Sequence[str]) -> dict[str, float]:
    return {
        "exact": 100.0 * sum(exact[own] for own in ids) / len(ids),
        "f1": 100.0 * sum(f1[own] for own in ids) / len(ids),
        "total": len(ids),
    }


_SIGNS = (
    *("-", ":", "_", "*", "^", "/", "\\", "~", "`", "+", "=", "，", "。", "：", "？", "！", "“"),
    *("”", "；", "’", "《", "》", "……", "·", "、", "「", "」", "（", "）", "－", "～", "『", "』"),
)


def mixed_segmentation(text: str) -> list[str]:
    segments: list[str] = []
    rest = ""
    for sign in text.lower().strip():
        if sign in _SIGNS:
            continue
        if re.search(r"[\u4e00-\u9fa5]", sign):
            segments += [*rest.split(), sign]
            rest = ""
        else:
            rest += sign
    return segments + rest.split()


def remove_punctuation(text: str) -> str:
    return "".join(sign for sign in text.lower().strip() if sign not in _SIGNS)


def find_lcs(one: Sequence[str], other: Sequence[str]) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    longest = 0
    for row, left in enumerate(one):
        for column, right in enumerate(other):
            if left == right:
                table[row + 1][column + 1] = table[row][column] + 1
                longest = max(longest, table[row + 1][column + 1])
    return longest


def cmrc_f1(golds: Sequence[str], found: str) -> float:
    scores = []
    for gold in golds:
        own, segments = mixed_segmentation(gold), mixed_segmentation(found)
        same = find_lcs(own, segments)
        if same == 0:
            scores.append(0.0)
            continue
        precision, recall = same / len(segments), same / len(own)
        scores.append(2 * precision * recall / (precision + recall))
    return max(scores)


def cmrc_exact(golds: Sequence[str], found: str) -> float:
    return float(any(remove_punctuation(gold) == remove_punctuation(found) for gold in golds))
