"""The similarity to a label has the same bits whatever labels and texts stand beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from adapterhub.model.heads.heads import HeadWeights, read_weights
from adapterhub.store.headfile import encode_head, parse_head
from tests.builders import task_spec

WIDTH = 16
CPU = torch.device("cpu")


def tensors_of(labels: int, width: int = WIDTH, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "head.prototypes": torch.randn(labels, width, generator=draw) * 0.1,
        "head.counts": torch.full((labels,), 3.0),
        "head.center": torch.randn(width, generator=draw),
    }


def weights_of(tensors: dict[str, torch.Tensor]) -> HeadWeights:
    return read_weights(task_spec("prototype"), tensors, device=CPU)


def features_of(rows: int, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(9)) * 3 + 1


def only(tensors: dict[str, torch.Tensor], places: list[int]) -> dict[str, torch.Tensor]:
    own = {name: tensors[name][places] for name in ("head.prototypes", "head.counts")}
    return {**tensors, **own}


def test_they_are_cosines_of_centered_features() -> None:
    tensors, features = tensors_of(7), features_of(5)
    found = weights_of(tensors).forward(features)
    moved = (features - tensors["head.center"]).double()
    expected = torch.nn.functional.cosine_similarity(
        moved[:, None], tensors["head.prototypes"].double(), dim=-1
    )
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("width", [WIDTH, 384])
def test_labels_beside_it_change_no_bit(width: int) -> None:
    most, features = 200, features_of(64, width)
    tensors = tensors_of(most, width)
    whole = weights_of(tensors).forward(features)
    draw = np.random.default_rng(0)
    for count in range(1, most + 1):
        places = draw.permutation(most)[:count].tolist()
        found = weights_of(only(tensors, places)).forward(features)
        assert torch.equal(found, whole[:, places])


@pytest.mark.parametrize("width", [WIDTH, 384])
def test_texts_beside_it_change_no_bit(width: int) -> None:
    weights, features = weights_of(tensors_of(77, width)), features_of(64, width)
    whole = weights.forward(features)
    for rows in range(1, 65):
        assert torch.equal(weights.forward(features[:rows]), whole[:rows])
        assert torch.equal(weights.forward(features[-rows:]), whole[-rows:])


@pytest.mark.parametrize("place", [0, 3, 8])
def test_a_label_that_is_dropped_or_added_anywhere_changes_no_bit(place: int) -> None:
    tensors, features = tensors_of(9, 384), features_of(33, 384)
    others = [other for other in range(9) if other != place]
    before = weights_of(only(tensors, others)).forward(features)
    after = weights_of(tensors).forward(features)
    assert torch.equal(after[:, others], before)


def test_a_file_keeps_every_bit() -> None:
    spec = task_spec("prototype", labels=tuple("abcdefg"))
    tensors, features = tensors_of(7), features_of(12)
    head = parse_head(encode_head(spec, tensors), source="test")
    loaded = read_weights(head.spec, head.tensors, device=CPU)
    assert torch.equal(loaded.forward(features), weights_of(tensors).forward(features))


def test_threads_change_no_bit() -> None:
    weights, features = weights_of(tensors_of(190, 384)), features_of(500, 384)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            found.append(weights.forward(features))
    assert all(torch.equal(one, found[0]) for one in found)


def test_a_text_at_the_center_is_like_no_label() -> None:
    tensors = tensors_of(3)
    center = tensors["head.center"][None]
    assert not weights_of(tensors).forward(center).any()


def test_a_label_without_direction_is_like_no_text() -> None:
    tensors = tensors_of(3)
    tensors["head.prototypes"][1] = 0
    found = weights_of(tensors).forward(features_of(4))
    assert not found[:, 1].any()
    assert found[:, [0, 2]].abs().min() > 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_hidden(value: float) -> None:
    features = features_of(2)
    features[1, 3] = value
    found = weights_of(tensors_of(3)).forward(features)
    assert found[0].isfinite().all()
    assert found[1].isnan().all()


def test_no_texts_have_no_logits() -> None:
    assert weights_of(tensors_of(3)).forward(features_of(0)).shape == (0, 3)
