"""Reads the config of an ALBERT with transformers and refuses one that cannot run."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AlbertConfig

from adapterhub.errors import BackboneError

CONFIG_FILE = "config.json"
GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Approximation of GELU by the name of the activation: `none` (exact, erf) or `tanh`."""

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
# As BackboneSpec.num_hidden_layers; bounds the loop over depths for untrusted configs.
_MAX_DEPTH = 1_024


def read_config(folder: Path) -> AlbertConfig:
    """Returns the config of an ALBERT folder without opening its weights.

    Raises:
        BackboneError: It is missing, damaged, or not that of an ALBERT that can run.
    """
    source = str(folder)
    path = folder / CONFIG_FILE
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
        raise BackboneError(source, f"config.json has model_type {found!r}, not 'albert'")
    try:
        config = AlbertConfig.from_dict(values)
    # transformers raises many classes of errors for fields of a wrong type.
    except Exception as error:
        raise BackboneError(source, f"config.json cannot be used: {error}") from error
    problem = _config_problem(config, values)
    if problem is not None:
        raise BackboneError(source, f"config.json has {problem}")
    return config


def _config_problem(config: AlbertConfig, values: dict[str, object]) -> str | None:
    """Returns the first field of a config that cannot run and why, or None."""
    for name in _SIZES:
        if getattr(config, name) < 1:
            return f"{name} {getattr(config, name)}; expected 1 or more"
    for name in ("num_hidden_layers", "num_hidden_groups", "inner_group_num"):
        if getattr(config, name) > _MAX_DEPTH:
            return f"{name} {getattr(config, name)}; at most {_MAX_DEPTH}"
    if config.hidden_size % config.num_attention_heads:
        return (
            f"hidden_size {config.hidden_size}, which {config.num_attention_heads} attention "
            f"heads do not divide"
        )
    if config.hidden_act not in GELU:
        return f"hidden_act {config.hidden_act!r}; expected one of {', '.join(GELU)}"
    # transformers 5 reads such weights as if their positions were absolute.
    positions = values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        return f"position_embedding_type {positions!r}; expected 'absolute'"
    if "quantization_config" in values:
        return "quantization_config; expected plain weights"
    return None
