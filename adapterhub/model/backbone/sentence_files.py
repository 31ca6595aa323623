"""The files of a sentence-transformers repository, checked field by field.

Old versions write the pooling as flags, new ones as a name. Fields that are not read here do not
change the vector of a text.

Source: sentence-transformers 2.0 to 6.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from adapterhub.errors import BackboneError

MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
MODULE_CONFIG = "config.json"
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}config.json"
    for kind in ("bert_", "roberta_", "distilbert_", "camembert_", "albert_", "xlm-roberta_")
)
"""Names of the settings of the Transformer module; the first that a folder has is read."""

SentencePooling = Literal["cls", "mean", "max"]
POOLINGS: Mapping[str, SentencePooling] = MappingProxyType(
    {"cls": "cls", "mean": "mean", "max": "max"}
)
"""The poolings that are honoured."""

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_PACKAGE = "sentence_transformers."
# Files of prompts for many tasks have a few hundred kilobytes.
_LARGEST_FILE = 2**22

_File = TypeVar("_File", bound=BaseModel)


def _inside(path: str) -> str:
    """Returns a path that leads to a folder below that of `modules.json`, or to itself."""
    parts = PurePosixPath(path).parts
    is_odd = not path.isprintable() or "\\" in path or ":" in path
    if path.startswith("/") or ".." in parts or is_odd:
        raise ValueError(f"{path[:80]!a} is no folder below it")
    return path


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text[:80]!a} has characters that cannot be printed")
    return text


class _Content(BaseModel):
    """Content of a file: unknown fields are other versions' and are not read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Module(_Content):
    """An entry of `modules.json`."""

    type: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_printable)]
    path: Annotated[str, Field(max_length=255), AfterValidator(_inside)] = ""

    def is_kind(self, kind: str) -> bool:
        """Returns whether it is a module of sentence-transformers; its package has moved."""
        return self.type.startswith(_PACKAGE) and self.type.endswith(f".{kind}")

    def __str__(self) -> str:
        return f"the module {self.path} ({self.type})" if self.path else f"the module {self.type}"


Modules = Annotated[tuple[Module, ...], Field(min_length=1, max_length=100)]


class PoolingFile(_Content):
    """`1_Pooling/config.json`."""

    embedding_dimension: int | None = None
    word_embedding_dimension: int | None = None
    pooling_mode: str | tuple[str, ...] | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False
    include_prompt: bool = True

    @property
    def width(self) -> int | None:
        """Returns the width of the hidden states that it was saved for."""
        new = self.embedding_dimension
        return self.word_embedding_dimension if new is None else new

    @property
    def modes(self) -> tuple[str, ...]:
        """Returns the poolings whose results are concatenated."""
        named = self.pooling_mode
        if named is not None:
            return (named,) if isinstance(named, str) else named
        return tuple(mode for flag, mode in _FLAGS.items() if getattr(self, flag)) or ("mean",)

    def problems(self) -> Iterator[str]:
        """Yields a pooling that is none of ours."""
        modes = [mode[:80] for mode in self.modes]
        if len(modes) != 1:
            yield f"the concatenation of the poolings {', '.join(modes)[:200] or 'none'}"
        elif modes[0] not in POOLINGS:
            yield f"the pooling {modes[0]!r}"


class NormalizeFile(_Content):
    """`2_Normalize/config.json`, which only new versions write."""

    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None


class TransformerFile(_Content):
    """`sentence_bert_config.json`."""

    max_seq_length: Annotated[int, Field(ge=1)] | None = None
    do_lower_case: bool = False
    transformer_task: str = "feature-extraction"
    module_output_name: str | None = None
    modality_config: dict[str, dict[str, Any]] | None = None
    processing_kwargs: dict[str, Any] | None = None
    tokenizer_args: dict[str, Any] | None = None
    processor_kwargs: dict[str, Any] | None = None

    def problems(self) -> Iterator[str]:
        """Yields the settings that make other states than the encoder's last."""
        if self.transformer_task != "feature-extraction":
            yield f"the transformer_task {self.transformer_task[:80]!r}"
        if self.module_output_name not in (None, "token_embeddings"):
            yield f"the module_output_name {str(self.module_output_name)[:80]!r}"
        text = (self.modality_config or {}).get("text", {})
        if self.modality_config is not None and text.get("method_output_name") not in (
            "last_hidden_state",
            ["last_hidden_state"],
        ):
            yield "a modality_config other than the last hidden state of texts"
        for name in ("processing_kwargs", "tokenizer_args", "processor_kwargs"):
            if getattr(self, name):
                yield f"the {name} {sorted(getattr(self, name))!r:.80}"


class PromptsFile(_Content):
    """`config_sentence_transformers.json`."""

    model_type: str = "SentenceTransformer"
    prompts: dict[str, str | None] | None = None
    default_prompt_name: str | None = None

    @property
    def texts(self) -> Mapping[str, str]:
        """Returns the prompts by name; one without a text is empty."""
        return {name: text or "" for name, text in (self.prompts or {}).items()}

    def problems(self) -> Iterator[str]:
        """Yields the model type, if its models make no vector of a text."""
        if self.model_type != "SentenceTransformer":
            yield f"the model type {self.model_type[:80]!r}"


def read_modules(folder: Path) -> Sequence[Module] | None:
    """Returns the entries of `modules.json`, or None if there is none.

    Raises:
        BackboneError: It is damaged.
    """
    if not (folder / MODULES_FILE).is_file():
        return None
    found: tuple[Module, ...] = read(folder, MODULES_FILE, Modules)
    return found


def encoder_folder(folder: Path) -> Path:
    """Returns the folder of the encoder's own files, which `modules.json` may name.

    Raises:
        BackboneError: `modules.json` is damaged, or the encoder is one of several.
    """
    modules = read_modules(folder)
    if modules is None:
        return folder
    if modules[0].is_kind("Transformer"):
        return folder / modules[0].path
    if not (folder / MODULE_CONFIG).is_file():
        raise BackboneError(
            str(folder),
            f"has no encoder of its own: {MODULES_FILE} starts with {modules[0]}. If a folder "
            f"below has one, open that",
        )
    return folder


def read_transformer(folder: Path) -> TransformerFile:
    """Returns the settings of the encoder, whose file was named after it.

    Raises:
        BackboneError: The file is damaged.
    """
    names = (name for name in TRANSFORMER_FILES if (folder / name).is_file())
    return read_or(folder, next(names, TRANSFORMER_FILES[0]), TransformerFile)


def read_or(folder: Path, name: str, kind: type[_File]) -> _File:
    """Returns the content of a file, or the defaults if there is none.

    Raises:
        BackboneError: It is damaged.
    """
    found: _File = read(folder, name, kind) if (folder / name).is_file() else kind()
    return found


def read(folder: Path, name: str, kind: Any) -> Any:
    """Returns the checked content of a file.

    Raises:
        BackboneError: It is missing or damaged.
    """
    path, source = folder / name, str(folder)
    if not path.is_file():
        raise BackboneError(source, f"no {name}, which {MODULES_FILE} names; fetch it again")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise BackboneError(source, f"{name} has more than {_LARGEST_FILE} bytes")
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise BackboneError(source, f"{name} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = " ".join(".".join(str(part)[:80] for part in first["loc"]).split())
        problem = f"{place}: {first['msg']}" if place else first["msg"]
        raise BackboneError(source, f"{name} cannot be used: {problem}") from error
