"""Reads how a sentence-transformers repository turns hidden states into one vector per text.

`modules.json` lists modules that run one after another: Transformer, Pooling, and often Normalize.
Those are honoured. Of what cannot be, only the name is kept: heads read hidden states and need no
more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from transformers import AlbertConfig, PreTrainedTokenizerFast

from adapterhub.errors import BackboneError
from adapterhub.model.backbone.sentence_files import (
    MODULE_CONFIG,
    MODULES_FILE,
    POOLINGS,
    PROMPTS_FILE,
    TRANSFORMER_FILES,
    Module,
    NormalizeFile,
    PoolingFile,
    PromptsFile,
    SentencePooling,
    read,
    read_modules,
    read_or,
    read_transformer,
)

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
"""As TaskSpec.max_length: room for the special tokens, four at most, and some of each field."""

_AFTER_POOLING = ("Normalize", "Dropout")
_KINDS = ("Transformer", "Pooling", *_AFTER_POOLING)  # Dropout does nothing once trained


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
        unsupported: The first thing that cannot be honoured, by name; None if all can.
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
    modules = read_modules(folder)
    if modules is None:
        return None
    transformer = read_transformer(folder / modules[0].path)
    prompts = read_or(folder, PROMPTS_FILE, PromptsFile)
    max_length = _window(transformer.max_seq_length, config, tokenizer)
    unsupported = [
        *prompts.problems(),
        *_problems_of_modules(folder, modules),
        *transformer.problems(),
    ]
    if max_length < SHORTEST_WINDOW:
        unsupported.append(f"windows of {max_length} tokens (the shortest is {SHORTEST_WINDOW})")
    # Behind another module, the pooling would have another width.
    pooling = PoolingFile() if unsupported else _read_pooling(folder, modules[1], config)
    unsupported += pooling.problems()
    return SentenceVectors(
        folder=folder,
        pooling=None if unsupported else POOLINGS[pooling.modes[0]],
        normalize=any(module.is_kind("Normalize") for module in modules),
        max_length=max_length,
        lowercase=transformer.do_lower_case,
        prompts=prompts.texts,
        default_prompt=_default_prompt(prompts, folder),
        pools_prompt=pooling.include_prompt,
        unsupported=unsupported[0] if unsupported else None,
    )


def _default_prompt(prompts: PromptsFile, folder: Path) -> str | None:
    name = prompts.default_prompt_name
    if name is not None and name not in prompts.texts:
        known = " ".join(", ".join(prompts.texts).split()) or "none"
        raise BackboneError(
            str(folder),
            f"{PROMPTS_FILE} has the default_prompt_name {name[:80]!r}, its prompts are "
            f"{known[:200]}",
        )
    return name


def _read_pooling(folder: Path, module: Module, config: AlbertConfig) -> PoolingFile:
    """Returns the settings of the pooling of the encoder's states."""
    name = f"{PurePosixPath(module.path)}/{MODULE_CONFIG}"
    found: PoolingFile = read(folder, name, PoolingFile)
    if found.width not in (None, config.hidden_size):
        raise BackboneError(
            str(folder),
            f"{name} pools vectors of {found.width} numbers, the encoder has "
            f"{config.hidden_size}; these files belong to another encoder",
        )
    return found


def _problems_of_modules(folder: Path, modules: Sequence[Module]) -> Iterator[str]:
    """Yields what makes the modules another function than Transformer, Pooling, Normalize."""
    for module in modules:
        if not any(map(module.is_kind, _KINDS)):
            yield str(module)
        elif module.is_kind("Normalize") and not _is_of_vectors(folder, module):
            yield f"{module} of something else than the pooled vector"
    kinds = [module.type.rsplit(".", 1)[-1] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(_AFTER_POOLING):
        yield f"the modules {', '.join(kinds)[:200]} (not Transformer, Pooling, Normalize)"


def _is_of_vectors(folder: Path, module: Module) -> bool:
    """Returns whether a Normalize module changes the pooled vector."""
    name = f"{PurePosixPath(module.path)}/{MODULE_CONFIG}"
    found = read_or(folder, name, NormalizeFile) if module.path else NormalizeFile()
    names = {found.module_input_name, found.module_output_name or found.module_input_name}
    return names == {"sentence_embedding"}


def _window(given: int | None, config: AlbertConfig, tokenizer: PreTrainedTokenizerFast) -> int:
    """Returns the length to which sentence-transformers truncates a text, in tokens.

    New versions write it to `tokenizer_config.json` only.
    """
    positions: int = config.max_position_embeddings
    own = tokenizer.model_max_length if given is None else given
    return min(own, positions) if type(own) is int and own > 0 else positions
