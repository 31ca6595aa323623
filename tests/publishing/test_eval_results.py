"""`.eval_results`: only for benchmarks that a user names, and nothing of earlier versions stays."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from huggingface_hub import (
    CommitOperationAdd,
    EvalResultEntry,
    HfApi,
    eval_result_entries_to_yaml,
    parse_eval_result_entries,
)

from adapterhub.errors import UsageError
from adapterhub.publishing.publication import PublishOptions
from adapterhub.publishing.publish import publish
from adapterhub.specs import Metric
from tests.hubserver.fixtures import TOKEN
from tests.hubserver.server import HubServer
from tests.publishing.cards import METRICS, full
from tests.publishing.tasks import DEFAULTS, REPO

PATH = ".eval_results/spam.yaml"
OLD = [
    {
        "dataset": {"id": "acme/reviews", "task_id": "spam"},
        "value": 0.9,
        "notes": "Accuracy on 100 validation rows",
    }
]
SST2 = "stanfordnlp/sst2:default"


def named(*benchmarks: str) -> PublishOptions:
    return PublishOptions(benchmarks=benchmarks)


def of_hand(task_id: str) -> bytes:
    entry = EvalResultEntry(dataset_id="acme/bench", task_id=task_id, value=0.5)
    return yaml.safe_dump(eval_result_entries_to_yaml([entry])).encode()


def put_by_hand(server: HubServer, path: str, data: bytes) -> None:
    HfApi(server.url, token=TOKEN).create_commit(
        REPO, [CommitOperationAdd(path, data)], commit_message="by hand"
    )


def test_none_is_written_unless_a_benchmark_is_named(hub_server: HubServer) -> None:
    publish(REPO, [full()], DEFAULTS)
    assert not [path for path in hub_server.files(REPO) if path.startswith(".eval_results")]


def test_a_named_benchmark_has_one_value(hub_server: HubServer) -> None:
    publish(REPO, [full()], named(SST2, "acme/bench:hard"))
    entries = parse_eval_result_entries(yaml.safe_load(hub_server.files(REPO)[PATH]))
    notes = "Accuracy on 100 validation rows that also chose the head and set its calibration"
    assert entries == [
        EvalResultEntry("stanfordnlp/sst2", "default", 0.9, notes=notes),
        EvalResultEntry("acme/bench", "hard", 0.9, notes=notes),
    ]
    publish(REPO, [full(alias="prod")], DEFAULTS)
    assert PATH in hub_server.files(REPO)
    publish(REPO, [full(seed=1)], DEFAULTS)
    assert PATH not in hub_server.files(REPO)


def test_of_several_tasks_each_has_its_own(hub_server: HubServer) -> None:
    publish(REPO, [full(), full("topic")], named(f"topic={SST2}"))
    paths = {path for path in hub_server.files(REPO) if path.startswith(".eval_results")}
    assert paths == {".eval_results/topic.yaml"}


@pytest.mark.parametrize(
    ("benchmark", "problem"),
    [
        ("sst2", "is not written owner/dataset:task_id"),
        ("acme/bench", "is not written"),
        (SST2, "is of one of 2 tasks; write which: spam="),
        (f"mood={SST2}", "is of 'mood', which is not published here"),
        (f"topic={SST2}", "has no metric that the Hub knows"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(
    benchmark: str, problem: str, hub_server: HubServer
) -> None:
    tasks = [full(), full("topic", metrics=METRICS[1:])]
    with pytest.raises(UsageError, match=problem):
        publish(REPO, tasks, named(benchmark))
    assert hub_server.faults.log == []


def test_files_of_earlier_versions_go_and_those_of_others_stay(hub_server: HubServer) -> None:
    publish(REPO, [full(), full("topic")], DEFAULTS)
    put_by_hand(hub_server, PATH, yaml.safe_dump(OLD, sort_keys=False).encode())
    theirs: dict[str, Any] = {
        ".eval_results/topic.yaml": of_hand("topic"),
        ".eval_results/bench.yaml": of_hand("default"),
    }
    for path, data in theirs.items():
        put_by_hand(hub_server, path, data)
    publish(REPO, [full("topic", seed=1)], DEFAULTS)
    left = hub_server.files(REPO)
    assert PATH not in left
    assert {path: left.get(path) for path in theirs} == theirs


def test_a_file_of_others_is_not_written_over(hub_server: HubServer) -> None:
    publish(REPO, [full()], DEFAULTS)
    put_by_hand(hub_server, PATH, of_hand("x"))
    with pytest.raises(UsageError, match=r"\.eval_results/spam\.yaml .* somebody else"):
        publish(REPO, [full(seed=1)], named(SST2))
    assert hub_server.files(REPO)[PATH] == of_hand("x")


def test_the_first_metric_that_the_hub_knows_is_taken(hub_server: HubServer) -> None:
    odd = Metric(name="own", value=0.1, split="test", rows=5)
    publish(REPO, [full(metrics=(odd, *METRICS))], named(SST2))
    assert yaml.safe_load(hub_server.files(REPO)[PATH])[0]["value"] == 0.9
