"""Exact match and F1 of extracted answers, as the scripts of SQuAD and of CMRC 2018 compute them.

Sources: Rajpurkar et al., "Know What You Don't Know: Unanswerable Questions for SQuAD", 2018, with
its script `evaluate-v2.0.py`; Cui et al., "A Span-Extraction Dataset for Chinese Machine Reading
Comprehension", 2019, with its script `cmrc2018_evaluate.py`.

An empty answer says that there is none. A row without true answers has the empty one.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

import numpy as np

Overlap = Callable[[str, str], float]
"""Returns how much of a true answer (second) a predicted one (first) is, from 0 to 1."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# Those of the script. It lists the ellipsis as a pair of signs, which no single character is.
_SIGNS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
# A Han character is a segment; so is each word, number or other sign of what is between them. The
# script leaves the latter to NLTK, which also parts clitics such as n't.
_SEGMENT = re.compile(r"[\u4e00-\u9fa5]|[^\W\u4e00-\u9fa5]+(?:[.,'][^\W\u4e00-\u9fa5]+)*|[^\w\s]")
_HAN = re.compile(r"[\u4e00-\u9fa5]")


def exact_match(found: str, truth: str) -> float:
    """Returns 1 where two answers are the same but for case, punctuation, articles and spaces."""
    return float(_plain_words(found) == _plain_words(truth))


def word_f1(found: str, truth: str) -> float:
    """Returns the F1 of the words of an answer, counted without punctuation and articles."""
    own, right = _plain_words(found), _plain_words(truth)
    if not own or not right:
        return float(own == right)
    return _f1((Counter(own) & Counter(right)).total(), len(own), len(right))


def character_match(found: str, truth: str) -> float:
    """Returns 1 where two answers in Chinese are the same but for case and punctuation."""
    return float(_without_signs(found) == _without_signs(truth))


def character_f1(found: str, truth: str) -> float:
    """Returns the F1 of the longest run of characters that two answers in Chinese share.

    Words of other scripts count as one character each.
    """
    own, right = (_SEGMENT.findall(_without_signs(text)) for text in (found, truth))
    if not own or not right:
        return float(own == right)
    run = SequenceMatcher(None, own, right, autojunk=False).find_longest_match()
    return _f1(run.size, len(own), len(right))


def are_chinese(answers: Sequence[Sequence[str]]) -> bool:
    """Returns whether the true answers of rows are to be compared by character.

    They are where more of them have a Han character than have none.
    """
    texts = [text for row in answers for text in row if text]
    return 2 * sum(_HAN.search(text) is not None for text in texts) > len(texts)


def best_overlaps(
    found: Sequence[str], truth: Sequence[Sequence[str]], overlap: Overlap
) -> np.ndarray:
    """Returns the overlap of each row's answer with the most similar true one: (N,) float64.

    True answers of punctuation and articles only do not count, as in the script of SQuAD 2.0.

    Args:
        found: The predicted answer of each row.
        truth: The true answers of each row; none, or empty ones, where there is no answer.
        overlap: One of the functions above.
    """
    rows = zip(found, truth, strict=True)
    best = [max(overlap(own, text) for text in _counted(texts, overlap)) for own, texts in rows]
    return np.array(best, np.float64)


def answer_figures(
    found: Sequence[str], truth: Sequence[Sequence[str]], *, by_character: bool
) -> dict[str, float]:
    """Returns F1 and exact match, each from 0 to 1.

    Where some rows have an answer and others have none, also both figures of the former, and the
    share of the latter for which none was found.

    Args:
        found: The predicted answer of each row; empty for none.
        truth: The true answers of each row; empty where there is none.
        by_character: Whether answers are compared by character, as in Chinese.
    """
    match, f1 = (character_match, character_f1) if by_character else (exact_match, word_f1)
    matches, shares = best_overlaps(found, truth, match), best_overlaps(found, truth, f1)
    figures = {"f1": float(shares.mean()), "exact_match": float(matches.mean())}
    has_answer = np.array([any(_counted(texts, match)) for texts in truth])
    if has_answer.any() and not has_answer.all():
        figures["answerable_f1"] = float(shares[has_answer].mean())
        figures["answerable_exact_match"] = float(matches[has_answer].mean())
        figures["unanswerable_accuracy"] = float(matches[~has_answer].mean())
    return figures


def _counted(truth: Sequence[str], overlap: Overlap) -> list[str]:
    """Returns the true answers of a row that count, or the empty one where none does."""
    return [text for text in truth if not overlap(text, "")] or [""]


def _plain_words(answer: str) -> list[str]:
    text = _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION))
    return text.split()


def _without_signs(answer: str) -> str:
    return answer.lower().strip().translate(_SIGNS)


def _f1(common: int, found: int, truth: int) -> float:
    return 2 * common / (found + truth)
