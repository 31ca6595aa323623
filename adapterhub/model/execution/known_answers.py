"""Checks before a task is resident: it fits the backbone and reproduces its known answers.

Known answers are probe texts with stored logits, recomputed before a head file is loaded.

The probe texts are our own: the licence of training data may not allow a copy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch

from adapterhub.errors import (
    BackboneMismatchError,
    ConstantHeadWarning,
    KnownAnswersError,
    UsageError,
)
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.resident import unplaced
from adapterhub.model.execution.row_outputs import TrunkOutput
from adapterhub.model.execution.run_trunk import ExecutionContext, run_trunk
from adapterhub.model.heads.heads import Array
from adapterhub.plan import make_plan
from adapterhub.specs import BackboneSpec, KnownAnswer, TaskSpec, identity
from adapterhub.store.headfile import HeadFile

_TEXTS = (
    ("The room was clean and the staff were friendly.",),
    ("这家店的东西不错，下次还会再来。",),
)
_PAIRS = (
    ("A man is playing a guitar.", "Somebody makes music."),
    ("他明天要坐火车去上海。", "他明天出门旅行。"),
)
# Short, because known answers of tagging and parsing store one row of logits per token or word.
_CHOICES = (
    ("The shop is closed today.", "We come back tomorrow.", "The soup is blue.", "Ten plus two."),
    ("外面下雨了，出门要带什么？", "雨伞", "一本书"),
)
_TAGGED = (("Anna flew from Berlin to Oslo on Monday.",), ("李明昨天在北京工作。",))

_QUESTIONS = (
    ("Where did Anna fly?", "Anna flew from Berlin to Oslo on Monday."),
    ("李明在哪里工作？", "李明昨天在北京工作。"),
)


def probes_for(spec: TaskSpec) -> tuple[tuple[str, ...], ...]:
    """Returns the probe inputs of a task: one in English and one in Chinese."""
    if spec.row.slides_second:
        return _QUESTIONS
    if spec.per_token:
        return _TAGGED
    if spec.row.of_choices:
        return _CHOICES
    return _TEXTS if len(spec.fields) == 1 else _PAIRS


# Largest allowed difference, relative to the largest stored logit (at least 1): fp32 differs
# between processors in the last digits; half precision was measured at about 1 % of hidden states.
_TOLERANCE = {torch.float32: 2e-3, torch.float16: 5e-2, torch.bfloat16: 0.25}
_OTHER_WORDS = {torch.float32: 0.0, torch.float16: 0.25, torch.bfloat16: 0.5}
"""Part of the words of a tree that may differ by more: a head that is nearly as good as another one
may lose to it in half precision, and with it the logits of its relations."""
_SIGNIFICANT_DIGITS = 6


def make_known_answers(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    encoder: Encoder,
    tokenizer: TextTokenizer,
) -> tuple[KnownAnswer, ...]:
    """Returns `inputs` with the logits of the task, to be stored in its head file."""
    computed = probe_logits(spec, tensors, inputs, encoder=encoder, tokenizer=tokenizer)
    known = []
    for texts, logits in zip(inputs, computed, strict=True):
        if len(logits):
            rounded = _rounded(logits)
            # From the rounded logits, because rounding can make the two largest ones equal.
            labels = _best_labels(spec, np.asarray(rounded, np.float32))
            known.append(KnownAnswer(inputs=texts, logits=rounded, answers=labels))
    return tuple(known)


@own_state
def check_known_answers(
    head: HeadFile, *, encoder: Encoder, tokenizer: TextTokenizer, adapter: Adapter | None = None
) -> None:
    """Recomputes the known answers of a head file and compares them with the stored ones.

    Args:
        head: The file.
        encoder: Computes the hidden states.
        tokenizer: The tokenizer of the same backbone.
        adapter: The file's compiled adapter; None compiles it here.

    Raises:
        KnownAnswersError: The logits differ from the stored ones, or the labels are in another
            order than when the file was written.
    """
    spec = head.spec
    if not spec.known_answers:
        return
    inputs = [known.inputs for known in spec.known_answers]
    found = probe_logits(
        spec, head.tensors, inputs, encoder=encoder, tokenizer=tokenizer, adapter=adapter
    )
    for known, logits in zip(spec.known_answers, found, strict=True):
        expected = np.asarray(known.logits, np.float32)
        _compare(head, known, expected, logits, encoder.dtype)


def probe_logits(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    encoder: Encoder,
    tokenizer: TextTokenizer,
    adapter: Adapter | None = None,
) -> list[Array]:
    """Returns fp32 logits of a task that is not resident.

    (1, K) per input, for tagging (tokens, K), for parsing (words, K), of choices (choices, 1).

    `adapter` is the task's compiled adapter; None compiles it here.
    """
    context = ExecutionContext(encoder, tokenizer, max_windows=1)
    output = run_alone(spec, tensors, inputs, context=context, adapter=adapter)
    values = output.logits[spec.task].values
    return list(values) if isinstance(values, tuple) else list(values[:, None])


def run_alone(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[tuple[str, ...]],
    *,
    context: ExecutionContext,
    adapter: Adapter | None = None,
) -> TrunkOutput:
    """Returns the outputs of a task that is not resident; `adapter` as in `probe_logits`."""
    encoder = context.encoder
    if adapter is None and spec.adapter is not None:
        adapter = compile_adapter(spec.adapter, tensors, encoder=encoder, source=spec.task)
    task = unplaced(spec, tensors, device=encoder.device, adapter=adapter)
    trunk = make_plan({spec.task: spec}).trunks[0]
    return run_trunk(trunk, {spec.task: task}, inputs, context=context)


def _compare(
    head: HeadFile, known: KnownAnswer, expected: Array, found: Array, dtype: torch.dtype
) -> None:
    probe = known.inputs[0][:40]
    if expected.shape != found.shape:
        raise KnownAnswersError(
            head.source,
            f"gave {found.shape[0]} rows of logits for its probe {probe!r}, its header says "
            f"{expected.shape[0]}; the tokenizer differs or the file was altered",
        )
    limit = _TOLERANCE[dtype] * max(1.0, float(np.abs(expected).max()))
    differences = np.sort(np.abs(expected - found).max(1))
    spared = int(_OTHER_WORDS[dtype] * len(differences)) if head.spec.row.biaffine else 0
    difference = float(differences[-1 - spared])
    if difference > limit:
        raise KnownAnswersError(
            head.source,
            f"gave other logits for its probe {probe!r} than its header says (difference "
            f"{difference:.3g}, allowed {limit:.3g}); do not use it, fetch or train it again",
        )
    if known.answers != _best_labels(head.spec, expected):
        raise KnownAnswersError(
            head.source,
            f"its labels are in another order than when it was written: the probe {probe!r} "
            f"should give {known.answers[0]!r}, gives {_best_labels(head.spec, expected)[0]!r}",
        )


def _rounded(logits: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(
        tuple(float(f"{value:.{_SIGNIFICANT_DIGITS}g}") for value in row) for row in logits.tolist()
    )


def _best_labels(spec: TaskSpec, logits: Array) -> tuple[str, ...]:
    if not spec.row.has_labels:
        return ()
    return tuple(spec.labels[index] for index in logits.argmax(1).tolist())


@own_state
def check_tasks(
    heads: Iterable[HeadFile],
    *,
    encoder: Encoder,
    tokenizer: TextTokenizer,
    known: Callable[[str], Adapter | None],
) -> dict[str, Adapter]:
    """Checks head files and returns their compiled adapters by digest.

    Args:
        heads: The files.
        encoder: The backbone that they must fit.
        tokenizer: The tokenizer of the same backbone.
        known: Returns an adapter that is compiled already, by digest, or None.

    Raises:
        BackboneMismatchError: A task was made for another backbone.
        UsageError: A task's windows are too long for this backbone.
        HeadFileError: A file does not reproduce its known answers, or its adapter does not fit.
    """
    adapters: dict[str, Adapter] = {}
    for head in heads:
        check_fits(head.spec, encoder)
        adapter = _compile(head, adapters, encoder, known)
        check_known_answers(head, encoder=encoder, tokenizer=tokenizer, adapter=adapter)
        if is_constant(head):
            # Not an error: the file is valid and computes what its header states.
            warnings.warn(ConstantHeadWarning(head.spec.task, head.source), stacklevel=2)
    return adapters


def check_fits(spec: TaskSpec, encoder: Encoder) -> None:
    """Checks that a task was made for this backbone and that its windows fit its positions.

    Raises:
        BackboneMismatchError: It was made for another backbone.
        UsageError: Its windows are too long.
    """
    encoder.check_process()
    check_backbone(spec, encoder.spec)
    if spec.max_length > encoder.max_positions:
        raise UsageError(
            f"Task '{spec.task}' reads windows of {spec.max_length} tokens, the backbone has "
            f"{encoder.max_positions} positions."
        )


def check_backbone(spec: TaskSpec, backbone: BackboneSpec) -> None:
    """Checks that a task was made for this backbone.

    Raises:
        BackboneMismatchError: It was made for another one.
    """
    if spec.backbone.fingerprint != backbone.fingerprint:
        raise BackboneMismatchError(spec.task, identity(spec.backbone), identity(backbone))


def _compile(
    head: HeadFile,
    adapters: dict[str, Adapter],
    encoder: Encoder,
    known: Callable[[str], Adapter | None],
) -> Adapter | None:
    """Returns the adapter of a head file, compiled once for all tasks that share it."""
    spec = head.spec.adapter
    if spec is None:
        return None
    found = adapters.get(spec.digest) or known(spec.digest)
    if found is None:
        found = compile_adapter(spec, head.tensors, encoder=encoder, source=head.source)
    adapters[spec.digest] = found
    return found


_MAPS = ("head.weight", "head.hidden.weight")


def is_constant(head: HeadFile) -> bool:
    """Returns whether the logits are the same for every text: a weight matrix is all zero."""
    return any(name in head.tensors and not bool(head.tensors[name].any()) for name in _MAPS)
