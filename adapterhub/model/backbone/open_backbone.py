"""Opens a backbone from a folder, the Hub, the package or a registry."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AlbertConfig, PreTrainedTokenizerFast

from adapterhub.errors import BackboneError, BackboneMismatchError, check_type
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.checkpoint import read_weights, write_weights
from adapterhub.model.backbone.config import CONFIG_FILE, GELU, read_config
from adapterhub.model.backbone.sentence_files import encoder_folder
from adapterhub.model.backbone.sentence_vectors import (
    SENTENCE_FILES,
    SUBFOLDER,
    SentenceVectors,
    read_sentence_vectors,
)
from adapterhub.model.backbone.sources import (
    choose_source,
    hub_name,
    locate,
    registered_source,
)
from adapterhub.model.backbone.weight_files import (
    INDEX_FILE,
    SHARDS,
    WEIGHTS_FILE,
    has_weights,
    no_weights_on_hub,
)
from adapterhub.model.tokenizers.tokenizer_digest import tokenizer_digest
from adapterhub.model.tokenizers.tokenizer_files import TOKENIZER_FILES, load_tokenizer
from adapterhub.specs import BackboneSpec, identity
from adapterhub.store.registries import Registries
from adapterhub.store.registry import Registry

if TYPE_CHECKING:
    from transformers import AlbertModel


_ENCODER_FILES = (CONFIG_FILE, WEIGHTS_FILE, INDEX_FILE, SHARDS, *TOKENIZER_FILES)
FILES = (
    *_ENCODER_FILES,
    *SENTENCE_FILES,
    *(f"{SUBFOLDER}/{name}" for name in _ENCODER_FILES),
)
"""Patterns of the files that are fetched from the Hub."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen pretrained encoder and its identity, in fp32 on the CPU.

    Attributes:
        spec: Name, revision, fingerprint, sizes and family.
        config: The config of an ALBERT that computes the same: that of the folder, or one with a
            group per depth.
        weights: The tensors by their names in that `AlbertModel`, without its pooling layer and
            without an embedding map that is the identity.
        tokenizer: The checked tokenizer.
        folder: The folder of the files.
        sentence: How its repository makes vectors of texts, or None if it does not say.
        base: The backbone that these weights were trained from, whose folder it has until
            `write_backbone` gives it one; None for a backbone that is in its folder.
    """

    spec: BackboneSpec
    config: AlbertConfig
    weights: Mapping[str, torch.Tensor]
    tokenizer: PreTrainedTokenizerFast
    folder: Path
    sentence: SentenceVectors | None = None
    base: Backbone | None = None

    @property
    def root(self) -> Path:
        """Returns the folder that opens it again; its files may lie in one below."""
        return self.folder if self.sentence is None else self.sentence.folder

    @property
    def gelu(self) -> str:
        """Returns the approximation of GELU: `none` (exact, erf) or `tanh`."""
        return GELU[self.config.hidden_act]

    @cached_property
    def model(self) -> AlbertModel:
        """Returns an `AlbertModel` that computes the same; no parameter requires grad.

        It shares these weights.
        """
        # Imported here: slow to import, and not needed for scoring.
        from transformers import AlbertModel

        with torch.random.fork_rng(devices=[]):  # it initializes random weights
            model = AlbertModel(self.config, add_pooling_layer=False)
        if "encoder.embedding_hidden_mapping_in.weight" not in self.weights:
            model.encoder.set_submodule("embedding_hidden_mapping_in", torch.nn.Identity())
        model.load_state_dict(dict(self.weights), assign=True)
        model.requires_grad_(False)
        model.train(False)
        return model


@own_state
def open_backbone(source: str | Path, *, revision: str | None = None) -> Backbone:
    """Opens a frozen pretrained encoder and its tokenizer and computes its fingerprint.

    It is an ALBERT, BERT, DistilBERT, ELECTRA, RoBERTa or XLM-RoBERTa.

    Args:
        source: `package:<name>` for one that ships with adapterhub; `./name`, `../name`, `/name`
            or a Path for a folder; `owner/name` or `owner/name@revision` for one on the Hub.
        revision: Commit, tag or branch on the Hub.

    Raises:
        UsageError: An argument is of another type.
        BackboneError: It is not found, of another family, incomplete, or has its weights in a
            pickle.
        TokenizerError: Its tokenizer files are missing or do not match its weights.
    """
    check_type(source, (str, Path), "The backbone", "a folder or a name")
    check_type(revision, (str, type(None)), "The revision", "a commit, tag or branch")
    root, commit = locate(source, revision=revision, only=FILES)
    folder = encoder_folder(root)
    found = read_config(folder)
    repository = hub_name(source)
    if repository is not None and not has_weights(folder):
        raise BackboneError(str(source), no_weights_on_hub(repository))
    config, weights = found.albert, read_weights(folder, found)
    tokenizer = load_tokenizer(
        folder,
        vocab_size=config.vocab_size,
        type_vocab_size=config.type_vocab_size,
        padding=found.padding if found.family.positions_after_padding else None,
    )
    is_shipped = str(source).startswith("package:")
    spec = BackboneSpec(
        name=str(source) if is_shipped else repository or root.name,
        revision=commit,
        fingerprint=fingerprint(weights, config, tokenizer_digest(folder, tokenizer)),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        family=found.family.name,
    )
    sentence = read_sentence_vectors(root, config=config, tokenizer=tokenizer)
    return Backbone(spec, config, weights, tokenizer, folder=folder, sentence=sentence)


def with_weights(base: Backbone, changed: Mapping[str, torch.Tensor], *, name: str) -> Backbone:
    """Returns a backbone with some other weights, in memory.

    Args:
        base: The backbone of all the rest.
        changed: Tensors by their names in an `AlbertModel`, in fp32 on the CPU.
        name: Of the new backbone.
    """
    weights = {**base.weights, **changed}
    digest = tokenizer_digest(base.folder, base.tokenizer)
    changes = {
        "name": name,
        "revision": None,
        "fingerprint": fingerprint(weights, base.config, digest),
    }
    spec = base.spec.model_copy(update=changes)
    return replace(base, spec=spec, weights=weights, sentence=None, base=base.base or base)


def write_backbone(backbone: Backbone, folder: Path) -> None:
    """Writes a backbone that is in memory as transformers saves its family.

    Args:
        backbone: From `with_weights`.
        folder: Gets the files; it must exist.

    Raises:
        BackboneError: The files of its base have changed, or what was written opens as another one.
        OSError: They cannot be written.
    """
    source = backbone.folder
    values = json.loads((source / CONFIG_FILE).read_text(encoding="utf-8"))
    # transformers 5 loads weights in this precision; older versions read the other name.
    values |= {name: "float32" for name in ("dtype", "torch_dtype") if name in values}
    text = json.dumps({"dtype": "float32", **values}, indent=2, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(f"{text}\n", encoding="utf-8")
    for pattern in TOKENIZER_FILES:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    write_weights(folder, backbone.weights, like=source, config=read_config(source))
    # safetensors makes files that only their owner may read.
    os.chmod(folder / WEIGHTS_FILE, stat.S_IMODE((folder / CONFIG_FILE).stat().st_mode))
    written = open_backbone(folder).spec.fingerprint
    if written != backbone.spec.fingerprint:
        raise BackboneError(
            str(source), "its files have changed since it was opened; open it again and train anew"
        )


def fingerprint(weights: Mapping[str, torch.Tensor], config: AlbertConfig, tokenizer: bytes) -> str:
    """Returns `sha256:<hex>` over the fp32 tensor bytes, the settings and the tokenizer's digest.

    Tensors are hashed in the order of their names, with name and shape, so that the same function
    in another file layout has the same fingerprint. An fp16 copy of fp32 weights is another
    function, and so are the same weights with another activation or number of attention heads.
    """
    settings = [
        config.num_hidden_layers,
        config.num_attention_heads,
        GELU[config.hidden_act],
        float(config.layer_norm_eps),
    ]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, weight in sorted(weights.items()):
        tensor = weight.detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    digest.update(tokenizer)
    return f"sha256:{digest.hexdigest()}"


def open_registered(registry: Registry, key: str) -> Backbone:
    """Opens the backbone `key` of a registry and checks its fingerprint.

    Raises:
        BackboneMismatchError: The weights or the tokenizer at its source are others.
        BackboneError: Its source is malformed, missing, or cannot be fetched.
    """
    entry = registry.backbones[key]
    opened = open_backbone(registered_source(registry, key), revision=entry.revision)
    if opened.spec.fingerprint != entry.fingerprint:
        problem = (
            f"the registry {registry.path} names {entry.fingerprint[:19]}… as its '{key}'; the "
            f"weights or the tokenizer at {entry.source} differ. Restore them, or train its tasks "
            f"again on these."
        )
        raise BackboneMismatchError(key, entry.fingerprint, identity(opened.spec), problem)
    return opened


def choose_backbone(registry: Registries | Registry, backbone: str | Path | None) -> Backbone:
    """Opens the requested backbone, or the only one that is listed.

    Args:
        registry: As in `choose_source`.
        backbone: As in `choose_source`.

    Raises:
        UsageError: As `choose_source`.
        BackboneError: It cannot be opened.
    """
    chosen = choose_source(registry, backbone)
    return open_registered(*chosen) if isinstance(chosen, tuple) else open_backbone(chosen)
