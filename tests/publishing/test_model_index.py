"""The model-index: each task keeps its metrics, also after the Hub's client wrote the card."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from adapterhub.publishing.publish import publish
from adapterhub.remote.find import FoundTask
from adapterhub.specs import Metric
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.cards import card, files, full
from tests.publishing.fresh import run_python
from tests.publishing.tasks import DEFAULTS, REPO, to_publish

VALUES = {"mood": 0.7, "spam": 0.8, "topic": 0.9}
HAND: dict[str, Any] = {
    "task": {"type": "text-classification"},
    "dataset": {"name": "Tweets", "type": "acme/tweets", "split": "test"},
    "metrics": [{"type": "accuracy", "value": 0.5, "name": "Accuracy"}],
}


def scored(name: str, value: float, **changes: Any) -> FoundTask:
    """Returns a task with three metrics, of the same kind, data set and split as all others."""
    metrics = tuple(
        Metric(name=metric, value=value - minus, split="test", rows=100, used_for=())
        for metric, minus in (("accuracy", 0), ("macro_f1", 0.01), ("mcc", 0.2))
    )
    return full(name, metrics=metrics, **changes)


THREE = tuple(scored(name, value) for name, value in VALUES.items())


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    return found


def groups(text: str) -> list[dict[str, float]]:
    """Returns metric values by type of each result that the Hub's client makes of a card."""
    index = ModelCard(text).data.to_dict()["model-index"]
    return [
        {metric["type"]: metric["value"] for metric in result["metrics"]}
        for entry in index
        for result in entry["results"]
    ]


def wanted(value: float) -> dict[str, float]:
    return {"accuracy": value, "f1": value - 0.01, "matthews_correlation": value - 0.2}


ALL = [wanted(value) for value in VALUES.values()]


def of_client(text: str) -> str:
    """Returns the card as the Hub's client writes it."""
    return str(ModelCard(text))


def through_file(text: str) -> str:
    path = Path("card.md")
    path.write_text(text, encoding="utf-8")
    ModelCard.load(path).save(path)
    return path.read_text(encoding="utf-8")


def through_data(text: str) -> str:
    results = ModelCard(text).data.eval_results
    assert all(isinstance(result, EvalResult) for result in results or [])
    data = ModelCardData(model_name="heads", eval_results=results)
    return f"---\n{data.to_yaml()}\n---\n"


@pytest.mark.parametrize("trip", [of_client, through_file, through_data])
def test_each_task_keeps_its_metrics_in_the_hubs_client(
    trip: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = card(*THREE)
    assert groups(text) == ALL
    again = trip(text)
    assert groups(again) == ALL
    assert front(again)["model-index"][0]["results"] == front(text)["model-index"][0]["results"]


UPDATE = """
from huggingface_hub import metadata_update
from huggingface_hub.repocard import metadata_eval_result

added = metadata_eval_result(
    model_pretty_name="ours",
    task_pretty_name="Tweets",
    task_id="text-classification",
    metrics_pretty_name="Accuracy",
    metrics_id="accuracy",
    metrics_value=0.5,
    dataset_pretty_name="Tweets",
    dataset_id="acme/tweets",
    dataset_split="test",
)
metadata_update("acme/heads", added)
"""


@pytest.mark.slow
def test_a_card_that_the_client_updated_is_rebuilt(hub_server: HubServer, tmp_path: Path) -> None:
    publish(REPO, THREE[:2], DEFAULTS)
    run_python(UPDATE, tmp_path, url=hub_server.url, token=TOKEN)
    updated = groups(hub_server.files(REPO)["README.md"].decode())
    assert updated == [*ALL[:2], {"accuracy": 0.5}]
    publish(REPO, [scored("spam", 0.95), THREE[2]], DEFAULTS)
    text = hub_server.files(REPO)["README.md"].decode()
    assert groups(text) == [ALL[0], wanted(0.95), ALL[2], {"accuracy": 0.5}]


def test_what_people_added_is_kept() -> None:
    before = files(*THREE[:2])
    values = front(before["README.md"].decode())
    values["model-index"].append({"name": "by hand", "results": [deepcopy(HAND)]})
    more = {"type": "recall", "value": 0.4, "name": "Recall"}
    values["model-index"][0]["results"][0]["metrics"].append(more)
    values["model-index"][0]["results"].append(
        {**deepcopy(HAND), "dataset": {"name": "x", "type": "y"}}
    )
    text = f"---\n{yaml.safe_dump(values)}---\n# Title\n"
    made = files(scored("mood", 0.6), before={**before, "README.md": text.encode()})
    index = front(made["README.md"].decode())["model-index"]
    assert index[1] == {"name": "by hand", "results": [HAND]}
    metrics = [metric for result in index[0]["results"] for metric in result["metrics"]]
    assert more in metrics
    assert groups(made["README.md"].decode())[0] == {**wanted(0.6), "recall": 0.4}
    assert {"name": "x", "type": "y"} in [result["dataset"] for result in index[0]["results"]]


def old_index(*tasks: FoundTask) -> list[dict[str, Any]]:
    """Returns the index as it was written before results named their task."""
    made = []
    for task in tasks:
        metrics = [
            {"type": kind, "value": metric.value, "name": name}
            for metric, (kind, name) in zip(
                task.spec.metrics,
                [
                    ("accuracy", "Accuracy"),
                    ("f1", "F1, mean over labels"),
                    ("matthews_correlation", "Matthews correlation"),
                ],
                strict=True,
            )
        ]
        result = {
            "task": {"type": "text-classification", "name": "Whether a review praises."},
            "dataset": {"name": "acme/reviews", "type": "acme/reviews", "split": "test"},
            "metrics": metrics,
        }
        made.append({"name": task.name, "results": [result]})
    return made


@pytest.mark.parametrize("trip", [str, of_client])
def test_an_index_of_earlier_versions_is_replaced(trip: Callable[[str], str]) -> None:
    before = files(*THREE[:2])
    values = front(before["README.md"].decode())
    values["model-index"] = old_index(*THREE[:2])
    text = trip(f"---\n{yaml.safe_dump(values)}---\n# Title\n")
    made = card(THREE[2], before={**before, "README.md": text.encode()})
    assert groups(made) == ALL
    index = front(made)["model-index"]
    assert [entry["name"] for entry in index] == [REPO]
    assert {result["dataset"]["config"] for result in index[0]["results"]} == set(VALUES)
    if trip is str:
        datasets = [result["dataset"]["name"] for result in index[0]["results"]]
        assert datasets[:2] == ["acme/reviews"] * 2
        assert [result["task"]["name"] for result in index[0]["results"]] == sorted(VALUES)


def test_an_index_of_earlier_versions_keeps_its_data_sets() -> None:
    before = files(*THREE[:2])
    values = front(before["README.md"].decode())
    values["model-index"] = old_index(*THREE[:2])
    text = f"---\n{yaml.safe_dump(values)}---\n# Title\n"
    made = front(card(THREE[2], before={**before, "README.md": text.encode()}))
    datasets = [result["dataset"] for result in made["model-index"][0]["results"]]
    assert len(datasets) == 3
    assert "unknown" not in {dataset["name"] for dataset in datasets}


def test_a_card_without_index_gets_one_of_all_tasks_of_the_registry() -> None:
    before = files(*THREE[:2])
    made = card(THREE[2], before={**before, "README.md": b"# Title\n"})
    assert groups(made) == ALL


@pytest.mark.parametrize(
    "odd", [5, [], ["x"], [{"name": 3}], [{"name": "a", "results": [{"dataset": 1}, 2]}], "x"]
)
def test_an_odd_index_is_no_obstacle(odd: object) -> None:
    before = files(THREE[0])
    text = f"---\n{yaml.safe_dump({'model-index': odd})}---\n# Title\n"
    made = card(THREE[1], before={**before, "README.md": text.encode()})
    names = [
        result["dataset"]["config"]
        for entry in front(made)["model-index"]
        if isinstance(entry, dict) and entry.get("name") == REPO
        for result in entry["results"]
    ]
    assert names == ["mood", "spam"]


def test_tasks_without_metrics_have_no_index() -> None:
    assert "model-index" not in front(card(to_publish("bare")))
