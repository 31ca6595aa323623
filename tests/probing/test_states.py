from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adapterhub.errors import UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.tokens import TextTokenizer, Window
from adapterhub.plan import Reading
from adapterhub.probing.fit_settings import FitSettings
from adapterhub.probing.items import Split
from adapterhub.probing.states import ProbeStates, encode_states
from tests.encoders import FAMILY_NAMES

TEXTS: dict[Split, list[str]] = {
    "training": ["a good day", "it is late and not early", "food"],
    "choosing": ["the film"],
    "measuring": ["was he late", "she was very good food"],
}


def windows_of(backbone: Backbone) -> dict[Split, list[Window]]:
    tokenizer, reading = TextTokenizer(backbone.tokenizer), Reading(("text",), 32, 0)
    return {
        split: tokenizer.windows(
            tokenizer.rows([(text,) for text in texts], reading=reading, max_windows=1),
            reading=reading,
        )
        for split, texts in TEXTS.items()
    }


def encoded(backbone: Backbone, cache: Path, settings: FitSettings) -> ProbeStates:
    return encode_states(
        windows_of(backbone), backbone, settings=settings, device="cpu", cache=cache
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_states_are_those_of_transformers_in_the_order_of_the_texts(
    backbones: dict[str, Backbone], family: str, tmp_path: Path
) -> None:
    backbone = backbones[family]
    states = encoded(backbone, tmp_path, FitSettings())
    windows = windows_of(backbone)
    for split in TEXTS:
        for depth in states.depths:
            expected = torch.cat(
                [
                    backbone.model(
                        input_ids=torch.tensor([window.ids]), output_hidden_states=True
                    ).hidden_states[depth][0]
                    for window in windows[split]
                ]
            )
            found = states.read(split, depth, "backbone")
            torch.testing.assert_close(found.float(), expected, atol=5e-3, rtol=5e-3)
            assert found.shape == states.read(split, depth, "random").shape
            assert (found - states.read(split, depth, "random")).abs().max() > 0.1


def test_states_that_are_too_many_for_memory_go_to_a_file_without_a_name(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    inside = encoded(tiny_backbone, tmp_path / "cache", FitSettings())
    outside = encoded(tiny_backbone, tmp_path / "cache", FitSettings(memory_bytes=0))
    assert torch.equal(inside.values, outside.values)
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Probe fewer rows or depths"):
        encoded(tiny_backbone, tmp_path / "file", FitSettings(memory_bytes=0))


def test_some_depths_are_kept_and_unknown_ones_refused(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    every = encoded(tiny_backbone, tmp_path, FitSettings(random=False))
    some = encoded(tiny_backbone, tmp_path, FitSettings(depths=(3, 1), random=False))
    assert (some.depths, some.weights) == ((1, 3), ("backbone",))
    for depth in some.depths:
        one, other = (states.read("measuring", depth, "backbone") for states in (some, every))
        assert torch.equal(one, other)
    with pytest.raises(UsageError, match="depths: found 5; this backbone has depths 0 to 4"):
        encoded(tiny_backbone, tmp_path, FitSettings(depths=(1, 5)))


@pytest.mark.slow
def test_random_weights_are_as_transformers_draws_them_and_follow_the_seed(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    def random(seed: int) -> torch.Tensor:
        return encoded(tiny_backbone, tmp_path, FitSettings(seed=seed)).values[1]

    assert torch.equal(random(0), random(0))
    assert not torch.equal(random(0), random(1))
    # The last layer norm has gain 1 and offset 0, which those of the backbone have not.
    last = random(0)[-1].float()
    torch.testing.assert_close(last.mean(1), torch.zeros(len(last)), atol=2e-3, rtol=0)
    torch.testing.assert_close(last.std(1, correction=0), torch.ones(len(last)), atol=5e-3, rtol=0)


@pytest.mark.slow
def test_a_fresh_block_has_the_shape_of_the_backbones_and_other_weights(
    backbones: dict[str, Backbone], tmp_path: Path
) -> None:
    for backbone in backbones.values():
        states = encoded(backbone, tmp_path, FitSettings(random=False, depths=(0,)))
        group: Any = backbone.model.encoder.albert_layer_groups[0]
        own = group.albert_layers[0]
        fresh, same, other = states.layer(0), states.layer(0), states.layer(1)
        expected = {name: value.shape for name, value in own.named_parameters()}
        assert {name: value.shape for name, value in fresh.named_parameters()} == expected
        for name, value in fresh.named_parameters():
            assert value.requires_grad
            assert torch.equal(value, same.get_parameter(name))
            if value.dim() == 2:
                assert not torch.equal(value, own.get_parameter(name))
                assert not torch.equal(value, other.get_parameter(name))
                assert value.std().item() == pytest.approx(0.02, rel=0.2)
        assert not fresh.training


def test_the_state_of_the_callers_generator_is_left_alone(
    tiny_backbone: Backbone, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    encoded(tiny_backbone, tmp_path, FitSettings()).layer(0)
    assert torch.equal(torch.rand(1), expected)
