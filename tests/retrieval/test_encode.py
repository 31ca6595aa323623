"""Further options of `Hub.encode`: unit length, size, prompts of a role, tensors, progress."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterhub.errors import UsageError
from adapterhub.hub import Hub
from tests.encoders import save_encoder
from tests.sentence_files import write_old, write_prompts

TEXTS = ["he", "the film was good and the city late", "他们在学校里学习。", "a bad day " * 40]


def norms(vectors: Any) -> np.ndarray:
    return np.linalg.norm(vectors, axis=-1)


def test_normalised_vectors_are_the_others_at_unit_length(encoding_hub: Hub) -> None:
    plain = encoding_hub.encode(TEXTS)
    found = encoding_hub.encode(TEXTS, normalize=True)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(norms(found), 1, atol=1e-6)
    np.testing.assert_allclose(found, plain / norms(plain)[:, None], atol=1e-6)
    tokens = encoding_hub.encode(TEXTS[:2], pooling="tokens", normalize=True, truncate_dim=3)
    for row in tokens:
        assert row.shape[1] == 3
        np.testing.assert_allclose(norms(row), 1, atol=1e-6)


@pytest.mark.slow
def test_truncated_vectors_are_the_first_numbers_and_normalised_then(
    encoding_hub: Hub, tmp_path: Path
) -> None:
    plain = encoding_hub.encode(TEXTS)
    assert np.array_equal(encoding_hub.encode(TEXTS, truncate_dim=5), plain[:, :5])
    assert encoding_hub.encode([], truncate_dim=5).shape == (0, 5)
    own = Hub(backbone=write_old(save_encoder(tmp_path / "bert", "bert")), device="cpu")
    whole, cut = own.encode(TEXTS), own.encode(TEXTS, truncate_dim=5)
    np.testing.assert_allclose(norms(cut), 1, atol=1e-6)
    np.testing.assert_allclose(cut, whole[:, :5] / norms(whole[:, :5])[:, None], atol=1e-6)
    raw = own.encode(TEXTS, normalize=False)
    np.testing.assert_allclose(raw / norms(raw)[:, None], whole, atol=1e-6)
    assert not np.allclose(norms(raw), 1)


@pytest.mark.slow
def test_a_role_chooses_the_prompt_of_the_repository(tmp_path: Path) -> None:
    folder = write_old(save_encoder(tmp_path / "bert", "bert"))
    cases: dict[str, tuple[dict[str, str], str | None, str, str]] = {
        "both": ({"query": "the: ", "passage": "a: "}, None, "the: ", "a: "),
        "one": ({"query": "the: "}, None, "the: ", ""),
        "default": ({"other": "he: ", "document": "a: "}, "other", "he: ", "a: "),
    }
    for name, (prompts, default, query, document) in cases.items():
        write_prompts(folder, prompts, default)
        hub = Hub(backbone=folder, device="cpu")
        for role, prompt in (("query", query), ("document", document)):
            found = hub.encode(TEXTS[:2], role=role)
            assert np.array_equal(found, hub.encode(TEXTS[:2], prompt=prompt)), (name, role)
        # Plain features have no prompt of their own, and one that is given comes first.
        plain = hub.encode(TEXTS[:2], pooling="mean")
        assert np.array_equal(hub.encode(TEXTS[:2], pooling="mean", role="query"), plain)
        given = hub.encode(TEXTS[:2], role="query", prompt="")
        assert np.array_equal(given, hub.encode(TEXTS[:2], prompt=""))
    shutil.rmtree(folder)


def test_tensors_hold_the_numbers_of_the_arrays(encoding_hub: Hub) -> None:
    found = encoding_hub.encode(TEXTS, output="torch")
    assert isinstance(found, torch.Tensor)
    assert found.device == encoding_hub.encoder.device
    assert np.array_equal(found.numpy(), encoding_hub.encode(TEXTS))
    tokens = encoding_hub.encode(TEXTS, pooling="tokens", output="torch")
    assert [type(one) for one in tokens] == [torch.Tensor] * len(TEXTS)


def test_progress_counts_all_rows_and_tokens(
    encoding_hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int]] = []
    encoding_hub.encode(TEXTS, progress=lambda rows, tokens: told.append((rows, tokens)))
    assert sum(rows for rows, _ in told) == len(TEXTS)
    encoding_hub.encode(TEXTS, progress="json")
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (last["rows"], last["total"], last["done"]) == (len(TEXTS), len(TEXTS), True)
    assert last["tokens"] == sum(tokens for _, tokens in told)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "of sentence-transformers": ({"normalize_embeddings": True}, "here it is normalize=True"),
    "batches": ({"batch_size": 32}, "here it is nothing: batches"),
    "a slip": ({"normalise": True}, "Did you mean 'normalize'?"),
    "no size": ({"truncate_dim": 0}, "truncate_dim"),
    "more than there is": ({"truncate_dim": 33}, "the vectors have 32 numbers"),
    "no role": ({"role": "passage"}, "role"),
    "no output": ({"output": "jax"}, "output"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_usage_errors(encoding_hub: Hub, name: str) -> None:
    options, expected = WRONG[name]
    with pytest.raises(UsageError) as refused:
        encoding_hub.encode("he", **options)
    assert expected in str(refused.value)
