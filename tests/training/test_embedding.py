"""Vectors from labelled pairs to indices, as users make and use them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from adapterhub import Hub, Index, cosine_spearman, recall_at_k
from adapterhub.errors import DataError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.training.finalize import TrainedTask
from adapterhub.training.several.train_tasks import train_tasks
from tests.training.rows import Rows, alike_rows, partner_rows, sentiment_rows
from tests.training.run import train_in

K = 24
QUICK: dict[str, Any] = {
    "kind": "embedding",
    "depths": (0,),
    "poolings": ("mean",),
    "mixes": False,
    "learning_rates": (0.02,),
    "weight_decays": (0.03,),
    "dimensions": K,
    "epochs": 40,
}
HELD_OUT = partner_rows(40, seed=9)
TEXTS = [row["text"] for row in HELD_OUT]
PARTNERS = [row["text_pair"] for row in HELD_OUT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vectors")


trained_on = partial(train_in, task="same", **QUICK)


@pytest.fixture(scope="module")
def trained(folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder) -> TrainedTask:
    return trained_on(partner_rows(300), folder, tiny_backbone, tiny_encoder)


@pytest.fixture(scope="module")
def hub(trained: TrainedTask, folder: Path) -> Hub:
    return Hub(folder / "registry.yaml", device="cpu")


def recall(texts: np.ndarray, partners: np.ndarray) -> float:
    """Returns recall@1 of all texts among all others, computed without the package's loops."""
    every = np.concatenate([texts, partners])
    similar = every @ every.T
    np.fill_diagonal(similar, -2)
    count = len(texts)
    right = [[(place + count) % (2 * count)] for place in range(2 * count)]
    return recall_at_k(similar.argsort(1)[:, ::-1].tolist(), right, k=1)


def test_partners_are_found_better_than_by_plain_features(trained: TrainedTask, hub: Hub) -> None:
    spec = trained.spec
    assert (spec.kind, spec.fields, spec.labels) == ("embedding", ("text",), ())
    assert (spec.head.outputs, spec.head.hidden_width) == (K, None)
    assert [metric.name for metric in trained.metrics] == [f"recall_at_{k}" for k in (1, 5, 10)]
    values = [metric.value for metric in trained.metrics]
    assert values == sorted(values)
    own = recall(hub.encode(TEXTS, task="same"), hub.encode(PARTNERS, task="same"))
    plain = {"pooling": "mean", "depth": 0, "normalize": True}
    assert own > recall(hub.encode(TEXTS, **plain), hub.encode(PARTNERS, **plain)) + 0.2
    assert own > 0.4
    # What the search computed of all candidates is what scoring computes.
    table = trained.table
    assert table.rows[table.chosen].value == pytest.approx(trained.metrics[0].value, abs=0.03)
    found = hub.evaluate(HELD_OUT, "same")["same"]
    assert found.rows == len(HELD_OUT)
    assert found.metrics[0].value == pytest.approx(own)


def test_the_principal_axes_are_a_candidate_and_lose_nothing_at_full_size(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"dimensions": 32, "learning_rates": (1e-9,), "task": "axes", "epochs": 1}
    task = trained_on(partner_rows(40), folder, tiny_backbone, tiny_encoder, **options)
    untrained = next(row for row in task.table.rows if row.epoch == 0)
    assert "principal axes" in task.table.render(every=True)
    hub = Hub(folder / "registry.yaml", device="cpu")
    rows = partner_rows(40)
    texts = [text for row in rows for text in (row["text"], row["text_pair"])]
    raw = hub.encode(texts, pooling="mean", depth=0)
    found = hub.encode(texts, task="axes")
    # The scale is that of the training rows, which are most of these.
    standard = (raw - raw.mean(0)) / raw.std(0)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    assert np.abs(found @ found.T - standard @ standard.T).max() < 0.2
    assert untrained.value <= task.table.rows[task.table.best].value


def test_vectors_are_the_same_wherever_they_are_asked_for(hub: Hub, tmp_path: Path) -> None:
    long_text = " ".join(TEXTS * 3)
    texts = [*TEXTS[:3], long_text]
    scores = hub.score(texts, "same", logits=True)
    assert scores["same"].windows[-1] > 1
    logits = np.asarray(scores["same"].logits)
    expected = logits / np.linalg.norm(logits, axis=1, keepdims=True)
    found = hub.encode(texts, task="same")
    assert (found.shape, found.dtype) == ((4, K), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(hub.encode(texts, task="same", normalize=False), logits)
    columns = scores.to_columns()["same.vector"]
    np.testing.assert_allclose(np.array(columns), expected, atol=1e-6)
    assert scores.to_arrow().schema.field("same.vector").type == pa.list_(pa.float32())
    (streamed,) = hub.stream(texts[:1], "same")
    np.testing.assert_allclose(streamed["same"]["vector"], columns[0], atol=1e-6)  # type: ignore[index, call-overload]
    by_rows = hub.score_rows([(texts[0], "same"), (texts[1], "same")])["same"]
    np.testing.assert_allclose([one["vector"] for one in by_rows], expected[:2], atol=1e-6)
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    for ending in ("parquet", "jsonl", "csv"):
        out = tmp_path / f"out.{ending}"
        hub.score_file(source, out, tasks="same")
        if ending == "parquet":
            import pyarrow.parquet as pq

            written = pq.read_table(out)["same.vector"].to_pylist()
        elif ending == "jsonl":
            written = [json.loads(line)["same.vector"] for line in out.open(encoding="utf-8")]
        else:
            import csv

            lines = csv.DictReader(out.open(encoding="utf-8", newline=""))
            written = [json.loads(line["same.vector"]) for line in lines]
        np.testing.assert_allclose(np.array(written), expected, atol=1e-6)


def test_options_of_encode_keep_their_meaning_beside_a_task(hub: Hub) -> None:
    raw = hub.encode(TEXTS, task="same", normalize=False)
    cut = hub.encode(TEXTS, task="same", truncate_dim=5)
    np.testing.assert_allclose(
        cut, raw[:, :5] / np.linalg.norm(raw[:, :5], axis=1, keepdims=True), atol=1e-6
    )
    found = hub.encode(TEXTS, task="same", output="torch")
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), hub.encode(TEXTS, task="same"))
    seen: list[int] = []
    hub.encode(TEXTS, task="same", progress=lambda rows, tokens: seen.append(rows))
    assert sum(seen) == len(TEXTS)
    records = [{"words": text} for text in TEXTS]
    by_column = hub.encode(records, task="same", fields=("words",))
    np.testing.assert_array_equal(by_column, found.numpy())
    assert hub.encode([], task="same").shape == (0, K)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "depth": ({"depth": 1}, "depth cannot be given beside task"),
    "several": ({"pooling": "cls", "prompt": "query: "}, "pooling and prompt cannot be given"),
    "window": ({"max_length": 16}, "max_length cannot be given beside task"),
    "role": ({"role": "query"}, "role cannot be given beside task"),
    "fields": ({"fields": ("text", "text_pair")}, "a task makes vectors of one text"),
    "size": ({"truncate_dim": K + 1}, f"the vectors have {K} numbers"),
    "unknown": ({"task": "nothing"}, "nothing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_a_task_is_refused(hub: Hub, case: str) -> None:
    options, problem = REFUSED[case]
    with pytest.raises(UsageError, match=problem):
        hub.encode(TEXTS[:1], **{"task": "same", **options})


def test_a_task_of_another_kind_makes_no_vectors(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, hub: Hub
) -> None:
    options = {"kind": None, "dimensions": None, "task": "mood", "ngrams": False}
    trained_on(sentiment_rows(40), folder, tiny_backbone, tiny_encoder, **options)
    for call in (
        lambda: hub.encode(TEXTS, task="mood"),
        lambda: hub.nearest("a day", TEXTS, task="mood"),
    ):
        with pytest.raises(UsageError, match="'mood' is of the kind single_label"):
            call()


def test_an_index_of_a_task_finds_and_refuses_another_version(
    hub: Hub, folder: Path, tmp_path: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    records = [{"id": place, "body": text} for place, text in enumerate(PARTNERS)]
    options = {"task": "same", "text_column": "body"}
    index = Index.build(hub, records, folder=tmp_path / "index", **options)
    assert index.vectors.shape == (len(PARTNERS), K)
    found = index.query(TEXTS, top_k=1)
    similar = hub.encode(TEXTS, task="same") @ hub.encode(PARTNERS, task="same").T
    assert [row[0] for row in found.rows] == similar.argmax(1).tolist()
    assert index.query([{"body": TEXTS[0]}], top_k=1).rows == [found.rows[0]]
    again = Index.build(hub, records, folder=tmp_path / "index", **options)
    assert again.record.task_sha256 == hub.score("a", "same")["same"].made_by.sha256
    with pytest.raises(DataError, match="task was same, is None"):
        Index.build(hub, records, folder=tmp_path / "index", text_column="body")
    with pytest.raises(UsageError, match="pooling and prompt cannot be given beside it"):
        Index.build(hub, records, task="same", pooling="cls", prompt="a: ")
    assert hub.nearest(TEXTS[:2], PARTNERS, task="same", top_k=1).rows == found.rows[:2]
    options = {"epochs": 1, "task": "same"}
    trained_on(partner_rows(40, seed=3), folder, tiny_backbone, tiny_encoder, **options)
    other = Hub(folder / "registry.yaml", device="cpu")
    with pytest.raises(DataError, match="made by the task 'same'"):
        Index.open(tmp_path / "index", other)
    with pytest.raises(DataError, match=r"task \(sha256\) was"):
        Index.build(other, records, folder=tmp_path / "index", task="same", text_column="body")


def test_cosines_follow_scores(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"task": "alike", "epochs": 20}
    task = trained_on(alike_rows(240), folder, tiny_backbone, tiny_encoder, **options)
    assert [metric.name for metric in task.metrics] == ["spearman"]
    hub, rows = Hub(folder / "registry.yaml", device="cpu"), alike_rows(60, seed=5)
    sides = [[row[name] for row in rows] for name in ("text", "text_pair")]
    scores = [row["score"] for row in rows]
    own = cosine_spearman(*(hub.encode(side, task="alike") for side in sides), scores)
    plain = {"pooling": "mean", "depth": 0}
    assert own > cosine_spearman(*(hub.encode(side, **plain) for side in sides), scores) + 0.1
    found = hub.evaluate(rows, "alike")["alike"]
    assert found.metrics[0].value == pytest.approx(own, abs=1e-6)
    assert found.comparison.predicted is not None


def test_an_adapter_is_trained_by_the_same_loss(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    adapter = {"method": "lora", "rank": 4, "epochs": 2, "from_depth": 3}
    options = {"task": "lora", "adapter": adapter, "depths": (4,), "epochs": 3}
    task = trained_on(partner_rows(60), folder, tiny_backbone, tiny_encoder, **options)
    assert task.spec.adapter is not None
    assert task.spec.head.outputs == K
    chosen = task.table.rows[task.table.chosen]
    assert chosen.value == pytest.approx(task.metrics[0].value, abs=0.03)
    hub = Hub(folder / "registry.yaml", device="cpu")
    assert hub.encode(TEXTS, task="lora").shape == (len(TEXTS), K)


BAD: dict[str, tuple[Rows, dict[str, Any], str]] = {
    "no partner": (sentiment_rows(20), {}, "there is no column 'text_pair'"),
    "all zero": ([{**row, "score": 0} for row in HELD_OUT], {}, "no training row is a pair"),
    "all equal": (
        [{"text": row["text"], "text_pair": row["text"]} for row in HELD_OUT],
        {},
        "all .* have two equal texts",
    ),
    "one score": ([{**row, "score": 3} for row in HELD_OUT], {}, "have the score 3.0"),
    "names": ([{**row, "label": "yes"} for row in HELD_OUT], {}, "1 where the two texts mean"),
    "empty text": ([*HELD_OUT, {"text": "a", "text_pair": " "}], {}, "column 'text_pair'"),
    "other metric": (HELD_OUT, {"metric": "spearman"}, "chosen by recall_at_1"),
    "examples": (HELD_OUT, {"examples": ("a day",)}, "Option examples"),
    "too wide": (HELD_OUT, {"dimensions": 33}, "have 32 numbers"),
    "other kind": (sentiment_rows(40), {"kind": "single_label"}, "dimensions is for embedding"),
    "held out": (
        [{**row, "label": 1, "part": "train"} for row in HELD_OUT]
        + [{**row, "label": 0, "part": "validation"} for row in HELD_OUT],
        {"split_column": "part"},
        "validation rows cannot measure recall_at_1",
    ),
    "test": (
        HELD_OUT,
        {"test": [{**row, "label": 0} for row in HELD_OUT]},
        "test rows cannot measure recall_at_1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_and_options_that_cannot_be_used_are_refused(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder, case: str
) -> None:
    rows, options, problem = BAD[case]
    with pytest.raises((DataError, UsageError), match=problem):
        trained_on(rows, folder, tiny_backbone, tiny_encoder, task="bad", **options)


@pytest.mark.slow
def test_it_is_trained_beside_tasks_of_other_kinds(
    folder: Path, tiny_backbone: Backbone, tiny_encoder: Encoder
) -> None:
    options = {"depths": (0, 2), "hidden_widths": (), "epochs": 2, "validation_fraction": 0.25}
    train_tasks(
        {
            "mood": {**options, "data": sentiment_rows(40), "ngrams": False},
            "near": {**options, "data": partner_rows(40), "kind": "embedding"},
        },
        options={"cache_dir": folder / "cache"},
        registry=folder / "several.yaml",
        backbone=tiny_backbone,
        encoder=tiny_encoder,
    )
    hub = Hub(folder / "several.yaml", device="cpu")
    both = hub.score(TEXTS, ["mood", "near"])
    assert len(both["near"][0]["vector"]) == 32  # type: ignore[arg-type, call-overload, index]
    np.testing.assert_allclose(
        [one["vector"] for one in both["near"]],  # type: ignore[call-overload, index]
        hub.encode(TEXTS, task="near"),
        atol=1e-5,
    )
