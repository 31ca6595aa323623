"""A folder that PEFT saved, read as untrusted data before anything is loaded from it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from adapterhub.errors import AdapterError
from adapterhub.families import FAMILIES, FamilyName
from adapterhub.peft.exported_head import HEAD_FILE
from adapterhub.peft.family_names import canonical, families_of, family_of_class
from adapterhub.peft.saved_files import (
    CLASSIFIERS,
    CONFIG_FILE,
    WEIGHTS_FILE,
    Reads,
    saved_config,
    saved_weights,
)
from adapterhub.peft.settings import GROUPS, config_class, method_of
from adapterhub.store.adapter_names import plain_key
from adapterhub.store.jsonsafe import shown

# Not QUESTION_ANS: PEFT's model for it does not pass the types of tokens on, so what it trained
# read the context as part of the question.
_TASKS: Mapping[str, Reads] = MappingProxyType({"SEQ_CLS": "text", "TOKEN_CLS": "tokens"})
_HEAD = re.compile(
    r"^(classifier(\.(dense|out_proj))?|pre_classifier|qa_outputs|pooler(\.dense)?)\.(weight|bias)$"
)
_GROUP = re.compile(rf"\.{GROUPS}\.([0-9]{{1,4}})\.")
_POOLING = re.compile(r"^pooler\.")


@dataclass(frozen=True, slots=True, eq=False)
class PeftFolder:
    """The content of a folder that PEFT saved, not yet compared with a model.

    Attributes:
        path: The folder.
        config: PEFT's configuration, every field; patterns as on an unrolled ALBERT.
        factors: Tensors of the adapter by PEFT's names on an unrolled ALBERT (or on a plain one,
            if `tied`) without prefix, on the CPU.
        head: The classifier and the pooling layer by their names in the model, where they were
            trained along.
        reads: What its model predicts for; None if the folder does not say.
        tied: Whether one adapter serves all depths.
        families: The families whose names it has; empty if it names no layer.
        pooling: What changes the pooling layer, by PEFT's names without prefix.
        given: PEFT's configuration as it is in the file.
    """

    path: Path
    config: Mapping[str, Any]
    factors: Mapping[str, torch.Tensor]
    head: Mapping[str, torch.Tensor]
    reads: Reads | None
    tied: bool
    families: tuple[FamilyName, ...] = ()
    pooling: Mapping[str, torch.Tensor] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)


def read_peft_folder(folder: Path, *, tied: bool | None = None) -> PeftFolder:
    """Returns the adapter that PEFT saved in a folder.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.
        tied: Whether one adapter serves all depths; None takes what its names say.

    Raises:
        AdapterError: A file is missing, damaged or a pickle, its configuration is not one of the
            installed PEFT, or it is of a model that is no encoder of a known family.
    """
    config = given = _read_config(folder)
    state = _read_state(folder)
    base = _base_class(config)
    families = _families(folder, state, base, tied=tied)
    plain = {plain_key(key): tensor for key, tensor in state.items()}
    if len(plain) < len(state):
        raise AdapterError(folder, "it holds one tensor twice, with and without prefix")
    if families:
        try:
            plain, config = canonical(plain, config, FAMILIES[families[0]])
        except ValueError as error:
            raise AdapterError(folder, str(error)) from error
    task = config.get("task_type")
    head = {key: tensor for key, tensor in plain.items() if _HEAD.match(key)}
    pooling = {k: t for k, t in plain.items() if _POOLING.match(k) and k not in head}
    return PeftFolder(
        path=folder,
        config=config,
        factors={k: t for k, t in plain.items() if k not in head and k not in pooling},
        head=head,
        reads=_TASKS.get(str(task)) if task else CLASSIFIERS.get(str(base)),
        tied=_is_tied(folder, plain, config, families) if tied is None else tied,
        families=families,
        pooling=pooling,
        given=given,
    )


def _families(
    folder: Path, state: Mapping[str, torch.Tensor], base: str | None, *, tied: bool | None
) -> tuple[FamilyName, ...]:
    """Returns the families that an adapter may be of.

    Raises:
        AdapterError: Its names and its configuration disagree, or it cannot be tied.
    """
    named, found = families_of(state), families_of(state, base)
    if named and not found:
        raise AdapterError(
            folder,
            f"it was made for a {shown(base)}, but its tensors are named as those of "
            f"{models_of(named)}",
        )
    if tied and found and not any(FAMILIES[name].shares_blocks for name in found):
        raise AdapterError(
            folder,
            f"it is of {models_of(found)}, whose layers each have an adapter of their own; only an "
            f"ALBERT's depths share one. Leave out --tied (tied=True).",
        )
    return found


def models_of(families: tuple[FamilyName, ...]) -> str:
    """Returns the classes of the encoders of families, for messages."""
    return " or ".join(f"{FAMILIES[name].title}Model" for name in families)


def _is_tied(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    families: tuple[FamilyName, ...],
) -> bool:
    """Returns whether the names are of a plain ALBERT, whose one group serves all depths.

    Raises:
        AdapterError: They may be of that, or of depth 0 of an unrolled ALBERT.
    """
    if families and not any(FAMILIES[name].shares_blocks for name in families):
        return False
    groups = {int(found[1]) for found in map(_GROUP.search, state) if found is not None}
    if not groups <= {0}:
        return False
    targets = config.get("target_modules")
    if config.get("layers_to_transform") is None and GROUPS not in str(targets):
        return True
    if (folder / HEAD_FILE).exists():  # which only an export has
        return False
    raise AdapterError(
        folder,
        f"its target_modules or layers_to_transform name `{GROUPS}.0`, which is all depths of a "
        f"plain ALBERT and the first depth of an unrolled one. Say which with --tied or "
        f"--per-depth (tied=True or False).",
    )


def _read_config(folder: Path) -> dict[str, Any]:
    found = saved_config(folder)
    try:
        method = method_of(found)
    except ValueError as error:
        raise AdapterError(folder, str(error)) from error
    factory = config_class(method)
    unknown = sorted(found.keys() - {field.name for field in dataclasses.fields(factory)})
    if unknown:
        raise AdapterError(
            folder,
            f"{CONFIG_FILE} has the field {shown(unknown[0])}, which the installed PEFT "
            f"{version('peft')} does not know for '{method}'. If a newer PEFT wrote it, upgrade "
            f"with `pip install -U peft`.",
        )
    try:
        config: dict[str, Any] = factory(**found).to_dict()
    # PEFT refuses values with errors of many classes.
    except Exception as error:
        raise AdapterError(folder, f"PEFT refuses its {CONFIG_FILE}: {error}") from error
    base = _base_class(config)
    if base is not None and family_of_class(base) is None:
        raise AdapterError(
            folder, f"it was made for a {shown(base)}; expected a model of {', '.join(FAMILIES)}"
        )
    return config


def _base_class(config: Mapping[str, Any]) -> str | None:
    """Returns the class of the model that PEFT saw, where its configuration says."""
    mapping = config.get("auto_mapping")
    base = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    return None if base is None else str(base)


def _read_state(folder: Path) -> dict[str, torch.Tensor]:
    data = saved_weights(folder)
    try:
        state: dict[str, torch.Tensor] = safetensors.torch.load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise AdapterError(folder, f"{WEIGHTS_FILE} cannot be read: {error}") from error
    if not state:
        raise AdapterError(folder, f"{WEIGHTS_FILE} holds no tensors")
    return state
