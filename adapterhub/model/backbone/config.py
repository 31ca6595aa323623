"""Reads the config of an encoder with transformers and refuses one that cannot run.

The config of every family is turned into that of an ALBERT that computes the same: one group per
depth, and tables as wide as the hidden states.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterhub.errors import BackboneError
from adapterhub.families import FAMILIES, REFUSED, Family

if TYPE_CHECKING:
    from transformers import AlbertConfig

CONFIG_FILE = "config.json"
GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Approximation of GELU by the name of the activation: `none` (exact, erf) or `tanh`."""

_SIZES = (
    "vocab_size",
    "hidden_size",
    "embedding_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
_MORE = ("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "layer_norm_eps")
_OWN_NAMES = {
    "distilbert": {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
    }
}
"""Names of settings in the configs of families that do not call them as BERT does."""

_DECODER = ("is_decoder", "is_encoder_decoder", "add_cross_attention")
# As BackboneSpec.num_hidden_layers; bounds the loop over depths for untrusted configs.
_MAX_DEPTH = 1_024
_EPS = 1e-12  # of DistilBERT, whose config does not have it


@dataclass(frozen=True, slots=True, eq=False)
class EncoderConfig:
    """The config of an encoder.

    Attributes:
        family: Its family.
        albert: The config of an ALBERT that computes the same from the same weights.
        padding: Id of the padding token, behind which the positions of some families start.
    """

    family: Family
    albert: AlbertConfig
    padding: int = 0

    @property
    def first_position(self) -> int:
        """Returns the row of the position table that the first token of a text takes."""
        return self.padding + 1 if self.family.positions_after_padding else 0

    @property
    def more_rows(self) -> int:
        """Returns how many rows the small tables of its checkpoint have beside those that are read.

        Positions up to the padding token are not read; types that it does not have are zeros.
        """
        return self.first_position - (0 if self.family.has_types else 1)

    @property
    def has_embedding_map(self) -> bool:
        """Returns whether a map leads from the embedding size to the hidden size."""
        if self.family.embedding_map is None:
            return False
        sizes = self.albert.embedding_size, self.albert.hidden_size
        return self.family.shares_blocks or sizes[0] != sizes[1]


def read_config(folder: Path) -> EncoderConfig:
    """Returns the config of a folder that transformers saved, without opening its weights.

    Raises:
        BackboneError: It is missing, damaged, or not that of an encoder that can run.
    """
    # Imported here: it takes seconds, and `check_config` needs none of it.
    import transformers

    source = str(folder)
    values = _read_values(folder)
    family = _family(values, source)
    try:
        config = getattr(transformers, f"{family.title}Config").from_dict(_settings(values, family))
    # transformers raises many classes of errors for fields of a wrong type.
    except Exception as error:
        raise BackboneError(source, f"config.json cannot be used: {error}") from error
    try:
        # Not among the settings, because transformers prints a warning of an odd one.
        padding = values.get("pad_token_id", getattr(config, "pad_token_id", None))
        found = _as_albert(config, family, padding=padding)
        problem = _flags_problem(values) or _problem(found)
    except (TypeError, AttributeError) as error:
        raise BackboneError(source, f"config.json cannot be used: {error}") from error
    if problem is not None:
        raise BackboneError(source, f"config.json has {problem}")
    return found


def check_config(folder: Path) -> None:
    """Checks that a folder has a config, of an encoder of a known family.

    Raises:
        BackboneError: It is missing, damaged, or of another family.
    """
    _family(_read_values(folder), str(folder))


def config_depth(folder: Path) -> int | None:
    """Returns the number of depths that a folder's config states, or None if it states none.

    Raises:
        BackboneError: It is missing, damaged, or of an unknown family.
    """
    values = _read_values(folder)
    family = _family(values, str(folder))
    name = _OWN_NAMES.get(family.name, {}).get("num_hidden_layers", "num_hidden_layers")
    found = values.get(name)
    return found if type(found) is int else None


def _read_values(folder: Path) -> dict[str, Any]:
    source = str(folder)
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise BackboneError(source, _no_config(folder))
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(source, f"config.json cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise BackboneError(source, "config.json is not a JSON object")
    return values


def _no_config(folder: Path) -> str:
    """Returns what to do in a folder without a config."""
    problem = "no config.json; expected a folder that transformers saved"
    if (folder / "adapter_config.json").is_file():
        return (
            f"{problem}. This is an adapter of PEFT: open the encoder that it was trained on, and "
            f"make a task of it: adapterhub import {shlex.quote(str(folder))} --task NAME"
        )
    # Layouts of old sentence-transformers and of Google's TensorFlow checkpoints.
    if (folder / "0_Transformer" / CONFIG_FILE).is_file():
        return f"{problem}. Its encoder is in the folder 0_Transformer: give that"
    if any((folder / f"{name}_config.json").is_file() for name in ("bert", "albert", "electra")):
        return (
            f"{problem}. This looks like a checkpoint of TensorFlow 1: adapterhub convert "
            f"{shlex.quote(str(folder))} NEW_FOLDER tells how it is converted"
        )
    return problem


def _family(values: Mapping[str, Any], source: str) -> Family:
    """Returns the family that a config names."""
    found = values.get("model_type")
    family = next((one for name, one in FAMILIES.items() if name == found), None)
    if family is not None:
        return family
    known = f"{', '.join(FAMILIES)}, whose layers are those of BERT"
    if found is None:
        raise BackboneError(
            source,
            f"config.json has no model_type. If it is one of {known}, add it to config.json, for "
            f'instance "model_type": "bert"',
        )
    reason = _refusal(found) if isinstance(found, str) else None
    if reason is not None:
        raise BackboneError(
            source,
            f"is of model_type '{found}', which cannot run here: {reason}. These can: {known}",
        )
    raise BackboneError(source, f"config.json has model_type {str(found)[:80]!r}; expected {known}")


def _refusal(model_type: str) -> str | None:
    """Returns why a known kind of model cannot run; None if the kind is not known."""
    if model_type in REFUSED:
        return REFUSED[model_type]
    # Not at the top: nobody needs these lists but for this message.
    from transformers.models.auto import modeling_auto as known

    if model_type in known.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return "it is an encoder with a decoder"
    if model_type in known.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "it is a decoder: a token sees only those before it"
    return None


def _settings(values: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Returns what an encoder computes with.

    The rest may be anything: transformers makes a table of `num_labels` labels, for instance.
    """
    own = _OWN_NAMES.get(family.name, {})
    names = {*_SIZES, *_MORE, *own.values()}
    return {name: value for name, value in values.items() if name in names}


def _as_albert(config: Any, family: Family, *, padding: Any) -> EncoderConfig:
    """Returns the config of an ALBERT that computes the same.

    Args:
        config: That of the family.
        family: The family.
        padding: Id of the padding token, of use where positions start after it.
    """
    import transformers

    if family.shares_blocks:
        return EncoderConfig(family, config)
    own = _OWN_NAMES.get(family.name, {})

    def value(name: str) -> Any:
        return getattr(config, own.get(name, name))

    padding = padding if family.positions_after_padding else 0
    if type(padding) is not int or padding < 0:
        raise TypeError(f"pad_token_id is {padding!r}; expected the row that positions start after")
    first = padding + 1 if family.positions_after_padding else 0
    albert = transformers.AlbertConfig(
        vocab_size=config.vocab_size,
        embedding_size=getattr(config, "embedding_size", None) or value("hidden_size")
        if family.embedding_map
        else value("hidden_size"),
        hidden_size=value("hidden_size"),
        num_hidden_layers=value("num_hidden_layers"),
        num_hidden_groups=value("num_hidden_layers"),
        num_attention_heads=value("num_attention_heads"),
        intermediate_size=value("intermediate_size"),
        hidden_act=value("hidden_act"),
        hidden_dropout_prob=value("hidden_dropout_prob"),
        attention_probs_dropout_prob=value("attention_probs_dropout_prob"),
        max_position_embeddings=config.max_position_embeddings - first,
        type_vocab_size=config.type_vocab_size if family.has_types else 1,
        layer_norm_eps=getattr(config, "layer_norm_eps", _EPS),
    )
    return EncoderConfig(family, albert, padding)


def _problem(found: EncoderConfig) -> str | None:
    """Returns the first field that cannot run and why, or None."""
    config = found.albert
    own = _OWN_NAMES.get(found.family.name, {})
    for name in _SIZES:
        least = 1
        size = getattr(config, name)
        if name == "max_position_embeddings":
            size, least = size + found.first_position, 1 + found.first_position
        if size < least:
            return f"{own.get(name, name)} {size}; expected {least} or more"
    for name in ("num_hidden_layers", "num_hidden_groups", "inner_group_num"):
        if getattr(config, name) > _MAX_DEPTH:
            return f"{own.get(name, name)} {getattr(config, name)}; at most {_MAX_DEPTH}"
    if config.num_hidden_groups * config.inner_group_num > _MAX_DEPTH:
        return f"more than {_MAX_DEPTH} inner groups in all"
    if config.hidden_size % config.num_attention_heads:
        return (
            f"{own.get('hidden_size', 'hidden_size')} {config.hidden_size}, which "
            f"{config.num_attention_heads} attention heads do not divide"
        )
    if config.hidden_act not in GELU:
        name = own.get("hidden_act", "hidden_act")
        return f"{name} {str(config.hidden_act)[:80]!r}; expected one of {', '.join(GELU)}"
    if not 0 <= config.layer_norm_eps < 1:  # also refuses nan
        return f"layer_norm_eps {config.layer_norm_eps}; expected a small number above 0"
    return None


def _flags_problem(values: Mapping[str, Any]) -> str | None:
    """Returns the first setting that makes another model of the same layers, or None."""
    for name in _DECODER:
        if values.get(name):
            return f"{name} {values[name]!r}; expected an encoder"
    # transformers 5 reads such weights as if their positions were absolute.
    positions = values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        return f"position_embedding_type {positions!r}; expected 'absolute'"
    if values.get("quantization_config"):
        return "quantization_config; expected plain weights"
    if values.get("pruned_heads"):
        return "pruned_heads; expected all attention heads in all layers"
    code = values.get("auto_map")
    if isinstance(code, dict) and "AutoModel" in code:
        # As of jina-embeddings-v3, whose model_type is xlm-roberta.
        return "auto_map with an AutoModel: its encoder is code of its own, which is never run here"
    return None
