"""TF-IDF + logistic regression on the same rows: what a head on a frozen encoder should beat.

By scikit-learn, from the extra `[train]`. Texts become word uni- and bigrams, texts without
spaces character n-grams up to three; a pair becomes both texts, their difference and their
product. A choice is a pair with its prompt, and is chosen by the cosine of both or by a conditional
logistic regression, whichever is better. Tagging reads the word, its neighbours and its affixes. As
for a head, the strength of the regularisation is chosen on the validation set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import SGDClassifier

from adapterhub.choices.rows import choice_counts
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.heads.choices import padded
from adapterhub.model.heads.heads import Array, RowLogits, sigmoid, softmax
from adapterhub.model.heads.spans import TaggedText, decode_spans, is_han, words_of
from adapterhub.specs import Metric
from adapterhub.training.data.dataset import Splits
from adapterhub.training.data.tagging import Span, unit_tags
from adapterhub.training.evaluation.calibration import TagBias, best_tag_bias, find_thresholds
from adapterhub.training.evaluation.metrics import (
    Figures,
    answer_spans,
    label_figures,
    number_figures,
    set_figures,
    span_figures,
    to_metrics,
)
from adapterhub.training.heads.fit_ngrams import fit_linear
from adapterhub.training.kinds.table import TRAINED

_STRENGTHS = (1.0, 10.0)
_HASHED_FEATURES = 2**18
_HAN_SHARE = 0.2
_NEVER = 1e-9


def baseline(splits: Splits, *, metric: str) -> tuple[Metric, ...]:
    """Returns the metrics of the baseline on the validation rows.

    Args:
        splits: Training and validation set.
        metric: By which its regularisation is chosen.
    """
    figures = max(_BASELINES[splits.train.kind](splits), key=lambda found: found[metric])
    return to_metrics(figures, "validation", len(splits.validation))


def _labels(splits: Splits) -> Iterator[Figures]:
    for logits in text_logits(splits, tfidf_features(splits), _STRENGTHS):
        yield label_figures(softmax(logits), splits.validation.truth())


def _label_sets(splits: Splits) -> Iterator[Figures]:
    truth = splits.validation.truth()
    for logits in text_logits(splits, tfidf_features(splits), _STRENGTHS):
        scores = sigmoid(logits)
        limits = np.array(find_thresholds(scores, truth > 0), np.float32)
        yield set_figures(scores >= limits, scores, truth)


def _numbers(splits: Splits) -> Iterator[Figures]:
    for values in text_logits(splits, tfidf_features(splits), _STRENGTHS):
        yield number_figures(values[:, 0], splits.validation.truth())


def _tags(splits: Splits) -> Iterator[Figures]:
    held_out = splits.validation
    scores = tag_scores(splits)

    def figures(bias: TagBias) -> Figures:
        return span_figures(biased_spans(scores, bias, held_out.labels), held_out)

    # Heads get the same two biases.
    yield figures(best_tag_bias(lambda bias: figures(bias)["span_f1"]))


def tag_scores(splits: Splits) -> RowLogits:
    """Returns the log-probabilities of the tags of each word of the validation rows.

    By a linear classifier of words that reads the word, its neighbours and its affixes.
    """
    labels = splits.train.labels
    index = {label: place for place, label in enumerate(labels)}
    hasher = FeatureHasher(_HASHED_FEATURES, input_type="string")
    texts = [_by_signs(inputs[0]) for inputs in splits.train.inputs]
    spans = splits.train.spans()
    tags = [unit_tags(words_of(text), row, labels) for text, row in zip(texts, spans, strict=True)]
    model = SGDClassifier(loss="log_loss", alpha=1e-6, random_state=0)
    model.fit(hasher.transform(_word_features(texts)), [index[tag] for row in tags for tag in row])
    texts = [_by_signs(inputs[0]) for inputs in splits.validation.inputs]
    found = model.predict_proba(hasher.transform(_word_features(texts)))
    scores = np.full((len(found), len(labels)), _NEVER, np.float32)
    scores[:, model.classes_] = np.maximum(found, _NEVER)
    lengths = [len(text.offsets) for text in texts]
    rows = np.split(np.log(scores), np.cumsum(lengths)[:-1])
    return RowLogits(tuple(rows), tuple(texts))


def biased_spans(scores: RowLogits, bias: TagBias, labels: Sequence[str]) -> list[list[Span]]:
    """Returns the spans of rows by the scores of `tag_scores` with a bias added."""
    rows = [row + bias.per_label(labels) for row in scores.values]
    return answer_spans(list(decode_spans(rows, scores.texts, labels)))


def choice_probabilities(splits: Splits) -> Iterator[Array]:
    """Yields scores of the choices of the validation rows: the cosine, and fitted ones.

    Each is (N, most choices), with a sum of 1 per row.
    """
    train, validation = tfidf_features(splits)
    inputs = splits.validation.inputs
    truth = TRAINED[splits.train.kind].item_truth(splits.train, splits.train.truth())
    yield _per_row(validation[:, -1].toarray(), inputs)  # the cosine
    for strength in _STRENGTHS:
        fitted = fit_linear(train, truth, "choices", outputs=1, strength=strength)
        yield _per_row(fitted.logits(validation), inputs)


def _per_row(logits: Array, inputs: Sequence[tuple[str, ...]]) -> Array:
    ends = np.cumsum(choice_counts(inputs))
    return softmax(padded(np.split(logits, ends[:-1])))


_BASELINES: dict[Kind, Callable[[Splits], Iterator[Figures]]] = {
    "single_label": _labels,
    "multi_label": _label_sets,
    "regression": _numbers,
    "tagging": _tags,
}


def text_logits(
    splits: Splits, features: tuple[Any, Any], strengths: Sequence[float]
) -> Iterator[Array]:
    """Yields the logits, or values, of the validation rows for each strength.

    Args:
        splits: Training and validation set.
        features: Those of the training rows and of the validation rows, (rows, F) each.
        strengths: Inverses of the L2 penalty.
    """
    train, validation = features
    outputs, model = max(1, len(splits.train.labels)), KINDS[splits.train.kind].linear
    assert model is not None
    for strength in strengths:
        fitted = fit_linear(train, splits.train.truth(), model, outputs=outputs, strength=strength)
        yield fitted.logits(validation)


def tfidf_features(splits: Splits) -> tuple[Any, Any]:
    """Returns sparse features of the training and the validation rows."""
    train, validation = splits.train.items, splits.validation.items
    vectorizer = fitted_tfidf([text for row in train for text in row])
    return _row_features(vectorizer, train), _row_features(vectorizer, validation)


def fitted_tfidf(texts: Sequence[str]) -> TfidfVectorizer:
    """Returns a vectorizer of words, or of characters where many are Han, fitted on texts."""
    if _is_han(texts):
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    else:
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return vectorizer.fit(texts)


def _row_features(vectorizer: TfidfVectorizer, inputs: Sequence[tuple[str, ...]]) -> Any:
    first = vectorizer.transform([row[0] for row in inputs])
    if len(inputs[0]) == 1:
        return first
    second = vectorizer.transform([row[1] for row in inputs])
    product = first.multiply(second)
    # The sum of the product is the cosine of the two texts.
    return sparse.hstack(
        [first, second, abs(first - second), product, sparse.csr_matrix(product.sum(1))]
    ).tocsr()


def _is_han(texts: Sequence[str]) -> bool:
    characters = "".join(texts[:200])
    return sum(map(is_han, characters)) > _HAN_SHARE * len(characters)


def _by_signs(text: str) -> TaggedText:
    """Returns a text whose tokens are its words, which may begin at any character."""
    signs = TaggedText(text, [(place, place + 1) for place in range(len(text))])
    return TaggedText(text, [(word.start, word.end) for word in words_of(signs)])


def _word_features(texts: Sequence[TaggedText]) -> Iterator[list[str]]:
    """Yields the features of each word of each text."""
    for text in texts:
        words = [text.text[start:end] for start, end in text.offsets]
        around = ["", "", *words, "", ""]
        for place, word in enumerate(words):
            near = around[place : place + 5]
            yield [
                *(f"{offset}={other.lower()}" for offset, other in enumerate(near)),
                f"12={near[1]}|{near[2]}".lower(),
                f"23={near[2]}|{near[3]}".lower(),
                f"first={word[:3]}",
                f"last={word[-3:]}",
                f"shape={word[:1].isupper()}{word.isdigit()}{word.isalnum()}",
            ]
