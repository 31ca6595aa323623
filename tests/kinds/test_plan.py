"""What the plan of each kind says is what the encoder does."""

from __future__ import annotations

from typing import Any

import pytest

from adapterhub.kinds import KINDS, Kind
from adapterhub.model.encoder.encoder import Encoder
from tests.kinds.tasks import TrainedTasks


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns the passes that the encoder made, as a list that grows."""
    made: list[int] = []
    run = Encoder.run

    def count(self: Encoder, hidden: Any, batch: Any, start: int, stop: int, *more: Any) -> Any:
        made.append(stop - start)
        return run(self, hidden, batch, start, stop, *more)

    monkeypatch.setattr(Encoder, "run", count)
    return made


@pytest.mark.slow
def test_a_task_makes_the_passes_of_its_plan(
    trained: TrainedTasks, kind: Kind, passes: list[int]
) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    hub.load(kind)
    plan, spec = hub.explain(kind), trained.spec(kind)
    (trunk,) = plan.trunks
    assert (plan.passes, trunk.stop) == (spec.deepest, spec.deepest)
    assert trunk.reading.fields == spec.fields
    passes.clear()
    hub.score(records[:1], kind)
    assert sum(passes) == plan.passes
    assert all(field in str(plan) for field in spec.fields)


@pytest.mark.slow
def test_all_kinds_make_the_passes_of_one_plan(trained: TrainedTasks, passes: list[int]) -> None:
    hub, records = trained.hub(*KINDS), trained.mixed_records()
    hub.load(*KINDS)
    plan = hub.explain(list(KINDS))
    assert len(plan.trunks) < len(KINDS), "kinds that read the same share their passes"
    passes.clear()
    hub.score(records[:1], list(KINDS))
    assert sum(passes) == plan.passes < plan.separate_passes
