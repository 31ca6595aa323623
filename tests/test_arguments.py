"""Every public call refuses wrong arguments with an error of adapterhub's own."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import adapterhub
from adapterhub import (
    AdapterOptions,
    Encoder,
    Hub,
    ImportOptions,
    ProbeOptions,
    ScoringOptions,
    TrainingOptions,
    add_labels,
    convert,
    cosine_spearman,
    deprecate_task,
    drop_labels,
    export_peft,
    freeze,
    import_task,
    make_plan,
    open_backbone,
    probe,
    publish_backbone,
    read_head,
    read_registry,
    recall_at_k,
    remove_alias,
    remove_task,
    rename_label,
    rename_task,
    save_tasks,
    set_alias,
    train,
    train_tasks,
    trainable,
    unrolled,
)
from adapterhub.errors import AdapterHubError, UsageError
from adapterhub.option_models import Options
from adapterhub.publishing.publication import PublishOptions
from tests.builders import task_spec
from tests.tiny import add_task

RESULTS = {
    "Converted",
    "Evaluation",
    "Index",
    "Neighbours",
    "Plan",
    "ProbeResult",
    "Published",
    "PublishedBackbone",
    "ScoredFile",
    "Scores",
    "TaskChange",
    "TaskScores",
    "TaskSpec",
    "Trainable",
    "TrainedTask",
    "TrainedTasks",
}
"""What calls return; nobody makes one."""
OTHERS = {"AdapterHubError", "__version__"}

ROWS = [{"text": f"a good day {row}", "label": str(row % 2)} for row in range(8)]
NO_PATH: tuple[object, ...] = (3, b"x", ["x"], object(), 1.5, "a\0b")
NO_NAME: tuple[object, ...] = (3, None, b"x", object(), "No Name", "", ["a", "b"])
NO_TASKS: tuple[object, ...] = (3, None, b"x", [3], [["sentiment"]], [], object(), "sentimant")
NO_TEXTS: tuple[object, ...] = (3, None, b"x", object(), [3], [None], [[]])
LABELLED = [{"text": "a good day", "label": "positive"}]
NO_BOOL: tuple[object, ...] = ("no", None, 3, [])
NO_OPTIONS: tuple[object, ...] = (3, "x", [], object(), {"topk": 3}, {"epoch": 3}, {3: 3})


@dataclass(frozen=True)
class Given:
    """What calls are made with."""

    hub: Hub
    registry: Path
    out: Path


@dataclass(frozen=True)
class Call:
    """A public call: its arguments where they are right, and wrong values by argument."""

    function: Callable[[Given], Callable[..., object]]
    right: Callable[[Given], dict[str, Any]]
    wrong: dict[str, Iterable[object]]
    several: str | None = None


def _scoring(given: Given) -> dict[str, Any]:
    return {"texts": "a good day", "tasks": "sentiment"}


def _owned(given: Given) -> dict[str, Any]:
    return {"registry": given.registry}


def _of_few(given: Given) -> dict[str, Any]:
    """Returns a task of prototypes with the registry that it is in."""
    registry = given.out.parent.with_name("few") / "registry.yaml"
    if not registry.exists():
        model = given.hub.encoder, given.hub.tokenizer
        spec = task_spec("prototype", task="few", backbone=given.hub.backbone)
        add_task(registry, spec, encoder=model[0], tokenizer=model[1])
    return {"task": "few", "registry": registry}


NO_LABEL: tuple[object, ...] = (None, b"x", object(), "", [], 1.5, "x" * 300)
CONFIDENCE = (-0.1, 1.5, "x", True, [], float("nan"))
TOP_K = (0, -1, "x", True, 1.5, [])
ON_ERROR = ("x", None, 3, [])
CALLS: dict[str, Call] = {
    "Hub": Call(
        lambda given: Hub,
        lambda given: {"registry": given.registry, "device": "cpu"},
        {
            "registry": NO_PATH,
            "backbone": (3, b"x", [], object(), "nothing"),
            "device": (7, None, [], b"cpu", "gpu", "cuda:99"),
            "dtype": (7, None, [], "float8", object()),
            "max_bytes": ("x", [], -1, 0, True, object()),
            "max_windows": (0, "x", None, True, 1.5, []),
        },
    ),
    "Hub.load": Call(lambda given: given.hub.load, lambda given: {}, {}, several="references"),
    "Hub.unload": Call(lambda given: given.hub.unload, lambda given: {}, {}, several="references"),
    "Hub.spec": Call(
        lambda given: given.hub.spec, lambda given: {}, {"reference": (*NO_NAME, "sentimant")}
    ),
    "Hub.tasks": Call(lambda given: given.hub.tasks, lambda given: {}, {}),
    "Hub.explain": Call(lambda given: given.hub.explain, lambda given: {}, {"tasks": NO_TASKS}),
    "Hub.score": Call(
        lambda given: given.hub.score,
        _scoring,
        {
            "texts": NO_TEXTS,
            "tasks": NO_TASKS,
            "top_k": TOP_K,
            "min_confidence": CONFIDENCE,
            "logits": NO_BOOL,
            "on_error": ON_ERROR,
        },
    ),
    "Hub.open_call": Call(
        lambda given: given.hub.open_call,
        lambda given: {"tasks": "sentiment"},
        {
            "tasks": NO_TASKS,
            "fields": (
                3,
                "x",
                [],
                {"sentiment": 3},
                {"nobody": {}},
                {"sentiment": {"nofield": "text"}},
            ),
            "top_k": TOP_K,
            "min_confidence": CONFIDENCE,
        },
    ),
    "Hub.stream": Call(
        lambda given: lambda **own: list(given.hub.stream(**own)),
        lambda given: {"rows": ["a good day"], "tasks": "sentiment"},
        {
            "rows": (3, None, b"x", object(), [3], [None]),
            "tasks": NO_TASKS,
            "top_k": TOP_K,
            "min_confidence": CONFIDENCE,
            "on_error": ON_ERROR,
        },
    ),
    "Hub.score_rows": Call(
        lambda given: given.hub.score_rows,
        lambda given: {"rows": [("a good day", "sentiment")]},
        {
            "rows": (*NO_TEXTS, "x", [("x", 3)], [("x",)], [("x", None)], [(3, "sentiment")]),
            "top_k": TOP_K,
            "min_confidence": CONFIDENCE,
            "logits": NO_BOOL,
            "on_error": ON_ERROR,
        },
    ),
    "Hub.evaluate": Call(
        lambda given: given.hub.evaluate,
        lambda given: {"data": LABELLED, "tasks": "sentiment"},
        {"data": (3, None, b"x", object(), "nothing.csv", [], [3], ["x"]), "tasks": NO_TASKS},
        several="options",
    ),
    "Hub.score_file": Call(
        lambda given: given.hub.score_file,
        lambda given: {"source": ["a good day"], "out": given.out, "tasks": "sentiment"},
        {
            "source": (3, None, b"x", object(), "nothing.csv", "x"),
            "out": (*NO_PATH, None, "nothing.cvs", "x.json"),
            "tasks": (3, b"x", [3], "sentimant"),
            "options": (*NO_OPTIONS, TrainingOptions(), {"top_k": 0}),
        },
    ),
    "Hub.encode": Call(
        lambda given: given.hub.encode,
        lambda given: {"texts": "a good day"},
        {
            "texts": NO_TEXTS,
            "depth": ("x", 1.5, True, -1, 99, []),
            "pooling": ("x", 3, [], "attentive"),
            "fields": (3, None, [3], [], ["a", "b", "c"], [None]),
            "max_length": ("x", 9.5, True, 0, 1_000, []),
            "prompt": (3, b"x", [], "x"),
        },
        several="options",
    ),
    "Hub.nearest": Call(
        lambda given: given.hub.nearest,
        lambda given: {"queries": "a good day", "texts": ["a good day"]},
        {"queries": NO_TEXTS, "texts": (3, None, b"x", object(), [], [3], "nothing.csv", "x")},
        several="options",
    ),
    "recall_at_k": Call(
        lambda given: recall_at_k,
        lambda given: {"found": [[1]], "relevant": [[1]], "k": 1},
        {"found": ([], [[1], [2]]), "relevant": ([], [[]]), "k": (0, "x", None, True, 1.5)},
    ),
    "cosine_spearman": Call(
        lambda given: cosine_spearman,
        lambda given: {"left": [[1.0], [2.0]], "right": [[1.0], [1.0]], "scores": [1, 2]},
        {"left": ([], [[1.0]], "x", None), "right": ([], [1.0]), "scores": ([], [1], "x", None)},
    ),
    "Hub.publish": Call(
        lambda given: given.hub.publish,
        lambda given: {"tasks": "sentiment", "repo": "acme/heads", "dry_run": True},
        {
            "tasks": NO_TASKS,
            "repo": (3, None, b"x", "x", "a/b/c", []),
        },
        several="options",
    ),
    "Hub.push_to_hub": Call(
        lambda given: given.hub.push_to_hub,
        lambda given: {"tasks": "sentiment", "repo_id": "acme/heads", "dry_run": True},
        {
            "tasks": [value for value in NO_TASKS if value is not None],
            "repo_id": (3, None, b"x", "x", "a/b/c", []),
        },
        several="options",
    ),
    "Hub.save_pretrained": Call(
        lambda given: given.hub.save_pretrained,
        lambda given: {"folder": given.out, "tasks": "sentiment"},
        {
            "folder": (*NO_PATH, None),
            "tasks": [value for value in NO_TASKS if value is not None],
        },
    ),
    "publish_backbone": Call(
        lambda given: publish_backbone,
        lambda given: {
            "repo": "acme/tiny",
            "backbone": given.registry.parent / "backbone",
            "dry_run": True,
        },
        {
            "repo": (3, None, b"x", "x", "a/b/c", []),
            "backbone": (3, None, b"x", [], "", "./nothing"),
        },
        several="options",
    ),
    "set_alias": Call(
        lambda given: set_alias,
        lambda given: {"task": "sentiment", "alias": "prod", "version": 1, **_owned(given)},
        {
            "task": (*NO_NAME, "sentimant", "sentiment:1"),
            "alias": (3, None, b"x", [], "No Name", ""),
            "version": ("x y", [], 1.5, 0, 99, b"x", object()),
            "registry": NO_PATH,
        },
        several="options",
    ),
    "remove_alias": Call(
        lambda given: remove_alias,
        lambda given: {"task": "sentiment", "alias": "prod", **_owned(given)},
        {
            "task": (*NO_NAME, "sentimant", "sentiment:1"),
            "alias": (3, None, b"x", [], "No Name", "", "unknown"),
            "registry": NO_PATH,
        },
        several="options",
    ),
    "deprecate_task": Call(
        lambda given: deprecate_task,
        lambda given: {"task": "sentiment", "reason": "old", **_owned(given)},
        {
            "task": (*NO_NAME, "sentimant", "sentiment:1"),
            "reason": (3, b"x", [], ""),
            "use": (3, b"x", [], "No Name", "sentimant"),
            "registry": NO_PATH,
        },
        several="options",
    ),
    "remove_task": Call(
        lambda given: remove_task,
        lambda given: {"task": "sentiment", **_owned(given)},
        {
            "task": (*NO_NAME, "sentimant", "sentiment:9", "sentiment@prod"),
            "reason": (3, None, b"x", []),
            "use": (3, b"x", [], "No Name", "sentimant"),
            "registry": NO_PATH,
        },
        several="options",
    ),
    "rename_task": Call(
        lambda given: rename_task,
        lambda given: {"task": "sentiment", "new": "mood", **_owned(given)},
        {
            "task": (*NO_NAME, "sentimant", "sentiment:1"),
            "new": (*NO_NAME, "topics", "mood:1"),
            "registry": NO_PATH,
        },
        several="options",
    ),
    "add_labels": Call(
        lambda given: add_labels,
        lambda given: {**_of_few(given), "examples": {"new": ["a good day"]}, "hub": given.hub},
        {
            "task": (*NO_NAME, "fex", "few:2"),
            "examples": (
                *(3, None, b"x", object(), [], ["a"], {}, {"negative": ["a day"]}, {"": ["a day"]}),
                *({"new": one} for one in ([], "a day", [""], [3], None)),
            ),
            "descriptions": (3, None, b"x", [], "x", {"a": ""}, {"a": 3}, {"": "x"}, {3: 3}),
            "extend": (*NO_BOOL, True),
            "registry": NO_PATH,
            "hub": (3, "x", [], object()),
        },
    ),
    "rename_label": Call(
        lambda given: rename_label,
        lambda given: {**_of_few(given), "old": "negative", "new": "bad"},
        {
            "task": (*NO_NAME, "fex", "few:2"),
            "old": (*NO_LABEL, "negativ"),
            "new": (*NO_LABEL, "positive", "negative"),
            "registry": NO_PATH,
        },
    ),
    "drop_labels": Call(
        lambda given: drop_labels,
        lambda given: {**_of_few(given), "labels": "negative"},
        {
            "task": (*NO_NAME, "fex", "few:2"),
            "labels": (*NO_LABEL, 3, "negativ", ["negative", "positive"], ["negative"]),
            "registry": NO_PATH,
            "hub": (3, "x", [], object()),
        },
    ),
    "Encoder": Call(
        lambda given: Encoder,
        lambda given: {"backbone": open_backbone(given.registry.parent / "backbone")},
        {
            "backbone": (3, None, "x", object()),
            "device": (7, None, [], "gpu"),
            "dtype": (7, None, [], "float8"),
        },
    ),
    "open_backbone": Call(
        lambda given: open_backbone,
        lambda given: {"source": given.registry.parent / "backbone"},
        {"source": (3, None, b"x", [], "", "x y", "./nothing"), "revision": (3, b"x", [])},
    ),
    "read_head": Call(
        lambda given: read_head,
        lambda given: {"path": given.registry.parent / "heads" / "sentiment.safetensors"},
        {
            "path": (*NO_PATH, None, "nothing.safetensors", "."),
            "sha256": (3, b"x", [], "x"),
            "size": ("x", 1.5, [], 3),
        },
    ),
    "read_registry": Call(
        lambda given: read_registry, lambda given: {}, {"path": (*NO_PATH, None, "nothing", ".")}
    ),
    "make_plan": Call(
        lambda given: make_plan,
        lambda given: {},
        {"tasks": (3, None, [], {}, {"x": 3}, {"x": None}, "sentiment")},
    ),
    "export_peft": Call(
        lambda given: export_peft,
        lambda given: {
            "head": read_head(given.registry.parent / "heads" / "sentiment.safetensors"),
            "folder": given.out,
        },
        {"head": (3, None, "x", object()), "folder": NO_PATH},
    ),
    "freeze": Call(
        lambda given: freeze,
        lambda given: {"model": open_backbone(given.registry.parent / "backbone").model},
        {
            "model": (3, None, "x", object()),
            "depths": (3, "x", object(), [99], [-1], [True], [1.5], [None]),
            "untie": NO_BOOL,
            "embeddings": ("no", 3, []),
        },
    ),
    "trainable": Call(
        lambda given: trainable, lambda given: {}, {"model": (3, None, "x", object())}
    ),
    "unrolled": Call(lambda given: unrolled, lambda given: {}, {"model": (3, None, "x", object())}),
    "save_tasks": Call(
        lambda given: save_tasks,
        lambda given: {"tasks": [], "registry": given.registry},
        {"tasks": (3, None, [3], [None], "x"), "registry": (*NO_PATH, None)},
    ),
    "train": Call(
        lambda given: train,
        lambda given: {
            "data": ROWS,
            "task": "own",
            "registry": None,
            "backbone": given.registry.parent / "backbone",
        },
        {
            "data": (3, None, b"x", [], [3], object(), "nothing.csv"),
            "task": NO_NAME,
            "options": (*NO_OPTIONS, ScoringOptions(), {"epochs": 0}),
            "registry": NO_PATH,
            "backbone": (3, b"x", [], "nothing"),
            "encoder": (3, "x", []),
        },
    ),
    "train_tasks": Call(
        lambda given: train_tasks,
        lambda given: {
            "tasks": {"spam": {}},
            "data": ROWS,
            "options": {"folds": 0, "epochs": 1, "depths": (1,), "hidden_widths": ()},
            **_owned(given),
        },
        {
            "tasks": (
                3,
                None,
                b"x",
                object(),
                "spam",
                [],
                [3],
                ["spam"],
                {"No Name": {}},
                {"a": 3},
            ),
            "data": (3, None, b"x", object(), [], [3], {}),
            "options": NO_OPTIONS,
            "registry": NO_PATH,
            "backbone": (3, b"x", [], object(), "nothing"),
            "encoder": (3, "x", [], object()),
        },
    ),
    "probe": Call(
        lambda given: probe,
        lambda given: {
            "data": ROWS * 3,
            "options": {"probes": ("linear",), "epochs": 1, "depths": (1,), "random": False},
            "registry": None,
            "backbone": given.registry.parent / "backbone",
        },
        {
            "data": (3, None, b"x", [], [3], object(), "nothing.csv", "nothing.txt"),
            "options": (*NO_OPTIONS, TrainingOptions(), {"epochs": 0}),
            "registry": NO_PATH,
            "backbone": (3, b"x", [], "nothing"),
            "encoder": (3, "x", []),
        },
    ),
    "import_task": Call(
        lambda given: import_task,
        lambda given: {"folder": given.registry.parent, "task": "own", "registry": None},
        {
            "folder": (*NO_PATH, None, "nothing"),
            "task": NO_NAME,
            "options": (*NO_OPTIONS, TrainingOptions()),
            "registry": NO_PATH,
            "backbone": (3, b"x", [], "nothing"),
        },
    ),
    "convert": Call(
        lambda given: convert,
        lambda given: {"folder": given.registry.parent, "out": given.out},
        {
            "folder": (*NO_PATH, None, "nothing", "acme/a b"),
            "out": (*NO_PATH, None),
            "max_seconds": ("x", None, [], 0, -1, True, float("nan")),
            "max_bytes": ("x", [], 0, -1, True, 1.5),
        },
    ),
}
OPTIONS: dict[type[Options], dict[str, object]] = {
    ScoringOptions: {"top_k": 0, "topk": 1, "on_error": "x", "force": "x", "format": "xml"},
    TrainingOptions: {
        "epochs": 0,
        "epoch": 3,
        "kind": "x",
        "depths": "x",
        "learning_rates": 3,
        "adapter": {"metod": "lora"},
        "folds": 1,
        "value_range": (2.0, 1.0),
    },
    ProbeOptions: {
        "what": "x",
        "probes": ("linear", "linear"),
        "depths": "x",
        "epochs": 0,
        "max_rows": 1,
        "test": "x.jsonl",
    },
    AdapterOptions: {"depths": "x", "metod": "lora", "rank": 0, "from_depth": "x"},
    ImportOptions: {"lables": ("a",), "labels": 3, "max_length": 1, "fields": ()},
    PublishOptions: {
        "privat": True,
        "private": "x",
        "tag": 3,
        "create_pr": 3,
        "dry_run": "no",
        "base_model": 3,
    },
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, _registry_original: Path) -> Given:
    out = tmp_path_factory.mktemp("out") / "out.csv"
    return Given(Hub(_registry_original, device="cpu"), _registry_original, out)


def refused(call: Callable[[], object]) -> AdapterHubError:
    with pytest.raises(AdapterHubError) as found:
        call()
    assert "pydantic.dev" not in str(found.value)
    assert "validation error" not in str(found.value)
    return found.value


def public_calls() -> dict[str, Any]:
    methods = {
        f"Hub.{name}": method
        for name, method in inspect.getmembers(Hub, inspect.isfunction)
        if not name.startswith("_")
    }
    own = {name: getattr(adapterhub, name) for name in adapterhub.__all__}
    options = {kind.__name__ for kind in OPTIONS}
    return {
        name: value
        for name, value in {**own, **methods}.items()
        if name not in RESULTS | OTHERS | options
    }


def test_every_argument_of_every_public_call_is_in_the_table() -> None:
    calls = public_calls()
    assert CALLS.keys() == calls.keys()
    for name, function in calls.items():
        named = set(inspect.signature(function).parameters) - {"self"}
        assert named - {CALLS[name].several} == set(CALLS[name].wrong), name


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        pytest.param(name, argument, value, id=f"{name}-{argument}-{number}")
        for name, call in CALLS.items()
        for argument, values in call.wrong.items()
        for number, value in enumerate(values)
    ],
)
def test_a_wrong_argument_is_an_error_of_ours(
    given: Given, name: str, argument: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(given.out.parent)
    call = CALLS[name]
    refused(lambda: call.function(given)(**{**call.right(given), argument: value}))
    assert not list(given.out.parent.iterdir())


@pytest.mark.parametrize(
    "value",
    [*NO_NAME, "sentimant"],
    ids=lambda value: "object" if type(value) is object else repr(value),
)
@pytest.mark.parametrize("name", ["load", "unload"])
def test_a_wrong_reference_is_an_error_of_ours(given: Given, name: str, value: object) -> None:
    refused(lambda: getattr(given.hub, name)(value))


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [(model, name, value) for model, names in OPTIONS.items() for name, value in names.items()],
)
def test_a_wrong_option_is_a_usage_error(model: type[Options], name: str, value: object) -> None:
    values = {name: value}
    for call in (lambda: model(**values), lambda: model.model_validate(values)):
        error = refused(call)
        assert isinstance(error, UsageError)
        assert name in str(error) or "folds" in str(error)


@pytest.mark.parametrize(
    ("model", "values", "nearest"),
    [
        (TrainingOptions, {"epoch": 3}, "epochs"),
        (TrainingOptions, {"adapter": {"metod": "lora"}}, "method"),
        (ScoringOptions, {"topk": 3}, "top_k"),
        (ImportOptions, {"lable": 3}, "labels"),
        (PublishOptions, {"privat": True}, "private"),
        (AdapterOptions, {"learning_rates": 1}, "learning_rate"),
    ],
)
def test_an_unknown_option_names_the_nearest(
    model: type[Options], values: dict[str, object], nearest: str
) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{nearest}'"):
        model(**values)


def test_options_may_be_a_dictionary(given: Given, tmp_path: Path) -> None:
    done = given.hub.score_file(
        ["a good day"], tmp_path / "out.csv", tasks="sentiment", options={"prefix": "my_"}
    )
    assert done.path is not None
    assert "my_sentiment" in done.path.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ScoringOptions(top_k=3),
        TrainingOptions(epochs=3, adapter=AdapterOptions(method="lora"), depths=(1, 2)),
        ImportOptions(labels=("a", "b")),
        PublishOptions(private=True),
    ],
    ids=lambda options: type(options).__name__,
)
def test_options_are_copied_and_pickled(options: Options) -> None:
    for other in (
        pickle.loads(pickle.dumps(options)),
        copy.deepcopy(options),
        copy.copy(options),
        options.model_copy(),
        type(options).model_validate(options.model_dump()),
        type(options)(**dict(options)),
    ):
        assert other == options
        assert type(other) is type(options)
