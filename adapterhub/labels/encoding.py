"""The features of new examples, by the model of their task, and what the task says of texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adapterhub.errors import UsageError
from adapterhub.inputs import tokenless
from adapterhub.labels.new_examples import Texts
from adapterhub.model.adapters.compile import compile_adapter
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.examples import make_examples
from adapterhub.model.execution.known_answers import check_fits, make_known_answers, probes_for
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.plan import Reading
from adapterhub.remote.find import FoundTask
from adapterhub.saving import open_for
from adapterhub.specs import TaskSpec
from adapterhub.training.features.encoding import POOLED, FeatureSource, Layout, encode

if TYPE_CHECKING:
    from adapterhub.labels.edit import OpenModel

_MOST_WINDOWS = 16


def open_model(found: FoundTask, hub: OpenModel | None) -> ExecutionContext:
    """Returns the model of a task: that of an open Hub, or its backbone opened.

    Raises:
        BackboneMismatchError: The Hub has another one.
        BackboneError: It cannot be opened.
    """
    if hub is not None:
        context = ExecutionContext(hub.encoder, hub.tokenizer, hub.max_windows)
    else:
        key = None if found.found is None else found.found.entry.backbone
        backbone = open_for(found.registry, key)
        tokenizer = TextTokenizer(backbone.tokenizer)
        context = ExecutionContext(Encoder(backbone), tokenizer, _MOST_WINDOWS)
    check_fits(found.spec, context.encoder)
    return context


@own_state
def encode_examples(
    found: FoundTask, texts: Texts, context: ExecutionContext
) -> dict[str, torch.Tensor]:
    """Returns the features of each label's examples on the tap of a task: (n, H) fp16, as trained.

    Raises:
        UsageError: A text leaves no token.
        HeadFileError: The adapter of the task does not fit.
    """
    spec = found.spec
    inputs = [(text,) for own in texts.values() for text in own]
    for (text,) in inputs:
        if not context.tokenizer.has_tokens(text):
            raise UsageError(f"The example {text[:40]!r} {tokenless(text)}.")
    adapter = None
    if spec.adapter is not None:
        tensors = found.load().tensors
        adapter = compile_adapter(
            spec.adapter, tensors, encoder=context.encoder, source=found.source
        )
    # Nothing is cached: these are few, and known to be new.
    source = FeatureSource(context.encoder, context.tokenizer, Path(), 0, adapter)
    reading = Reading(spec.fields, spec.max_length, spec.overlap)
    layout = Layout("pooled", reading, context.max_windows, spec.head.depths)
    ((_, values),) = encode(inputs, (layout,), source)
    features = torch.from_numpy(values[POOLED.index(spec.head.pooling)])
    parts = torch.split(features, [len(own) for own in texts.values()])
    return dict(zip(texts, parts, strict=True))


def with_answers(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    before: TaskSpec,
    context: ExecutionContext,
) -> TaskSpec:
    """Returns a changed task with known answers and examples, of the inputs that it had before."""
    probes = tuple(known.inputs for known in before.known_answers) or probes_for(spec)
    known = make_known_answers(
        spec, tensors, probes, encoder=context.encoder, tokenizer=context.tokenizer
    )
    inputs = [example.inputs for example in before.examples]
    examples = make_examples(spec, tensors, inputs, context=context)
    return spec.model_copy(update={"known_answers": known, "examples": examples})
