"""Features of texts for other heads than those of adapterhub, and vectors of sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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
from adapterhub.model.heads.heads import Array
from adapterhub.plan import Reading, Tap
from adapterhub.specs import Pooling

# As torch.nn.functional.normalize: a vector of zeros stays one.
_SMALLEST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """The options of `Hub.encode`, as given.

    Attributes:
        depth: Depth of the hidden states; None for the deepest.
        pooling: Pooling of plain features; None for the repository's own sentence vectors.
        fields: The input fields.
        max_length: Window in tokens; None for the default.
        prompt: Name of a prompt, or the text itself; None for the default.
    """

    depth: int | None
    pooling: Pooling | None
    fields: Iterable[str]
    max_length: int | None
    prompt: str | None


def features_of(
    rows: Sequence[object],
    options: FeatureOptions,
    *,
    context: ExecutionContext,
    sentence: SentenceVectors | None,
) -> Array | tuple[Array, ...]:
    """Returns features of checked rows, see `encode_rows`, or the repository's sentence vectors.

    Args:
        rows: Strings or records.
        options: What to compute.
        context: The encoder, its tokenizer and the maximum number of windows.
        sentence: How the backbone's repository makes vectors of texts, or None.

    Raises:
        UsageError: The depth, pooling, fields, window or prompt are not valid.
        BackboneError: The repository's own vectors need a module that cannot be honoured.
        InputError: A row cannot be read.
    """
    own = sentence if options.pooling is None else None
    tap, reading = _what_to_read(options, own, context.encoder)
    _check(tap, reading, context.encoder)
    prompt = _prompt(options.prompt, sentence, is_own=own is not None)
    given = read_texts(rows, reading, context.tokenizer)
    refuse_bad_rows([given])
    inputs = [(prompt + texts[0], *texts[1:]) for texts in given.inputs]
    if own is None:
        return encode_rows(inputs, tap=tap, reading=reading, context=context)
    if own.lowercase:
        inputs = [tuple(map(Lowercase().normalize_str, texts)) for texts in inputs]
    # sentence-transformers truncates a long text, so that the vectors here are the same.
    context = replace(context, max_windows=1)
    vectors = encode_rows(inputs, tap=tap, reading=reading, context=context)
    return _normalized(vectors) if own.normalize else vectors


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


def _prompt(prompt: str | None, sentence: SentenceVectors | None, *, is_own: bool) -> str:
    """Returns the text that goes before each text.

    Raises:
        UsageError: It is the name of no prompt.
        BackboneError: Pooling leaves out the prompt, which cannot be honoured.
    """
    check_type(prompt, (str, type(None)), "prompt", "the name of a prompt, or its text")
    prompts = {} if sentence is None else sentence.prompts
    if prompt is None:
        name = sentence.default_prompt if sentence is not None and is_own else None
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


def _check_text(prompt: str) -> None:
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"prompt has a lone surrogate (U+{ord(prompt[error.start]):04X}) at code point "
            f"{error.start}; decode it as UTF-8 again."
        ) from error


def _normalized(vectors: Array | tuple[Array, ...]) -> Array:
    """Returns vectors divided by their L2 norm: (N, H) fp32."""
    values = np.asarray(vectors)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    normalized: Array = values / np.maximum(norms, _SMALLEST_NORM)
    return normalized


@inference
def encode_rows(
    inputs: Sequence[tuple[str, ...]], *, tap: Tap, reading: Reading, context: ExecutionContext
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
    packed = batches(windows, max_tokens=encoder.batch_tokens, device=encoder.device)
    for states in each_depth(packed, (tap.depth,), encoder=encoder):
        order.extend(states.batch.windows)
        parts.append(POOLINGS[tap.pooling](states.hidden, states.batch).cpu().numpy())
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
