"""Parity of our depth loop with transformers, and stopping and going on at any depth."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AlbertModel

from adapterhub.errors import BackboneError, UnsupportedDeviceError, UsageError
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TokenBatch, Window, pack
from adapterhub.specs import BackboneSpec

PARITY = 1e-5
SHAPES: dict[str, dict[str, Any]] = {
    "base": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096},
    "xlarge": {"hidden_size": 2048, "num_attention_heads": 16, "intermediate_size": 8192},
    "xxlarge": {"hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384},
}
TINY = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
MIXED = (1, 2, 3, 3, 3, 7, 24, 24, 31, 64)


def random_backbone(*, seed: int = 0, scale: float = 0.02, **changes: Any) -> Backbone:
    settings = {
        "vocab_size": 500,
        "embedding_size": 128,
        "num_hidden_layers": 3,
        "hidden_act": "gelu_new",
        "initializer_range": scale,
        **TINY,
        **changes,
    }
    torch.manual_seed(seed)
    config = AlbertConfig(**settings)
    model = AlbertModel(config, add_pooling_layer=False)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn_like(parameter) * 0.1
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    spec = BackboneSpec(
        name="random",
        fingerprint=f"sha256:{'0' * 64}",
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
    )
    return Backbone(spec, config, weights, tokenizer=None, folder=Path())  # type: ignore[arg-type]


def windows_of(lengths: tuple[int, ...], *, pairs: bool = False, seed: int = 0) -> list[Window]:
    pick = random.Random(seed)
    windows = []
    for row, length in enumerate(lengths):
        ids = [pick.randrange(5, 500) for _ in range(length)]
        first = pick.randrange(1, length + 1) if pairs else length
        windows.append(Window(row, 0, length, ids, [0] * first + [1] * (length - first)))
    return sorted(windows, key=lambda window: -len(window.ids))


def reference(backbone: Backbone, windows: list[Window], device: str = "cpu") -> list[torch.Tensor]:
    """Returns transformers' hidden states of every depth for packed tokens, padded and masked."""
    longest = max(len(window.ids) for window in windows)
    ids = torch.zeros(len(windows), longest, dtype=torch.long)
    types = torch.zeros_like(ids)
    mask = torch.zeros_like(ids)
    for row, window in enumerate(windows):
        length = len(window.ids)
        ids[row, :length] = torch.tensor(window.ids)
        types[row, :length] = torch.tensor(window.type_ids)
        mask[row, :length] = 1
    model = backbone.model.to(device)
    with torch.inference_mode():
        states = model(
            input_ids=ids.to(device),
            token_type_ids=types.to(device),
            attention_mask=mask.to(device),
            output_hidden_states=True,
        ).hidden_states
    # transformers records a state per inner layer; a depth is a pass through all inner layers.
    per_depth = states[:: backbone.config.inner_group_num]
    return [state[mask.bool().to(device)] for state in per_depth]


def all_depths(encoder: Encoder, batch: TokenBatch) -> list[torch.Tensor]:
    states = [encoder.embed(batch)]
    for depth in range(encoder.depth):
        states.append(encoder.run(states[-1], batch, depth, depth + 1))
    return states


def check_parity(backbone: Backbone, windows: list[Window], device: str = "cpu") -> None:
    encoder = Encoder(backbone, device=device)
    batch = pack(windows, device=encoder.device)
    expected = reference(backbone, windows, device)
    found = all_depths(encoder, batch)
    assert len(found) == len(expected) == encoder.depth + 1
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max().item() <= PARITY


@pytest.mark.parametrize("shape", ["base", "large", pytest.param("xlarge", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_parity_with_transformers_at_published_shapes(shape: str, device: str) -> None:
    layers = {"base": 3, "large": 2, "xlarge": 1}[shape]
    backbone = random_backbone(**SHAPES[shape], num_hidden_layers=layers)
    check_parity(backbone, windows_of((1, 5, 5, 33), pairs=True), device)


@pytest.mark.slow
def test_parity_at_xxlarge_shape(device: str) -> None:
    check_parity(
        random_backbone(**SHAPES["xxlarge"], num_hidden_layers=1), windows_of((3, 9)), device
    )


@pytest.mark.slow
def test_parity_over_all_twelve_depths_of_base(device: str) -> None:
    check_parity(random_backbone(**SHAPES["base"], num_hidden_layers=12), windows_of(MIXED), device)


@pytest.mark.parametrize("act", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("inner", [1, 2])
@pytest.mark.slow
def test_parity_for_groups_inner_groups_and_activations(
    act: str, groups: int, inner: int, device: str
) -> None:
    backbone = random_backbone(
        hidden_act=act,
        num_hidden_groups=groups,
        inner_group_num=inner,
        num_hidden_layers=6,
        scale=0.1,
    )
    check_parity(backbone, windows_of(MIXED, pairs=True), device)


def test_parity_at_the_longest_length_and_in_a_batch_of_one(device: str) -> None:
    backbone = random_backbone(scale=0.1)
    check_parity(backbone, windows_of((512,), pairs=True), device)
    check_parity(backbone, windows_of((1,)), device)
    check_parity(backbone, windows_of((512, 1, 17)), device)


def test_segments_are_honoured() -> None:
    encoder = Encoder(random_backbone(scale=0.2), device="cpu")
    plain, second = (
        pack([Window(0, 0, 4, [5, 6, 7, 8], types)], device=encoder.device)
        for types in ([0, 0, 0, 0], [0, 0, 1, 1])
    )
    assert not torch.equal(encoder.embed(plain), encoder.embed(second))


def test_stopping_and_going_on_equals_one_run(device: str) -> None:
    encoder = Encoder(random_backbone(num_hidden_layers=6, scale=0.1), device=device)
    batch = pack(windows_of(MIXED), device=encoder.device)
    start = encoder.embed(batch)
    whole = encoder.run(start, batch, 0, 6)
    halted = encoder.run(start, batch, 0, 2)
    kept = halted.clone()
    assert torch.equal(encoder.run(halted, batch, 2, 6), whole)
    assert torch.equal(halted, kept), "run must not change its input"
    assert encoder.run(halted, batch, 2, 2) is halted


def test_results_outlive_later_calls() -> None:
    encoder = Encoder(random_backbone(scale=0.1), device="cpu")
    first = pack(windows_of((9, 9, 4)), device=encoder.device)
    other = pack(windows_of((20, 11), seed=1), device=encoder.device)
    state = encoder.run(encoder.embed(first), first, 0, 3)
    kept = state.clone()
    encoder.run(encoder.embed(other), other, 0, 3)
    assert torch.equal(state, kept)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 4)])
def test_depths_outside_the_backbone_are_refused(start: int, stop: int) -> None:
    encoder = Encoder(random_backbone(), device="cpu")
    batch = pack(windows_of((4,)), device=encoder.device)
    with pytest.raises(ValueError, match="cannot run from depth"):
        encoder.run(encoder.embed(batch), batch, start, stop)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_close(dtype: str, device: str) -> None:
    backbone = random_backbone(scale=0.1)
    batch_windows = windows_of(MIXED)
    exact = Encoder(backbone, device=device)
    half = Encoder(backbone, device=device, dtype=dtype)
    batch = pack(batch_windows, device=exact.device)
    expected = exact.run(exact.embed(batch), batch, 0, 3)
    found = half.run(half.embed(batch), batch, 0, 3)
    assert found.dtype is getattr(torch, dtype)
    assert (found.float() - expected).abs().mean() < 0.02


def test_overflow_in_half_precision_is_refused() -> None:
    backbone = random_backbone()
    backbone.weights["encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight"].add_(1e5)
    with pytest.raises(BackboneError, match="overflow"):
        Encoder(backbone, device="cpu", dtype="float16")


def test_wrong_device_and_dtype_are_named() -> None:
    backbone = random_backbone()
    with pytest.raises(UnsupportedDeviceError, match="abacus"):
        Encoder(backbone, device="abacus")
    with pytest.raises(UsageError, match="Did you mean 'float32'"):
        Encoder(backbone, device="cpu", dtype="float23")
