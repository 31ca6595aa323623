"""What an imported task answers: from its folder, and from what the user says."""

from __future__ import annotations

from pathlib import Path

from adapterhub.errors import AdapterError, BackboneMismatchError, UsageError
from adapterhub.importing.checkpoint import ClassifierHead, ModelConfig
from adapterhub.importing.import_options import ImportOptions
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.exported_head import HEAD_FILE, ExportedHead
from adapterhub.peft.folder import PeftFolder, Reads
from adapterhub.specs import Kind, TaskSpec, identity

_MOST_TOKENS = 512


def reads_of(
    folder: Path, peft: PeftFolder | None, said: ModelConfig, options: ImportOptions
) -> Reads:
    """Returns whether a model answers for a whole text or for every token.

    Raises:
        AdapterError: It has no classifier.
        UsageError: Neither the folder nor the user says it.
    """
    if peft is not None and not peft.head:
        raise AdapterError(
            folder,
            "it holds an adapter without a classifier, which answers nothing by itself. Train it "
            "with task_type SEQ_CLS or TOKEN_CLS, so that PEFT saves the classifier too.",
        )
    reads = said.reads if peft is None else peft.reads or said.reads
    if reads is not None:
        return reads
    if peft is None:
        raise AdapterError(folder, "its config.json names no classifier of texts or tokens")
    if options.kind is not None:
        return "tokens" if options.kind == "tagging" else "text"
    raise UsageError(
        f"{folder} does not say whether it answers for a text or for every token; say kind, for "
        f"instance single_label or tagging."
    )


def describe(
    task: str,
    classifier: ClassifierHead,
    said: ModelConfig,
    backbone: Backbone,
    options: ImportOptions,
) -> TaskSpec:
    """Returns the spec of a classifier, without adapter and known answers.

    Raises:
        UsageError: What the user says does not fit the classifier.
        ValidationError: The task is not consistent.
    """
    kind = _kind(classifier, said, options)
    return TaskSpec(
        task=task,
        kind=kind,
        description=options.description,
        languages=options.languages,
        license=options.license,
        labels=_labels(classifier, kind, said, options),
        fields=options.fields,
        max_length=_max_length(backbone, options),
        backbone=backbone.spec,
        head=classifier.spec,
    )


def describe_exported(
    task: str, exported: ExportedHead, backbone: Backbone, options: ImportOptions
) -> TaskSpec:
    """Returns the spec of a task that was exported from here.

    Raises:
        UsageError: The user says what the export says already.
        BackboneMismatchError: It was exported for another backbone.
    """
    unset = ImportOptions()
    for name in ("kind", "labels", "fields", "max_length"):
        if getattr(options, name) != getattr(unset, name):
            raise UsageError(f"{HEAD_FILE} in the folder says {name} already; leave it away.")
    spec = exported.spec
    if spec.backbone.fingerprint != backbone.spec.fingerprint:
        raise BackboneMismatchError(task, identity(spec.backbone), identity(backbone.spec))
    own = {name: getattr(options, name) for name in ("description", "languages", "license")}
    said = {name: value for name, value in own.items() if value != getattr(unset, name)}
    return spec.model_copy(update={"task": task, "backbone": backbone.spec, **said})


def _kind(classifier: ClassifierHead, said: ModelConfig, options: ImportOptions) -> Kind:
    outputs = classifier.outputs
    is_tagging = classifier.spec.pooling == "tokens"
    kind = options.kind or ("tagging" if is_tagging else said.kind)
    if kind is None:
        kind = "regression" if outputs == 1 else "single_label"
    if (kind == "tagging") != is_tagging:
        what = "every token" if is_tagging else "a whole text"
        raise UsageError(f"kind is '{kind}', but the classifier answers for {what}.")
    if kind == "regression" and outputs != 1:
        raise UsageError(f"A regression task has one output; the classifier has {outputs}.")
    return kind


def _labels(
    classifier: ClassifierHead, kind: Kind, said: ModelConfig, options: ImportOptions
) -> tuple[str, ...]:
    outputs = classifier.outputs
    if kind == "regression":
        if options.labels:
            raise UsageError("A regression task has no labels; leave them away.")
        return ()
    if options.labels:
        if len(options.labels) != outputs:
            raise UsageError(
                f"{len(options.labels)} labels are given; the classifier has {outputs} outputs."
            )
        return options.labels
    if len(said.labels) == outputs:
        return said.labels
    raise UsageError(
        f"The {outputs} outputs of the classifier have no names; give them as labels, in order."
    )


def _max_length(backbone: Backbone, options: ImportOptions) -> int:
    positions = int(backbone.config.max_position_embeddings)
    if options.max_length is None:
        return min(_MOST_TOKENS, positions)
    if options.max_length > positions:
        raise UsageError(
            f"max_length is {options.max_length}; the backbone {backbone.spec.name} reads "
            f"{positions} tokens at most."
        )
    return options.max_length
