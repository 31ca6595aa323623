"""Opens an ALBERT: a folder, a Hub name at one commit, or the one that ships in the wheel.

A source is never guessed: `package:<name>` ships with adapterhub; what starts with `.`, `/`
or `~` (or is a Path) is a folder; `owner/name` or `owner/name@revision` is on the Hub.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import AlbertConfig, AlbertModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from adapterhub.errors import BackboneError
from adapterhub.model.tokenizer_files import TOKENIZER_FILES, load_tokenizer, tokenizer_digest
from adapterhub.specs import BackboneSpec

SHIPPED = "package:small-bilingual"

_HUB_NAME = re.compile(r"(?:hub:)?([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?")
_PACKAGE_NAME = re.compile(r"package:([a-z0-9][a-z0-9._-]*)")
_FILES = ("config.json", "model.safetensors", *TOKENIZER_FILES)
_ACTIVATIONS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_SIZES = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_MAX_DEPTH = 1_024


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
    config = read_config(folder)
    model = _read_model(folder, config)
    tokenizer = load_tokenizer(folder, vocab_size=config.vocab_size)
    spec = BackboneSpec(
        name=_name(source, folder),
        revision=commit,
        fingerprint=fingerprint(model, tokenizer_digest(folder, tokenizer)),
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
        name = _PACKAGE_NAME.fullmatch(source)
        if name is None:
            raise BackboneError(text, "after package: comes the name of a shipped backbone")
        return _existing(Path(str(files("adapterhub"))) / "backbones" / name[1], text), None
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or os.path.isabs(text):
        return _existing(Path(source).expanduser(), text), None
    match = _HUB_NAME.fullmatch(text)
    if match is None:
        raise BackboneError(
            text,
            "is neither a folder (./name or /name), nor package:<name>, nor a Hub name "
            "(owner/name or owner/name@revision)",
        )
    return _fetch(match[1], revision or match[2])


def read_config(folder: Path) -> AlbertConfig:
    """Returns the config of an ALBERT folder; its weights are not opened.

    Raises:
        BackboneError: It is missing, damaged, or not of an ALBERT that can run.
    """
    source = str(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise BackboneError(source, "no config.json; expected a folder that transformers saved")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(source, f"config.json cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise BackboneError(source, "config.json is not a JSON object")
    if values.get("model_type") != "albert":
        found = values.get("model_type")
        raise BackboneError(source, f"config.json says model_type {found!r}, not 'albert'")
    try:
        config = AlbertConfig.from_dict(values)
    # transformers refuses a field of a wrong type with errors of many classes.
    except Exception as error:
        raise BackboneError(source, f"config.json cannot be used: {error}") from error
    problem = _config_problem(config, values)
    if problem is not None:
        raise BackboneError(source, f"config.json has {problem}")
    return config


def fingerprint(model: AlbertModel, tokenizer: bytes) -> str:
    """Returns `sha256:<hex>` over the fp32 tensor bytes, the settings and the tokenizer's digest.

    Tensors go in by name order with name and shape, so that the same function in another
    file layout has the same fingerprint. An fp16 copy of fp32 weights is another function, and
    so are the same weights under another activation or number of attention heads.
    """
    config = model.config
    settings = [
        config.num_hidden_layers,
        config.num_attention_heads,
        _ACTIVATIONS[config.hidden_act],
        float(config.layer_norm_eps),
    ]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, weight in sorted(model.state_dict().items()):
        tensor = weight.detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    digest.update(tokenizer)
    return f"sha256:{digest.hexdigest()}"


def _existing(folder: Path, source: str) -> Path:
    if not folder.is_dir():
        raise BackboneError(source, f"no such folder: {folder}")
    return folder.resolve()


def _name(source: str | Path, folder: Path) -> str:
    text = str(source)
    if text.startswith("package:"):
        return text
    match = None if isinstance(source, Path) else _HUB_NAME.fullmatch(text)
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
    # The client lets errors of its HTTP library through, which are of no class of its own.
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BackboneError(source, f"cannot be fetched from the Hub: {first_line}") from error
    # snapshot_download puts each commit in a folder of its name.
    return Path(folder), Path(folder).name


def _config_problem(config: AlbertConfig, values: dict[str, object]) -> str | None:
    """Returns what in a config makes it no ALBERT that can run, or None."""
    for name in _SIZES:
        if getattr(config, name) < 1:
            return f"{name} {getattr(config, name)}; expected 1 or more"
    if config.num_hidden_layers > _MAX_DEPTH:
        return f"num_hidden_layers {config.num_hidden_layers}; at most {_MAX_DEPTH}"
    if config.hidden_size % config.num_attention_heads:
        return (
            f"hidden_size {config.hidden_size}, which {config.num_attention_heads} attention "
            f"heads do not divide"
        )
    if config.hidden_act not in _ACTIVATIONS:
        return f"hidden_act {config.hidden_act!r}; expected one of {', '.join(_ACTIVATIONS)}"
    # transformers 5 reads such weights as if their positions were absolute.
    positions = values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        return f"position_embedding_type {positions!r}; expected 'absolute'"
    if "quantization_config" in values:
        return "quantization_config; expected plain weights"
    return None


def _read_model(folder: Path, config: AlbertConfig) -> AlbertModel:
    """Returns the model in fp32 without its pooling layer, which no head reads."""
    source = str(folder)
    if not (folder / "model.safetensors").is_file():
        pickled = (folder / "pytorch_model.bin").is_file()
        remedy = "it has only a pickle, which is never opened; convert it" if pickled else "add it"
        raise BackboneError(source, f"no model.safetensors; {remedy}")
    if (folder / "adapter_config.json").is_file():
        # transformers would put the adapter into the model without a word.
        raise BackboneError(source, "it has an adapter_config.json; expected a plain ALBERT")
    try:
        with _quiet_transformers():
            loaded: Any = AlbertModel.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                add_pooling_layer=False,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
                output_loading_info=True,
            )
    # A damaged file ends in errors of many classes, some of them plain Exception.
    except Exception as error:
        raise BackboneError(source, f"the weights cannot be loaded: {error}") from error
    model: AlbertModel = loaded[0]
    _check_loaded(source, loaded[1])
    model.requires_grad_(False)
    model.train(False)
    return model


def _check_loaded(source: str, report: dict[str, Any]) -> None:
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        name, found, expected = mismatched[0]
        raise BackboneError(
            source,
            f"model.safetensors has {name} with shape {tuple(found)}, config.json makes it "
            f"{tuple(expected)} ({len(mismatched)} tensors in all)",
        )
    missing = sorted(report["missing_keys"])
    if missing:
        raise BackboneError(
            source, f"model.safetensors lacks {missing[0]} ({len(missing)} tensors in all)"
        )


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
