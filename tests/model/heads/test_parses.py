"""Units of a text -> scored pairs -> the words of its tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adapterhub.decoding import BEST
from adapterhub.model.heads.biaffine import BiaffineWeights, arc_scores, relation_scores
from adapterhub.model.heads.heads import RowLogits
from adapterhub.model.heads.kinds.table import DECODERS
from adapterhub.model.heads.parses import parse_units, parsed_words
from adapterhub.model.heads.spans import TaggedText
from tests.builders import head_tensors, task_spec
from tests.model.heads.test_trees import is_walked

LABELS = ("root", "nsubj", "_", "obj")
LOW = -20.0


def text_of(*words: str) -> TaggedText:
    joined = " ".join(words)
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])]).tolist()
    ends = [at + len(word) for at, word in zip(starts, words, strict=True)]
    return TaggedText(joined, list(zip(starts, ends, strict=True)))


def logits_of(*relations: str) -> np.ndarray:
    """Returns logits in which each unit has a relation with probability 1/2, others hardly."""
    rows = np.full((len(relations), len(LABELS)), LOW, np.float32)
    for row, relation in zip(rows, relations, strict=True):
        row[LABELS.index(relation)] = np.log(0.5)
    return rows


def parsed(*units: tuple[str, int, str]) -> list[tuple[str, int, str, float]]:
    names, heads, relations = zip(*units, strict=True)
    found = parsed_words(logits_of(*relations), np.array(heads), text_of(*names), LABELS)
    for word in found:
        assert text_of(*names).text[word["start"] : word["end"]] == word["word"]
    return [(w["word"], w["head"], w["relation"], round(w["score"], 6)) for w in found]


@pytest.mark.parametrize(
    ("text", "offsets", "words"),
    [
        ("$20,000 to", [(0, 2), (2, 7), (7, 10)], ["$20,000", "to"]),
        ("100% 3)", [(0, 2), (2, 4), (4, 6), (6, 7)], ["100%", "3", ")"]),
        ("713)a b", [(0, 2), (2, 4), (4, 5), (5, 7)], ["713)", "a", "b"]),
        ("12, 3", [(0, 1), (1, 4), (4, 5)], ["12,", "3"]),  # a token with a space behind
    ],
)
def test_no_character_is_lost_where_a_token_goes_on_behind_a_word(
    text: str, offsets: list[tuple[int, int]], words: list[str]
) -> None:
    tagged = TaggedText(text, offsets)
    logits = np.zeros((len(tagged.units), 1), np.float32)
    heads = np.arange(len(tagged.units))
    found = parsed_words(logits, heads, tagged, ("root",))
    assert [word["word"] for word in found] == words
    assert [unit.token for unit in tagged.units] == [word.token for word in tagged.words]


def test_scores_are_those_of_the_formula() -> None:
    spec = task_spec("parsing", arc_width=3, hidden_width=10)  # R is 2
    tensors = {name: tensor.double() for name, tensor in head_tensors(spec).items()}
    root, arcs, relations = (tensors[f"head.{part}"] for part in ("root", "arcs", "relations"))
    words = torch.randn(5, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = BiaffineWeights(root, arcs, relations)
    found = arc_scores(words, weights)
    heads = torch.tensor([2, 0, 5, 1, 2])
    of_relations = relation_scores(words, heads, weights)
    one = torch.ones(1, dtype=torch.float64)
    for i, vector in enumerate(words):
        d, _, r, _ = vector.split([3, 3, 2, 2])
        for j in range(6):
            h = root[:3] if j == 0 else words[j - 1][3:6]
            assert found[i, j] == pytest.approx(float(torch.cat((d, one)) @ arcs @ h))
        head = int(heads[i])
        s = torch.cat((root[3:] if head == 0 else words[head - 1][8:], one))
        for k, matrix in enumerate(relations):
            assert of_relations[i, k] == pytest.approx(float(torch.cat((r, one)) @ matrix @ s))
    # Several sentences at once, as in training.
    stacked = arc_scores(torch.stack([words, words.flip(0)]), weights)
    assert torch.equal(stacked[0], found)


def test_a_unit_inside_a_word_is_merged_into_it() -> None:
    assert parsed(("北", 4, "nsubj"), ("京", 1, "_"), ("大", 2, "_"), ("学", 0, "root")) == [
        ("北 京 大", 2, "nsubj", 0.125),
        ("学", 0, "root", 0.5),
    ]
    # Heads count the words of the result, and that of a unit in the middle is its word.
    assert parsed(("a", 3, "nsubj"), ("b", 0, "root"), ("c", 2, "_"), ("d", 3, "obj")) == [
        ("a", 2, "nsubj", 0.5),
        ("b c", 0, "root", 0.25),
        ("d", 2, "obj", 0.5),
    ]


def test_a_unit_that_cannot_be_inside_is_a_word_with_its_best_other_relation() -> None:
    # The first unit; one whose head is behind it; one whose head is further before it; the root.
    first = parsed(("a", 2, "_"), ("b", 0, "root"))
    assert [relation for _, _, relation, _ in first] == ["nsubj", "root"]
    assert parsed(("a", 0, "_"))[0][2] == "root"
    third = parsed(("a", 0, "root"), ("b", 1, "obj"), ("c", 1, "_"))
    assert [(word, head) for word, head, _, _ in third] == [("a", 0), ("b", 1), ("c", 1)]
    assert "_" not in {relation for _, _, relation, _ in third}


def test_the_root_has_the_relation_root_and_no_other_word_has() -> None:
    found = parsed(("a", 2, "root"), ("b", 0, "obj"), ("c", 2, "obj"))
    assert [relation for _, _, relation, _ in found] == ["nsubj", "root", "obj"]
    # Treebanks with another name for it are left as they are.
    rows = np.log(np.array([[0.9, 0.1], [0.9, 0.1]], np.float32))
    words = parsed_words(rows, np.array([0, 1]), text_of("a", "b"), ("HED", "SBV"))
    assert [word["relation"] for word in words] == ["HED", "HED"]
    only = parsed_words(rows[:, :1], np.array([0, 1]), text_of("a", "b"), ("root",))
    assert [word["relation"] for word in only] == ["root", "root"]


@given(st.integers(1, 9), st.integers(0, 999), st.sampled_from([0.0, 0.1, 1.0, 30.0]))
@pytest.mark.slow
def test_every_answer_is_a_tree_with_one_root(units: int, seed: int, scale: float) -> None:
    spec = task_spec("parsing")
    tensors = {name: scale * tensor for name, tensor in head_tensors(spec, seed).items()}
    weights = BiaffineWeights(*(tensors[f"head.{part}"] for part in ("root", "arcs", "relations")))
    text = text_of(*"abcdefghi"[:units])
    tokens = np.random.default_rng(seed).normal(size=(units, 12)).astype(np.float32)
    logits, heads = parse_units(tokens, text, weights)
    assert is_walked(heads)
    (answer,) = DECODERS["parsing"].decode(RowLogits((logits,), (text,), (heads,)), spec, BEST)
    assert is_walked(np.array([word["head"] for word in answer]))  # type: ignore[union-attr, index]
    # Probabilities of head and relation: over all relations they add up to that of the head.
    assert np.exp(logits.astype(np.float64)).sum(1).max() <= 1 + 1e-5


def test_a_text_without_words_has_none() -> None:
    spec = task_spec("parsing")
    tensors = head_tensors(spec)
    weights = BiaffineWeights(*(tensors[f"head.{part}"] for part in ("root", "arcs", "relations")))
    text = TaggedText("\u200b\u00ad", [(0, 1), (1, 2)])
    logits, heads = parse_units(np.ones((2, 12), np.float32), text, weights)
    assert logits.shape == (0, 4)
    assert DECODERS["parsing"].decode(RowLogits((logits,), (text,), (heads,)), spec, BEST) == [[]]
