"""Every bad input to a hub: the right class, one clear line, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adapterhub.errors import (
    AdapterHubError,
    BackboneError,
    BackboneMismatchError,
    HeadFileError,
    InputError,
    IntegrityError,
    KnownAnswersError,
    RegistryError,
    ResidentError,
    UnknownTaskError,
    UsageError,
)
from adapterhub.hub import Hub
from adapterhub.model.backbone.open_backbone import open_backbone
from adapterhub.store.entries import BackboneEntry
from adapterhub.store.headfile import write_head
from adapterhub.store.registry import read_registry
from adapterhub.store.versions import add_version
from tests.builders import head_tensors
from tests.tiny import PROBES, save_backbone, tiny_task

SINGLE = ("sentiment", "rating", "entities")
RESIDENT = (*SINGLE, "entails")
Call = Callable[[Hub], object]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


@pytest.fixture
def serving(hub: Hub, tiny_registry: Path) -> Iterator[Hub]:
    """Gives a hub with resident tasks; checks afterwards that it lost nothing."""
    hub.load(*RESIDENT)
    texts = [{"text": "the film was good", "text_pair": "中国"}]
    tasks = {name: hub._tasks._resident.get(name) for name in RESIDENT}
    before = hub.score(texts, RESIDENT).to_columns()
    files = contents(tiny_registry.parent)
    yield hub
    assert {name: hub._tasks._resident.get(name) for name in hub._tasks._resident.names()} == tasks
    assert hub.score(texts, RESIDENT).to_columns() == before
    assert contents(tiny_registry.parent) == files


def refusal(call: Callable[[], object], kind: type[AdapterHubError]) -> AdapterHubError:
    """Returns the error with which `call` is refused: of exactly this class, in one line."""
    with pytest.raises(AdapterHubError) as refused:
        call()
    assert type(refused.value) is kind
    line = str(refused.value)
    assert len(line.splitlines()) == 1
    assert 10 < len(line) < 600
    return refused.value


CALLS: dict[str, tuple[Call, type[AdapterHubError], str]] = {
    # Texts
    "None": (lambda hub: hub.score(None, "rating"), InputError, "Texts are of type NoneType"),  # type: ignore[arg-type]
    "a number": (lambda hub: hub.score(7, "rating"), InputError, "Texts are of type int"),  # type: ignore[arg-type]
    "bytes": (lambda hub: hub.score(b"good", "rating"), InputError, "Texts are of type bytes"),  # type: ignore[arg-type]
    "a frame": (
        lambda hub: hub.score(pd.DataFrame({"text": ["a"]}), "rating"),
        InputError,
        "Texts are of type DataFrame",
    ),
    "an empty text": (lambda hub: hub.score("", "rating"), InputError, "Row 0: the text is empty."),
    "blanks": (lambda hub: hub.score(["a", " \n"], "rating"), InputError, "Row 1: the text is em"),
    "None in a list": (
        lambda hub: hub.score(["a", None], "rating"),  # type: ignore[list-item]
        InputError,
        "Row 1: the text is None",
    ),
    "a list in a list": (
        lambda hub: hub.score([["a"]], "rating"),  # type: ignore[list-item]
        InputError,
        "Row 0: the text is of type list",
    ),
    "a matrix": (
        lambda hub: hub.score(np.eye(30), "rating"),
        InputError,
        "Row 0: the text is of type ndarray",
    ),
    "a lone surrogate": (
        lambda hub: hub.score(["a", "b\udc80"], "rating"),
        InputError,
        "Row 1: the text has a lone surrogate (U+DC80) at code point 1",
    ),
    "another field": (
        lambda hub: hub.score({"txt": "a"}, "rating"),
        InputError,
        "Did you mean 'txt'?",
    ),
    "a field with a line break": (
        lambda hub: hub.score({"a\nb": "a"}, "rating"),
        InputError,
        "it has a b.",
    ),
    "a text for a pair": (
        lambda hub: hub.score(["a"], "entails"),
        InputError,
        "reads 2 fields; give {'text': …, 'text_pair': …}",
    ),
    "half a pair": (
        lambda hub: hub.score({"text": "a"}, "entails"),
        InputError,
        "has no field 'text_pair'",
    ),
    # Tasks
    "no tasks": (lambda hub: hub.score("a", []), UsageError, "No task was given"),
    "tasks None": (lambda hub: hub.score("a", None), UsageError, "No task was given"),
    "tasks of numbers": (lambda hub: hub.score("a", ["rating", 3]), UsageError, "expected a name"),  # type: ignore[list-item]
    "a task by number": (lambda hub: hub.score("a", 3), UsageError, "Tasks are 3"),  # type: ignore[arg-type]
    "an empty name": (lambda hub: hub.score("a", ""), UsageError, "'' does not name a task"),
    "an unknown task": (
        lambda hub: hub.score("a", ["rating", "sentimnt"]),
        UnknownTaskError,
        "Unknown task 'sentimnt'. Did you mean 'sentiment'?",
    ),
    "an unknown version": (
        lambda hub: hub.score("a", "rating:7"),
        UnknownTaskError,
        "Unknown version of 'rating' '7'. Known: 1.",
    ),
    "an unknown alias": (
        lambda hub: hub.score("a", "rating@pro"),
        UnknownTaskError,
        "Unknown alias of 'rating' 'pro'. Did you mean 'prod'?",
    ),
    "a name with a line break": (
        lambda hub: hub.score("a", "rating\n"),
        UsageError,
        "does not name a task",
    ),
    "a path without its mark": (
        lambda hub: hub.score("a", "heads/rating.safetensors"),
        UsageError,
        "'./heads/rating.safetensors' for a file",
    ),
    "a Hub without a task": (
        lambda hub: hub.score("a", "org/repo"),
        UsageError,
        "write 'org/repo:task' for a task on the Hub",
    ),
    "a file that is not there": (
        lambda hub: hub.load("./absent.safetensors"),
        HeadFileError,
        "absent.safetensors",
    ),
    "a file of another kind": (
        lambda hub: hub.load("./absent.bin"),
        HeadFileError,
        "absent.bin",
    ),
    "one bad of two": (lambda hub: hub.load("topics", "topis"), UnknownTaskError, "'topics'?"),
    "not resident": (lambda hub: hub.unload("rating", "topics"), UsageError, "'topics' is not re"),
    "explain nothing": (lambda hub: hub.explain([]), UsageError, "No task was given"),
    "explain unknown": (lambda hub: hub.explain("ratin"), UnknownTaskError, "'rating'?"),
    "spec unknown": (lambda hub: hub.spec("ratin"), UnknownTaskError, "'rating'?"),
    # Options
    "top_k 0": (lambda hub: hub.score("a", "rating", top_k=0), UsageError, "top_k is 0"),
    "top_k -1": (lambda hub: hub.score("a", "rating", top_k=-1), UsageError, "top_k is -1"),
    "top_k True": (lambda hub: hub.score("a", "rating", top_k=True), UsageError, "top_k is True"),
    "top_k text": (lambda hub: hub.score("a", "rating", top_k="3"), UsageError, "top_k is '3'"),  # type: ignore[arg-type]
    "top_k 1.5": (lambda hub: hub.score("a", "rating", top_k=1.5), UsageError, "top_k is 1.5"),  # type: ignore[arg-type]
    "on_error": (
        lambda hub: hub.score("a", "rating", on_error="ignore"),  # type: ignore[arg-type]
        UsageError,
        "on_error is 'ignore'; expected 'raise' or 'skip'",
    ),
    # Features
    "depth 5": (
        lambda hub: hub.encode("a", depth=5),
        UsageError,
        "depth is 5; this backbone has 0",
    ),
    "depth -1": (lambda hub: hub.encode("a", depth=-1), UsageError, "depth is -1"),
    "a pooling": (
        lambda hub: hub.encode("a", pooling="sum"),  # type: ignore[arg-type]
        UsageError,
        "pooling is 'sum'; expected cls, mean, max or tokens",
    ),
    "attentive": (lambda hub: hub.encode("a", pooling="attentive"), UsageError, "pooling is 'att"),
    "a window of 2": (
        lambda hub: hub.encode("a good day", max_length=2),
        UsageError,
        "max_length is 2; expected 8 to 64",
    ),
    "a window of 0": (lambda hub: hub.encode("a", max_length=0), UsageError, "max_length is 0"),
    "a window of 65": (lambda hub: hub.encode("a", max_length=65), UsageError, "max_length is 65"),
    "no fields": (lambda hub: hub.encode("a", fields=()), UsageError, "fields are ()"),
    "three fields": (
        lambda hub: hub.encode({"a": "x", "b": "x", "c": "x"}, fields=("a", "b", "c")),
        UsageError,
        "expected one, or two",
    ),
    "tokens of pairs": (
        lambda hub: hub.encode({"a": "x", "b": "y"}, fields=("a", "b"), pooling="tokens"),
        UsageError,
        "two without pooling 'tokens'",
    ),
    "encode None": (
        lambda hub: hub.encode(["a", None]),  # type: ignore[list-item]
        InputError,
        "Row 1: the text is None",
    ),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.slow
def test_a_bad_call_is_refused_and_nothing_is_lost(
    serving: Hub, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, kind, words = CALLS[case]
    assert words in str(refusal(lambda: call(serving), kind))


@pytest.mark.parametrize(
    "row", [None, 3, 0.5, [], ["a"], b"a", "", " ", "\ud800", {}, {"text": None}, {"txt": "a"}]
)
@pytest.mark.slow
def test_a_bad_row_costs_one_row_whatever_it_is(serving: Hub, row: Any) -> None:
    alone = serving.score(["good", "late"], SINGLE).to_columns()
    mixed = serving.score(["good", row, "late"], SINGLE, on_error="skip")
    (error,) = mixed.errors
    assert (error.row, error.tasks) == (1, SINGLE)
    assert len(error.problem.splitlines()) == 1
    columns = mixed.to_columns()
    assert {name: [values[0], values[2]] for name, values in columns.items()} == alone
    assert all(values[1] is None for values in columns.values())


# Files


def altered(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"\xff" * len(data),
    ],
)
def test_a_damaged_file_of_the_registry_is_refused(
    hub: Hub, tiny_registry: Path, damage: Callable[[bytes], bytes]
) -> None:
    hub.load(*SINGLE)
    path = altered(read_registry(tiny_registry).resolve("topics").path, damage)
    error = refusal(lambda: hub.score("a", ["rating", "topics"]), IntegrityError)
    assert str(path) in str(error)
    assert set(hub._tasks._resident.names()) == set(SINGLE)


def test_a_file_that_says_one_thing_and_computes_another_is_refused(
    hub: Hub, tiny_registry: Path, tmp_path: Path
) -> None:
    hub.load(*SINGLE)
    path = tmp_path / "topics.safetensors"
    source = read_registry(tiny_registry).resolve("topics").path
    path.write_bytes(source.read_bytes()[:-64] + b"\0" * 64)
    error = refusal(lambda: hub.load("language", str(path)), KnownAnswersError)
    assert error.path == str(path)  # type: ignore[attr-defined]
    assert set(hub._tasks._resident.names()) == set(SINGLE)


def test_a_task_of_another_backbone_of_the_same_width_is_refused(hub: Hub, tmp_path: Path) -> None:
    other = open_backbone(save_backbone(tmp_path / "other", seed=1))
    spec = tiny_task(other, "single_label", task="foreign")
    path = tmp_path / "foreign.safetensors"
    write_head(path, spec, head_tensors(spec))
    assert other.spec.hidden_size == hub.backbone.hidden_size
    error = refusal(lambda: hub.load(str(path)), BackboneMismatchError)
    assert "task 'foreign' was made for the backbone other (sha256:" in str(error)
    assert "Backbone 'backbone (sha256:" in str(error)
    assert hub.resident_bytes == 0


def test_a_task_with_windows_that_are_too_long_is_refused(
    hub: Hub, tiny_registry: Path, tmp_path: Path
) -> None:
    backbone = open_backbone(tiny_registry.parent / "backbone")
    spec = tiny_task(backbone, "single_label", task="long", max_length=65)
    path = tmp_path / "long.safetensors"
    write_head(path, spec, head_tensors(spec))
    error = refusal(lambda: hub.load(str(path)), UsageError)
    assert "reads windows of 65 tokens, the backbone has 64 positions" in str(error)


@pytest.mark.parametrize("data", [b"", b"{", b"tasks: [\n", b"\xff\xfe", b"- a\n- b\n", b"a: 1\n"])
def test_a_damaged_registry_is_refused_and_the_hub_goes_on(
    hub: Hub, tiny_registry: Path, data: bytes
) -> None:
    hub.load(*SINGLE)
    before = hub.score("good", SINGLE).to_columns()
    tiny_registry.write_bytes(data)
    for call in (hub.tasks, lambda: hub.load("topics"), lambda: hub.score("a", "topics")):
        assert str(tiny_registry) in str(refusal(call, RegistryError))
    assert hub.score("good", SINGLE).to_columns() == before
    refusal(lambda: Hub(tiny_registry, device="cpu"), RegistryError)


def test_a_registry_that_went_away_leaves_the_hub_serving(hub: Hub, tiny_registry: Path) -> None:
    before = hub.score("good", SINGLE).to_columns()
    tiny_registry.unlink()
    assert "there is no such file" in str(refusal(hub.tasks, RegistryError))
    assert hub.score("good", SINGLE).to_columns() == before


def test_a_backbone_that_went_away_is_refused_by_a_new_hub(tiny_registry: Path) -> None:
    (tiny_registry.parent / "backbone").rename(tiny_registry.parent / "elsewhere")
    refusal(lambda: Hub(tiny_registry, device="cpu"), BackboneError)


OPENINGS: dict[str, tuple[dict[str, Any], type[AdapterHubError], str]] = {
    "no windows": ({"max_windows": 0}, UsageError, "max_windows is 0"),
    "half a window": ({"max_windows": 0.5}, UsageError, "max_windows is 0.5"),
    "windows as text": ({"max_windows": "3"}, UsageError, "max_windows is '3'"),
    "a size": ({"max_bytes": "lots"}, UsageError, "max_bytes is 'lots'"),
    "a dtype": ({"dtype": "float8"}, UsageError, "Unknown dtype 'float8'"),
    "a backbone key": ({"backbone": "tinny"}, BackboneError, "Backbone 'tinny'"),
    "a backbone folder": ({"backbone": "./absent"}, BackboneError, "no such folder"),
}


@pytest.mark.parametrize("case", OPENINGS)
def test_a_hub_that_cannot_be_opened_says_why(tiny_registry: Path, case: str) -> None:
    options, kind, words = OPENINGS[case]
    assert words in str(refusal(lambda: Hub(tiny_registry, device="cpu", **options), kind))


def test_a_registry_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "registry.yaml", tmp_path / "a" / "b.yaml"):
        assert "there is no such file" in str(refusal(lambda p=path: Hub(p), RegistryError))


def test_tasks_that_do_not_fit_are_refused_and_the_others_stay(tiny_registry: Path) -> None:
    alone = Hub(tiny_registry, device="cpu")
    alone.load("sentiment")
    hub = Hub(tiny_registry, device="cpu", max_bytes=alone.resident_bytes)
    before = hub.score("good", "sentiment").to_columns()
    error = refusal(lambda: hub.score("good", ["sentiment", "topics"]), ResidentError)
    assert f"max_bytes is {alone.resident_bytes}" in str(error)
    assert hub._tasks._resident.names() == ("sentiment",)
    assert hub.score("good", "sentiment").to_columns() == before


def test_a_head_of_other_weights_under_a_known_name_is_named(hub: Hub, tiny_registry: Path) -> None:
    """A version whose known answers are another head's is never served."""
    backbone = open_backbone(tiny_registry.parent / "backbone")
    hub.load("sentiment")
    old = hub.spec("sentiment")
    assert [known.inputs for known in old.known_answers] == list(PROBES)
    entry = BackboneEntry(source="./backbone", fingerprint=backbone.spec.fingerprint)
    add_version(
        tiny_registry, old, head_tensors(old, 77), backbone_key="tiny", backbone_entry=entry
    )
    refusal(lambda: hub.load("sentiment"), KnownAnswersError)
    assert hub.score("good", "sentiment")["sentiment"].made_by.version == 1
