"""What an index is made of, and the record of what that was made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from adapterhub.retrieval.exact import Array
from adapterhub.retrieval.graph import Graph
from adapterhub.retrieval.options import IndexOptions, VectorPooling
from adapterhub.retrieval.texts import Texts
from adapterhub.scoring.state.records import BackboneRecord, Record
from adapterhub.specs import Sha256, Spec


class VectorRecord(Spec):
    """How the vectors of an index are made; as in `IndexOptions`."""

    later = ("task",)
    task: str | None = None
    pooling: VectorPooling | None = None
    depth: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=1)
    truncate_dim: int | None = Field(default=None, ge=1)
    prompt: str | None = None
    query_prompt: str | None = None


class FileRecord(Spec):
    """A file of a saved index.

    Attributes:
        sha256: Digest of its bytes.
        bytes: Their number.
    """

    sha256: Sha256
    bytes: int = Field(ge=0)


class IndexRecord(Record):
    """What the vectors of an index depend on.

    Attributes:
        kind: Says what the file is.
        adapterhub: Version of adapterhub.
        torch: Version of torch.
        backbone: The backbone.
        dtype: Of its encoder.
        max_windows: Maximum number of windows per text.
        vectors: How vectors are made.
        name: Where the texts came from.
        text_column: Column of the texts.
        texts_sha256: Digest of the texts, in order, with what is shown beside them.
        texts: Their number.
        dimensions: The numbers of a vector.
        task_sha256: Digest of the head file of the task that makes the vectors; None for none.
        files: The files beside this one by name; none before it is saved.
    """

    later = ("task_sha256",)
    kind: Literal["adapterhub index"] = "adapterhub index"
    adapterhub: str
    torch: str
    backbone: BackboneRecord
    dtype: str
    max_windows: int
    vectors: VectorRecord
    name: str
    text_column: str
    texts_sha256: Sha256
    texts: int = Field(ge=0)
    dimensions: int = Field(ge=1)
    task_sha256: Sha256 | None = None
    files: dict[str, FileRecord] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class IndexParts:
    """An index.

    Attributes:
        texts: N texts.
        vectors: (N, D) fp32 unit vectors.
        record: What they were made of.
        graph: For approximate search; None for none.
    """

    texts: Texts
    vectors: Array
    record: IndexRecord
    graph: Graph | None = None


def vector_record(options: IndexOptions) -> VectorRecord:
    """Returns how vectors are made."""
    return VectorRecord(**{name: getattr(options, name) for name in VectorRecord.model_fields})


def differences(before: IndexRecord, options: IndexOptions, texts: Texts) -> list[str]:
    """Returns what texts and options differ in from those of a saved index, for people."""
    now = vector_record(options)
    pairs = {
        "texts (sha256)": (before.texts_sha256[:12], texts.sha256[:12]),
        **{
            name: (getattr(before.vectors, name), getattr(now, name))
            for name in VectorRecord.model_fields
        },
    }
    return [f"{name} was {was}, is {new}" for name, (was, new) in pairs.items() if was != new]
