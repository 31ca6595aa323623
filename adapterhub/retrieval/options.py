"""The options of vectors and of the search among them; each is declared here once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, model_validator

from adapterhub.errors import UsageError
from adapterhub.option_models import Option, Options, parse_options
from adapterhub.rows.formats import Format
from adapterhub.scoring.progress import ProgressMode

VectorPooling = Literal["cls", "mean", "max"]
Told = Callable[[int, int], object]

_IN_OTHER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "batch_size": "nothing: batches are made of a number of tokens",
        "convert_to_numpy": "output='numpy', the default",
        "convert_to_tensor": "output='torch'",
        "device": "Hub(device=…)",
        "normalize_embeddings": "normalize=True",
        "output_value": "pooling='tokens' for the vector of each token",
        "precision": "Hub(dtype=…); the vectors are float32",
        "prompt_name": "prompt=…, which takes a name too",
        "show_progress_bar": "progress=True",
    }
)
"""What the arguments of sentence-transformers' `encode` are here."""


class EncodeOptions(Options):
    """Further options of `Hub.encode`."""

    task: str | None = Field(default=None, min_length=1)
    """A task of the kind embedding, as in `Hub.score`, whose vectors these are; they have unit
    length unless `normalize` is false."""
    normalize: bool | None = None
    """Whether vectors are divided by their L2 norm; None for as the backbone's repository does,
    and not for plain features."""
    truncate_dim: int | None = Field(default=None, ge=1)
    """How many numbers of each vector are kept, the first ones; before it is normalised."""
    role: Literal["query", "document"] | None = None
    """What the repository's own vectors are for, which chooses its prompt of that name; `passage`
    and `corpus` are documents too."""
    output: Literal["numpy", "torch"] = "numpy"
    """Arrays, or tensors on the device of the encoder."""
    progress: ProgressMode | bool | Told = False
    """As of `Hub.score_file`; or a function that is called with the number of rows and of tokens
    after each batch."""


_NOT_BESIDE_TASK = ("pooling", "depth", "max_length", "prompt", "query_prompt")


class IndexOptions(Options):
    """How texts are read and their vectors are made; one pass of the encoder for each text."""

    text_column: Annotated[str, Option("NAME")] = "text"
    """Column of the texts, if they are in records."""
    keep_columns: Annotated[tuple[str, ...] | None, Option("NAME,NAME"), Field(strict=False)] = None
    """Columns that are shown with a text that is found. Without it all; "" for none (in Python an
    empty list)."""
    format: Annotated[Format | None, Option("FORMAT")] = None
    """Format of the texts' file: text, jsonl, csv, tsv, parquet or arrow. Without it the ending of
    the name decides."""
    on_error: Annotated[Literal["raise", "skip"], Option("raise|skip")] = "raise"
    """At a row without a text: raise stops; skip leaves it out."""
    task: Annotated[str | None, Option("NAME")] = Field(default=None, min_length=1)
    """Task of the kind embedding that makes the vectors, in the place of pooling, depth,
    max_length and prompts."""
    pooling: Annotated[VectorPooling | None, Option("NAME")] = None
    """cls, the vector of the first token; mean; or max. Without it the vectors of the backbone's
    repository, if it is one of sentence-transformers, else mean."""
    depth: Annotated[int | None, Option("N", "the deepest")] = Field(default=None, ge=0)
    """Depth of the hidden states."""
    max_length: Annotated[int | None, Option("N", "the backbone's own")] = Field(default=None, ge=1)
    """Window in tokens."""
    truncate_dim: Annotated[int | None, Option("N", "all")] = Field(default=None, ge=1)
    """How many numbers of each vector are kept, the first ones."""
    prompt: Annotated[str | None, Option("TEXT")] = None
    """Put before each text: one of the backbone's prompts by name, or a text such as 'passage: '.
    Without it the repository's prompt for documents, if it has one; "" for none."""
    query_prompt: Annotated[str | None, Option("TEXT")] = None
    """The same for queries, such as 'query: '."""
    graph: Annotated[bool | None, Option(flags=("--graph/--no-graph",))] = None
    """Build a graph for approximate search (extra `nearest`), also for a saved index without one.
    By default from 100,000 texts on, if the extra is installed; fewer are compared with a query one
    by one in milliseconds."""
    force: bool = False
    """Make a saved index anew, also one of other texts or settings, or a damaged one."""
    progress: Annotated[ProgressMode | bool, Option("MODE", bare="auto")] = "auto"
    """Progress on stderr: auto and bar for a bar, if that is a terminal; json for a line with the
    figures every second; off. In Python also True and False."""

    @model_validator(mode="after")
    def _is_consistent(self) -> IndexOptions:
        others = [name for name in _NOT_BESIDE_TASK if getattr(self, name) is not None]
        if self.task is not None and others:
            raise ValueError(
                f"task says how vectors are made; {' and '.join(others)} cannot be given beside it"
            )
        return self


class QueryOptions(Options):
    """How an index is searched."""

    top_k: Annotated[int, Option("K", flags=("--top-k", "-k"))] = Field(default=10, ge=1)
    """Number of texts for each query, nearest first."""
    min_score: Annotated[float | None, Option("X")] = Field(default=None, ge=-1, le=1)
    """Leave out texts with a lower cosine similarity."""
    exact: bool = False
    """Compare with every text, also where the index has a graph."""


def encode_options(given: Mapping[str, object]) -> EncodeOptions:
    """Returns the further options of `Hub.encode`.

    Raises:
        UsageError: One is unknown, or its value is not valid.
    """
    for name in given:
        if name in _IN_OTHER_WORDS:
            raise UsageError(f"Option {name}: here it is {_IN_OTHER_WORDS[name]}.")
    return parse_options(EncodeOptions, given)


def split_options(given: Mapping[str, object]) -> tuple[dict[str, object], QueryOptions]:
    """Returns the options of an index, unchecked, and those of a search in it.

    Raises:
        UsageError: An option of the search is not valid.
    """
    of_search = QueryOptions.model_fields
    own = {name: value for name, value in given.items() if name in of_search}
    rest = {name: value for name, value in given.items() if name not in of_search}
    return rest, parse_options(QueryOptions, own)
