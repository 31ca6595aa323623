"""Texts to an index: read and compared with a saved one first, then encoded, each text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from adapterhub.errors import BackboneError, BackboneMismatchError, DataError, UsageError
from adapterhub.inputs import tokenless
from adapterhub.retrieval.exact import Array
from adapterhub.retrieval.graph import Graph, is_installed, require_graph
from adapterhub.retrieval.options import IndexOptions
from adapterhub.retrieval.parts import IndexParts, IndexRecord, differences, vector_record
from adapterhub.retrieval.saved import check_place, read_index_record, read_parts, save_parts
from adapterhub.retrieval.texts import Texts, first_places, read_texts, without
from adapterhub.scoring.progress import watching
from adapterhub.scoring.sources.row_source import AHEAD_ROWS, ARGUMENTS, RowSource
from adapterhub.scoring.state.records import BackboneRecord, installed
from adapterhub.specs import BackboneSpec, TaskSpec

if TYPE_CHECKING:
    from adapterhub.model.encoder.tokens import TextTokenizer
    from adapterhub.model.execution.stages import ResidentCall
    from adapterhub.model.execution.text_features import Role

GRAPH_TEXTS = 100_000
"""Number of texts from which on an index gets a graph."""


class EncodingHub(Protocol):
    """What makes vectors: a `Hub`."""

    backbone: BackboneSpec
    dtype: str
    max_windows: int
    tokenizer: TextTokenizer

    def encode(self, texts: Any, **options: Any) -> Any:
        """Returns the vectors of texts; see `Hub.encode`."""
        ...

    def spec(self, reference: str) -> TaskSpec:
        """Returns the spec of a task; see `Hub.spec`."""
        ...

    def open_call(self, tasks: str) -> ResidentCall:
        """Returns a call of a task, whose version it tells; see `Hub.open_call`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class IndexJob:
    """An index that is to be made, or opened where it is there already.

    Attributes:
        texts: Its texts.
        options: How their vectors are made.
        folder: Where it is saved; None for nowhere.
        saved: The record of the index in the folder, made of the same; None where it is made anew.
    """

    texts: Texts
    options: IndexOptions
    folder: Path | None
    saved: IndexRecord | None


def prepare_index(source: RowSource, options: IndexOptions, folder: Path | None) -> IndexJob:
    """Returns an index to make, whose texts were read; needs no torch.

    Raises:
        DataError: The texts cannot be read, or the folder holds something else, or an index of
            other texts or settings that is not to be replaced.
        UsageError: The folder would be read as a part of the texts.
        MissingExtraError: A graph is wanted, and usearch is not installed.
    """
    if options.graph:
        require_graph()
    if folder is not None and source.takes_in(folder):
        raise UsageError(
            f"The index {folder} would be read as a part of the texts {source.name} the next time; "
            f"name another folder, such as one that begins with '_'."
        )
    saved = None if folder is None or options.force else read_index_record(folder)
    if folder is not None and saved is None:
        check_place(folder, force=options.force)
    texts = read_texts(source, options)
    if folder is not None and saved is not None:
        _refuse_others(folder, differences(saved, options, texts))
    return IndexJob(texts, options, folder, saved)


def make_parts(hub: EncodingHub, job: IndexJob) -> IndexParts:
    """Returns an index: the saved one if it was made of the same, else a new one, saved if wanted.

    Raises:
        DataError: The saved one is of another backbone or damaged; or a text leaves no token.
        AdapterHubError: As `Hub.encode`.
    """
    folder, saved = job.folder, job.saved
    if folder is not None and saved is not None:
        _refuse_others(folder, _encoder_differences(saved, hub))
        return _with_graph(folder, read_parts(folder), wanted=job.options.graph)
    parts = _encoded(hub, job)
    if folder is not None:
        save_parts(folder, parts, force=job.options.force)
    return parts


def check_encoder(record: IndexRecord, hub: EncodingHub, place: Path) -> None:
    """Checks that a hub makes the vectors of queries as those of the texts were made.

    Raises:
        BackboneMismatchError: Its backbone is another one.
        DataError: Its task is another version.
    """
    made_for, found = record.backbone, hub.backbone
    if made_for.fingerprint != found.fingerprint:
        raise BackboneMismatchError(
            str(place),
            made_for.fingerprint,
            found.name,
            f"the index {place} was made with the backbone {made_for.name} "
            f"({made_for.fingerprint[:19]}…), and this one has the fingerprint "
            f"{found.fingerprint[:19]}…; open the hub with that backbone, or make the index again "
            f"with --force (force=True)",
        )
    _check_task(record, hub)


def encode_unit(
    hub: EncodingHub,
    texts: Sequence[Any],
    record: IndexRecord,
    *,
    role: Role,
    **more: Any,
) -> Array:
    """Returns the unit vectors of texts or queries: (N, D) fp32.

    Raises:
        DataError: The task that makes them is another version than of the texts.
        AdapterHubError: As `Hub.encode`.
    """
    own = record.vectors
    how: dict[str, Any] = {"truncate_dim": own.truncate_dim, "normalize": True, **more}
    if own.task is None:
        prompt = own.prompt if role == "document" else own.query_prompt
        how |= {"pooling": own.pooling, "depth": own.depth, "max_length": own.max_length}
        how |= {"prompt": prompt, "role": role}
    else:
        _check_task(record, hub)
        how["task"] = own.task
    found = hub.encode(texts, **how)
    vectors: Array = np.asarray(found)
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise BackboneError(
            hub.backbone.name,
            f"the vector of text {row} has NaN or infinity; open the hub with dtype='float32'",
        )
    return vectors


def _encoded(hub: EncodingHub, job: IndexJob) -> IndexParts:
    options = job.options
    texts = _with_tokens(hub, job)
    record = IndexRecord(
        adapterhub=installed("adapterhub"),
        torch=installed("torch"),
        backbone=BackboneRecord(name=hub.backbone.name, fingerprint=hub.backbone.fingerprint),
        dtype=hub.dtype,
        max_windows=hub.max_windows,
        vectors=vector_record(options),
        name=texts.name,
        text_column=options.text_column,
        # Of all texts, so that those that are skipped make no difference the next time.
        texts_sha256=job.texts.sha256,
        texts=len(texts),
        dimensions=options.truncate_dim or _width(hub, options.task),
        task_sha256=task_digest(hub, options.task),
    )
    vectors = _encode_each_once(hub, texts.strings, record, options)
    wants = options.graph
    if wants is None:
        wants = is_installed() and len(texts) >= GRAPH_TEXTS
    return IndexParts(texts, vectors, record, Graph.build(vectors) if wants else None)


def _encode_each_once(
    hub: EncodingHub, texts: Sequence[str], record: IndexRecord, options: IndexOptions
) -> Array:
    """Returns the unit vectors of texts, of which equal ones are encoded once: (N, D) fp32."""
    places, numbers = first_places(texts)
    different = [texts[place] for place in places]
    passes = hub.backbone.num_hidden_layers if options.depth is None else options.depth
    passes = passes if options.task is None else hub.spec(options.task).deepest
    found: list[Array] = []
    with watching(options.progress, total=len(different), passes_per_text=passes) as progress:
        for start in range(0, len(different), AHEAD_ROWS):
            some = different[start : start + AHEAD_ROWS]
            own = encode_unit(hub, some, record, role="document", progress=progress.advance)
            found.append(own)
    vectors = np.concatenate(found)
    return vectors if len(different) == len(texts) else vectors[numbers]


def task_digest(hub: EncodingHub, task: str | None) -> str | None:
    """Returns the sha256 of the head file of a task as it is resident; None for no task."""
    return None if task is None else hub.open_call(task).made_by[task].sha256


def _width(hub: EncodingHub, task: str | None) -> int:
    """Returns how many numbers the vectors of a task have, or the hidden states."""
    return hub.backbone.hidden_size if task is None else hub.spec(task).outputs


def _check_task(record: IndexRecord, hub: EncodingHub) -> None:
    """Checks that a hub has the task that made the vectors of an index, with the same bytes.

    Raises:
        DataError: It has another version.
    """
    found = task_digest(hub, record.vectors.task)
    if found != record.task_sha256:
        raise DataError(
            record.name,
            f"the vectors of its index were made by the task '{record.vectors.task}' "
            f"({str(record.task_sha256)[:12]}…), which is {str(found)[:12]}… here; vectors of two "
            f"versions cannot be compared. Load that version, or make the index anew with --force "
            f"(force=True)",
        )


def _with_tokens(hub: EncodingHub, job: IndexJob) -> Texts:
    """Returns the texts of which the tokenizer leaves something.

    Raises:
        DataError: There is another one, and it is not to be skipped; or there is no other.
    """
    texts = job.texts
    bad = {
        place: f"its text {tokenless(text)}"
        for place, text in enumerate(texts.strings)
        if not hub.tokenizer.has_tokens(text)
    }
    if not bad:
        return texts
    place, problem = next(iter(bad.items()))
    if job.options.on_error == "raise" or len(bad) == len(texts):
        row = texts.at(place)["row"]
        where = texts.name if texts.name != ARGUMENTS else "texts"
        raise DataError(
            where, f"row {row}: {problem} --on-error skip (on_error='skip') leaves it out"
        )
    return without(texts, bad)


def _encoder_differences(saved: IndexRecord, hub: EncodingHub) -> list[str]:
    pairs = {
        "backbone": (saved.backbone.name, hub.backbone.name),
        "fingerprint": (saved.backbone.fingerprint[:19], hub.backbone.fingerprint[:19]),
        "dtype": (saved.dtype, hub.dtype),
        "max_windows": (saved.max_windows, hub.max_windows),
        "task (sha256)": (saved.task_sha256, task_digest(hub, saved.vectors.task)),
    }
    if saved.backbone.fingerprint == hub.backbone.fingerprint:
        del pairs["backbone"]  # one backbone may have several names
    return [f"{name} was {was}, is {new}" for name, (was, new) in pairs.items() if was != new]


def _refuse_others(folder: Path, other: Sequence[str]) -> None:
    if other:
        raise DataError(
            folder,
            f"it holds an index of something else: {'; '.join(other)}. --force (force=True) makes "
            f"it anew, another folder keeps both",
        )


def _with_graph(folder: Path, parts: IndexParts, *, wanted: bool | None) -> IndexParts:
    """Returns a saved index, to which a graph is added if it is wanted and not there."""
    if wanted is False:
        return replace(parts, graph=None)
    if not wanted or parts.graph is not None:
        return parts
    parts = replace(parts, graph=Graph.build(parts.vectors))
    save_parts(folder, parts, force=True)
    return parts
