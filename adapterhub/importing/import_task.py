"""`import_task`: makes a task of a folder that PEFT or transformers saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import ValidationError

from adapterhub.errors import AdapterError
from adapterhub.importing.base_model import check_base, check_family
from adapterhub.importing.checkpoint import read_checkpoint
from adapterhub.importing.classifiers import head_of
from adapterhub.importing.description import (
    describe,
    describe_exported,
    reads_of,
)
from adapterhub.importing.import_checks import check_import
from adapterhub.importing.import_options import ImportOptions
from adapterhub.importing.injected import adapter_on
from adapterhub.importing.merged_pooling import merged_pooling
from adapterhub.importing.model_config import read_model_config
from adapterhub.model.backbone.caller_state import own_state
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.model.encoder.encoder import Encoder
from adapterhub.model.encoder.tokens import TextTokenizer
from adapterhub.model.execution.known_answers import make_known_answers, probes_for
from adapterhub.option_models import read_options
from adapterhub.peft.exported_head import read_exported_head
from adapterhub.peft.folder import PeftFolder, read_peft_folder
from adapterhub.peft.format import PeftAdapter
from adapterhub.peft.saved_files import is_peft_folder
from adapterhub.saving import check_place, open_for, save_tasks
from adapterhub.specs import TaskSpec
from adapterhub.store.registry import NEAREST, Resolved, registry_to_write


@dataclass(frozen=True, slots=True, eq=False)
class ImportedTask:
    """An imported task.

    Attributes:
        spec: The whole task, as in the header of its head file.
        tensors: Its tensors by name.
        backbone: The backbone that it reads.
        aliases: Aliases that will point to it.
        saved: Its place in a registry, or None.
    """

    spec: TaskSpec
    tensors: Mapping[str, torch.Tensor]
    backbone: Backbone
    aliases: tuple[str, ...] = ()
    saved: Resolved | None = None


@own_state
def import_task(
    folder: str | Path,
    *,
    task: str,
    options: ImportOptions | Mapping[str, object] | None = None,
    registry: str | Path | None = NEAREST,
    backbone: str | Path | Backbone | None = None,
) -> ImportedTask:
    """Imports an adapter or a classifier as a task, and adds it to a registry.

    Args:
        folder: An adapter that PEFT saved with its classifier, one that `export_peft` wrote, or
            a classifier of texts or tokens of transformers, for instance a
            `BertForSequenceClassification`, whose encoder is bit-equal to the backbone.
        task: Name of the task; an existing one gets its next version.
        options: What the folder does not contain, also as a dictionary.
        registry: The registry.yaml, created if missing; "nearest" takes the nearest one from the
            working folder upwards, or creates one there; None writes nothing.
        backbone: A key of the registry's backbones, a source as `open_backbone` takes it, or an
            open one; None takes the registry's only one, or the one that ships.

    Raises:
        AdapterError: The folder is damaged, unsafe, or does not fit the backbone.
        UsageError: The name or an option is not valid, or does not fit the folder.
        BackboneError: The backbone cannot be opened.
        RegistryError: The registry cannot be read or written.
    """
    options = read_options(ImportOptions, options)
    folder = check_import(folder, task=task, registry=registry, backbone=backbone)
    peft = read_peft_folder(folder, tied=options.tied) if is_peft_folder(folder) else None
    opened = open_for(registry, backbone)
    if peft is not None:
        check_family(peft, opened)
    exported = None if peft is None else read_exported_head(folder)
    # An export states the fingerprint of its backbone, which is compared.
    if peft is not None and exported is None and not options.any_base:
        check_base(peft, opened)
    adapter = None if peft is None else adapter_on(opened, peft)
    try:
        spec, tensors = _head(task, folder, peft, opened, options)
        spec, tensors = _with_answers(spec, tensors, adapter, opened)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise AdapterError(folder, f"it is not a valid task: {first['msg']}") from error
    imported = ImportedTask(spec, tensors, opened, options.aliases)
    if registry is None:
        return imported
    path = registry_to_write(registry)
    check_place(path, task, spec.kind, opened)
    return replace(imported, saved=save_tasks((imported,), path)[0])


def _head(
    task: str, folder: Path, peft: PeftFolder | None, backbone: Backbone, options: ImportOptions
) -> tuple[TaskSpec, Mapping[str, torch.Tensor]]:
    """Returns the task of a folder without its adapter, and the tensors of its head."""
    exported = None if peft is None else read_exported_head(folder)
    if exported is not None:
        return describe_exported(task, exported, backbone, options), exported.tensors
    config = read_model_config(folder)
    reads = reads_of(folder, peft, config, options)
    if peft is None:
        found = read_checkpoint(folder, reads, backbone)
    else:
        found = {**peft.head, **merged_pooling(backbone, peft)}
    classifier = head_of(found, reads, backbone, source=folder)
    return describe(task, classifier, config, backbone, options), classifier.tensors


def _with_answers(
    spec: TaskSpec,
    tensors: Mapping[str, torch.Tensor],
    adapter: PeftAdapter | None,
    backbone: Backbone,
) -> tuple[TaskSpec, Mapping[str, torch.Tensor]]:
    """Returns the whole task with its known answers."""
    if adapter is not None:
        tensors = {**tensors, **adapter.tensors}
        spec = _checked(spec, adapter=adapter.spec)
    known = make_known_answers(
        spec,
        tensors,
        probes_for(spec),
        encoder=Encoder(backbone, device="cpu"),
        tokenizer=TextTokenizer(backbone.tokenizer),
    )
    return _checked(spec, known_answers=known), tensors


def _checked(spec: TaskSpec, **changes: object) -> TaskSpec:
    # model_copy skips the checks, so the whole is checked once more.
    return TaskSpec.model_validate_json(spec.model_copy(update=changes).model_dump_json())
