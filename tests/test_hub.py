"""Hub: what its docstrings say, on a registry with one task of every kind."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from transformers import BertTokenizer

from adapterhub import Hub as LazyHub
from adapterhub.errors import (
    BackboneError,
    BackboneMismatchError,
    InputError,
    IntegrityError,
    NonFiniteError,
    ResidentError,
    UnknownTaskError,
    UsageError,
)
from adapterhub.hub import Hub
from adapterhub.inputs import parse_bytes
from adapterhub.model.backbone import sources
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.heads.heads import read_weights
from adapterhub.results import TaskScores
from adapterhub.specs import TaskSpec
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import read_head, write_head
from adapterhub.store.registry import locate_registry, read_registry, shipped_registry
from adapterhub.store.versions import add_version
from tests.builders import head_tensors
from tests.tiny import TASKS, add_task, bert_tokenizer, save_backbone, tiny_task

TEXTS = ["the film was good", "a bad day, it is late", "中国的天气很好", "he"]
PAIRS = [
    {"text": text, "text_pair": other}
    for text, other in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)
]
NAMES = ("sentiment", "topics", "rating", "entails", "entities", "trees", "language")
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def logits_of(scores: TaskScores) -> np.ndarray:
    assert isinstance(scores.logits, np.ndarray)
    return scores.logits


@pytest.fixture
def backbone(tiny_registry: Path) -> Backbone:
    return open_backbone(tiny_registry.parent / "backbone")


@pytest.fixture
def reference(tiny_registry: Path) -> BertTokenizer:
    return bert_tokenizer(tiny_registry.parent / "backbone")


def by_transformers(
    backbone: Backbone, tokenizer: BertTokenizer, *texts: str, depth: int
) -> torch.Tensor:
    """Returns transformers' hidden states of one text or pair: (S, H)."""
    tokens = tokenizer(*texts, return_tensors="pt", return_token_type_ids=True)
    with torch.inference_mode():
        states = backbone.model(**tokens, output_hidden_states=True).hidden_states
    found: torch.Tensor = states[depth][0]
    return found


def add_version_of(hub: Hub, registry: Path, name: str, *, seed: int) -> None:
    """Adds another version of a task of the tiny registry, and moves its alias `prod` to it."""
    backbone = open_backbone(registry.parent / "backbone")
    changes = next(changes for changes in TASKS if changes["task"] == name)
    spec = tiny_task(backbone, **changes)
    add_task(registry, spec, encoder=hub.encoder, tokenizer=hub.tokenizer, seed=seed)


def write_task(folder: Path, spec: TaskSpec, tensors: dict[str, torch.Tensor]) -> Path:
    path = folder / f"{spec.task}.safetensors"
    write_head(path, spec, tensors)
    return path


# Opening


def test_a_hub_knows_its_registry_and_backbone(hub: Hub, tiny_registry: Path) -> None:
    assert hub.registry_path == tiny_registry
    assert hub.backbone == open_backbone(tiny_registry.parent / "backbone").spec
    assert hub.encoder.spec == hub.backbone
    assert hub.resident_bytes == 0


def test_the_name_in_the_package_is_this_hub() -> None:
    assert LazyHub is Hub


@pytest.mark.parametrize("form", ["path", "str", "folder", "home"])
def test_a_registry_may_be_given_as_file_or_folder(
    tiny_registry: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_registry.parent))
    given = {
        "path": tiny_registry,
        "str": str(tiny_registry),
        "folder": tiny_registry.parent,
        "home": "~/registry.yaml",
    }[form]
    assert Hub(given, device="cpu").registry_path == tiny_registry


def test_a_registry_is_found_upwards_of_the_working_folder(
    tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tiny_registry.parent / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Hub(device="cpu").registry_path == tiny_registry


def test_without_a_registry_around_the_shipped_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate_registry(None) == shipped_registry()
    assert shipped_registry().name == "registry.yaml"
    assert shipped_registry().is_file()


def test_a_backbone_may_be_named_by_its_key_or_folder(tiny_registry: Path) -> None:
    expected = Hub(tiny_registry, device="cpu").backbone.fingerprint
    folder = tiny_registry.parent / "backbone"
    for source in ("tiny", folder, str(folder)):
        assert Hub(tiny_registry, backbone=source, device="cpu").backbone.fingerprint == expected


def add_second_backbone(registry: Path, folder: Path) -> None:
    other = open_backbone(save_backbone(folder, seed=1))
    spec = tiny_task(other, "single_label", task="other")
    add_version(
        registry,
        spec,
        head_tensors(spec),
        backbone_key="second",
        backbone_entry=BackboneEntry(source=str(folder), fingerprint=other.spec.fingerprint),
    )


def test_with_two_backbones_one_must_be_named(tiny_registry: Path, tmp_path: Path) -> None:
    add_second_backbone(tiny_registry, tmp_path / "second")
    with pytest.raises(UsageError, match=r"names 2 backbones \(second, tiny\)"):
        Hub(tiny_registry, device="cpu")
    second = Hub(tiny_registry, backbone="second", device="cpu")
    assert second.score(TEXTS, "other")["other"][0] is not None
    with pytest.raises(BackboneMismatchError, match="'sentiment'"):
        second.score(TEXTS, "sentiment")


def test_a_bad_row_costs_no_loading(tiny_registry: Path) -> None:
    sizes = Hub(tiny_registry, device="cpu")
    sizes.load("sentiment")
    hub = Hub(tiny_registry, device="cpu", max_bytes=sizes.resident_bytes)
    hub.load("sentiment")
    with pytest.raises(InputError, match="Row 1: the text is None"):
        hub.score(["good", None], "rating")  # type: ignore[list-item]
    assert hub._tasks._resident.names() == ("sentiment",)
    hub.score(["good", None], "rating", on_error="skip")  # type: ignore[list-item]
    assert hub._tasks._resident.names() == ("rating",), "the case is not made"


def test_a_key_that_is_not_there_is_named_with_those_that_are(tiny_registry: Path) -> None:
    with pytest.raises(BackboneError, match=r"'tony': is no key of .* which has tiny\. A folder"):
        Hub(tiny_registry, backbone="tony", device="cpu")


def test_a_registry_whose_backbone_was_exchanged_is_refused(tiny_registry: Path) -> None:
    folder = tiny_registry.parent / "backbone"
    shutil.rmtree(folder)
    save_backbone(folder, seed=1)
    with pytest.raises(BackboneMismatchError) as refused:
        Hub(tiny_registry, device="cpu")
    assert refused.value.expected == read_registry(tiny_registry).backbones["tiny"].fingerprint
    assert f"the registry {tiny_registry} names sha256:" in str(refused.value)
    assert "as its 'tiny'; the weights or the tokenizer at ./backbone differ" in str(refused.value)


@pytest.mark.parametrize("source", ["backbone", "./backbone", "models/b", "~/b", "owner/name"])
def test_a_folder_of_a_registry_is_never_guessed(
    tiny_registry: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*what: object, **options: object) -> NoReturn:
        pytest.fail(f"{what} is asked of the Hub")

    monkeypatch.setattr(sources, "fetch", fetch)
    text = tiny_registry.read_text()
    assert "source: ./backbone" in text
    tiny_registry.write_text(text.replace("source: ./backbone", f"source: {source}"))
    if source == "./backbone":
        assert Hub(tiny_registry, device="cpu").backbone.name == "backbone"
        return
    with pytest.raises(BackboneError, match=r"no revision.*A folder is written \./name") as refused:
        Hub(tiny_registry, device="cpu")
    assert str(tiny_registry) in str(refused.value)


def test_a_device_that_is_not_there_is_refused(tiny_registry: Path) -> None:
    with pytest.raises(UsageError, match="Device 'abacus'"):
        Hub(tiny_registry, device="abacus")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, None),
        (1, 1),
        (2_000_000, 2_000_000),
        ("1", 1),
        ("500B", 500),
        ("500MB", 500 * 10**6),
        (" 2 gb ", 2 * 10**9),
        ("1.5KiB", 1_536),
        ("1GiB", 2**30),
        ("0.5MiB", 2**19),
        ("16kB", 16_000),
        ("0.0001kB", 1),
        (2e9, 2 * 10**9),
    ],
)
def test_sizes_may_be_numbers_or_words(size: Any, expected: int | None) -> None:
    assert parse_bytes(size) == expected


@pytest.mark.parametrize(
    "size", ["", "GB", "-1", "-1GB", "0", "0GB", 0, -5, True, "1TB", "1 G B", "1e9", "two", 0.0]
)
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(UsageError, match="expected a size such as 500MB"):
        parse_bytes(size)


# Tasks of the registry


def test_tasks_are_those_of_the_file_as_it_is_now(hub: Hub, tiny_registry: Path) -> None:
    assert [task.name for task in hub.tasks()] == sorted(NAMES)
    add_version_of(hub, tiny_registry, "topics", seed=9)
    (topics,) = (task for task in hub.tasks() if task.name == "topics")
    assert (topics.version, topics.kind, topics.languages) == (2, "multi_label", ("en",))
    assert (topics.depths, topics.pooling) == ((2,), "cls")
    assert topics.aliases == {"prod": 2}
    assert topics.size == read_registry(tiny_registry).resolve("topics").path.stat().st_size


def test_tasks_say_whether_they_are_resident(hub: Hub) -> None:
    hub.load("topics@prod", "rating:1")
    assert {task.name for task in hub.tasks() if task.resident} == {"topics", "rating"}
    hub.unload("topics@prod")
    assert {task.name for task in hub.tasks() if task.resident} == {"rating"}


def test_what_is_known_of_tasks_can_go_to_another_process_and_into_json(hub: Hub) -> None:
    tasks = hub.tasks()
    assert pickle.loads(pickle.dumps(tasks)) == tasks
    (first, *_) = json.loads(json.dumps([asdict(task) for task in tasks]))
    assert (first["name"], first["aliases"]) == ("entails", {"prod": 1})


def test_a_spec_can_be_read_without_loading(hub: Hub, tiny_registry: Path) -> None:
    spec = hub.spec("rating@prod")
    assert (spec.task, spec.kind, spec.head.depths) == ("rating", "regression", (1, 3))
    path = read_registry(tiny_registry).resolve("topics").path
    assert hub.spec(str(path)) == hub.spec("topics")
    assert hub.resident_bytes == 0


def test_explain_computes_and_loads_nothing(hub: Hub) -> None:
    plan = hub.explain(NAMES)
    assert hub.resident_bytes == 0
    assert plan.passes == 4 + 3
    assert plan.separate_passes == 7 * 4
    assert [trunk.reading.fields for trunk in plan.trunks] == [("text",), ("text", "text_pair")]
    assert hub.explain("rating").passes == 3


def test_explain_refuses_what_score_would_refuse(hub: Hub, tmp_path: Path) -> None:
    other = open_backbone(save_backbone(tmp_path / "other", num_hidden_layers=6))
    spec = tiny_task(other, "single_label", task="other")
    path = write_task(tmp_path, spec, head_tensors(spec))
    for call in (hub.explain, lambda tasks: hub.score(TEXTS, tasks)):
        with pytest.raises(BackboneMismatchError, match="'other'"):
            call(["sentiment", str(path)])
    with pytest.raises(UnknownTaskError, match="Did you mean 'sentiment'"):
        hub.explain("sentimant")


# References


def test_every_form_of_reference_names_the_same_task(
    hub: Hub, tiny_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_registry.parent)
    forms = ["sentiment", "sentiment@prod", "sentiment:1", "./heads/sentiment.safetensors"]
    scores = hub.score(TEXTS, forms)
    assert list(scores) == forms
    for form in forms:
        assert scores[form].answers == scores["sentiment"].answers
        assert scores[form].made_by.task == "sentiment"
        assert scores[form].made_by.sha256 == scores["sentiment"].made_by.sha256
        assert scores[form].made_by.version == (None if form.startswith(".") else 1)


def test_names_of_versions_stay_apart(hub: Hub, tiny_registry: Path) -> None:
    add_version_of(hub, tiny_registry, "topics", seed=9)
    scores = hub.score(TEXTS, ["topics:1", "topics:2", "topics", "topics@prod"], logits=True)
    assert [task.made_by.version for task in scores.values()] == [1, 2, 2, 2]
    assert not np.allclose(logits_of(scores["topics:1"]), logits_of(scores["topics:2"]))
    assert np.array_equal(logits_of(scores["topics:2"]), logits_of(scores["topics@prod"]))


def test_a_version_with_the_bytes_of_an_older_one_is_named_as_itself(
    hub: Hub, tiny_registry: Path
) -> None:
    add_version_of(hub, tiny_registry, "topics", seed=9)
    add_version_of(hub, tiny_registry, "topics", seed=1)  # as it was shipped: a way back
    scores = hub.score(TEXTS, ["topics:1", "topics:3"])
    assert scores["topics:1"].made_by.sha256 == scores["topics:3"].made_by.sha256
    assert [task.made_by.version for task in scores.values()] == [1, 3]


def test_a_resident_task_stays_until_it_is_loaded_again(hub: Hub, tiny_registry: Path) -> None:
    assert hub.score(TEXTS, "topics")["topics"].made_by.version == 1
    assert hub.score(TEXTS, "topics@prod")["topics@prod"].made_by.version == 1
    add_version_of(hub, tiny_registry, "topics", seed=9)
    assert hub.score(TEXTS, "topics")["topics"].made_by.version == 1
    hub.load("topics", "topics@prod")
    assert hub.score(TEXTS, "topics")["topics"].made_by.version == 2
    assert hub.score(TEXTS, "topics@prod")["topics@prod"].made_by.version == 2


def test_a_reload_that_fails_leaves_the_old_version_serving(hub: Hub, tiny_registry: Path) -> None:
    before = hub.score(TEXTS, "topics", logits=True)["topics"]
    add_version_of(hub, tiny_registry, "topics", seed=9)
    path = read_registry(tiny_registry).resolve("topics:2").path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        hub.load("rating", "topics")
    after = hub.score(TEXTS, "topics", logits=True)["topics"]
    assert after.made_by == before.made_by
    assert np.array_equal(logits_of(after), logits_of(before))
    assert [task.name for task in hub.tasks() if task.resident] == ["topics"]


def test_unload_drops_a_task_and_score_brings_it_back(hub: Hub) -> None:
    hub.load("sentiment", "rating")
    both = hub.resident_bytes
    hub.unload("sentiment")
    assert 0 < hub.resident_bytes < both
    hub.score(TEXTS, "sentiment")
    assert hub.resident_bytes == both


def test_unload_drops_all_or_none(hub: Hub) -> None:
    hub.load("sentiment", "rating")
    with pytest.raises(UsageError, match=r"'topics' is not resident\. Resident: sentiment, rating"):
        hub.unload("sentiment", "topics")
    assert {task.name for task in hub.tasks() if task.resident} == {"sentiment", "rating"}
    hub.unload("sentiment", "rating")
    with pytest.raises(UsageError, match="Resident: none"):
        hub.unload("sentiment")


def test_the_budget_drops_what_was_not_used_lately(tiny_registry: Path) -> None:
    sizes = {}
    for name in ("sentiment", "topics", "rating"):
        alone = Hub(tiny_registry, device="cpu")
        alone.load(name)
        sizes[name] = alone.resident_bytes
    hub = Hub(tiny_registry, device="cpu", max_bytes=sizes["sentiment"] + sizes["topics"])
    hub.score(TEXTS, "topics")
    hub.score(TEXTS, "sentiment")
    hub.score(TEXTS, "rating")
    assert {task.name for task in hub.tasks() if task.resident} == {"sentiment", "rating"}
    assert hub.resident_bytes <= sizes["sentiment"] + sizes["topics"]
    with pytest.raises(ResidentError, match="Ask for fewer tasks in one call"):
        hub.score(TEXTS, ["sentiment", "topics", "rating"])


# Scores


def test_answers_have_the_shapes_of_pipelines(hub: Hub) -> None:
    scores = hub.score(PAIRS, NAMES)
    assert list(scores) == list(NAMES)
    for name in NAMES:
        assert len(scores[name]) == len(TEXTS)
        assert scores[name].logits is None
        assert scores[name].windows == (1,) * len(TEXTS)
        assert scores[name].truncated == (False,) * len(TEXTS)
    for name, labels in (("sentiment", {"negative", "positive"}), ("entails", {"no", "yes"})):
        for answer in scores[name]:
            assert set(answer) == {"label", "score"}  # type: ignore[arg-type]
            assert answer["label"] in labels  # type: ignore[index, call-overload]
            assert 0.5 <= answer["score"] <= 1  # type: ignore[index, call-overload]
    assert all(set(answer) == {"value"} for answer in scores["rating"])  # type: ignore[arg-type]
    for name in ("entities", "trees"):
        for row, answer in enumerate(scores[name]):
            for found in answer:  # type: ignore[union-attr]
                word = TEXTS[row][found["start"] : found["end"]]  # type: ignore[index]
                assert word == found["word"]  # type: ignore[index]


def test_one_text_and_one_name_are_enough(hub: Hub) -> None:
    scores = hub.score("the film was good", "sentiment")
    assert len(scores["sentiment"]) == 1
    assert scores["sentiment"].made_by.task == "sentiment"
    assert scores["sentiment"].made_by.fingerprint == hub.backbone.fingerprint
    same = hub.score({"text": "the film was good"}, ("sentiment", "sentiment"))
    assert same["sentiment"].answers == scores["sentiment"].answers


def test_texts_may_come_from_a_generator(hub: Hub) -> None:
    found = hub.score((text for text in TEXTS), (name for name in ("rating",)))  # type: ignore[arg-type]
    assert found["rating"].answers == hub.score(TEXTS, "rating")["rating"].answers


def test_the_best_labels_are_given_on_request(hub: Hub) -> None:
    two = hub.score(TEXTS, ["language", "topics", "rating"], top_k=2)
    every = hub.score(TEXTS, ["language", "topics", "rating"], top_k=None)
    for name in ("language", "topics"):
        assert {len(answer) for answer in two[name]} == {2}  # type: ignore[arg-type]
        assert {len(answer) for answer in every[name]} == {3}  # type: ignore[arg-type]
        assert [answer[:2] for answer in every[name]] == list(two[name])  # type: ignore[index]
    assert two["rating"].answers == every["rating"].answers


def test_logits_are_given_on_request(hub: Hub) -> None:
    scores = hub.score(PAIRS, NAMES, logits=True)
    widths = {"sentiment": 2, "topics": 3, "rating": 1, "entails": 2, "language": 3}
    for name, width in widths.items():
        assert logits_of(scores[name]).shape == (len(TEXTS), width)
        assert logits_of(scores[name]).dtype == np.float32
    tags = scores["entities"].logits
    assert isinstance(tags, tuple)
    lengths = [len(row) for row in hub.encode(TEXTS, pooling="tokens")]
    assert [row.shape for row in tags] == [(length, 3) for length in lengths]
    trees = scores["trees"]
    assert isinstance(trees.logits, tuple)
    for row, words in zip(trees.logits, trees, strict=True):
        assert row.shape[1] == 4
        assert len(row) >= len(words)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["sentiment", "topics", "rating", "entails", "language"])
def test_logits_are_those_of_transformers_and_the_head(
    hub: Hub, tiny_registry: Path, backbone: Backbone, reference: BertTokenizer, name: str
) -> None:
    head = read_head(read_registry(tiny_registry).resolve(name).path)
    weights = read_weights(head.spec, head.tensors, device=torch.device("cpu"))
    pools = {
        "mean": lambda tokens: tokens.mean(0),
        "cls": lambda tokens: tokens[0],
        "max": lambda tokens: tokens.amax(0),
        "attentive": lambda tokens: torch.softmax(tokens @ weights.query / 32**0.5, 0) @ tokens,
    }
    found = logits_of(hub.score(PAIRS, name, logits=True)[name])
    for row, record in enumerate(PAIRS):
        texts = [record[field] for field in head.spec.fields]
        feature = torch.zeros(1, 32)
        for depth, share in zip(head.spec.head.depths, weights.mix, strict=True):
            tokens = by_transformers(backbone, reference, *texts, depth=depth)
            feature += share * pools[head.spec.head.pooling](tokens)
        np.testing.assert_allclose(found[row], weights.forward(feature)[0], **CLOSE)


def test_a_long_text_is_the_mean_of_its_windows(
    hub: Hub, tmp_path: Path, backbone: Backbone, reference: BertTokenizer
) -> None:
    spec = tiny_task(backbone, "single_label", task="short", max_length=12, overlap=3)
    tensors = head_tensors(spec, seed=5)
    path = str(write_task(tmp_path, spec, tensors))
    text = "the film was good and the food was bad but he and she said it is late in the city"
    scores = hub.score([text, "good"], path, logits=True)[path]
    ids = reference(text, add_special_tokens=False)["input_ids"]
    starts = range(0, len(ids) - 3, 10 - 3)
    parts = [[2, *ids[start : start + 10], 3] for start in starts]
    logits = []
    for part in parts:
        with torch.inference_mode():
            tokens = backbone.model(torch.tensor([part])).last_hidden_state[0]
        logits.append(tokens.mean(0) @ tensors["head.weight"].T + tensors["head.bias"])
    assert scores.windows == (len(parts), 1)
    assert scores.truncated == (False, False)
    np.testing.assert_allclose(logits_of(scores)[0], torch.stack(logits).mean(0), **CLOSE)


def test_tasks_with_other_windows_run_side_by_side(
    hub: Hub, tmp_path: Path, backbone: Backbone
) -> None:
    spec = tiny_task(backbone, "single_label", task="short", max_length=8)
    path = str(write_task(tmp_path, spec, head_tensors(spec)))
    long = "a good day " * 8
    scores = hub.score([long, "he"], ["sentiment", path], logits=True)
    assert scores["sentiment"].windows == (1, 1)
    assert scores[path].windows == (4, 1)
    alone = hub.score([long, "he"], path, logits=True)
    assert np.array_equal(logits_of(scores[path]), logits_of(alone[path]))


def test_what_no_window_shows_is_flagged(tiny_registry: Path) -> None:
    hub = Hub(tiny_registry, device="cpu", max_windows=2)
    long = "a good day " * 60
    scores = hub.score(
        [{"text": long, "text_pair": "he"}, {"text": "he", "text_pair": "she"}],
        ["sentiment", "entails", "entities"],
    )
    for task in scores.values():
        assert task.windows == (2, 1)
        assert task.truncated == (True, False)


# Bad rows


def test_a_bad_row_stops_the_call_and_is_named(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"^Row 1: the text is None; expected a string\.$") as one:
        hub.score(["good", None], "sentiment")  # type: ignore[list-item]
    assert one.value.row == 1
    with pytest.raises(InputError, match=r"^Row 2: .*\(3 bad rows in all; on_error='skip'"):
        hub.score(["good", "bad", None, " ", 3], "sentiment")  # type: ignore[list-item]


ROWS: list[Any] = [
    {"text": "good", "text_pair": "bad"},
    None,
    {"text": "good"},
    "good",
    {"text": "\ud800", "text_pair": "a"},
    {"text": "late", "text_pair": "early"},
]


def test_bad_rows_are_skipped_and_listed(hub: Hub) -> None:
    scores = hub.score(ROWS, ["sentiment", "entails", "entities"], on_error="skip", logits=True)
    good = {"sentiment": {0, 2, 3, 5}, "entities": {0, 2, 3, 5}, "entails": {0, 5}}
    for name, rows in good.items():
        task = scores[name]
        assert {row for row, answer in enumerate(task) if answer is not None} == rows
        assert [count > 0 for count in task.windows] == [row in rows for row in range(6)]
        assert task.truncated == (False,) * 6
    assert {(error.row, error.tasks) for error in scores.errors} == {
        (1, ("sentiment", "entities")),
        (1, ("entails",)),
        (2, ("entails",)),
        (3, ("entails",)),
        (4, ("sentiment", "entities")),
        (4, ("entails",)),
    }
    assert [error.row for error in scores.errors] == [1, 1, 2, 3, 4, 4]
    matrix = logits_of(scores["entails"])
    assert [bool(np.isnan(row).all()) for row in matrix] == [row not in {0, 5} for row in range(6)]
    tags = scores["entities"].logits
    assert [len(row) > 0 for row in tags] == [row in {0, 2, 3, 5} for row in range(6)]  # type: ignore[union-attr, arg-type]


def test_skipping_changes_no_good_row(hub: Hub) -> None:
    mixed = hub.score(["good", None, "late"], "sentiment", on_error="skip")["sentiment"]  # type: ignore[list-item]
    clean = hub.score(["good", "late"], "sentiment")["sentiment"]
    assert (mixed[0], mixed[2]) == clean.answers


def test_all_rows_may_be_bad(hub: Hub) -> None:
    scores = hub.score([None, ""], ["sentiment", "entities"], on_error="skip", logits=True)  # type: ignore[list-item]
    assert scores["sentiment"].answers == (None, None)
    assert np.isnan(logits_of(scores["sentiment"])).all()
    assert [row.shape for row in scores["entities"].logits] == [(0, 3), (0, 3)]  # type: ignore[union-attr]
    assert [error.problem for error in scores.errors] == [
        "the text is None; expected a string.",
        "the text is empty.",
    ]


def overflowing(hub: Hub, folder: Path, kind: Any) -> str:
    """Returns a head whose logits overflow for the text `good` and for no other of TEXTS."""
    spec = tiny_task(open_backbone(folder / "backbone"), kind, task="wild", depths=(0,))
    texts = ["good", "late"]
    features = hub.encode(texts, depth=0, pooling="tokens")
    good, late = (rows[0] for rows in features)
    tensors = head_tensors(spec)
    # Orthogonal to `late`, so that only `good` gives a large number.
    direction = good - late * (good @ late) / (late @ late)
    tensors["head.weight"][0] = torch.from_numpy(direction / np.abs(direction).max()) * 3e38
    return str(write_task(folder, spec, tensors))


@pytest.mark.parametrize(
    ("rows", "bad"), [(["good"], 0), (["good", "he"], 0), ([None, "good", "he"], 1)]
)
def test_a_task_that_gives_no_number_is_named_with_its_row(
    hub: Hub, tiny_registry: Path, rows: Sequence[Any], bad: int
) -> None:
    path = overflowing(hub, tiny_registry.parent, "tagging")
    with pytest.raises(NonFiniteError) as refused:
        hub.score(rows, path, on_error="skip")
    assert refused.value.row == bad
    assert refused.value.task == path
    assert f"for row {bad}" in str(refused.value)


def test_a_number_that_is_none_in_a_later_row_is_found(hub: Hub, tiny_registry: Path) -> None:
    spec = tiny_task(open_backbone(tiny_registry.parent / "backbone"), "regression", task="wild")
    feature = hub.encode(["good"])[0]
    weight = torch.from_numpy(feature / np.abs(feature).max())[None] * 3e38
    path = str(
        write_task(tiny_registry.parent, spec, {"head.weight": weight, "head.bias": torch.zeros(1)})
    )
    with pytest.raises(NonFiniteError) as refused:
        hub.score([None, " ", "good"], path, on_error="skip")  # type: ignore[list-item]
    assert refused.value.row == 2


# Features


@pytest.mark.parametrize("depth", [0, 1, 4, None])
def test_features_are_the_hidden_states_of_transformers(
    hub: Hub, backbone: Backbone, reference: BertTokenizer, depth: int | None
) -> None:
    at = 4 if depth is None else depth
    states = [by_transformers(backbone, reference, text, depth=at) for text in TEXTS]
    expected = {
        "cls": [state[0] for state in states],
        "mean": [state.mean(0) for state in states],
        "max": [state.amax(0) for state in states],
    }
    for pooling, values in expected.items():
        found = hub.encode(TEXTS, depth=depth, pooling=pooling)  # type: ignore[arg-type]
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, torch.stack(values), **CLOSE)
    tokens = hub.encode(TEXTS, depth=depth, pooling="tokens")
    assert isinstance(tokens, tuple)
    for found, state in zip(tokens, states, strict=True):
        np.testing.assert_allclose(found, state[1:-1], **CLOSE)


def test_features_of_pairs_have_their_segments(
    hub: Hub, backbone: Backbone, reference: BertTokenizer
) -> None:
    found = hub.encode(PAIRS, pooling="cls", fields=("text", "text_pair"))
    for row, record in enumerate(PAIRS):
        state = by_transformers(backbone, reference, record["text"], record["text_pair"], depth=4)
        np.testing.assert_allclose(found[row], state[0], **CLOSE)


def test_features_of_long_texts_are_the_mean_of_windows(
    hub: Hub, backbone: Backbone, reference: BertTokenizer
) -> None:
    text = "the film was good and it is late"
    ids = reference(text, add_special_tokens=False)["input_ids"]
    states = []
    for start in range(0, len(ids), 6):
        with torch.inference_mode():
            part = torch.tensor([[2, *ids[start : start + 6], 3]])
            states.append(backbone.model(part).last_hidden_state[0])
    assert len(states) > 1
    for pooling, values in (
        ("cls", [state[0] for state in states]),
        ("mean", [state.mean(0) for state in states]),
    ):
        found = hub.encode([text], max_length=8, pooling=pooling)  # type: ignore[arg-type]
        np.testing.assert_allclose(found[0], torch.stack(values).mean(0), **CLOSE)
    tokens = hub.encode([text], max_length=8, pooling="tokens")[0]
    assert tokens.shape == (len(ids), 32)
    np.testing.assert_allclose(tokens[:6], states[0][1:-1], **CLOSE)


def test_a_default_reads_the_mean_of_the_deepest_depth(hub: Hub) -> None:
    assert np.array_equal(hub.encode(TEXTS), hub.encode(TEXTS, depth=4, pooling="mean"))
    assert np.array_equal(hub.encode("he"), hub.encode([{"text": "he"}], fields="text"))
    assert hub.encode("he").shape == (1, 32)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["autocast", "inference", "double"])
def test_what_the_caller_set_for_torch_changes_no_answer(mode: str, tiny_registry: Path) -> None:
    expected = Hub(tiny_registry, device="cpu").score(PAIRS, list(NAMES))
    hub = Hub(tiny_registry, device="cpu")
    if mode == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = hub.score(PAIRS, list(NAMES))
    elif mode == "inference":
        with torch.inference_mode():
            hub.load(NAMES[0])
        found = hub.score(PAIRS, list(NAMES))
    else:
        torch.set_default_dtype(torch.float64)
        try:
            found = hub.score(PAIRS, list(NAMES))
        finally:
            torch.set_default_dtype(torch.float32)
    for name in NAMES:
        assert found[name].answers == expected[name].answers


@pytest.mark.parametrize("name", [None, 3, ["sentiment"]])
def test_a_name_that_is_no_string_is_refused(name: Any, hub: Hub) -> None:
    for ask in (hub.load, hub.spec):
        with pytest.raises(UsageError, match="A task is named by one string"):
            ask(name)
    with pytest.raises(UnknownTaskError):
        hub.score(["good"], ["sentiment"])[name if name != ["sentiment"] else 0]


def test_no_texts_have_no_predictions(hub: Hub) -> None:
    tasks = ["sentiment", "rating", "topics", "entities", "trees"]
    for scores in (hub.score([], tasks, logits=True), hub.score(iter([]), tasks, logits=True)):
        assert list(scores.rows()) == []
        assert list(scores.to_pandas().columns) == [
            *("sentiment.label", "sentiment.score", "rating.value"),
            *("topics.labels", "entities.entities", "trees.words"),
        ]
        assert scores.to_arrow().num_rows == 0
        assert (len(scores["rating"]), scores.errors) == (0, ())
    assert dict(hub.score_rows([])) == {}
    assert hub.encode([]).shape == (0, hub.encode("good").shape[1])  # type: ignore[union-attr]
    assert hub.encode([], pooling="tokens") == ()
