"""Opens an ALBERT: a folder, a Hub name at one commit, or the one that ships in the wheel.

A source is never guessed: `package:<name>` ships with adapterhub; what starts with `.`, `/`
or `~` (or is a Path) is a folder; `owner/name` or `owner/name@revision` is on the Hub.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import AlbertConfig, AlbertModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from adapterhub.errors import BackboneError
from adapterhub.model.tokenizer_files import TOKENIZER_FILES, load_tokenizer, tokenizer_digest
from adapterhub.specs import BackboneSpec

SHIPPED = "package:small-bilingual"

_HUB_NAME = re.compile(r"^(?:hub:)?([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?$")
_FILES = ("config.json", "model.safetensors", *TOKENIZER_FILES)
_ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A frozen pretrained ALBERT and its identity, in fp32 on the CPU.

    Attributes:
        spec: Name, revision, fingerprint and sizes.
        config: ALBERT's own config, with the field names of transformers.
        model: The reference model without its pooling layer; no parameter requires grad.
        tokenizer: Chosen by the files of the folder and checked.
        folder: Where the files are.
    """

    spec: BackboneSpec
    config: AlbertConfig
    model: AlbertModel
    tokenizer: PreTrainedTokenizerFast
    folder: Path

    @property
    def gelu(self) -> str:
        """Returns how the block approximates GELU: `none` (erf) or `tanh`."""
        return _ACTIVATIONS[self.config.hidden_act]


def open_backbone(source: str | Path, *, revision: str | None = None) -> Backbone:
    """Returns the backbone that `source` names.

    Args:
        source: See the module's first lines.
        revision: Commit, tag or branch on the Hub; also written `owner/name@revision`.

    Raises:
        BackboneError: Not found, not an ALBERT, incomplete, or with weights in a pickle.
        TokenizerError: Its tokenizer files are missing or do not fit.
    """
    folder, commit = locate(source, revision=revision)
    config = _read_config(folder)
    model = _read_model(folder, config)
    tokenizer = load_tokenizer(folder, vocab_size=config.vocab_size)
    spec = BackboneSpec(
        name=_name(source, folder),
        revision=commit,
        fingerprint=fingerprint(model.state_dict(), folder),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
    )
    return Backbone(spec=spec, config=config, model=model, tokenizer=tokenizer, folder=folder)


def locate(source: str | Path, *, revision: str | None = None) -> tuple[Path, str | None]:
    """Returns the folder that holds `source`, and the commit where it is on the Hub.

    Raises:
        BackboneError: `source` is malformed, absent, or cannot be fetched.
    """
    text = str(source)
    if isinstance(source, str) and source.startswith("package:"):
        folder = Path(str(files("adapterhub"))) / "backbones" / source.removeprefix("package:")
        return _existing(folder, text), None
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or os.path.isabs(text):
        return _existing(Path(source).expanduser(), text), None
    match = _HUB_NAME.match(text)
    if match is None:
        raise BackboneError(
            text,
            "is neither a folder (./name or /name), nor package:<name>, nor a Hub name "
            "(owner/name or owner/name@revision)",
        )
    return _fetch(match[1], revision or match[2])


def fingerprint(weights: Mapping[str, torch.Tensor], folder: Path) -> str:
    """Returns `sha256:<hex>` over the fp32 tensor bytes and what decides the token ids.

    Tensors go in by name order with name and shape, so that the same function in another
    file layout has the same fingerprint. An fp16 copy of fp32 weights is another function.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    digest.update(tokenizer_digest(folder))
    return f"sha256:{digest.hexdigest()}"


def _existing(folder: Path, source: str) -> Path:
    if not folder.is_dir():
        raise BackboneError(source, f"no such folder: {folder}")
    return folder.resolve()


def _name(source: str | Path, folder: Path) -> str:
    text = str(source)
    if text.startswith("package:"):
        return text
    match = None if isinstance(source, Path) else _HUB_NAME.match(text)
    is_hub = match is not None and not text.startswith((".", "/", "~"))
    return match[1] if match is not None and is_hub else folder.name


def _fetch(repository: str, revision: str | None) -> tuple[Path, str]:
    """Returns the snapshot folder of one commit, from the cache where the Hub is away."""
    source = f"{repository}@{revision}" if revision else repository
    try:
        folder = snapshot_download(repository, revision=revision, allow_patterns=list(_FILES))
    except LocalEntryNotFoundError as error:
        raise BackboneError(
            source, "is not in the local cache and the Hub cannot be reached"
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneError(source, f"cannot be fetched from the Hub: {first_line}") from error
    # snapshot_download puts each commit in a folder of its name.
    return Path(folder), Path(folder).name


def _read_config(folder: Path) -> AlbertConfig:
    try:
        values, _ = AlbertConfig.get_config_dict(str(folder), local_files_only=True)
        if values.get("model_type") != "albert":
            raise BackboneError(
                str(folder),
                f"config.json says model_type {values.get('model_type')!r}, not 'albert'",
            )
        config = AlbertConfig.from_dict(values)
    except (OSError, ValueError, TypeError) as error:
        raise BackboneError(str(folder), f"config.json cannot be read: {error}") from error
    if config.hidden_act not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        raise BackboneError(str(folder), f"hidden_act {config.hidden_act!r} is not one of {known}")
    return config


def _read_model(folder: Path, config: AlbertConfig) -> AlbertModel:
    """Returns the model in fp32 without its pooling layer, which no head reads."""
    if not (folder / "model.safetensors").is_file():
        pickled = (folder / "pytorch_model.bin").is_file()
        remedy = "it has only a pickle, which is never opened; convert it" if pickled else "add it"
        raise BackboneError(str(folder), f"no model.safetensors; {remedy}")
    try:
        with _quiet_transformers():
            loaded: Any = AlbertModel.from_pretrained(
                str(folder),
                config=config,
                dtype=torch.float32,
                add_pooling_layer=False,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise BackboneError(str(folder), f"the weights cannot be loaded: {error}") from error
    model: AlbertModel = loaded[0]
    missing = sorted(loaded[1]["missing_keys"])
    if missing:
        raise BackboneError(
            str(folder), f"model.safetensors lacks {missing[0]} ({len(missing)} tensors in all)"
        )
    model.requires_grad_(False)
    model.train(False)
    return model


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Holds back the load report and progress bar; missing weights are read as data instead.

    A report over the language-model head that every checkpoint carries would alarm users.
    """
    log = logging.getLogger("transformers")
    level = log.level
    bars: Any = transformers_logging
    shows_bars = bars.is_progress_bar_enabled()
    log.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)
        if shows_bars:
            bars.enable_progress_bar()
