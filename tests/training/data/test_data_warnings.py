"""What a training run says of its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.training.data.dataset import read_splits
from adapterhub.training.evaluation.split_notes import split_notes
from adapterhub.training.options import training_options
from tests.training.rows import Rows, pair_rows, sentiment_rows, tagged_rows, write_rows


@pytest.mark.parametrize("rows", [sentiment_rows, pair_rows, tagged_rows])
def test_validation_rows_that_were_learned_are_counted(rows: object, tmp_path: Path) -> None:
    learned: Rows = rows(300)  # type: ignore[operator]
    held_out = learned[:250]
    write_rows(tmp_path / "train.jsonl", learned)
    write_rows(tmp_path / "validation.jsonl", held_out)
    options = training_options(validation=tmp_path / "validation.jsonl")
    notes = list(split_notes(read_splits(tmp_path / "train.jsonl", options)))
    assert len(notes) == 1
    assert notes[0].startswith("250 of 250 validation rows are also training rows")


def test_rows_are_told_apart_as_an_encoder_tells_them(tmp_path: Path) -> None:
    learned = [
        {"text": f"Question {number}?", "text_pair": f"Answer {number}.", "label": "ab"[number % 2]}
        for number in range(400)
    ]
    held_out = [
        {"text": f"other {number}", "text_pair": "none", "label": "ab"[number % 2]}
        for number in range(300)
    ]
    held_out[7] |= {"text": "ANSWER  7.", "text_pair": "question 7?"}
    options = training_options(validation=tmp_path / "validation.jsonl")

    def notes() -> list[str]:
        write_rows(tmp_path / "train.jsonl", learned)
        write_rows(tmp_path / "validation.jsonl", held_out)
        return list(split_notes(read_splits(tmp_path / "train.jsonl", options)))

    assert notes() == []  # one of 300 moves no figure
    held_out[8:10] = [{**held_out[7], "text": f"Answer {number}."} for number in (7, 7)]
    assert notes()[0].startswith("3 of 300 validation rows")
