"""Results by task: what a mapping can be asked, of each class that is one."""

from __future__ import annotations

import pickle

import pytest

from adapterhub.by_task import ByTask
from adapterhub.errors import UnknownTaskError
from adapterhub.evaluation.result import Evaluation
from adapterhub.results import Scores
from adapterhub.training.several.trained_tasks import TrainedTasks

CLASSES: tuple[type[ByTask[object]], ...] = (Scores, Evaluation, TrainedTasks)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_name_that_is_not_there_is_no_error_where_it_is_asked_for(
    kind: type[ByTask[object]],
) -> None:
    found = kind({"mood": 1})
    assert "mood" in found
    assert "other" not in found
    assert found.get("mood") == 1
    assert found.get("other", 2) == 2
    assert dict(found) == {"mood": 1}
    with pytest.raises(UnknownTaskError, match=f"Unknown {kind.what} 'moods'. Did you mean 'mood'"):
        found["moods"]


@pytest.mark.parametrize("kind", CLASSES)
def test_it_cannot_be_changed_and_can_be_pickled(kind: type[ByTask[object]]) -> None:
    given = {"mood": 1}
    found = kind(given)
    given["other"] = 2
    assert list(found) == ["mood"]
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is kind
    assert dict(again) == {"mood": 1}
