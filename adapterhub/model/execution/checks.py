"""Checks before a task is resident: it fits the backbone and reproduces its known answers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

from adapterhub.errors import BackboneMismatchError, ConstantHeadWarning, UsageError
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.encoder.changes import Adapter
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.known_answers import check_known_answers
from adapterhub.specs import BackboneSpec, TaskSpec, identity
from adapterhub.store.headfile import HeadFile


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
