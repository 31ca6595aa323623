"""Dependency trees of rows: what is refused, and how words become the units of scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adapterhub.errors import AdapterHubError, DataError, UsageError
from adapterhub.model.heads.spans import TaggedText, words_of
from adapterhub.specs import INSIDE
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.data.words.trees import Arc
from adapterhub.training.data.words.units import NONE, UnitTree, unit_tree
from adapterhub.training.options import TrainingOptions, training_options
from adapterhub.training.prepare import summary_of
from tests.training.rows import tree_rows, write_rows

BAD: list[tuple[dict[str, Any], str]] = [
    ({"head": [2, 9, 2]}, "word 2 has the head 9; heads are places of words from 1 to 3"),
    ({"head": [2, -1, 2]}, "word 2 has the head -1"),
    ({"head": [2, 2, 0]}, "word 2 is its own head"),
    ({"head": [2, 3, 1]}, "no word has the head 0"),
    ({"head": [0, 0, 2]}, "2 words have the head 0 (1, 2)"),
    ({"head": [2, 1, 0]}, "the heads run in a circle: word 1 -> 2 -> 1"),
    ({"head": [0, 1]}, "there are 3 tokens, but 2 values in column 'head'"),
    ({"deprel": ["root"]}, "there are 3 tokens, but 1 values in column 'deprel'"),
    ({"deprel": ["root", None, "obj"]}, "the relation of word 2"),
    ({"deprel": ["root", "_", "obj"]}, "the relation of word 2 is '_'"),
    ({"head": [0, 1, "x"]}, "the head of word 3 is 'x'"),
    ({"head": [0, 1, 1.5]}, "the head of word 3 is 1.5"),
    ({"head": [0, 1, float("inf")]}, "the head of word 3 is"),
    ({"head": [0, 1, True]}, "the head of word 3 is"),
    ({"head": "0"}, "must be lists"),
    ({"tokens": ["a", "", "b"]}, "token 2"),
    ({"tokens": []}, "there are 0 tokens"),
]


@pytest.mark.parametrize(("change", "problem"), BAD)
def test_what_is_no_tree_is_refused_with_its_row(change: dict[str, Any], problem: str) -> None:
    good = {"tokens": ["a", "b", "c"], "head": [0, 1, 1], "deprel": ["root", "obj", "obj"]}
    with pytest.raises(DataError) as raised:
        read_splits([good, {**good, **change}] * 8, TrainingOptions(kind="parsing"))
    assert "row 2" in str(raised.value)
    assert problem in str(raised.value)


def test_the_kind_is_guessed_where_it_can_be_nothing_else() -> None:
    rows = [{**row, "upos": ["X"] * len(row["tokens"])} for row in tree_rows(40)]
    splits = read_splits(rows, TrainingOptions())
    assert splits.train.kind == "parsing"
    assert splits.folds == ()  # a fold would take minutes
    assert splits.train.labels[-1] == INSIDE  # of 中国, a word of two units
    assert splits.train.roles == {"tokens": "tokens", "heads": "head", "target": "deprel"}
    lines = list(summary_of(splits).lines())
    assert lines[0] == "Read as parsing: columns tokens, head, deprel; not read: upos."
    assert any("relations (words): " in line for line in lines)
    tagged = [{**row, "tags": ["X"] * len(row["tokens"])} for row in rows]
    with pytest.raises(UsageError, match=r"--kind tagging .* or --kind parsing"):
        read_splits(tagged, TrainingOptions())
    assert read_splits(tagged, TrainingOptions(kind="parsing")).train.kind == "parsing"
    options = TrainingOptions(kind="tagging", target="upos")
    assert read_splits(rows, options).train.kind == "tagging"


def test_rows_are_read_from_tables_and_csv_under_other_names(tmp_path: Path) -> None:
    names = {"tokens": "form", "head": "governor", "deprel": "relation"}
    rows = [{names[key]: value for key, value in row.items()} for row in tree_rows(40)]
    options = training_options(
        kind="parsing", tokens="form", heads="governor", target="relation", folds=0
    )
    plain = read_splits(rows, options).train
    named = training_options(tokens="form", heads="governor", target="relation")
    assert read_splits(rows, named).train.kind == "parsing"
    assert read_splits(pd.DataFrame(rows), options).train.targets == plain.targets
    spaced = [{key: " ".join(map(str, value)) for key, value in row.items()} for row in rows]
    for index, content in enumerate((rows, spaced)):
        pd.DataFrame(content).to_csv(tmp_path / f"{index}.csv", index=False)
        assert read_splits(tmp_path / f"{index}.csv", options).train.targets == plain.targets


def test_a_text_beside_the_words_is_theirs_if_it_is_made_of_them() -> None:
    tree = {"tokens": ["I", "go", "."], "head": [2, 0, 2], "deprel": ["nsubj", "root", "punct"]}
    texts = ["I  go .", "I go . Now", "I went.", "Igo."]
    rows = [{**tree, "text": text} for text in texts] * 4
    train = read_splits(rows, TrainingOptions(validation=rows)).train
    assert [text for (text,) in train.inputs[:4]] == ["I  go .", "I go.", "I go.", "Igo."]
    assert [(arc.start, arc.end) for arc in train.trees()[0]] == [(0, 1), (3, 5), (6, 7)]
    odd = [{**tree, "text": "I go.", "offsets": [[0, 1], [2, 4], [4, 9]]}] * 9
    with pytest.raises(DataError, match="the offset of word 3"):
        read_splits(odd, TrainingOptions())


def test_relations_that_only_held_out_rows_have_count_as_wrong(tmp_path: Path) -> None:
    rows = tree_rows(12)
    other = [{"tokens": ["she", "was"], "head": [2, 0], "deprel": ["csubj", "root"]}] * 2
    file = write_rows(tmp_path / "dev.jsonl", other)
    splits = read_splits(rows, TrainingOptions(validation=file))
    assert "csubj" not in splits.train.labels
    assert splits.validation.trees()[0][0].relation == "csubj"
    both = [*other, *rows[:3]]
    splits = read_splits(rows, TrainingOptions(validation=both, test=both, skip_unseen=True))
    assert splits.test is not None
    assert len(splits.validation) == len(splits.test) == 3
    foreign = [{**row, "deprel": ["SBJ", "ROOT"]} for row in other]
    file = write_rows(tmp_path / "other.jsonl", foreign)
    with pytest.raises(AdapterHubError, match="has the label 'SBJ'"):
        read_splits(rows, TrainingOptions(validation=file))


LABELS = ("det", "nsubj", "obj", "root", INSIDE)


def _tree(text: str, tokens: str, arcs: list[tuple[str, int, str]]) -> UnitTree:
    """Returns the tree of units; `|` parts the tokens of the encoder, spaces are not in them."""
    offsets, start = [], 0
    for token in tokens.split("|"):
        start = text.index(token, start)
        offsets.append((start, start + len(token)))
        start += len(token)
    words, end = [], 0
    for word, head, relation in arcs:
        begin = text.index(word, end)
        end = begin + len(word)
        words.append(Arc(begin, end, head, relation))
    return unit_tree(words_of(TaggedText(text, offsets)), words, LABELS)


def test_a_word_of_several_units_is_a_chain_of_them() -> None:
    tree = _tree(
        "他去中国", "他|去|中|国", [("他", 2, "nsubj"), ("去", 0, "root"), ("中国", 2, "obj")]
    )
    assert tree.heads.tolist() == [2, 0, 2, 3]
    assert [LABELS[place] for place in tree.relations] == ["nsubj", "root", "obj", INSIDE]
    assert tree.words.tolist() == [[0, 0], [1, 1], [2, 3]]
    assert tree.governors.tolist() == [2, 0, 2]


def test_words_that_share_a_unit_are_one_with_the_head_outside() -> None:
    arcs = [("I", 3, "nsubj"), ("do", 3, "det"), ("n't", 0, "root"), ("it", 3, "obj")]
    tree = _tree("I don't it", "I|don|'|t|it", arcs)
    # don ' t is one word of three units; its head is that of n't, the root.
    assert tree.heads.tolist() == [2, 0, 2, 3, 2]
    assert [LABELS[place] for place in tree.relations] == ["nsubj", "root", INSIDE, INSIDE, "obj"]
    assert tree.words.tolist() == [[0, 0], [4, 4]]
    assert tree.governors.tolist() == [2, 2]
    assert tree.total == 4


def test_what_is_no_unit_hands_its_words_to_the_next_above() -> None:
    arcs = [("a", 2, "det"), ("\u00ad", 3, "nsubj"), ("b", 0, "root")]
    tree = _tree("a \u00ad b", "a|b", arcs)
    assert tree.heads.tolist() == [2, 0]
    assert tree.governors.tolist() == [NONE, 0]
    assert tree.total == 3
    cut = _tree("a b", "a", [("a", 2, "det"), ("b", 0, "root")])  # the rest is over the window
    assert cut.heads.tolist() == [0]
    extra = unit_tree(words_of(TaggedText("a b", [(0, 1), (2, 3)])), [Arc(0, 1, 0, "root")], LABELS)
    assert np.array_equal(extra.heads, [0, NONE])
    assert extra.relations.tolist() == [LABELS.index("root"), NONE]
