from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest

from adapterhub.errors import DataError, UsageError
from adapterhub.tags import tags_of
from adapterhub.training.data.dataset import read_for_task, read_splits
from adapterhub.training.data.tagging import Span
from adapterhub.training.options import TrainingOptions, training_options
from tests.builders import task_spec
from tests.training.rows import (
    Rows,
    pair_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
    write_rows,
)

DEFAULTS = TrainingOptions()
HELD_OUT = TrainingOptions(validation_fraction=0.1)


@pytest.mark.parametrize(
    ("rows", "kind", "fields", "labels"),
    [
        (sentiment_rows(), "single_label", ("text",), ("negative", "positive")),
        (pair_rows(), "single_label", ("text", "text_pair"), ("negative", "positive")),
        (topic_rows(), "multi_label", ("text",), ("has-film", "has-food")),
        (rating_rows(), "regression", ("text",), ()),
        (tagged_rows(), "tagging", ("text",), tags_of(["place"], ends=True)),
    ],
)
def test_the_kind_follows_from_the_columns(
    rows: Rows, kind: str, fields: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    splits = read_splits(rows, HELD_OUT)
    for dataset in (splits.train, splits.validation):
        assert (dataset.kind, dataset.fields, dataset.labels) == (kind, fields, labels)
    assert len(splits.train) + len(splits.validation) == len(rows)
    assert 3 <= len(splits.validation) <= 6


def test_columns_may_have_other_names() -> None:
    rows = [
        {"premise": row["text"], "guess": row["text_pair"], "gold": row["label"]}
        for row in pair_rows()
    ]
    options = training_options(text="premise", pair="guess", target="gold")
    splits = read_splits(rows, options)
    assert splits.train.fields == ("text", "text_pair")
    assert splits.train.kind == "single_label"


def test_numbers_can_be_labels_or_values() -> None:
    rows = [{"text": f"text {index}", "label": index % 12} for index in range(60)]
    labels = read_splits(rows, DEFAULTS).train.labels
    assert labels == tuple(str(number) for number in range(12))
    splits = read_splits(rows, training_options(kind="regression"))
    assert splits.train.kind == "regression"
    assert splits.train.truth().max() == 11
    floats = [{**row, "label": row["label"] / 2} for row in rows]
    assert read_splits(floats, DEFAULTS).train.kind == "regression"


def test_csv_cells_hold_lists_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [f"text {i},{['a', 'a|b', '', ' b '][i % 4]},{i / 2}" for i in range(40)]
    path.write_text("\n".join(["text,labels,score", *lines]), encoding="utf-8")
    splits = read_splits(path, DEFAULTS)
    assert splits.train.labels == ("a", "b")
    assert set(splits.train.targets) == {("a",), ("a", "b"), (), ("b",)}
    assert read_splits(path, training_options(target="score")).train.kind == "regression"


def test_truth_is_in_label_order() -> None:
    splits = read_splits(topic_rows(), DEFAULTS)
    for target, row in zip(splits.train.targets, splits.train.truth(), strict=True):
        assert [label in target for label in splits.train.labels] == row.astype(bool).tolist()
    labels = read_splits(sentiment_rows(), DEFAULTS).train
    assert labels.truth().tolist() == [labels.labels.index(t) for t in labels.targets]


def test_splits_follow_the_seed_and_keep_equal_texts_together() -> None:
    rows = sentiment_rows(60)
    rows = [{**row, "text": f"{row['text']} {index // 3}"[:-2]} for index, row in enumerate(rows)]
    one, two = (read_splits(rows, training_options(seed=3, folds=0)) for _ in range(2))
    other = read_splits(rows, training_options(seed=4, folds=0))
    assert one.validation.inputs == two.validation.inputs != other.validation.inputs
    assert one.train.digest() == two.train.digest() != other.train.digest()
    assert not set(one.train.inputs) & set(one.validation.inputs)


TWINS = {
    "case and spaces": lambda row: {**row, "text": f" {row['text'].upper()}  "},
    "form": lambda row: {**row, "text": normalize("NFD", row["text"])},
    "full width": lambda row: {**row, "text": row["text"].replace("r", "\uff52")},
    "order": lambda row: {**row, "text": row["text_pair"], "text_pair": row["text"]},
    "words": lambda row: {"tokens": ["".join(row["tokens"])], "tags": ["O"]},
}


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("options", [{"folds": 0}, {"folds": 5}])
def test_what_an_encoder_hardly_tells_apart_stays_together(
    twin: str, options: dict[str, Any]
) -> None:
    rows = [{"text": f"r\u00e9 {index}", "label": "ab"[index % 2]} for index in range(60)]
    if twin == "order":
        rows = [{**row, "text_pair": f"and {row['text']}"} for row in rows]
    if twin == "words":
        rows = [{"tokens": ["r", str(index)], "tags": ["B-x", "O"]} for index in range(60)]
    splits = read_splits([*rows, *map(TWINS[twin], rows)], training_options(**options))
    if splits.folds:
        assert splits.folds[:60] == splits.folds[60:]
        return
    number = re.compile(r"\d+")
    train, validation = (
        {number.findall(text)[0] for text, *_ in part.inputs}
        for part in (splits.train, splits.validation)
    )
    assert validation
    assert not train & validation


@pytest.mark.parametrize("rows", [sentiment_rows(), rating_rows(), tagged_rows(), topic_rows()])
def test_few_rows_are_cross_validated(rows: Rows) -> None:
    rows = [*rows, rows[0]]
    splits = read_splits(rows, DEFAULTS)
    assert splits.train is splits.validation
    assert splits.measured_on == "cross-validation"
    assert len(splits.train) == len(splits.folds) == 49
    sizes = np.bincount(splits.folds)
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 2
    assert splits.folds[0] == splits.folds[-1]
    assert splits.folds == read_splits(rows, DEFAULTS).folds
    assert splits.folds != read_splits(rows, training_options(seed=1)).folds


def test_folds_have_every_label_where_rows_suffice() -> None:
    rows = [{"text": f"text {i}", "label": "abc"[min(i % 7, 2)]} for i in range(60)]
    splits = read_splits(rows, training_options(folds=4))
    for fold in range(4):
        labels = [y for y, of in zip(splits.train.targets, splits.folds, strict=True) if of == fold]
        assert set(labels) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("count", "changes", "crossed"),
    [
        (1_999, {}, True),
        (2_000, {}, False),
        (3_000, {"max_rows": 500}, True),
        (100, {"folds": 0}, False),
        (100, {"validation_fraction": 0.2}, False),
        (100, {"split_column": "part"}, False),
        (100, {"adapter_of": "other"}, False),
    ],
)
def test_rows_are_held_out_where_there_are_enough(
    count: int, changes: dict[str, Any], crossed: bool
) -> None:
    rows = [
        {"text": f"text {i}", "label": "ab"[i % 2], "part": ["train", "dev"][i % 3 == 0]}
        for i in range(count)
    ]
    splits = read_splits(rows, training_options(**changes))
    assert (splits.measured_on == "cross-validation") == crossed
    assert len(splits.train) <= changes.get("max_rows", count)


def test_folds_need_texts_that_differ() -> None:
    rows = [{"text": "same", "label": "ab"[i % 2]} for i in range(20)]
    with pytest.raises(DataError, match="all rows have the same text"):
        read_splits(rows, DEFAULTS)
    with pytest.raises(UsageError, match="folds are 2 or more, or 0"):
        training_options(folds=1)


def test_rare_labels_stay_in_training() -> None:
    rows = [{"text": f"text {i}", "label": "rare" if i % 30 == 0 else "often"} for i in range(90)]
    splits = read_splits(rows, training_options(validation_fraction=0.5))
    assert "rare" in splits.train.targets
    assert "rare" in splits.validation.targets
    assert abs(len(splits.validation) - 45) <= 2


@pytest.mark.parametrize("seed", range(6))
def test_no_label_is_in_validation_alone(seed: int) -> None:
    rows = [{"text": f"text {i}", "labels": ["often"]} for i in range(60)]
    for number in range(20):
        rows[number * 3]["labels"] = ["also", f"rare {number}"]
    splits = read_splits(rows, training_options(validation_fraction=0.5, seed=seed))
    assert len(splits.validation) > 10
    twice = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(60)]
    twice += [{**row, "label": f"c{number}"} for number, row in enumerate(twice[:9])]
    splits = read_splits(twice, training_options(validation_fraction=0.5, seed=seed))
    assert set(splits.validation.targets) <= set(splits.train.targets)


def test_a_second_text_in_any_row_makes_pairs() -> None:
    rows = pair_rows()
    del rows[0]["text_pair"]
    with pytest.raises(DataError, match="row 1: there is no column 'text_pair'"):
        read_splits(rows, DEFAULTS)


def test_whole_numbers_of_a_table_with_an_empty_cell_are_labels() -> None:
    rows = [{"text": f"text {index}", "label": float(index % 3)} for index in range(60)]
    splits = read_splits(rows, training_options(kind="single_label"))
    assert splits.train.labels == ("0", "1", "2")


def test_labels_are_in_natural_order_in_any_script() -> None:
    labels = ["10\u661f", "2\u661f", "\uff15\u661f", "\u2460", "\u00b2x", "cafe\u0301", "caf\u00e9"]
    rows = [{"text": f"text {i}", "label": labels[i % 7]} for i in range(70)]
    found = read_splits(rows, DEFAULTS).train.labels
    assert found == ("2\u661f", "10\u661f", "caf\u00e9", "\u00b2x", "\u2460", "\uff15\u661f")


def test_rows_of_a_test_part_need_no_answers() -> None:
    rows = [
        {**row, "split": "dev" if i % 4 == 0 else "train"}
        for i, row in enumerate(sentiment_rows(40))
    ]
    hidden = [{"text": "x", "label": None, "split": part} for part in ("test", "", None)]
    splits = read_splits([*hidden, *rows], training_options(split_column="split"))
    assert (len(splits.train), len(splits.validation)) == (30, 10)


def test_a_split_column_or_file_is_followed(tmp_path: Path) -> None:
    rows = sentiment_rows(40)
    parts = ["train", "dev", "Train ", "test"]
    marked = [{**row, "part": parts[index % 4]} for index, row in enumerate(rows)]
    marked[0]["label"], marked[1]["label"] = "positive", "negative"
    splits = read_splits(marked, training_options(split_column="part"))
    assert (len(splits.train), len(splits.validation)) == (20, 10)
    write_rows(tmp_path / "v.jsonl", rows[:5])
    splits = read_splits(rows, training_options(validation=tmp_path / "v.jsonl", max_rows=10))
    assert (len(splits.train), len(splits.validation)) == (10, 5)
    with pytest.raises(DataError, match="row 1: column 'part' is 'extra'; expected 'train'"):
        read_splits([{**rows[0], "part": "extra"}], training_options(split_column="part"))
    with pytest.raises(DataError, match="marks no rows as 'validation'"):
        read_splits([{**rows[0], "part": "train"}], training_options(split_column="part"))


def test_tagged_words_become_a_text_with_spans() -> None:
    rows = tagged_rows()
    train = read_splits(rows, DEFAULTS).train
    texts = {" ".join(row["tokens"]): row["tags"] for row in rows}
    for (text,), spans in zip(train.inputs, train.spans(), strict=True):
        assert ("B-place" in texts[text]) == bool(spans)
        for span in spans:
            assert text[span.start : span.end] in ("city day", "city film")


def test_character_tagging_is_told_by_the_data() -> None:
    tags = ["O", "O", "B-LOC", "I-LOC", "O", "O", "O", "O"]
    rows = [{"tokens": list(f"他在北京住{i}年"), "tags": tags} for i in range(10, 40)]
    train = read_splits(rows, DEFAULTS).train
    assert train.inputs[0] == ("他在北京住10年",)
    assert train.spans()[0] == (Span(2, 4, "LOC"),)
    spaced = read_splits(rows, training_options(join_tokens="space")).train
    assert spaced.inputs[0] == ("他 在 北 京 住 1 0 年",)
    assert spaced.spans()[0] == (Span(4, 7, "LOC"),)


def test_a_label_for_every_word_makes_every_word_a_span() -> None:
    words = {"the": "DET", "city": "NOUN", "is": "AUX", "北京": "PROPN", "late": "ADJ"}
    rows = [
        {"tokens": list(words)[index % 3 :], "upos": list(words.values())[index % 3 :]}
        for index in range(30)
    ]
    train = read_splits(rows, training_options(target="upos")).train
    assert train.labels[:3] == ("O", "B-ADJ", "I-ADJ")
    for (text,), spans in zip(train.inputs, train.spans(), strict=True):
        found = [(text[span.start : span.end], span.entity) for span in spans]
        assert found == [(word, words[word]) for word in text.split()]
    # One row of entities makes it a set of entities, where a bare label is a mistake.
    rows[7] = {"tokens": ["a"], "upos": ["O"]}
    with pytest.raises(DataError, match="the tag 'DET' is not BIO"):
        read_splits(rows, training_options(target="upos"))
    rows[7] = {"tokens": ["a"], "upos": [""]}
    with pytest.raises(DataError, match="row 8: a tag is empty"):
        read_splits(rows, training_options(target="upos"))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"text": "a"}, "there is no column 'label'"),
        ({"text": "", "label": "a"}, "column 'text' is empty"),
        ({"text": None, "label": "a"}, "column 'text' is None"),
        ({"text": 3, "label": "a"}, "column 'text' is of type int"),
        ({"text": "\ud800", "label": "a"}, "column 'text' has a lone surrogate"),
        ({"text": "a", "label": ""}, "column 'label' is empty"),
        ({"text": "a", "label": None}, "column 'label' is None"),
        ({"text": "a", "label": 0.5}, "'label' is 0.5, not a label"),
        ({"text": "a", "label": ["b"]}, "'label' is of type list"),
        ({"text": "a", "label": "b" * 257}, "is 257 characters long"),
    ],
)
def test_bad_rows_name_their_line(tmp_path: Path, row: dict[str, Any], problem: str) -> None:
    rows = sentiment_rows(20)
    rows.insert(6, row)
    with pytest.raises(DataError, match=rf"row 7: .*{problem}"):
        read_splits(rows, DEFAULTS)
    if row.get("text") != "\ud800":
        path = write_rows(tmp_path / "a.jsonl", rows)
        with pytest.raises(DataError, match=rf"a.jsonl, line 7: .*{problem}"):
            read_splits(path, DEFAULTS)


@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        (rating_rows(), {"target": "label"}, "there is no column 'label'"),
        ([{"text": "a", "score": "x"}] * 20, {}, "'score' is 'x'; expected a number"),
        ([{"text": "a", "score": "nan"}] * 20, {}, "'score' is nan; expected a finite number"),
        ([{"text": "a", "score": True}] * 20, {"kind": "regression"}, "is True; expected a number"),
        ([{"text": f"{i}", "score": 1.0} for i in range(40)], {}, "all training rows have the"),
        ([{"text": f"{i}", "label": "a"} for i in range(40)], {}, "only the label 'a'"),
        ([{"text": f"{i}", "labels": []} for i in range(40)], {}, "no labels at all"),
        (sentiment_rows(4), {}, "training rows; 8 or more are needed"),
        ([{"tokens": ["a"], "tags": ["O", "O"]}] * 20, {}, "1 tokens, but 2 tags"),
        ([{"tokens": ["a"], "tags": ["X-x"]}] * 20, {}, "the tag 'X-x' is not BIO"),
        ([{"tokens": [""], "tags": ["O"]}] * 20, {}, "token 0 is empty"),
        ([{"tokens": [], "tags": []}] * 20, {}, "there are no tokens"),
        ([{"tokens": "a b", "tags": "O O"}] * 20, {"kind": "tagging"}, "must be lists"),
        ([{"text": "a"}] * 20, {}, "no target column 'label', 'labels', 'score' or 'tags'"),
        ([{"text": "a", "score": "1_0"}] * 20, {}, "'score' is '1_0'; expected a number"),
        ([{"text": "a", "score": 1e39}] * 20, {}, "largest absolute value is 1e\\+15"),
        ([{"text": f"{i}", "score": 1.7e9 + i} for i in range(40)], {}, "subtract their mean"),
        ([{"tokens": ["a"], "tags": [None]}] * 20, {}, "the tag None is no text"),
        ([{"tokens": ["a"], "tags": [1]}] * 20, {}, "write the names of tags"),
        ([{"tokens": ["a"], "tags": ["B-" + "x" * 253]}] * 20, {}, "255 characters long; 254"),
        (
            [{"tokens": ["a"], "tags": [f"B-{i}"]} for i in range(2501)],
            {"validation_fraction": 0.001},
            "hold 10005 labels, at most 10000",
        ),
        ([{0: "a", "label": "a"}] * 20, {}, "no column 'text'; columns are 0, label"),
    ],
)
@pytest.mark.slow
def test_unusable_data_are_refused(rows: Rows, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_splits(rows, training_options(**options))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"target": "text"}, "Column 'text' would be read as two things"),
        ({"pair": "text"}, "Column 'text' would be read as two things"),
        ({"value_range": (0.0, 1.0)}, "value_range is for regression"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        read_splits(sentiment_rows(40), training_options(**options))


def test_labels_that_training_lacks_are_refused(tmp_path: Path) -> None:
    rows = sentiment_rows(20)
    path = write_rows(tmp_path / "v.jsonl", [*rows[:4], {"text": "new", "label": "neutral"}])
    with pytest.raises(DataError, match=r"v.jsonl: row 5 of those read has the label 'neutral'"):
        read_splits(rows, training_options(validation=path))


def test_a_set_is_read_for_an_existing_task() -> None:
    rows = sentiment_rows(10)
    spec = task_spec("single_label", labels=("negative", "neutral", "positive"))
    dataset = read_for_task(rows, spec, DEFAULTS)
    assert dataset.labels == spec.labels
    assert np.bincount(dataset.truth(), minlength=3).tolist() == [5, 0, 5]
    with pytest.raises(DataError, match="unknown to task 'single-label-test'"):
        read_for_task([*rows, {"text": "a", "label": "odd"}], spec, DEFAULTS)
    assert read_for_task(pair_rows(10), spec, DEFAULTS).fields == ("text",)
    with pytest.raises(DataError, match="unknown to task 'multi-label-test'"):
        read_for_task(rows, task_spec("multi_label"), DEFAULTS)


def test_options_that_make_no_sense_are_refused() -> None:
    for values, problem in (
        ({"depth": 3}, "depth: there is no such option"),
        ({"learning_rates": ()}, "learning_rates"),
        ({"validation": "a", "split_column": "b"}, "not both"),
        ({"validation": "a", "validation_fraction": 0.1}, "not both"),
        ({"value_range": (5.0, 1.0)}, "the smaller number first"),
        ({"kind": "tagging", "metric": "accuracy"}, "a tagging task is chosen by span_f1"),
        ({"poolings": ("tokens",)}, "Option poolings.0: Input should be 'cls', 'mean'"),
    ):
        with pytest.raises(UsageError, match=problem):
            training_options(**values)
    options = training_options(depths=[1, 2], validation="a.jsonl", languages=["en"])
    assert options.depths == (1, 2)
    assert options.validation == Path("a.jsonl")


@pytest.mark.parametrize("tags", [["b-per", "i-per", "o"], ["B_per", "I_per", "O"]])
def test_tags_in_another_spelling_make_the_same_task(tags: list[str]) -> None:
    rows = [{"tokens": ["Ada", "L", str(i)], "tags": tags} for i in range(20)]
    train = read_splits(rows, DEFAULTS).train
    assert train.labels == tags_of(["per"], ends=True)
    assert train.spans()[0] == (Span(0, 5, "per"),)
    spec = task_spec("tagging", labels=train.labels)
    assert read_for_task(rows[:3], spec, DEFAULTS).spans()[0] == (Span(0, 5, "per"),)
    odd = [{"tokens": ["a"], "tags": ["NOUN"]}]
    with pytest.raises(DataError, match=r"column 'tags': the tag 'b-per'|is not BIO"):
        read_splits([*rows, *odd], DEFAULTS)
