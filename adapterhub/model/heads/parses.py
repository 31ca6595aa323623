"""Hidden layer of the tokens of a text -> heads and relations of its words -> parsed words.

A unit is a word as tagging has them, with all characters of its tokens, and has the vectors of its
first token. Units of which the relation `INSIDE` says that they go on from the unit before them are
one word of the result, as the characters of a Chinese word are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.heads.biaffine import BiaffineWeights, arc_scores, relation_scores
from adapterhub.model.heads.spans import Array, Places, TaggedText
from adapterhub.model.heads.trees import ROOT, best_heads
from adapterhub.results import ParsedWord
from adapterhub.specs import INSIDE

ROOT_RELATION = "root"
"""The relation of the word at the root in Universal Dependencies."""


@inference
def parse_units(tokens: Array, text: TaggedText, weights: BiaffineWeights) -> tuple[Array, Places]:
    """Returns logits and heads of the units of one text: (units, K) fp32, (units,) int64.

    The logits are log p(head) + log p(relation | head) at the heads of the best tree. They are NaN
    where a score is not finite.

    Args:
        tokens: (tokens, W) hidden layer of the head, after its activation.
        text: The text with its words.
        weights: The weights, on the device where the pairs are scored.
    """
    firsts = [unit.token for unit in text.units]
    units = torch.from_numpy(tokens[firsts]).to(weights.arcs.device)
    of_heads = functional.log_softmax(arc_scores(units, weights), dim=-1).cpu().numpy()
    if not np.isfinite(of_heads).all():
        unknown: Array = np.full((len(firsts), len(weights.relations)), np.nan, np.float32)
        return unknown, np.zeros(len(firsts), np.int64)
    heads = best_heads(of_heads)
    scores = relation_scores(units, torch.from_numpy(heads).to(units.device), weights)
    of_relations = functional.log_softmax(scores, dim=-1).cpu().numpy()
    logits: Array = of_heads[np.arange(len(heads)), heads, None] + of_relations
    return logits, heads


def parsed_words(
    logits: Array, heads: Places, text: TaggedText, labels: Sequence[str]
) -> list[ParsedWord]:
    """Returns the words of a text with head and relation, in text order.

    Args:
        logits: (units, K) from `parse_units`.
        heads: (units,) from 1; 0 is the root.
        text: The text.
        labels: The relations in column order.
    """
    if not len(heads):
        return []
    relations = best_relations(logits, heads, labels)
    chosen = logits[np.arange(len(heads)), relations]
    first = np.array([labels[place] != INSIDE for place in relations])
    # The place of each unit's word, from 1; and of the root, which stays 0.
    words = np.concatenate(([ROOT], np.cumsum(first)))
    starts = np.flatnonzero(first)
    ends = [*starts[1:], len(heads)]
    found = []
    for start, end in zip(starts.tolist(), ends, strict=True):
        a, b = text.units[start].start, text.units[end - 1].end
        found.append(
            ParsedWord(
                word=text.text[a:b],
                start=a,
                end=b,
                head=int(words[heads[start]]),
                relation=labels[relations[start]],
                score=min(1.0, float(np.exp(chosen[start:end].sum(dtype=np.float64)))),
            )
        )
    return found


def best_relations(logits: Array, heads: Places, labels: Sequence[str]) -> Places:
    """Returns the most probable relation that each unit may have with its head: (units,).

    Only the unit before it can be the head of a unit that is `INSIDE` a word, and the unit at the
    root, and no other, has the relation `root`, where there is one.
    """
    names = np.array(labels)
    units = np.arange(len(heads))
    goes_on = (heads == units) & (units > 0)  # its head is the unit before it
    allowed = np.where(names == INSIDE, goes_on[:, None], True)
    at_root = (heads == ROOT)[:, None]
    if ROOT_RELATION in labels:
        fitting = allowed & ((names == ROOT_RELATION) == at_root)
        allowed = np.where(fitting.any(1, keepdims=True), fitting, allowed)
    best: Places = np.where(allowed, logits, -np.inf).argmax(1)
    return best
