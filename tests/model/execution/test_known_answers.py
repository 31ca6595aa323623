"""Known answers: what a head file says of itself is computed again, and must come true."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterhub.errors import KnownAnswersError
from adapterhub.model.backbone.open_backbone import Backbone, open_backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.known_answers import (
    check_known_answers,
    make_known_answers,
    probe_logits,
)
from adapterhub.specs import KnownAnswer, TaskSpec
from adapterhub.store.headfile import HeadFile, encode_head, parse_head
from tests.builders import head_tensors
from tests.tiny import PAIR_PROBES, PROBES, TASKS, save_backbone, tiny_task

Tensors = dict[str, torch.Tensor]


class Machine:
    """A tiny backbone with what is needed to make and to check known answers."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.encoder = Encoder(backbone, device="cpu")
        self.tokenizer = TextTokenizer(backbone.tokenizer)

    def make(self, spec: TaskSpec, tensors: Tensors) -> tuple[KnownAnswer, ...]:
        probes = PAIR_PROBES if len(spec.fields) == 2 else PROBES
        return make_known_answers(
            spec, tensors, probes, encoder=self.encoder, tokenizer=self.tokenizer
        )

    def check(self, spec: TaskSpec, tensors: Tensors) -> None:
        sha256 = hashlib.sha256(spec.task.encode()).hexdigest()
        head = HeadFile(spec, tensors, sha256, 1, "heads/a.safetensors")
        check_known_answers(head, encoder=self.encoder, tokenizer=self.tokenizer)

    def refusal(self, spec: TaskSpec, tensors: Tensors) -> str:
        with pytest.raises(KnownAnswersError) as refused:
            self.check(spec, tensors)
        assert refused.value.path == "heads/a.safetensors"
        assert len(str(refused.value).splitlines()) == 1
        return str(refused.value)


@pytest.fixture(scope="module")
def machine(tiny_backbone: Backbone) -> Machine:
    return Machine(tiny_backbone)


@pytest.fixture(params=TASKS, ids=lambda changes: changes["task"])
def known(request: pytest.FixtureRequest, machine: Machine) -> tuple[TaskSpec, Tensors]:
    """Returns a task of every kind with its known answers."""
    spec = tiny_task(machine.backbone, **request.param)
    tensors = head_tensors(spec, seed=3)
    return spec.model_copy(update={"known_answers": machine.make(spec, tensors)}), tensors


def sentiment(machine: Machine, **changes: Any) -> tuple[TaskSpec, Tensors]:
    spec = tiny_task(machine.backbone, "single_label", labels=("bad", "fair", "good"), **changes)
    tensors = head_tensors(spec, seed=3)
    return spec.model_copy(update={"known_answers": machine.make(spec, tensors)}), tensors


def test_an_untouched_head_passes(machine: Machine, known: tuple[TaskSpec, Tensors]) -> None:
    spec, tensors = known
    assert spec.known_answers
    machine.check(spec, tensors)


def test_known_answers_outlive_the_file(machine: Machine, known: tuple[TaskSpec, Tensors]) -> None:
    head = parse_head(encode_head(*known), source="a")
    assert head.spec.known_answers == known[0].known_answers
    machine.check(head.spec, dict(head.tensors))


def test_known_answers_say_what_the_head_gives(machine: Machine) -> None:
    spec, tensors = sentiment(machine)
    found = probe_logits(
        spec, tensors, PROBES, encoder=machine.encoder, tokenizer=machine.tokenizer
    )
    for answer, probe, logits in zip(spec.known_answers, PROBES, found, strict=True):
        assert answer.inputs == probe
        np.testing.assert_allclose(answer.logits, logits, rtol=1e-5)
        assert answer.answers == (spec.labels[int(logits[0].argmax())],)


def test_one_altered_tensor_is_caught(machine: Machine, known: tuple[TaskSpec, Tensors]) -> None:
    spec, tensors = known
    for name in tensors:
        altered = {**tensors, name: tensors[name] + 0.5}
        if name in (
            "pool.query",
            "head.relations",
        ):  # a shift of all weights alike would change nothing
            altered[name] = tensors[name].flip(0)
        assert "gave other logits for its probe" in machine.refusal(spec, altered)


def test_a_small_change_is_caught_and_rounding_is_not(machine: Machine) -> None:
    spec, tensors = sentiment(machine)
    greatest = max(abs(value) for answer in spec.known_answers for value in answer.logits[0])
    limit = 2e-3 * max(1.0, greatest)
    machine.check(spec, {**tensors, "head.bias": tensors["head.bias"] + 0.1 * limit})
    machine.refusal(spec, {**tensors, "head.bias": tensors["head.bias"] + 3.0 * limit})


def test_labels_in_another_order_are_caught(machine: Machine) -> None:
    spec, tensors = sentiment(machine)
    turned = spec.model_copy(update={"labels": ("good", "fair", "bad")})
    if spec.known_answers[0].answers == spec.known_answers[1].answers == ("fair",):
        turned = spec.model_copy(update={"labels": ("fair", "bad", "good")})
    assert "labels are in another order" in machine.refusal(turned, tensors)


def test_weights_turned_with_the_labels_are_caught(machine: Machine) -> None:
    spec, tensors = sentiment(machine)
    turned = {name: tensor.flip(0) for name, tensor in tensors.items()}
    assert "gave other logits" in machine.refusal(spec, turned)


def test_tags_in_another_order_are_caught(machine: Machine) -> None:
    spec = tiny_task(machine.backbone, "tagging")
    tensors = head_tensors(spec, seed=3)
    spec = spec.model_copy(update={"known_answers": machine.make(spec, tensors)})
    turned = spec.model_copy(update={"labels": ("B-PER", "I-PER", "O")})
    assert "labels are in another order" in machine.refusal(turned, tensors)


def test_another_tokenizer_is_caught(machine: Machine, tmp_path: Path) -> None:
    spec, tensors = sentiment(machine)
    folder = save_backbone(tmp_path / "other")
    text = (folder / "vocab.txt").read_text(encoding="utf-8")
    (folder / "vocab.txt").write_text(text.replace("\ngood\nbad\n", "\nbad\ngood\n"), "utf-8")
    other = Machine(open_backbone(folder))
    assert "gave other logits" in other.refusal(spec, tensors)


def test_other_tokens_are_caught_in_a_tagging_task(machine: Machine, tmp_path: Path) -> None:
    spec = tiny_task(machine.backbone, "tagging")
    tensors = head_tensors(spec, seed=3)
    spec = spec.model_copy(update={"known_answers": machine.make(spec, tensors)})
    folder = save_backbone(tmp_path / "other")
    text = (folder / "vocab.txt").read_text(encoding="utf-8")
    (folder / "vocab.txt").write_text(text.replace("\ngood\n", "\nwood\n"), "utf-8")
    other = Machine(open_backbone(folder))
    assert "rows of logits for its probe 'a good day', its header says 3" in other.refusal(
        spec, tensors
    )


def test_another_backbone_is_caught(machine: Machine, tmp_path: Path) -> None:
    spec, tensors = sentiment(machine)
    other = Machine(open_backbone(save_backbone(tmp_path / "other", seed=1)))
    assert "gave other logits" in other.refusal(spec, tensors)


def test_another_depth_is_caught(machine: Machine) -> None:
    spec, tensors = sentiment(machine, depths=(3,))
    other = tiny_task(machine.backbone, "single_label", labels=spec.labels, depths=(2,))
    other = other.model_copy(update={"known_answers": spec.known_answers})
    assert "gave other logits" in machine.refusal(other, tensors)


def test_a_head_without_known_answers_passes(machine: Machine) -> None:
    spec = tiny_task(machine.backbone, "single_label")
    machine.check(spec, head_tensors(spec))


def test_labels_that_rounding_makes_equal_are_named_as_they_are_read(machine: Machine) -> None:
    spec = tiny_task(machine.backbone, "single_label")
    tensors = {
        "head.weight": torch.zeros(2, machine.encoder.hidden_size),
        "head.bias": torch.tensor([1.0, 1.0000002]),
    }
    spec = spec.model_copy(update={"known_answers": machine.make(spec, tensors)})
    machine.check(spec, tensors)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_agrees_with_what_fp32_made(machine: Machine, dtype: str) -> None:
    spec, tensors = sentiment(machine)
    half = Encoder(machine.backbone, device="cpu", dtype=dtype)
    sha256 = "0" * 64
    check_known_answers(
        HeadFile(spec, tensors, sha256, 1, "a"), encoder=half, tokenizer=machine.tokenizer
    )
    altered = {**tensors, "head.bias": tensors["head.bias"] + 5.0}
    with pytest.raises(KnownAnswersError):
        check_known_answers(
            HeadFile(spec, altered, sha256, 1, "a"), encoder=half, tokenizer=machine.tokenizer
        )
