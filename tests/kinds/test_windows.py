"""A text of each kind that is longer than a window has windows, and one prediction."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from adapterhub.inputs import Record
from adapterhub.kinds import KINDS, Kind
from tests.kinds.tasks import TrainedTasks


def lengthened(record: Record, kind: Kind) -> Record:
    """Returns a row whose text is many times as long; of choices that of the prompt."""
    if isinstance(record, str):
        return " ".join([record] * 20)
    assert isinstance(record, Mapping)
    name = list(record)[0 if KINDS[kind].of_choices else -1]
    return {**record, name: " ".join([str(record[name])] * 20)}


@pytest.mark.slow
def test_a_long_text_has_one_prediction(trained: TrainedTasks, kind: Kind) -> None:
    hub, (first, second, *_) = trained.hub(kind), trained.records(kind)
    scores = hub.score([first, lengthened(first, kind), second], kind, logits=True)
    plain, found = hub.score([first, second], kind)[kind], scores[kind]
    assert (found.windows[0], found.windows[2]) == plain.windows
    assert found.windows[1] > max(plain.windows)
    assert found.truncated == (False, False, False)
    assert found.logits is not None
    assert len(found.logits) == 3
    for one, other in zip(found.answers, (plain[0], plain[0], plain[1]), strict=True):
        assert type(one) is type(other)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            assert one.keys() == other.keys()
    assert scores.to_arrow().num_rows == 3, "the columns of the kind hold it"
    if KINDS[kind].per_token and not KINDS[kind].slides_second and isinstance(found[1], list):
        assert len(found[1]) >= len(plain[0] or ())  # type: ignore[arg-type]
