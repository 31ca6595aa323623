"""What was measured of each kind, computed again by the libraries and scripts that define it.

A reference gets the predictions of `Hub.score` and the labelled rows as they were given, and
returns the metrics that it defines; it knows nothing of how rows are read or logits decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as span_f1
from seqeval.metrics import precision_score as span_precision
from seqeval.metrics import recall_score as span_recall
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
)
from sklearn.preprocessing import MultiLabelBinarizer

from adapterhub.kinds import Kind
from tests.training.evaluation.answers.scripts import cmrc_exact, cmrc_f1
from tests.training.rows import Rows

Found = Sequence[Any]
Figures = dict[str, float]


def of_labels(found: Found, rows: Rows) -> Figures:
    own, truth = [one["label"] for one in found], [row["label"] for row in rows]
    return {
        "accuracy": accuracy_score(truth, own),
        "macro_f1": f1_score(truth, own, average="macro"),
        "mcc": matthews_corrcoef(truth, own),
    }


def of_sets(found: Found, rows: Rows) -> Figures:
    sets = MultiLabelBinarizer().fit([row["labels"] for row in rows])
    own = sets.transform([[label["label"] for label in one] for one in found])
    truth = sets.transform([row["labels"] for row in rows])
    return {f"{mean}_f1": f1_score(truth, own, average=mean) for mean in ("macro", "micro")}


def of_numbers(found: Found, rows: Rows) -> Figures:
    own, truth = [one["value"] for one in found], [row["score"] for row in rows]
    return {
        "spearman": spearmanr(own, truth).statistic,
        "pearson": pearsonr(own, truth).statistic,
        "mean_absolute_error": mean_absolute_error(truth, own),
    }


def of_entities(found: Found, rows: Rows) -> Figures:
    truth = [row["tags"] for row in rows]
    own = [_word_tags(one, row["tokens"]) for one, row in zip(found, rows, strict=True)]
    return {
        "span_f1": span_f1(truth, own),
        "span_precision": span_precision(truth, own),
        "span_recall": span_recall(truth, own),
    }


def _word_tags(entities: Found, words: Sequence[str]) -> list[str]:
    """Returns the tags of words with spaces between, of which entities are whole ones."""
    tags, start = [], 0
    for word in words:
        own = [one for one in entities if one["start"] <= start < one["end"]]
        mark = "B" if own and own[0]["start"] == start else "I"
        tags.append(f"{mark}-{own[0]['entity_group']}" if own else "O")
        start += len(word) + 1
    return tags


def of_trees(found: Found, rows: Rows) -> Figures:
    """LAS and UAS of the CoNLL 2018 shared task: F1 over words of the same characters."""
    total = las = uas = 0
    for one, row in zip(found, rows, strict=True):
        text = "".join(word["word"] for word in one)
        assert text == "".join(row["tokens"])
        own = {span: number for number, span in enumerate(_spans([w["word"] for w in one]), 1)}
        truth = dict(enumerate(_spans(row["tokens"]), 1))
        total += len(own) + len(truth)
        for number, span in truth.items():
            if span not in own:
                continue
            word = one[own[span] - 1]
            head = row["head"][number - 1]
            # A head that stands in one of the trees only is right for no word.
            same_head = word["head"] == (own.get(truth[head]) if head else 0)
            relation = row["deprel"][number - 1].split(":")[0]
            uas += same_head
            las += same_head and word["relation"].split(":")[0] == relation
    return {"las": 2 * las / total, "uas": 2 * uas / total}


def _spans(words: Sequence[str]) -> list[tuple[int, int]]:
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word)
    return spans


def of_choices(found: Found, rows: Rows) -> Figures:
    own, truth = [one["index"] for one in found], [int(row["label"]) for row in rows]
    return {"accuracy": accuracy_score(truth, own)}


def of_answers(found: Found, rows: Rows) -> Figures:
    """The answers of these rows are Chinese, and compared as by the script of CMRC."""
    golds = [[one["text"] for one in row["answers"]] for row in rows]
    own = [one["answer"] for one in found]

    def mean(measure: Callable[[Sequence[str], str], float]) -> float:
        pairs = zip(golds, own, strict=True)
        return sum(measure(g, o) if g else float(not o) for g, o in pairs) / len(rows)

    return {"f1": mean(cmrc_f1), "exact_match": mean(cmrc_exact)}


def of_vectors(found: Found, rows: Rows) -> Figures:
    """How often the text most similar to one, of all others of both sides, is its partner."""
    vectors = np.array([one["vector"] for one in found])
    texts, partners = vectors[::2], vectors[1::2]
    every, count = np.concatenate([texts, partners]), len(rows)
    similar = every @ every.T
    np.fill_diagonal(similar, -np.inf)
    order = similar.argsort(1)[:, ::-1]
    right = (np.arange(2 * count) + count) % (2 * count)
    return {
        f"recall_at_{k}": float(np.mean((order[:, :k] == right[:, None]).any(1)))
        for k in (1, 5, 10)
    }


def of_label_trees(found: Found, rows: Rows) -> Figures:
    """Scikit-learn's F1 over the sets of labels and those above, to the level that a row says."""
    truth = [row["label"].split(".") for row in rows]
    is_leaf = [row["label"] != "mail" for row in rows]
    own = [[part.split(".")[-1] for part in one["path"]] for one in found]
    cut = [path if leaf else path[:1] for path, leaf in zip(own, is_leaf, strict=True)]
    sets = MultiLabelBinarizer().fit(truth + own)
    hits = [path[-1] in other for path, other in zip(truth, own, strict=True)]
    leaves = [place for place, leaf in enumerate(is_leaf) if leaf]
    return {
        "hierarchical_f1": f1_score(sets.transform(truth), sets.transform(cut), average="micro"),
        "accuracy": float(np.mean(hits)),
        "macro_f1": f1_score(
            [truth[place][-1] for place in leaves],
            [own[place][-1] for place in leaves],
            average="macro",
        ),
    }


def of_stars(found: Found, rows: Rows) -> Figures:
    own, truth = ([int(text[0]) for text in texts] for texts in _stars(found, rows))
    return {
        "kappa": cohen_kappa_score(truth, own, labels=(1, 2, 3), weights="quadratic"),
        "mae": mean_absolute_error(truth, own),
        "spearman": spearmanr(own, truth).statistic,
        "accuracy": accuracy_score(truth, own),
        "macro_f1": f1_score(truth, own, average="macro"),
    }


def _stars(found: Found, rows: Rows) -> tuple[list[str], list[str]]:
    return [one["label"] for one in found], [row["stars"] for row in rows]


def of_several(found: Found, rows: Rows) -> Figures:
    """Means over the numbers of correlations, each of the rows that have it."""
    each = []
    for name in ("valence", "minutes"):
        pairs = [
            (one["values"][name], row["values"][name])
            for one, row in zip(found, rows, strict=True)
            if row["values"].get(name) is not None
        ]
        own, truth = zip(*pairs, strict=True)
        each.append((spearmanr(own, truth).statistic, pearsonr(own, truth).statistic))
    spearman, pearson = np.mean(each, axis=0)
    return {"spearman": spearman, "pearson": pearson}


REFERENCES: Mapping[str, Callable[[Found, Rows], Figures]] = {
    "single_label": of_labels,
    "multi_label": of_sets,
    "regression": of_numbers,
    "tagging": of_entities,
    "parsing": of_trees,
    "multiple_choice": of_choices,
    "question_answering": of_answers,
    "embedding": of_vectors,
    "prototype": of_labels,
    "label_tree": of_label_trees,
    "ordinal": of_stars,
    "numbers": of_several,
}


def reference_figures(kind: Kind, found: Found, rows: Rows) -> Figures:
    """Returns the metrics of predictions by the reference of their kind.

    A kind without one fails the test that asks for it: its metrics are not tested yet.
    """
    if kind not in REFERENCES:
        pytest.fail(
            f"kind '{kind}' has no reference of its metrics: write a function that computes them "
            f"from predictions and labelled rows, and enter it in REFERENCES of "
            f"tests/kinds/references.py"
        )
    return REFERENCES[kind](found, rows)
