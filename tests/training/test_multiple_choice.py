"""Multiple choice from labelled rows to choices in files, as users do it."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub import Hub
from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import TrainingOptions
from tests.training.rows import Rows, choice_rows, write_rows
from tests.training.run import train_in

QUICK: dict[str, Any] = {
    "depths": (0, 2),
    "poolings": ("mean", "attentive"),
    "hidden_widths": (),
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "validation_fraction": 0.25,
}
HELD_OUT = choice_rows(20, seed=9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("choices")


trained_on = partial(train_in, task="choose", **QUICK)


def accuracy(hub: Hub, task: str, rows: Rows) -> float:
    found = hub.score(rows, [task]).to_columns()[f"{task}.index"]
    return float(np.mean([str(one) == row["label"] for one, row in zip(found, rows, strict=True)]))


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["together", "apart"])
def test_a_head_learns_to_choose(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, pairs: str
) -> None:
    task = trained_on(choice_rows(80), folder, tiny_backbone, tiny_encoder, pairs=pairs, task=pairs)
    figures = {metric.name: metric.value for metric in task.metrics}
    assert figures.keys() == {"accuracy", "ece"}
    assert figures["accuracy"] > 0.9
    assert (task.spec.kind, task.spec.fields) == ("multiple_choice", ("prompt", "choices"))
    assert (task.spec.labels, task.spec.apart) == ((), pairs == "apart")
    hub = Hub(folder / "registry.yaml", device="cpu")
    assert accuracy(hub, pairs, HELD_OUT) > 0.9
    found = hub.evaluate(HELD_OUT, pairs)[pairs]
    assert {one.name: one.value for one in found.metrics}["accuracy"] == pytest.approx(
        accuracy(hub, pairs, HELD_OUT)
    )
    assert found.comparison.diagnostics is not None
    assert sum(one.answers for one in found.comparison.diagnostics.reliability) == len(HELD_OUT)


@pytest.mark.slow
def test_few_rows_are_cross_validated(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"validation_fraction": None, "folds": 3, "ngrams": True, "pairs": "both"}
    task = trained_on(choice_rows(48), folder, tiny_backbone, tiny_encoder, **options)
    assert {metric.split for metric in task.metrics} == {"cross-validation"}
    assert task.table.metric == "likelihood"
    assert accuracy(Hub(folder / "registry.yaml", device="cpu"), "choose", HELD_OUT) > 0.8


@pytest.mark.slow
def test_words_that_prompt_and_choice_share_can_decide(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    words = "day film food city she he it".split()  # noqa: SIM905
    rows: Rows = []
    for index in range(120):
        said, other = words[index % 7], words[(index + 3) % 7]
        place = index // 7 % 2
        choices = [f"the {other} was late", f"the {said} was late"][:: 1 if place else -1]
        rows.append({"prompt": f"a good {said} {index}", "choices": choices, "label": place})
    options = {"depths": (0,), "poolings": ("mean",), "pairs": "together", "task": "overlap"}
    task = trained_on(rows, folder, tiny_backbone, tiny_encoder, **options)
    assert task.spec.head.ngrams is not None
    assert task.spec.head.pieces is not None
    hub = Hub(folder / "registry.yaml", device="cpu")
    written = [{**row, "label": str(row["label"])} for row in rows]
    assert accuracy(hub, "overlap", written) == 1


@pytest.mark.slow
@pytest.mark.parametrize("pairs", ["together", "apart"])
def test_an_adapter_learns_to_choose(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, pairs: str
) -> None:
    adapter = {"method": "lora", "rank": 4, "epochs": 3, "from_depth": 2}
    options = {
        "pairs": pairs,
        "task": f"lora-{pairs}",
        "adapter": adapter,
        "depths": (4,),
        "ngrams": False,
    }
    task = trained_on(choice_rows(60), folder, tiny_backbone, tiny_encoder, **options)
    assert task.spec.adapter is not None
    # What the training loop computed of the validation rows is what scoring computes.
    chosen = task.table.rows[task.table.chosen]
    assert chosen.value == pytest.approx(task.metrics[0].value)
    hub = Hub(folder / "registry.yaml", device="cpu")
    assert accuracy(hub, f"lora-{pairs}", HELD_OUT) > 0.8


@pytest.mark.slow
def test_files_in_the_form_of_a_data_set_are_scored(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Path
) -> None:
    trained_on(choice_rows(40), folder, tiny_backbone, tiny_encoder, task="files")
    hub = Hub(folder / "registry.yaml", device="cpu")
    expected = hub.score(HELD_OUT, ["files"]).to_columns()
    path = tmp_path / "swag.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sent1", "sent2", *(f"ending{place}" for place in range(4))])
        for row in HELD_OUT:
            first, last = row["prompt"].rsplit(" ", 1)
            writer.writerow([first, last, *row["choices"], *[""] * (4 - len(row["choices"]))])
    done = hub.score_file(path, tmp_path / "out.parquet", tasks="files")
    assert (done.scored, done.bad) == (20, 0)
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out.parquet")
    for name in ("files.index", "files.choice"):
        assert table[name].to_pylist() == expected[name]
    lines = write_rows(tmp_path / "rows.jsonl", [*HELD_OUT[:2], {"prompt": "a", "choices": ["b"]}])
    skipped = hub.score_file(
        lines, tmp_path / "out.jsonl", tasks="files", options={"on_error": "skip", "top_k": None}
    )
    assert (skipped.scored, skipped.bad) == (2, 1)
    first = json.loads((tmp_path / "out.jsonl").read_text("utf-8").splitlines()[0])
    assert first["files.choices"][0]["choice"] == expected["files.choice"][0]
    assert first["choices"] == HELD_OUT[0]["choices"]


OPTIONS = TrainingOptions(validation_fraction=0.25)


@pytest.mark.parametrize(
    "form",
    [
        lambda row: {
            "question": row["prompt"],
            "options": row["choices"],
            "answer": "ABCD"[row["at"]],
        },
        lambda row: {"prompt": row["prompt"], "choices": row["choices"], "answer": row["right"]},
        lambda row: {
            "ctx": row["prompt"],
            **{f"ending{place}": text for place, text in enumerate(row["choices"])},
            "label": row["at"],
        },
        lambda row: {
            "question": row["prompt"],
            "choices": {"text": row["choices"], "label": list("1234")[: len(row["choices"])]},
            "answerKey": str(row["at"] + 1),
        },
    ],
)
def test_the_right_choice_is_read_from_every_form(form: Any) -> None:
    rows = [{**row, "at": int(row["label"])} for row in choice_rows(16)]
    rows = [{**row, "right": row["choices"][row["at"]]} for row in rows]
    # The texts of a row differ, or the right one would not be known by its text.
    rows = [row for row in rows if len(set(row["choices"])) == len(row["choices"])]
    expected = {(row["prompt"], *row["choices"]): row["label"] for row in rows}
    splits = read_splits([form(row) for row in rows], OPTIONS)
    found = [splits.train, splits.validation]
    assert {part.kind for part in found} == {"multiple_choice"}
    read = {
        row: place for part in found for row, place in zip(part.inputs, part.targets, strict=True)
    }
    assert read == expected


def test_a_text_beside_choices_asks_for_the_kind() -> None:
    rows = [{"text": "a day", **row} for row in choice_rows(12)]
    with pytest.raises(UsageError, match=r"looks like multiple choice.*--kind multiple_choice"):
        read_splits(rows, OPTIONS)
    given = OPTIONS.model_copy(update={"kind": "multiple_choice"})
    assert read_splits(rows, given).train.kind == "multiple_choice"


def test_tuples_of_a_prompt_choices_and_the_right_one_are_rows() -> None:
    rows = choice_rows(12)
    given = [(row["prompt"], row["choices"], int(row["label"])) for row in rows]
    found, expected = read_splits(given, OPTIONS), read_splits(rows, OPTIONS)
    assert found.train.inputs == expected.train.inputs
    assert found.train.targets == expected.train.targets


def test_answers_to_questions_are_no_choices() -> None:
    spans = [{"text": "Norway", "start": 11}, {"text": "in Norway", "start": 8}]
    row = {"question": "Where?", "answers": spans, "label": "x"}
    rows = [{**row, "context": f"Oslo is in Norway. {index}"} for index in range(12)]
    assert read_splits(rows, OPTIONS).train.kind == "question_answering"
    texts = [{**one, "answers": ["Norway", "Oslo"], "label": "0"} for one in rows]
    assert read_splits(texts, OPTIONS).train.kind == "multiple_choice"
