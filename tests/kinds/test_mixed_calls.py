"""All kinds in one call: each task predicts what it predicts alone."""

from __future__ import annotations

import pytest

from adapterhub.errors import DataError, InputError
from adapterhub.kinds import KINDS, Kind
from tests.kinds.tasks import TrainedTasks, assert_same_scores


@pytest.mark.slow
def test_each_kind_predicts_what_it_predicts_alone(trained: TrainedTasks) -> None:
    hub, records, names = trained.hub(*KINDS), trained.mixed_records(), list(KINDS)
    for tasks in (names, names[::-1]):
        scores = hub.score(records, tasks, logits=True)
        assert list(scores) == tasks
        for name in tasks:
            assert_same_scores(scores[name], hub.score(records, name, logits=True)[name])


@pytest.mark.slow
def test_a_row_without_its_columns_names_them_and_the_task(
    trained: TrainedTasks, kind: Kind
) -> None:
    hub, spec, nothing = trained.hub(kind), trained.spec(kind), {"unrelated": "a day"}
    with pytest.raises(InputError) as refused:
        hub.score([nothing], kind)
    assert f"'{spec.fields[0]}'" in str(refused.value)
    assert f"'{kind}'" in str(refused.value)
    scores = hub.score([nothing], kind, on_error="skip")
    assert (scores[kind].answers, scores.errors[0].tasks) == ((None,), (kind,))


@pytest.mark.slow
def test_a_file_without_its_columns_names_them_and_the_task(
    trained: TrainedTasks, kind: Kind, tmp_path: object
) -> None:
    hub, spec, out = trained.hub(kind), trained.spec(kind), f"{tmp_path}/out.jsonl"
    with pytest.raises(DataError) as refused:
        hub.score_file([{"unrelated": "a day"}], out, tasks=kind)
    assert f"task '{kind}' reads {' + '.join(spec.fields)}" in str(refused.value)
    assert "unrelated" in str(refused.value)
