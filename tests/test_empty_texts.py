"""A text that leaves no token is refused as an empty one is, wherever texts are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapterhub.errors import DataError, InputError
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.scoring.options import ScoringOptions
from adapterhub.training.data.dataset import read_splits
from adapterhub.training.options import training_options
from adapterhub.training.train import train
from tests.training.rows import pair_rows, sentiment_rows, tagged_rows

# The last two are known to leave no token only by the tokenizer, which may be another.
EMPTY = [" ", "\u200b", "\ufeff\n", "\u00ad", "\x10\x1b", "\u2060\u200e", "\u0301\u0301", " \ufffd"]


@pytest.mark.parametrize("text", EMPTY, ids=ascii)
def test_such_a_text_is_refused_with_its_row(hub: Hub, text: str) -> None:
    for tasks in (["sentiment"], ["entities"], ["rating", "topics"]):
        with pytest.raises(InputError, match=r"^Row 1: the text is empty"):
            hub.score(["good", text], tasks)
    with pytest.raises(InputError, match=r"^Row 1: the text is empty"):
        hub.score_rows([("good", "rating"), (text, "sentiment")])
    with pytest.raises(InputError, match=r"^Row 0: field 'body' is empty"):
        hub.encode([{"body": text}], fields=("body",))
    for pair in ({"text": text, "text_pair": "good"}, {"text": "good", "text_pair": text}):
        field = next(name for name, value in pair.items() if value == text)
        with pytest.raises(InputError, match=rf"^Row 0: field '{field}' is empty"):
            hub.score([pair], "entails")


@pytest.mark.parametrize("text", EMPTY, ids=ascii)
def test_such_a_text_is_skipped_and_listed(hub: Hub, text: str) -> None:
    tasks = ["sentiment", "entities"]
    scores = hub.score([text, "good", None, text], tasks, on_error="skip")  # type: ignore[list-item]
    clean = hub.score(["good"], tasks)
    for name in tasks:
        assert scores[name].answers == (None, clean[name][0], None, None)
    empty = [error for error in scores.errors if "is empty" in error.problem]
    assert [error.row for error in empty] == [0, 3]
    assert {error.tasks for error in empty} == {("sentiment", "entities")}


def test_a_file_with_such_a_text_names_its_line(hub: Hub, tmp_path: Path) -> None:
    source, out = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    lines = [json.dumps({"text": text}) for text in ("good", "\u0301", "late")]
    source.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2.*'text' is empty: no token is left of U\+0301"):
        hub.score_file(source, out, tasks=["sentiment"])
    hub.score_file(source, out, tasks=["sentiment"], options=ScoringOptions(on_error="skip"))
    assert [json.loads(line)["text"] for line in out.open()] == ["good", "late"]


@pytest.mark.parametrize("text", EMPTY, ids=ascii)
def test_such_a_training_row_is_refused(tiny_backbone: Backbone, tmp_path: Path, text: str) -> None:
    encoder = Encoder(tiny_backbone, device="cpu")
    options = training_options(cache_dir=tmp_path)
    for rows, field in ((sentiment_rows(), "text"), (pair_rows(), "text_pair")):
        rows[5][field] = text
        with pytest.raises(DataError, match=rf"'{field}' is empty"):
            train(
                rows,
                task="few",
                options=options,
                registry=None,
                backbone=tiny_backbone,
                encoder=encoder,
            )


def test_an_invisible_token_of_tagged_words_is_kept() -> None:
    """Sets of tagged words have direction marks and spaces as tokens; the others count."""
    rows = tagged_rows()
    for row in rows:
        row["tokens"].append("\u200e")
        row["tags"].append("O")
    splits = read_splits(rows, training_options())
    assert all(texts[0].endswith("\u200e") for texts in splits.train.inputs)
    rows[0]["tokens"] = ["\u200e"] * len(rows[0]["tags"])
    with pytest.raises(DataError, match="all tokens are spaces or other invisible signs"):
        read_splits(rows, training_options())


@pytest.mark.parametrize("text", ["😀", "☃", "한", "ж", "!", "ﬁ", "[SEP]"])
def test_what_is_unknown_or_only_punctuation_is_scored(
    hub: Hub, tiny_backbone: Backbone, text: str
) -> None:
    assert TextTokenizer(tiny_backbone.tokenizer).has_tokens(text)
    assert hub.score([text], "sentiment")["sentiment"][0] is not None
