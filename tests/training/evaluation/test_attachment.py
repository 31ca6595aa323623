"""UAS and LAS are those of the CoNLL 2018 shared task."""

from __future__ import annotations

import pytest

from adapterhub.training.evaluation.attachment import (
    AttachedWord,
    attached_words,
    attachment_figures,
)

Words = list[AttachedWord]


def tree(text: str, *words: tuple[str, int, str]) -> Words:
    found: Words = []
    at = 0
    for form, head, relation in words:
        start = text.index(form, at)
        at = start + len(form)
        found.append(AttachedWord(start, at, head, relation))
    return found


_EN, _ZH = "They don't sell it.", "他在北京大学工作。"
_TRUE_EN = tree(
    _EN,
    ("They", 4, "nsubj"),
    ("do", 4, "aux"),
    ("n't", 4, "advmod"),
    ("sell", 0, "root"),
    ("it", 4, "obj"),
    (".", 4, "punct"),
)
_TRUE_ZH = tree(
    _ZH,
    ("他", 4, "nsubj"),
    ("在", 3, "case"),
    ("北京大学", 4, "obl"),
    ("工作", 0, "root"),
    ("。", 4, "punct"),
)

CASES: dict[str, tuple[Words, Words]] = {
    "the same words": (
        tree(
            _EN,
            ("They", 4, "nsubj:pass"),
            ("do", 3, "aux"),
            ("n't", 4, "neg"),
            ("sell", 0, "root"),
            ("it", 4, "obj"),
            (".", 5, "punct"),
        ),
        _TRUE_EN,
    ),
    "fewer words": (
        tree(
            _EN,
            ("They", 3, "nsubj"),
            ("don't", 3, "aux"),
            ("sell", 0, "root"),
            ("it", 3, "iobj"),
            (".", 3, "punct"),
        ),
        _TRUE_EN,
    ),
    "another root": (
        tree(
            _EN,
            ("They", 0, "root"),
            ("do", 1, "aux"),
            ("n't", 1, "advmod"),
            ("sell", 1, "root"),
            ("it", 4, "obj"),
            (".", 1, "punct"),
        ),
        _TRUE_EN,
    ),
    "more words": (
        tree(
            _ZH,
            ("他", 5, "nsubj"),
            ("在", 4, "case"),
            ("北京", 4, "compound"),
            ("大学", 5, "obl"),
            ("工作", 0, "root"),
            ("。", 5, "punct"),
        ),
        _TRUE_ZH,
    ),
    "no word": ([], _TRUE_ZH),
    # "du pain" with the words de, le and pain, the first two written as one token
    "one token of two words": (
        [AttachedWord(0, 2, 2, "case"), AttachedWord(3, 7, 0, "root")],
        [
            AttachedWord(0, 2, 3, "case"),
            AttachedWord(0, 2, 3, "det"),
            AttachedWord(3, 7, 0, "root"),
        ],
    ),
}


# By conll18_ud_eval.py as stanza 1.10.1 has it (the last case as a CoNLL-U file with `1-2 du`).
@pytest.mark.parametrize(
    ("name", "las", "uas", "words"),
    [
        ("the same words", 0.5, 2 / 3, 1.0),
        ("fewer words", 6 / 11, 8 / 11, 8 / 11),
        ("another root", 1 / 6, 1 / 6, 1.0),
        ("more words", 6 / 11, 6 / 11, 8 / 11),
        ("one token of two words", 0.4, 0.4, 0.4),
        ("no word", 0.0, 0.0, 0.0),
    ],
)
def test_scores_are_those_of_the_shared_task(
    name: str, las: float, uas: float, words: float
) -> None:
    found, truth = CASES[name]
    assert attachment_figures([found], [truth]) == pytest.approx(
        {"las": las, "uas": uas, "word_f1": words}
    )


def test_texts_count_by_their_words() -> None:
    names = ("the same words", "fewer words", "another root", "more words")
    found, truth = zip(*(CASES[name] for name in names), strict=True)
    # By the script as one file of four sentences.
    assert attachment_figures(found, truth) == pytest.approx(
        {"las": 20 / 46, "uas": 24 / 46, "word_f1": 40 / 46}
    )


def test_predictions_become_words_and_rows_without_one_have_none() -> None:
    parsed = {"word": "a", "start": 0, "end": 1, "head": 0, "relation": "root", "score": 0.5}
    assert attached_words([[parsed], None, []]) == [[AttachedWord(0, 1, 0, "root")], [], []]  # type: ignore[list-item]
    assert attachment_figures([], []) == {"las": 0.0, "uas": 0.0, "word_f1": 0.0}
