"""Several tasks in one run: checked first, encoded once, written together or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapterhub import Hub, TrainedTasks, train_tasks
from adapterhub.errors import AdapterHubError, DataError, RegistryError, SaveError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.store.registry import read_registry
from adapterhub.training.features import encoding
from adapterhub.training.heads.fit_inputs import make_fit_inputs
from adapterhub.training.prepare import prepare
from adapterhub.training.several.encode_together import encode_together
from adapterhub.training.several.prepare_tasks import list_tasks, prepare_tasks
from adapterhub.training.train import open_job, train
from tests.training.rows import (
    pair_rows,
    question_rows,
    rating_rows,
    sentiment_rows,
    tagged_rows,
    topic_rows,
    tree_rows,
    write_rows,
)

QUICK: dict[str, Any] = {
    "epochs": 1,
    "hidden_widths": (),
    "depths": (1, 2),
    "poolings": ("mean",),
    "mixes": False,
    "ngrams": False,
    "learning_rates": (0.01,),
    "weight_decays": (0.01,),
}


def both_rows(count: int = 40) -> list[dict[str, Any]]:
    """Returns rows with two targets, of which one is a flag."""
    rows = zip(sentiment_rows(count), rating_rows(count), strict=True)
    return [
        {**one, "stars": other["score"], "Is good": i % 2} for i, (one, other) in enumerate(rows)
    ]


@pytest.fixture
def given(tiny_backbone: Backbone, tiny_encoder: Encoder, tmp_path: Path) -> dict[str, Any]:
    return {
        "options": {**QUICK, "cache_dir": tmp_path / "cache"},
        "registry": tmp_path / "tasks/registry.yaml",
        "backbone": tiny_backbone,
        "encoder": tiny_encoder,
    }


def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Returns the list that texts are added to when they are encoded for training."""
    texts: list[str] = []
    encode = encoding.encode

    def counted(inputs, layouts, source):  # type: ignore[no-untyped-def]
        texts.extend(text for row in inputs for text in row)
        return encode(inputs, layouts, source)

    monkeypatch.setattr(encoding, "encode", counted)
    return texts


@pytest.mark.slow
def test_tasks_of_the_same_rows_share_one_encoding(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    texts, rows = encoded(monkeypatch), both_rows()
    with caplog.at_level("INFO", "adapterhub"):
        trained = train_tasks(
            {"reviews": {"target": ["label", "stars", "Is good"], "seed": 3}},
            data=iter(rows),
            **given,
        )
    assert sorted(texts) == sorted({row["text"] for row in rows})
    assert list(trained) == ["reviews-label", "reviews-stars", "reviews-is-good"]
    assert [one.spec.kind for one in trained.values()][:2] == ["single_label", "regression"]
    # None sees the targets of the others.
    assert trained["reviews-label"].data is not None
    assert trained["reviews-label"].data.unread == ()
    log = caplog.text
    assert "Training task 2 of 3: reviews-stars." in log
    assert "reviews-is-good: Read as single_label: columns text, Is good." in log
    registry = read_registry(given["registry"])
    assert set(registry.tasks) == set(trained)
    assert all(one.saved is not None for one in trained.values())
    shown = trained.render()
    assert "reviews-stars:1" in shown
    plan = trained.plan()
    assert plan is not None
    assert plan.summary in shown
    scores = Hub(given["registry"], device="cpu").score(["a good film"], list(trained))
    assert scores["reviews-label"][0] is not None
    # The same bytes as trained alone, so that this adds no version.
    again = train(
        rows,
        task="reviews-stars",
        **{**given, "options": {**given["options"], "target": "stars", "seed": 3}},
    )
    assert again.saved is not None
    assert again.saved.version == 1


@pytest.mark.slow
def test_a_text_of_a_tagger_and_of_a_classifier_is_encoded_once(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = encoded(monkeypatch)
    rows = [
        {**row, "text": " ".join(row["tokens"]), "label": str(i % 2)}
        for i, row in enumerate(tagged_rows(40))
    ]
    trained = train_tasks({"a": {"target": ["tags", "label"]}}, data=rows, **given)
    assert [one.spec.kind for one in trained.values()] == ["tagging", "single_label"]
    assert len(texts) == len({row["text"] for row in rows})


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows",
    [
        sentiment_rows(),
        pair_rows(),
        topic_rows(),
        rating_rows(),
        tagged_rows(),
        tree_rows(),
        question_rows(),
    ],
)
def test_nothing_is_left_to_encode_for_any_kind(
    given: dict[str, Any], rows: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = prepare(rows, task="a", options=given["options"], registry=None)
    opened = open_job(job, given["backbone"], encoder=given["encoder"])
    encode_together([opened])
    texts = encoded(monkeypatch)
    for apart in opened.readings:
        make_fit_inputs(job.splits, options=job.options, source=opened.source, apart=apart)
    assert texts == []


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"target": "starz"}, DataError, "there is no column 'starz'; .* mean 'stars'"),
        ({"target": "stars", "metric": "accuracy"}, UsageError, "make a regression task"),
        ({"data": None}, UsageError, "It has no data"),
        ({"data": "nowhere.csv"}, AdapterHubError, "nowhere.csv"),
        ({"data": [("a", "b")] * 3}, DataError, "3 training rows"),
        ({"depths": (9,)}, UsageError, "9 is over the backbone's 4"),
        ({"max_length": 512}, UsageError, "max_length is 512"),
        pytest.param({"adapter": "lore"}, UsageError, "lore", marks=pytest.mark.slow),
        ({"pairs": "apart"}, UsageError, "Option pairs is 'apart'"),
        ({"adapter_of": "first"}, UsageError, "'first' is trained in the same run"),
        pytest.param(
            {"adapter": {"at_depths": (2,)}},
            UsageError,
            "the head reads no depth over 2",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"adapter": {"method": "ia3", "dropout": 0.5, "from_depth": 1}},
            UsageError,
            "has no dropout",
            marks=pytest.mark.slow,
        ),
        ({"data": tagged_rows()}, RegistryError, "is single_label"),
    ],
)
def test_a_mistake_is_found_before_anything_is_encoded(
    given: dict[str, Any],
    tiny_registry: Path,
    wrong: dict[str, Any],
    kind: type[AdapterHubError],
    message: str,
) -> None:
    rows = both_rows()
    name = "sentiment" if kind is RegistryError else "second"
    tasks = [{"name": "first", "data": rows}, {"name": name, "data": rows, **wrong}]
    before = tiny_registry.read_bytes()
    given |= {"registry": tiny_registry}
    with pytest.raises(kind, match=message) as caught:
        train_tasks(tasks, **given)
    assert f"'{name}'" in str(caught.value)
    assert not given["options"]["cache_dir"].exists()
    assert tiny_registry.read_bytes() == before


def test_a_target_that_is_no_column_is_named_beside_all_columns(given: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"'a-starz'.*columns are text, label, stars"):
        train_tasks({"a": {"target": ["label", "starz"]}}, data=both_rows(), **given)


def test_a_registry_that_takes_nothing_is_met_before_rows_are_read(given: dict[str, Any]) -> None:
    def unread() -> Any:
        raise AssertionError("rows were read")
        yield

    given["registry"].parent.mkdir()
    given["registry"].write_text("schema: [1")
    with pytest.raises(RegistryError):
        train_tasks({"a": {}}, data=unread(), **given)


@pytest.mark.slow
def test_all_tasks_are_written_or_none(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {"a": {}, "b": {"target": "stars"}}
    registry: Path = given["registry"]
    with monkeypatch.context() as patch:

        def late(found: Any, *words: Any, **options: Any) -> Any:
            raise DataError("rows", "of no use")

        patch.setattr("adapterhub.training.train.finalize", late)
        with pytest.raises(DataError, match="Task 'a': rows: of no use"):
            train_tasks(tasks, data=both_rows(), **given)
    assert not registry.exists()
    registry.parent.mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(
            "adapterhub.training.several.trained_tasks.save_tasks",
            lambda tasks, registry: (_ for _ in ()).throw(RegistryError(registry, "it is full")),
        )
        with pytest.raises(SaveError, match="2 tasks were trained, but cannot be saved") as caught:
            train_tasks(tasks, data=both_rows(), **given)
    assert not registry.exists()
    trained = caught.value.trained
    assert isinstance(trained, TrainedTasks)
    assert [one.task for one in trained.save(registry)] == ["a", "b"]
    with pytest.raises(UsageError, match="results 'c'"):
        trained["c"]


@pytest.mark.slow
def test_adapters_are_trained_one_after_another(given: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "tasks.yaml"
    write_rows(tmp_path / "rows.jsonl", both_rows())
    file.write_text(
        "data: rows.jsonl\nadapter: {method: lora, epochs: 1, rank: 2, from_depth: 1}\n"
        "tasks:\n- name: mood\n- name: stars\n  target: stars\n  adapter: {rank: 4}\n"
        "- name: plain\n  adapter: null\n"
    )
    trained = train_tasks(file, **{**given, "registry": None})
    adapters = [one.spec.adapter for one in trained.values()]
    assert [one and one.config["r"] for one in adapters] == [2, 4, None]
    assert all(one.saved is None for one in trained.values())
    assert list(given["options"]["cache_dir"].rglob("*checkpoint*")) == []
    pytest.importorskip("matplotlib")
    assert trained.plot(tmp_path / "all.svg").stat().st_size


def test_each_of_several_targets_has_the_rows_that_have_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"a {i}", "mood": str(i % 2), "stars": i / 7, "labels": "a|b" if i % 2 else ""}
        for i in range(40)
    ]
    for row in rows[:10]:
        row["stars"] = None
    for row in rows[30:]:
        del row["mood"]
    held_out = [*rows[5:10], *rows[25:35]]
    tasks = list_tasks(
        {"a": {"target": ["mood", "stars", "labels"], "validation": held_out}}, data=rows
    )
    splits = [job.splits for job in prepare_tasks(replace(tasks, registry=None))]
    assert [len(one.train) for one in splits] == [30, 30, 40]
    assert [len(one.validation) for one in splits] == [10, 10, 15]
    assert "a-stars: 10 of 40 rows of data have no 'stars' and are left out." in caplog.text
    with pytest.raises(DataError, match="row 1: column 'stars' is None"):
        prepare(rows, task="alone", options={"target": "stars"}, registry=None)
