"""A registry that version 0.1.0 wrote: every later version loads it and answers alike.

`registry/` holds a random backbone and, as 0.1.0 wrote them, heads with and without a hidden layer,
n-grams, a mix of depths and attentive pooling, a tagger, two pair tasks (read together and read
apart) and a LoRA adapter; `answers.json` holds what 0.1.0 answered. Neither is ever written again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapterhub import Hub, read_registry

HERE = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))
# Logits differ between processors in the last digits of fp32.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compatibility") / "registry"
    shutil.copytree(HERE / "registry", folder)
    return folder / "registry.yaml"


@pytest.fixture(scope="module")
def hub(registry: Path) -> Hub:
    return Hub(registry, device="cpu")


def test_every_task_is_listed(registry: Path) -> None:
    assert read_registry(registry).names() == tuple(sorted(EXPECTED["tasks"]))


@pytest.mark.parametrize("name", EXPECTED["tasks"])
def test_a_task_answers_as_it_did(hub: Hub, name: str) -> None:
    scores = hub.score(EXPECTED["records"], name, logits=True)[name]
    for known, answer, logits in zip(
        EXPECTED["tasks"][name], scores.answers, scores.logits, strict=True
    ):
        np.testing.assert_allclose(logits, known["logits"], rtol=TOLERANCE, atol=TOLERANCE)
        assert _rounded(answer) == _rounded(known["answer"])


def test_all_tasks_in_one_call_answer_as_they_did(hub: Hub) -> None:
    scores = hub.score(EXPECTED["records"], list(EXPECTED["tasks"]))
    for name, known in EXPECTED["tasks"].items():
        expected = [_rounded(row["answer"]) for row in known]
        assert [_rounded(answer) for answer in scores[name].answers] == expected


def _rounded(answer: Any) -> Any:
    """Returns an answer with its numbers rounded to two digits."""
    if isinstance(answer, dict):
        return {key: _rounded(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [_rounded(one) for one in answer]
    return pytest.approx(answer, abs=5e-3) if isinstance(answer, float) else answer
