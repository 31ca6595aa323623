"""Steers pretraining: linear probes on frozen states, per depth, on ten sets of five kinds.

Beside them the same rows by TF-IDF + logistic regression. By scikit-learn, from `[train]`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AlbertModel, AlbertTokenizer

from adapterhub.model.heads.pair_features import compare
from recipes.backbone.tuning_batches import take_apart, take_rows
from recipes.backbone.tuning_model import POOLINGS, pool_states
from recipes.backbone.tuning_sets import NO_TAG, Row, TuningSet, make_set, read_rows
from recipes.backbone.vocabulary import HAN

Features = Any  # (N, F) dense or sparse, what scikit-learn takes
Ints = npt.NDArray[np.int64]

MAX_LENGTH = 96
_BATCH = 32
_PROBE_STRENGTHS = (0.003, 0.03)
_TFIDF_STRENGTHS = (1.0, 10.0)
_MOST_WORDS = 4000
"""Words of a tagging set for fitting a probe, at most; half as many for evaluating it."""


@dataclass(frozen=True)
class SteeringSet:
    """One of the ten sets.

    Attributes:
        name: Its folder.
        language: `en` or `zh`.
        asks: The ability it tests: topic, sentiment, question, pair, syntax; or surface, where
            its texts are sorted into quarters by their length instead.
    """

    name: str
    language: str
    asks: str

    @property
    def title(self) -> str:
        """Returns its name in tables."""
        return f"{self.name}, length" if self.asks == "surface" else self.name


STEERING_SETS = (
    SteeringSet("ag_news", "en", "topic"),
    SteeringSet("sst2", "en", "sentiment"),
    SteeringSet("trec", "en", "question"),
    SteeringSet("mrpc", "en", "pair"),
    SteeringSet("ud_english_ewt", "en", "syntax"),
    SteeringSet("thucnews_title", "zh", "topic"),
    SteeringSet("waimai_10k", "zh", "sentiment"),
    SteeringSet("shopping_category", "zh", "topic"),
    SteeringSet("lcqmc", "zh", "pair"),
    SteeringSet("ud_chinese_gsd", "zh", "syntax"),
)
SURFACE_SETS = (SteeringSet("sst2", "en", "surface"), SteeringSet("waimai_10k", "zh", "surface"))
"""Evaluated too, to show what depths encode; no decision depends on them."""


@dataclass(frozen=True)
class ProbeRows:
    """Rows of a set for probes: the first ones of its two files."""

    name: str
    train: list[Row]
    validation: list[Row]

    @property
    def tagged(self) -> bool:
        """Returns whether words are labelled, not texts."""
        return "tokens" in self.train[0]


def read_probe_rows(folder: Path, item: SteeringSet, *, train: int, validation: int) -> ProbeRows:
    """Returns the first rows of the two files of a set."""
    parts = {
        split: list(islice(read_rows(folder / item.name / f"{split}.jsonl.gz"), count))
        for split, count in (("train", train), ("validation", validation))
    }
    if item.asks == "surface":
        lengths = [len(row["text"]) for row in parts["train"]]
        edges = np.quantile(lengths, (0.25, 0.5, 0.75))
        parts = {split: [_quarter(row, edges) for row in rows] for split, rows in parts.items()}
    return ProbeRows(item.title, **parts)


def _quarter(row: Row, edges: npt.NDArray[np.float64]) -> Row:
    place = int(np.searchsorted(edges, len(row["text"])))
    return {"text": row["text"], "label": str(place)}


def probe_depths(rows: ProbeRows, model: AlbertModel, tokenizer: AlbertTokenizer) -> list[float]:
    """Returns the macro-F1 of a probe at each depth from 0, by mean and max of the states.

    A probe of words reads the first piece of each, one of pairs compares the means of two texts
    read alone. The better of two strengths counts, as for the baseline.
    """
    both = make_set(rows.name, [*rows.train, *rows.validation], tokenizer, MAX_LENGTH)
    split = len(rows.train)
    train, validation = (
        _states(both, part, model) for part in (range(split), range(split, len(both)))
    )
    labels, truth = train.labels, validation.labels
    return [
        _best(
            lambda strength: make_pipeline(
                StandardScaler(), LogisticRegression(C=strength, max_iter=100)
            ),
            _PROBE_STRENGTHS,
            (found, labels),
            (asked, truth),
        )
        for found, asked in zip(train.depths, validation.depths, strict=True)
    ]


def probe_words(rows: ProbeRows) -> float:
    """Returns the macro-F1 of TF-IDF + logistic regression, no encoder."""
    features = _word_features(rows) if rows.tagged else _text_features(rows)
    (train, labels), (validation, truth) = features
    return _best(
        lambda strength: LogisticRegression(C=strength, max_iter=200),
        _TFIDF_STRENGTHS,
        (train, labels),
        (validation, truth),
    )


@dataclass(frozen=True)
class _States:
    """Features (N, F) of each depth, and labels (N,)."""

    depths: list[npt.NDArray[np.float32]]
    labels: Ints


@torch.inference_mode()
def _states(rows: TuningSet, part: range, model: AlbertModel) -> _States:
    order = sorted(part, key=lambda row: rows.starts[row + 1] - rows.starts[row])
    if rows.kind == "tags":  # all lengths, in a fixed random order, until there are enough words
        order = np.random.default_rng(0).permutation(part).tolist()
    limit = _MOST_WORDS if part.start == 0 else _MOST_WORDS // 2
    rng, paired = np.random.default_rng(0), rows.paired
    found: list[list[torch.Tensor]] = []
    labels: list[Ints] = []
    for start in range(0, len(order), _BATCH):
        chosen = np.asarray(order[start : start + _BATCH])
        vocab_size = model.config.vocab_size
        batch = (
            take_apart(rows, chosen)
            if paired
            else take_rows(rows, chosen, rng, vocab_size=vocab_size)
        )
        mask = torch.from_numpy(batch.attention_mask)
        states = model(
            input_ids=torch.from_numpy(batch.input_ids),
            token_type_ids=torch.from_numpy(batch.token_type_ids),
            attention_mask=mask,
            output_hidden_states=True,
        ).hidden_states
        if rows.kind == "tags":
            kept = torch.from_numpy(batch.targets != NO_TAG)
            found.append([state[kept] for state in states])
            labels.append(batch.targets[kept.numpy()])
            if sum(map(len, labels)) >= limit:
                break
        else:
            found.append([_pool(state, mask, paired) for state in states])
            labels.append(batch.targets.argmax(1))
    depths = [torch.cat(parts).float().numpy() for parts in zip(*found, strict=True)]
    return _States(depths, np.concatenate(labels))


def _pool(state: torch.Tensor, mask: torch.Tensor, paired: bool) -> torch.Tensor:
    pooled = pool_states(state[None], mask)[0]  # (poolings, N, H)
    if paired:
        return compare(*pooled[POOLINGS.index("mean")].chunk(2))
    return torch.cat([pooled[POOLINGS.index("mean")], pooled[POOLINGS.index("max")]], dim=1)


def _best(
    make: Callable[[float], Any],
    strengths: Sequence[float],
    train: tuple[Features, Any],
    validation: tuple[Features, Any],
) -> float:
    scores = []
    for strength in strengths:
        with warnings.catch_warnings():
            # Every probe has the same few steps; converging further would not change the ranking.
            warnings.simplefilter("ignore", ConvergenceWarning)
            guess = make(strength).fit(*train).predict(validation[0])
        scores.append(float(f1_score(validation[1], guess, average="macro", zero_division=0)))
    return max(scores)


def _text_features(rows: ProbeRows) -> list[tuple[Features, list[str]]]:
    """Returns TF-IDF and labels of both parts; a pair is both, difference and product."""
    han = HAN.search(rows.train[0]["text"]) is not None
    settings = {"analyzer": "char", "ngram_range": (1, 3)} if han else {"ngram_range": (1, 2)}
    keys = [key for key in ("text", "text_pair") if key in rows.train[0]]
    tfidf = TfidfVectorizer(sublinear_tf=True, min_df=2, **settings)
    tfidf.fit([row[key] for row in rows.train for key in keys])
    found = []
    for part in (rows.train, rows.validation):
        columns = [tfidf.transform([row[key] for row in part]) for key in keys]
        if len(columns) == 2:
            one, two = columns
            columns += [abs(one - two), one.multiply(two)]
        found.append((sparse.hstack(columns).tocsr(), [row["label"] for row in part]))
    return found


def _word_features(rows: ProbeRows) -> list[tuple[Features, list[str]]]:
    """Returns hashed words, neighbours and affixes, and tags, of both parts."""
    found = []
    for part, limit in ((rows.train, _MOST_WORDS), (rows.validation, _MOST_WORDS // 2)):
        order = np.random.default_rng(0).permutation(len(part)).tolist()
        words = list(islice((word for row in order for word in _words(part[row])), limit))
        hashed = FeatureHasher(2**15, input_type="string").transform([names for names, _ in words])
        found.append((hashed, [tag for _, tag in words]))
    return found


def _words(row: Row) -> Iterator[tuple[list[str], str]]:
    tokens = ["", *(token.lower() for token in row["tokens"]), ""]
    for place, tag in enumerate(row.get("upos") or row["tags"], start=1):
        word = tokens[place]
        names = [f"w={word}", f"-={tokens[place - 1]}", f"+={tokens[place + 1]}"]
        names += [f"s{n}={word[-n:]}" for n in (1, 2, 3)] + [f"p{n}={word[:n]}" for n in (1, 2)]
        yield names, tag
