"""The head file of each kind has known answers, which tell a file that was altered."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterhub.errors import KnownAnswersError
from adapterhub.kinds import Kind
from adapterhub.store.headfile import read_head, write_head
from tests.kinds.tasks import TrainedTasks, assert_same_scores


@pytest.mark.slow
def test_a_changed_tensor_is_refused_or_changes_nothing(
    trained: TrainedTasks, kind: Kind, tmp_path: Path
) -> None:
    hub, records = trained.hub(kind), trained.records(kind)
    head = read_head(trained.head_file(kind))
    assert head.spec.known_answers
    same = write_head(tmp_path / "same.safetensors", head.spec, head.tensors)
    found = hub.score(records, str(same.source), logits=True)[str(same.source)]
    assert_same_scores(found, hub.score(records, kind, logits=True)[kind])
    expected, refused = hub.score(records, kind, logits=True)[kind], []
    for name, tensor in head.tensors.items():
        if not tensor.is_floating_point():
            continue
        path = tmp_path / f"{name}.safetensors"
        # Whole numbers stay whole.
        write_head(path, head.spec, {**head.tensors, name: tensor * 3 + 1})
        try:
            hub.load(str(path))
        except KnownAnswersError as error:
            assert "gave other logits for its probe" in str(error)  # noqa: PT017
            refused.append(name)
        else:
            # A tensor that predictions do not depend on, kept for other uses of the head.
            assert_same_scores(hub.score(records, str(path), logits=True)[str(path)], expected)
    assert refused
