"""The columns of the training data, as `score` finds them again; it says what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapterhub import Hub, ScoringOptions
from adapterhub.errors import DataError
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.scoring.assign_columns import trained_columns
from adapterhub.specs import TrainingRecord
from tests.builders import task_spec
from tests.commands.conftest import Run, run  # noqa: F401
from tests.scoring.test_score_file import read, write_lines
from tests.tiny import add_task, tiny_task

RECORD: dict[str, Any] = {
    "dataset": "d",
    "data_digest": "0" * 64,
    "rows": 9,
    "seed": 0,
    "candidates": 1,
    "epochs": 1,
    "learning_rate": 0.1,
    "weight_decay": 0.1,
}
PAIR = {"fields": ("text", "text_pair"), "labels": ("no", "yes")}
GOOD, BAD = "the film was good", "a bad day"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture
def registry(tiny_registry: Path) -> Path:
    """Returns the tiny registry with tasks that were trained on columns of other names."""
    backbone = open_backbone(tiny_registry.parent / "backbone")
    encoder, tokenizer = Encoder(backbone, device="cpu"), TextTokenizer(backbone.tokenizer)
    for seed, (name, columns, changes) in enumerate(
        (
            ("stars", {"text": "review", "target": "stars"}, {}),
            ("mood", {"text": "title", "target": "mood"}, {}),
            ("follows", {"text": "premise", "pair": "guess", "target": "gold"}, PAIR),
            ("swapped", {"text": "text_pair", "pair": "text", "target": "label"}, PAIR),
        )
    ):
        training = TrainingRecord(**RECORD, columns=columns)
        spec = tiny_task(backbone, "single_label", task=name, training=training, **changes)
        add_task(tiny_registry, spec, encoder=encoder, tokenizer=tokenizer, seed=seed)
    return tiny_registry


@pytest.fixture
def tasks(registry: Path) -> Hub:
    return Hub(registry, device="cpu")


def _labels(hub: Hub, record: object, task: str) -> Any:
    return hub.score([record], task, logits=True)[task].answers[0]


def _scored(hub: Hub, rows: object, tasks: Any, **options: Any) -> Any:
    chosen = ScoringOptions(force=True, **options)
    done = hub.score_file(rows, "out.jsonl", tasks=tasks, options=chosen)
    return read("out.jsonl"), done


@pytest.mark.parametrize("form", ["rows", "jsonl", "csv", "parquet"])
@pytest.mark.slow
def test_the_column_of_the_training_is_read_from_any_source(tasks: Hub, form: str) -> None:
    rows = [{"id": "1", "review": GOOD}, {"id": "2", "review": BAD}]
    source: Any = rows
    if form == "jsonl":
        source = write_lines("in.jsonl", rows)
    elif form == "csv":
        source = "in.csv"
        Path(source).write_text(f"id,review\n1,{GOOD}\n2,{BAD}\n")
    elif form == "parquet":
        source = "in.parquet"
        pq.write_table(pa.Table.from_pylist(rows), source)
    found, done = _scored(tasks, source, "stars")
    for row, text in zip(found, (GOOD, BAD), strict=True):
        expected = _labels(tasks, text, "stars")
        assert (row["stars.label"], row["review"]) == (expected["label"], text)
        assert row["stars.score"] == pytest.approx(expected["score"])
    assert done.columns == {"stars": {"text": "review"}}


@pytest.mark.parametrize(
    ("row", "options", "column"),
    [
        ({"review": GOOD}, {}, "review"),
        ({"text": GOOD}, {}, "text"),
        ({"text": BAD, "review": GOOD}, {}, "review"),
        ({"text": GOOD, "review": BAD}, {"text_column": "text"}, "text"),
        ({"body": GOOD, "text": BAD, "review": BAD}, {"text_column": "body"}, "body"),
    ],
)
@pytest.mark.slow
def test_options_come_first_then_the_training_then_the_usual_name(
    tasks: Hub, row: dict[str, str], options: dict[str, str], column: str
) -> None:
    (found,), done = _scored(tasks, [row], "stars", **options)
    assert done.columns == {"stars": {"text": column}}
    assert found["stars.score"] == pytest.approx(_labels(tasks, GOOD, "stars")["score"])


@pytest.mark.parametrize(
    ("row", "task", "first", "second"),
    [
        ({"premise": GOOD, "guess": BAD}, "follows", "premise", "guess"),
        ({"text": GOOD, "text_pair": BAD}, "follows", "text", "text_pair"),
        # Half of the trained names is not a pair.
        ({"text": GOOD, "text_pair": BAD, "guess": GOOD}, "follows", "text", "text_pair"),
        ({"text_pair": GOOD, "text": BAD}, "swapped", "text_pair", "text"),
    ],
)
@pytest.mark.slow
def test_pairs_are_read_by_both_names_or_neither(
    tasks: Hub, row: dict[str, str], task: str, first: str, second: str
) -> None:
    (found,), done = _scored(tasks, [row], task)
    assert done.columns == {task: {"text": first, "text_pair": second}}
    expected = _labels(tasks, {"text": GOOD, "text_pair": BAD}, task)
    assert found[f"{task}.score"] == pytest.approx(expected["score"])


def test_tasks_of_one_run_read_their_own_columns(tasks: Hub) -> None:
    rows = [
        {"text": GOOD, "review": BAD, "title": GOOD, "id": 1},
        {"text": BAD, "review": GOOD, "title": BAD, "id": 2},
    ]
    names = ["rating", "stars", "mood", "sentiment"]
    found, done = _scored(tasks, rows, names)
    for name, column in zip(names, ("text", "review", "title", "text"), strict=True):
        alone, _ = _scored(tasks, rows, name, text_column=column)
        own = [key for key in alone[0] if key.startswith(f"{name}.")]
        assert own
        assert [[row[key] for key in own] for row in found] == [
            [row[key] for key in own] for row in alone
        ]
    assert done.columns["mood"] == {"text": "title"}
    # What it costs is told for what is read: three texts a row.
    assert len(done.plan.trunks) == 3
    same = [{"text": GOOD}]
    assert len(_scored(tasks, same, names)[1].plan.trunks) == 1


def test_a_bad_text_of_one_task_is_told_with_its_row(tasks: Hub) -> None:
    rows = [{"text": GOOD, "review": GOOD}, {"text": GOOD, "review": None}]
    found, done = _scored(tasks, rows, ["rating", "stars"], on_error="skip")
    assert (len(found), done.bad) == (1, 1)
    (bad,) = read("out.jsonl.errors.jsonl")
    assert bad["row"] == rows[1]


def test_rows_without_the_column_do_not_make_the_others_bad(tasks: Hub) -> None:
    rows = [{"text": GOOD, "review": BAD}, {"text": BAD}]
    found, done = _scored(tasks, rows, "stars")
    assert len(found) == 2
    assert done.columns == {"stars": {"text": "text"}}


def test_what_is_not_there_is_named_with_the_column_of_the_training(tasks: Hub) -> None:
    with pytest.raises(DataError, match=r"no column 'text'.*It was 'review' in the training data"):
        _scored(tasks, [{"body": GOOD}], "stars")
    with pytest.raises(DataError, match=r"no column 'text'.*It was 'premise' in the training"):
        _scored(tasks, [{"guess": GOOD}], "follows")


def test_the_command_says_what_it_reads(run: Run, registry: Path) -> None:  # noqa: F811
    both = write_lines("both.jsonl", [{"text": BAD, "review": GOOD}])
    ran = run("score", "-r", registry, "-f", both, "-t", "stars,rating")
    assert ran.code == 0
    assert "stars reads text from column 'review', though there is a column 'text' too" in ran.err
    assert "rating reads" not in ran.err
    shown = run("show", "stars", "-r", registry).out
    assert "text 'review', target 'stars'" in shown
    usual = write_lines("usual.jsonl", [{"text": BAD}])
    assert "reads text" not in run("score", "-r", registry, "-f", usual, "-t", "stars").err
    told = run("score", "-r", registry, "-f", both, "-o", "o.jsonl", "-t", "stars", "--json").value
    assert told["columns"] == {"stars": {"text": "review"}}


def test_files_without_names_of_columns_keep_their_bytes() -> None:
    dumped = TrainingRecord(**RECORD).model_dump_json()
    assert not any(name in dumped for name in ("columns", "join_tokens", "validation_digest"))


def test_only_texts_are_found_again() -> None:
    columns: Any = {"question": "ask", "context": "passage", "target": "answers"}
    asked = task_spec("question_answering", training=TrainingRecord(**RECORD, columns=columns))
    assert trained_columns(asked) == {"question": "ask", "context": "passage"}
    tagged = TrainingRecord(**RECORD, columns={"tokens": "words", "target": "t"})
    assert trained_columns(task_spec("tagging", training=tagged)) == {}
