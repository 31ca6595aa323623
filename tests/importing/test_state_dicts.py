"""Which tensors of a checkpoint are the model's, and which are kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AlbertForMaskedLM,
    BertForPreTraining,
    DistilBertForMaskedLM,
    ElectraForMaskedLM,
    RobertaForMaskedLM,
)

from adapterhub.importing.pickle_scan import Refused
from adapterhub.importing.state_dicts import (
    kept_tensors,
    owned_tensors,
    read_state_dict,
    without_wrapper,
)
from tests.encoders import random_model

STATE = {"a.weight": torch.ones(2, 3), "scale": torch.tensor(2.0)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


def refusal(content: object) -> str:
    with pytest.raises(Refused) as caught:
        read_state_dict(content, "x.bin")
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "left_out"),
    [
        (STATE, []),
        ({**STATE, "epoch": 3}, ["'epoch'"]),
        ({"state_dict": STATE}, []),
        ({"model": STATE, "optimizer": OPTIMIZER, "epoch": 1}, ["'optimizer'", "'epoch'"]),
        ({"state_dict": STATE, "loss": torch.tensor(0.5)}, ["'loss'"]),
        ({"net": {**STATE, "version": 1}, 7: None}, ["'version'", "7"]),
    ],
)
def test_the_state_dict_is_found(content: object, left_out: list[str]) -> None:
    found, rest = read_state_dict(content, "x.bin")
    assert found.keys() == STATE.keys()
    assert rest == left_out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([STATE], "holds a list, expected tensors by name"),
        (torch.ones(2), "holds a Tensor, expected tensors by name"),
        ({}, "holds no tensors by name"),
        (OPTIMIZER, "holds the state of an optimizer"),
        ({"model": STATE, "model_ema": STATE}, "several sets of tensors ('model', 'model_ema')"),
        ({**STATE, "model": STATE}, "several sets of tensors ('model', those beside them)"),
        ({0: torch.ones(2)}, "has a tensor under 0, expected a name"),
        ({"a": torch.eye(2).to_sparse()}, "has 'a' sparse or quantized"),
        ({"a": torch.ones(2, device="meta")}, "has 'a' without its values, on 'meta'"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "has 'a' in torch.complex64"),
    ],
)
def test_what_is_no_state_dict_is_refused(content: object, message: str) -> None:
    assert refusal(content).startswith("x.bin h")
    assert message in refusal(content)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module.", "0.auto_model."],
)
def test_prefixes_of_all_names_are_dropped(prefix: str) -> None:
    assert without_wrapper({prefix + name: STATE[name] for name in STATE}).keys() == STATE.keys()


def test_a_prefix_of_some_names_stays() -> None:
    some = {"model.a": STATE["scale"], "b": STATE["scale"]}
    assert without_wrapper(some) == some


@pytest.mark.parametrize(
    ("family", "kind", "tied"),
    [
        ("albert", AlbertForMaskedLM, {"predictions.decoder.weight", "predictions.decoder.bias"}),
        (
            "bert",
            BertForPreTraining,
            {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"},
        ),
        ("distilbert", DistilBertForMaskedLM, {"vocab_projector.weight"}),
        ("electra", ElectraForMaskedLM, {"generator_lm_head.weight"}),
        ("roberta", RobertaForMaskedLM, {"lm_head.decoder.weight", "lm_head.decoder.bias"}),
    ],
)
def test_what_transformers_leaves_out_is_left_out(family: str, kind: Any, tied: set[str]) -> None:
    model = random_model(family, kind=kind, vocab_size=50, num_hidden_layers=1)
    state = model.state_dict()
    positions = {f"{family}.embeddings.position_ids": torch.arange(64)}
    kept, dropped = kept_tensors({**state, **positions})
    assert kept.keys() == state.keys() - tied
    assert set(dropped) == {repr(name) for name in (*tied, *positions)}


def test_an_output_layer_of_its_own_is_kept() -> None:
    words = torch.ones(2, 3)
    kept, dropped = kept_tensors({"words.weight": words, "decoder.weight": words.clone()})
    assert (len(kept), dropped) == (2, [])


def test_every_tensor_gets_memory_of_its_own() -> None:
    flat = torch.arange(12.0)
    shared = {
        "all": flat,
        "again": flat,
        "part": flat[2:6],
        "turned": flat.view(3, 4).T,
        "wide": flat[:1].expand(5),
        "none": flat[:0],
    }
    found = owned_tensors(shared)
    assert all(torch.equal(found[name], shared[name]) for name in shared)
    assert all(tensor.is_contiguous() for tensor in found.values())
    storages = [found[name].untyped_storage() for name in shared if name != "none"]
    assert len({storage.data_ptr() for storage in storages}) == len(storages)
