"""Features of texts for other heads than those of adapterhub, and vectors of sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from tokenizers.normalizers import Lowercase

from adapterhub.errors import BackboneError, UsageError, check_type
from adapterhub.model.backbone.caller_state import inference
from adapterhub.model.backbone.sentence_vectors import SHORTEST_WINDOW, SentenceVectors
from adapterhub.model.encoder.depth_loop import each_depth
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.pooling import POOLINGS
from adapterhub.model.encoder.tokens import Window, batches
from adapterhub.model.execution.call import read_texts, refuse_bad_rows
from adapterhub.model.execution.row_outputs import mean_of_windows, tokens_of_rows
from adapterhub.model.execution.run_trunk import ExecutionContext
from adapterhub.model.execution.stages import Watch
from adapterhub.model.heads.heads import Array
from adapterhub.model.heads.kinds.embedding import unit_vectors
from adapterhub.plan import Reading, Tap
from adapterhub.specs import Pooling

Role = Literal["query", "document"]

_PROMPTS_OF_ROLES: Mapping[Role, tuple[str, ...]] = MappingProxyType(
    {"query": ("query",), "document": ("document", "passage", "corpus")}
)
"""Names of the prompts of a role; the first that a backbone has, as sentence-transformers does."""


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """The options of `Hub.encode`, as given.

    Attributes:
        depth: Depth of the hidden states; None for the deepest.
        pooling: Pooling of plain features; None for the repository's own sentence vectors.
        fields: The input fields.
        max_length: Window in tokens; None for the default.
        prompt: Name of a prompt, or the text itself; None for the default.
        normalize: Whether vectors are divided by their L2 norm; None for as the repository does.
        truncate_dim: How many numbers of a vector are kept, the first ones; None for all.
        role: What the repository's own vectors are for, which chooses its prompt; None for its
            default.
    """

    depth: int | None
    pooling: Pooling | None
    fields: Iterable[str]
    max_length: int | None
    prompt: str | None
    normalize: bool | None = None
    truncate_dim: int | None = None
    role: Role | None = None


def features_of(
    rows: Sequence[object],
    options: FeatureOptions,
    *,
    context: ExecutionContext,
    sentence: SentenceVectors | None,
    watch: Watch | None = None,
) -> Array | tuple[Array, ...]:
    """Returns features of checked rows, see `encode_rows`, or the repository's sentence vectors.

    Args:
        rows: Strings or records.
        options: What to compute.
        context: The encoder, its tokenizer and the maximum number of windows.
        sentence: How the backbone's repository makes vectors of texts, or None.
        watch: Called after every batch of the encoder with the rows and tokens that were done.

    Raises:
        UsageError: The depth, pooling, fields, window, prompt or size are not valid.
        BackboneError: The repository's own vectors need a module that cannot be honoured.
        InputError: A row cannot be read.
    """
    own = sentence if options.pooling is None else None
    tap, reading = _what_to_read(options, own, context.encoder)
    _check(tap, reading, context.encoder)
    check_size(options.truncate_dim, context.encoder.spec.hidden_size)
    prompt = _prompt(options, sentence, is_own=own is not None)
    given = read_texts(rows, reading, context.tokenizer)
    refuse_bad_rows([given])
    inputs = [(prompt + texts[0], *texts[1:]) for texts in given.inputs]
    if own is not None:
        if own.lowercase:
            inputs = [tuple(map(Lowercase().normalize_str, texts)) for texts in inputs]
        # sentence-transformers truncates a long text, so that the vectors here are the same.
        context = replace(context, max_windows=1)
    vectors = encode_rows(inputs, tap=tap, reading=reading, context=context, watch=watch)
    is_own_unit = own is not None and own.normalize
    normalize = is_own_unit if options.normalize is None else options.normalize
    if isinstance(vectors, tuple):
        size = options.truncate_dim
        return tuple(shaped(one, size, normalize=normalize) for one in vectors)
    return shaped(vectors, options.truncate_dim, normalize=normalize)


def shaped(vectors: Array, size: int | None, *, normalize: bool) -> Array:
    """Returns the first `size` numbers of each vector, then divided by their L2 norm if wanted."""
    kept: Array = vectors if size is None else np.ascontiguousarray(vectors[:, :size])
    return unit_vectors(kept) if normalize else kept


def _what_to_read(
    options: FeatureOptions, own: SentenceVectors | None, encoder: Encoder
) -> tuple[Tap, Reading]:
    """Returns the tap and the reading of a call.

    Raises:
        BackboneError: The repository's own vectors need a module that cannot be honoured.
    """
    fields = options.fields
    if isinstance(fields, str) or not isinstance(fields, Iterable):
        fields = (fields,)
    depth = encoder.depth if options.depth is None else options.depth
    pooling: Pooling = "mean" if options.pooling is None else options.pooling
    length = encoder.max_positions
    if own is not None:
        if own.pooling is None:
            raise BackboneError(
                encoder.spec.name,
                f"its sentence vectors are made with {own.unsupported}, which cannot run here; "
                f"pass pooling='mean', 'cls' or 'max' for features of the hidden states",
            )
        pooling, length = own.pooling, own.max_length
    length = length if options.max_length is None else options.max_length
    return Tap(depth, pooling, ()), Reading(tuple(fields), length, 0)


def _prompt(options: FeatureOptions, sentence: SentenceVectors | None, *, is_own: bool) -> str:
    """Returns the text that goes before each text.

    Raises:
        UsageError: It is the name of no prompt.
        BackboneError: Pooling leaves out the prompt, which cannot be honoured.
    """
    prompt = options.prompt
    check_type(prompt, (str, type(None)), "prompt", "the name of a prompt, or its text")
    prompts = {} if sentence is None else sentence.prompts
    if prompt is None:
        name = _usual_prompt(sentence, options.role) if sentence is not None and is_own else None
        text = "" if name is None else prompts[name]
    else:
        text = prompts.get(prompt, prompt)
        if prompt not in prompts and prompt[-1:].isalnum():
            known = " ".join(", ".join(prompts).split()) or "none"
            raise UsageError(
                f"prompt is {prompt[:80]!r}; the prompts of this backbone are {known[:400]}. A "
                f"text of your own ends with a space or punctuation, such as 'query: '."
            )
        if not text.isascii():
            _check_text(text)
    if text and is_own and sentence is not None and not sentence.pools_prompt:
        raise BackboneError(
            str(sentence.folder),
            "its pooling leaves out the tokens of the prompt (include_prompt false), which cannot "
            "be honoured here; pass prompt='', or pooling='mean', 'cls' or 'max' for features of "
            "all tokens",
        )
    return text


def _usual_prompt(sentence: SentenceVectors, role: Role | None) -> str | None:
    """Returns the name of the prompt that is used where none is given."""
    of_role = () if role is None else _PROMPTS_OF_ROLES[role]
    return next((name for name in of_role if name in sentence.prompts), sentence.default_prompt)


def _check_text(prompt: str) -> None:
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"prompt has a lone surrogate (U+{ord(prompt[error.start]):04X}) at code point "
            f"{error.start}; decode it as UTF-8 again."
        ) from error


@inference
def encode_rows(
    inputs: Sequence[tuple[str, ...]],
    *,
    tap: Tap,
    reading: Reading,
    context: ExecutionContext,
    watch: Watch | None = None,
) -> Array | tuple[Array, ...]:
    """Returns the fp32 features that a head on `tap` reads.

    (N, H), the mean over a row's windows; for pooling `tokens` one (tokens, H) array per row.
    """
    encoder, tokenizer = context.encoder, context.tokenizer
    if not inputs:
        empty: Array = np.zeros((0, encoder.spec.hidden_size), np.float32)
        return () if tap.pooling == "tokens" else empty
    rows = tokenizer.rows(inputs, reading=reading, max_windows=context.max_windows)
    windows = tokenizer.windows(rows, reading=reading)
    order: list[Window] = []
    parts: list[Array] = []
    done = 0
    packed = batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device)
    for states in each_depth(packed, (tap.depth,), encoder=encoder):
        order.extend(states.batch.windows)
        parts.append(POOLINGS[tap.pooling](states.hidden, states.batch).cpu().numpy())
        if watch is not None:
            now = len(rows) * len(order) // len(windows)
            watch(now - done, states.batch.tokens)
            done = now
    values = np.concatenate(parts)
    if tap.pooling == "tokens":
        return tokens_of_rows(values, order, rows)
    counts = np.bincount([window.row for window in windows], minlength=len(rows))
    return mean_of_windows(values, order, counts, np.arange(len(rows)))


def _check(tap: Tap, reading: Reading, encoder: Encoder) -> None:
    fields = reading.fields
    check_type(tap.depth, int, "depth", "a whole number")
    check_type(reading.max_length, int, "max_length", "a whole number of tokens")
    check_type(tap.pooling, str, "pooling", "cls, mean, max or tokens")
    for field in fields:
        check_type(field, str, "One of the fields", "the name of a field")
    if not 0 <= tap.depth <= encoder.depth:
        raise UsageError(f"depth is {tap.depth}; this backbone has 0 to {encoder.depth}.")
    if tap.pooling not in POOLINGS:
        raise UsageError(f"pooling is {tap.pooling!r}; expected cls, mean, max or tokens.")
    if len(fields) not in (1, 2) or (tap.pooling == "tokens" and len(fields) == 2):
        raise UsageError(f"fields are {fields}; expected one, or two without pooling 'tokens'.")
    if not SHORTEST_WINDOW <= reading.max_length <= encoder.max_positions:
        raise UsageError(
            f"max_length is {reading.max_length}; expected {SHORTEST_WINDOW} to "
            f"{encoder.max_positions}."
        )


def check_size(size: int | None, width: int) -> None:
    """Checks how many of the numbers of a vector are kept.

    Raises:
        UsageError: It is no number of these.
    """
    if size is None:
        return
    check_type(size, int, "truncate_dim", "a whole number")
    if not 1 <= size <= width:
        raise UsageError(f"truncate_dim is {size}; the vectors have {width} numbers.")
