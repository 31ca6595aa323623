"""Reads how a sentence-transformers repository turns hidden states into one vector per text.

`modules.json` lists modules that run one after another: Transformer, Pooling, and often Normalize.
Those three are honoured. What cannot be is kept by name: heads read hidden states and do not need
it.

Source: sentence-transformers 2.0 to 6.2, whose files differ: old ones write the pooling as flags
and the window to `sentence_bert_config.json`, new ones write one name and the window to
`tokenizer_config.json`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from transformers import AlbertConfig, PreTrainedTokenizerFast

from adapterhub.errors import BackboneError

MODULES_FILE = "modules.json"
PROMPTS_FILE = "config_sentence_transformers.json"
MODULE_CONFIG = "config.json"
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}config.json"
    for kind in ("bert_", "roberta_", "distilbert_", "camembert_", "albert_", "xlm-roberta_")
)
"""Names of the settings of the Transformer module; the first that a folder has is read."""
SUBFOLDER = "0_*"
"""Pattern of the folder of the encoder in repositories of before 1.0."""
SENTENCE_FILES = (
    MODULES_FILE,
    PROMPTS_FILE,
    *TRANSFORMER_FILES,
    f"*/{MODULE_CONFIG}",
    *(f"{SUBFOLDER}/{name}" for name in TRANSFORMER_FILES),
)
"""Patterns of the files that are read here."""

SHORTEST_WINDOW = 8
"""As TaskSpec.max_length: room for three special tokens and a few tokens of each field."""

SentencePooling = Literal["cls", "mean", "max"]
POOLINGS: Mapping[str, SentencePooling] = MappingProxyType(
    {"cls": "cls", "mean": "mean", "max": "max"}
)
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_PACKAGE = "sentence_transformers."
_AFTER_POOLING = ("Normalize", "Dropout")
_KINDS = ("Transformer", "Pooling", *_AFTER_POOLING)  # Dropout does nothing once trained
# Files of prompts for many tasks have a few hundred kilobytes.
_LARGEST_FILE = 2**22

_File = TypeVar("_File")


@dataclass(frozen=True, slots=True)
class SentenceVectors:
    """How a sentence-transformers repository makes a vector of a text.

    Attributes:
        folder: The folder of its `modules.json`.
        pooling: Pooling of the deepest hidden states; None if it cannot be honoured.
        normalize: Whether vectors are divided by their L2 norm.
        max_length: Window in tokens, special tokens included; the rest of a text is left out.
        lowercase: Whether texts are lowercased before they reach the tokenizer.
        prompts: Texts that go before a text, by name.
        default_prompt: Name of the prompt that is used by default, or None.
        pools_prompt: Whether pooling reads the tokens of the prompt too.
        unsupported: What cannot be honoured, by name; None if all can.
    """

    folder: Path
    pooling: SentencePooling | None
    normalize: bool
    max_length: int
    lowercase: bool
    prompts: Mapping[str, str]
    default_prompt: str | None
    pools_prompt: bool
    unsupported: str | None


def encoder_folder(folder: Path) -> Path:
    """Returns the folder of the encoder's own files, which `modules.json` may name.

    Raises:
        BackboneError: `modules.json` is damaged.
    """
    modules = _read_modules(folder)
    return folder / modules[0].path if modules and modules[0].is_kind("Transformer") else folder


def read_sentence_vectors(
    folder: Path, *, config: AlbertConfig, tokenizer: PreTrainedTokenizerFast
) -> SentenceVectors | None:
    """Returns how a repository makes vectors of texts, or None if it does not say.

    Args:
        folder: The folder of `modules.json`.
        config: The config of its encoder.
        tokenizer: Its tokenizer.

    Raises:
        BackboneError: A file is missing, damaged, or does not match the encoder.
    """
    modules = _read_modules(folder)
    if modules is None:
        return None
    transformer = _read_transformer(folder / modules[0].path)
    prompts = _read_or(folder, PROMPTS_FILE, _PromptsFile)
    pooling = _read_pooling(folder, modules, config.hidden_size)
    max_length = _window(transformer.max_seq_length, config, tokenizer)
    unsupported = [
        *_problems_of_modules(folder, modules),
        *_problems_of_pooling(pooling),
        *transformer.problems(),
        *prompts.problems(),
    ]
    if max_length < SHORTEST_WINDOW:
        unsupported.append(f"windows of {max_length} tokens (the shortest is {SHORTEST_WINDOW})")
    return SentenceVectors(
        folder=folder,
        pooling=None if unsupported else POOLINGS[pooling.modes[0]],
        normalize=any(module.is_kind("Normalize") for module in modules),
        max_length=max_length,
        lowercase=transformer.do_lower_case,
        prompts=MappingProxyType(prompts.texts),
        default_prompt=_default_prompt(prompts, folder),
        pools_prompt=pooling.include_prompt,
        unsupported=", ".join(unsupported) or None,
    )


def _inside(path: str) -> str:
    """Returns a path that leads to a folder below that of `modules.json`, or to itself."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or any(sign in path for sign in "\\:\0"):
        raise ValueError(f"{path[:80]!a} is no folder below it")
    return path


class _Content(BaseModel):
    """Content of a file: unknown fields are other versions' and are not read."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class _Module(_Content):
    """An entry of `modules.json`."""

    type: Annotated[str, Field(min_length=1, max_length=256)]
    path: Annotated[str, Field(max_length=255), AfterValidator(_inside)] = ""

    def is_kind(self, kind: str) -> bool:
        """Returns whether it is a module of sentence-transformers; its package has moved."""
        return self.type.startswith(_PACKAGE) and self.type.endswith(f".{kind}")

    def __str__(self) -> str:
        return f"the module {self.path} ({self.type})" if self.path else f"the module {self.type}"


_Modules = Annotated[tuple[_Module, ...], Field(min_length=1, max_length=100)]


class _PoolingFile(_Content):
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


class _NormalizeFile(_Content):
    """`2_Normalize/config.json`, which only new versions write."""

    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None


class _TransformerFile(_Content):
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
            yield f"transformer_task {self.transformer_task[:80]!r}"
        if self.module_output_name not in (None, "token_embeddings"):
            yield f"module_output_name {str(self.module_output_name)[:80]!r}"
        text = (self.modality_config or {}).get("text", {})
        if self.modality_config is not None and text.get("method_output_name") not in (
            "last_hidden_state",
            ["last_hidden_state"],
        ):
            yield "a modality_config other than the last hidden state of texts"
        for name in ("processing_kwargs", "tokenizer_args", "processor_kwargs"):
            if getattr(self, name):
                yield f"{name} {', '.join(sorted(getattr(self, name)))[:80]}"


class _PromptsFile(_Content):
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
            yield f"model_type {self.model_type[:80]!r}"


def _default_prompt(prompts: _PromptsFile, folder: Path) -> str | None:
    name = prompts.default_prompt_name
    if name is not None and name not in prompts.texts:
        known = ", ".join(prompts.texts) or "none"
        raise BackboneError(
            str(folder),
            f"{PROMPTS_FILE} has the default_prompt_name {name[:80]!r}, its prompts are "
            f"{known[:200]}",
        )
    return name


def _read_modules(folder: Path) -> Sequence[_Module] | None:
    """Returns the entries of `modules.json`, or None if there is none."""
    if not (folder / MODULES_FILE).is_file():
        return None
    found: tuple[_Module, ...] = _read(folder, MODULES_FILE, _Modules)
    return found


def _read_transformer(folder: Path) -> _TransformerFile:
    names = (name for name in TRANSFORMER_FILES if (folder / name).is_file())
    return _read_or(folder, next(names, TRANSFORMER_FILES[0]), _TransformerFile)


def _read_pooling(folder: Path, modules: Sequence[_Module], hidden_size: int) -> _PoolingFile:
    """Returns the settings of the pooling; the defaults if no module pools."""
    path = next((module.path for module in modules if module.is_kind("Pooling")), None)
    if path is None:
        return _PoolingFile()
    name = f"{PurePosixPath(path)}/{MODULE_CONFIG}"
    found: _PoolingFile = _read(folder, name, _PoolingFile)
    if found.width != hidden_size:
        raise BackboneError(
            str(folder),
            f"{name} pools vectors of {found.width} numbers, the encoder has {hidden_size}; "
            f"these files belong to another encoder",
        )
    return found


def _problems_of_modules(folder: Path, modules: Sequence[_Module]) -> Iterator[str]:
    """Yields what makes the modules another function than Transformer, Pooling, Normalize."""
    strange = [module for module in modules if not any(map(module.is_kind, _KINDS))]
    if strange:
        yield from map(str, strange)
        return
    kinds = [next(filter(module.is_kind, _KINDS)) for module in modules]
    others = [kind for kind in kinds[2:] if kind not in _AFTER_POOLING]
    if kinds[:2] != ["Transformer", "Pooling"] or others:
        yield f"the modules {', '.join(kinds)} in this order"
    for module in modules:
        if module.is_kind("Normalize") and not _is_of_vectors(folder, module):
            yield f"{module} of something else than the pooled vector"


def _is_of_vectors(folder: Path, module: _Module) -> bool:
    """Returns whether a Normalize module changes the pooled vector."""
    name = f"{PurePosixPath(module.path)}/{MODULE_CONFIG}"
    found = _read_or(folder, name, _NormalizeFile) if module.path else _NormalizeFile()
    names = {found.module_input_name, found.module_output_name or found.module_input_name}
    return names == {"sentence_embedding"}


def _problems_of_pooling(pooling: _PoolingFile) -> Iterator[str]:
    modes = [mode[:80] for mode in pooling.modes]
    if len(modes) != 1:
        yield f"the concatenation of the poolings {', '.join(modes) or 'none'}"
    elif modes[0] not in POOLINGS:
        yield f"the pooling {modes[0]!r}"


def _window(given: int | None, config: AlbertConfig, tokenizer: PreTrainedTokenizerFast) -> int:
    """Returns the length to which sentence-transformers truncates a text, in tokens."""
    positions: int = config.max_position_embeddings
    own = tokenizer.model_max_length if given is None else given
    return min(own, positions) if type(own) is int and own > 0 else positions


def _read_or(folder: Path, name: str, kind: type[_File]) -> _File:
    """Returns the content of a file, or the defaults if there is none."""
    found: _File = _read(folder, name, kind) if (folder / name).is_file() else kind()
    return found


def _read(folder: Path, name: str, kind: Any) -> Any:
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
        place = ".".join(str(part)[:80] for part in first["loc"])
        problem = f"{place}: {first['msg']}" if place else first["msg"]
        raise BackboneError(source, f"{name} cannot be used: {problem}") from error
