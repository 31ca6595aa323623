"""The spec of an imported task, from its folder and the user's options."""

from __future__ import annotations

from pathlib import Path

from adapterhub.choices.columns import FIELDS
from adapterhub.errors import AdapterError, BackboneMismatchError, UsageError
from adapterhub.importing.classifiers import ClassifierHead
from adapterhub.importing.import_options import ImportOptions
from adapterhub.importing.model_config import ModelConfig
from adapterhub.kinds import KINDS, Kind
from adapterhub.model.backbone.open_backbone import Backbone
from adapterhub.peft.exported_head import HEAD_FILE, ExportedHead
from adapterhub.peft.folder import PeftFolder
from adapterhub.peft.saved_files import Reads
from adapterhub.specs import MAX_WINDOW, Extraction, TaskSpec, identity

# As the scripts of transformers for SQuAD have them.
_SHARED_TOKENS, _ANSWER_TOKENS = 128, 30


def reads_of(
    folder: Path, peft: PeftFolder | None, config: ModelConfig, options: ImportOptions
) -> Reads:
    """Returns what a model predicts for: whole texts, tokens, or spans of a context.

    Raises:
        AdapterError: It has no classifier.
        UsageError: Neither the folder nor the options tell.
    """
    if peft is not None and not peft.head:
        raise AdapterError(
            folder,
            "it holds an adapter without a classifier, which has no output by itself. Train it "
            "with task_type SEQ_CLS or TOKEN_CLS, so that PEFT saves the classifier too.",
        )
    reads = config.reads if peft is None else peft.reads or config.reads
    if reads is not None:
        return reads
    if peft is None:
        raise AdapterError(folder, "its config.json names no classifier of texts or tokens")
    if options.kind is not None:
        row = KINDS[options.kind]
        if row.slides_second:
            return "answers"
        return "tokens" if row.per_token and not row.biaffine else "text"
    raise UsageError(
        f"{folder} does not say whether it classifies texts or tokens; give kind, for instance "
        f"single_label or tagging."
    )


def describe(
    task: str,
    classifier: ClassifierHead,
    config: ModelConfig,
    backbone: Backbone,
    options: ImportOptions,
) -> TaskSpec:
    """Returns the spec of a classifier, without adapter and known answers.

    Raises:
        UsageError: The options do not fit the classifier.
        ValidationError: The task is not consistent.
    """
    kind = _kind(classifier, config, options)
    length, row = _max_length(backbone, options), KINDS[kind]
    return TaskSpec(
        task=task,
        kind=kind,
        description=options.description,
        languages=options.languages,
        license=options.license,
        labels=_labels(classifier, kind, config, options),
        fields=row.input_fields or _fields(kind, options),
        max_length=length,
        overlap=min(_SHARED_TOKENS, length // 4) if row.slides_second else 0,
        extraction=Extraction(max_tokens=_ANSWER_TOKENS) if row.slides_second else None,
        backbone=backbone.spec,
        head=classifier.spec,
    )


def describe_exported(
    task: str, exported: ExportedHead, backbone: Backbone, options: ImportOptions
) -> TaskSpec:
    """Returns the spec of a task that `export_peft` wrote.

    Raises:
        UsageError: An option is given that the export already contains.
        BackboneMismatchError: It was exported for another backbone.
    """
    unset = ImportOptions()
    for name in ("kind", "labels", "fields", "max_length"):
        if getattr(options, name) != getattr(unset, name):
            raise UsageError(f"{HEAD_FILE} in the folder already contains {name}; omit the option.")
    spec = exported.spec
    if spec.backbone.fingerprint != backbone.spec.fingerprint:
        raise BackboneMismatchError(task, identity(spec.backbone), identity(backbone.spec))
    own = {name: getattr(options, name) for name in ("description", "languages", "license")}
    given = {name: value for name, value in own.items() if value != getattr(unset, name)}
    return spec.model_copy(update={"task": task, "backbone": backbone.spec, **given})


def _kind(classifier: ClassifierHead, config: ModelConfig, options: ImportOptions) -> Kind:
    outputs = classifier.outputs
    is_tagging = classifier.spec.pooling == "tokens"
    found: Kind | None = "tagging" if is_tagging else config.kind
    if classifier.reads == "answers":
        found = "question_answering"
    elif config.reads == "choices":
        found = "multiple_choice"
    kind = options.kind or found
    if kind is None:
        kind = "regression" if outputs == 1 else "single_label"
    if options.kind is None:
        kind = _of_outputs(kind, outputs)
    row = KINDS[kind]
    if row.biaffine:
        raise UsageError("A classifier has no heads of words; a parsing task is trained or added.")
    if row.of_vectors or row.prototypes or row.has_tree:
        raise UsageError(
            f"A classifier has an output for each label, but no vectors, no examples and no tree "
            f"of labels; {row.a_task} is trained or added."
        )
    if row.slides_second != (classifier.reads == "answers"):
        what = "finds answers" if classifier.reads == "answers" else "finds no answers"
        raise UsageError(f"kind is '{kind}', but the model {what}.")
    if row.per_token != is_tagging:
        what = "tokens" if is_tagging else "whole texts"
        raise UsageError(f"kind is '{kind}', but the classifier classifies {what}.")
    if row.outputs not in (None, outputs):
        own = "one output" if row.outputs == 1 else f"{row.outputs} outputs"
        raise UsageError(f"A {kind} task has {own}; the classifier has {outputs}.")
    return kind


def _of_outputs(kind: Kind, outputs: int) -> Kind:
    """Returns the kind for the same problem in transformers that has so many outputs, if any."""
    row = KINDS[kind]
    if row.problem_type is None or row.outputs in (None, outputs):
        return kind
    same = (name for name, one in KINDS.items() if one.problem_type == row.problem_type)
    return next((name for name in same if KINDS[name].outputs in (None, outputs)), kind)


def _fields(kind: Kind, options: ImportOptions) -> tuple[str, ...]:
    """Returns the input fields; texts, which no row of choices has, become those of choices."""
    is_usual = options.fields in (("text",), ("text", "text_pair"))
    return FIELDS if KINDS[kind].of_choices and is_usual else options.fields


def _labels(
    classifier: ClassifierHead, kind: Kind, config: ModelConfig, options: ImportOptions
) -> tuple[str, ...]:
    outputs = classifier.outputs
    if not KINDS[kind].has_labels:
        if options.labels:
            raise UsageError(f"A {kind} task has no labels; omit them.")
        return ()
    if options.labels:
        if len(options.labels) != outputs:
            raise UsageError(
                f"{len(options.labels)} labels are given; the classifier has {outputs} outputs."
            )
        return options.labels
    if len(config.labels) == outputs:
        return config.labels
    raise UsageError(
        f"The {outputs} outputs of the classifier have no names; give them as labels, in order."
    )


def _max_length(backbone: Backbone, options: ImportOptions) -> int:
    positions = int(backbone.config.max_position_embeddings)
    if options.max_length is None:
        return min(MAX_WINDOW, positions)
    if options.max_length > positions:
        raise UsageError(
            f"max_length is {options.max_length}; the backbone {backbone.spec.name} reads "
            f"{positions} tokens at most."
        )
    return options.max_length
