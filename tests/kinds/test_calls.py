"""Every way to score rows gives the predictions of `score`, for each kind."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

from adapterhub.kinds import Kind
from adapterhub.results import column_types
from adapterhub.scoring import Scorer
from tests.kinds.tasks import TrainedTasks, assert_same_scores, rounded


@pytest.mark.slow
def test_rows_with_their_own_tasks_and_streams(trained: TrainedTasks, kind: Kind) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    expected = hub.score(records, kind, logits=True)[kind]
    # Other rows in a batch change the last digits of fp32.
    own = hub.score_rows([(record, kind) for record in records], logits=True)[kind]
    assert_same_scores(own, expected)
    streamed = [row[kind] for row in hub.stream(iter(records), kind)]
    assert rounded(streamed) == rounded(list(expected))


@pytest.mark.slow
def test_a_scorer_adds_the_columns_of_the_kind(trained: TrainedTasks, kind: Kind) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    scorer = Scorer(kind, registry=trained.registry, device="cpu")
    scorer = pickle.loads(pickle.dumps(scorer))
    table = pa.Table.from_pylist([dict(record) for record in records])  # type: ignore[arg-type]
    types = column_types(kind, kind, top_k=1)
    found = scorer(table)
    assert scorer.schema == pa.schema(types)
    assert found.schema == pa.schema([*table.schema, *pa.schema(types)])
    assert found.select(list(types)).to_pylist() == list(hub.score(records, kind).rows())


@pytest.mark.slow
def test_a_pickled_hub_predicts_the_same(trained: TrainedTasks, kind: Kind) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    hub.load(kind)
    again = pickle.loads(pickle.dumps(hub))
    found, expected = (one.score(records, kind, logits=True)[kind] for one in (again, hub))
    assert_same_scores(found, expected)
    assert found.made_by == expected.made_by
