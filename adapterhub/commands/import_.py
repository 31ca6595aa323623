"""`adapterhub import`: what PEFT or transformers saved, made a task of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.option_fields import uses
from adapterhub.commands.options import AsJson, Backbone, NewTask, RegistryToWrite
from adapterhub.commands.printing import note, print_fields, print_json, size_text

if TYPE_CHECKING:
    from adapterhub.importing.import_options import ImportOptions
    from adapterhub.importing.import_task import ImportedTask


@uses("adapterhub.importing.import_options:ImportOptions")
def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="An adapter that PEFT saved, or a fine-tuned classifier of transformers whose "
            "encoder is the backbone.",
        ),
    ],
    *,
    task: NewTask,
    registry: RegistryToWrite = None,
    backbone: Backbone = None,
    options: ImportOptions,
    as_json: AsJson = False,
) -> None:
    """Import an adapter of PEFT, or a classifier of transformers, as a task.

    The folder is checked before anything of it is used, pickles are never opened, and the task's
    logits for a few probe texts are kept in its file. In brackets: the default of an option.
    """
    from adapterhub.importing.import_checks import check_import
    from adapterhub.store.registry import NEAREST

    where = registry or NEAREST
    check_import(folder, task=task, registry=where, backbone=backbone)
    # From here on it takes seconds: torch.
    from adapterhub.importing.import_task import import_task

    done = import_task(folder, task=task, options=options, registry=where, backbone=backbone)
    if as_json:
        print_json(_values(done))
    else:
        _print(done, "" if registry is None else f" --registry {registry}")


def _print(done: ImportedTask, where: str) -> None:
    spec, adapter = done.spec, done.spec.adapter
    depths = "" if adapter is None else ", ".join(map(str, adapter.depths))
    tied = " (one for all)" if adapter is not None and adapter.tie_depths else ""
    print_fields(
        {
            "task": spec.task,
            "kind": spec.kind,
            "labels": ", ".join(spec.labels[:30]) + (", …" if len(spec.labels) > 30 else ""),
            "adapter": "none, a head on the frozen backbone"
            if adapter is None
            else f"{adapter.method} on {', '.join(adapter.sites)} at depths {depths}{tied}, "
            f"{adapter.parameters:,} numbers",
            "head": f"{spec.head.pooling} of depth {'+'.join(map(str, spec.head.depths))}",
            "backbone": spec.backbone.name,
        }
    )
    if (saved := done.saved) is not None:
        size = size_text(saved.record.size)
        note(f"adapterhub: {saved.task}:{saved.version} is in {saved.path} ({size})")
        note(f'adapterhub: try: adapterhub score "…" --task {saved.task}{where}')


def _values(done: ImportedTask) -> dict[str, object]:
    spec, saved = done.spec, done.saved
    adapter = None if spec.adapter is None else spec.adapter.model_dump(mode="json")
    return {
        "task": spec.task,
        "version": None if saved is None else saved.version,
        "file": None if saved is None else str(saved.path),
        "kind": spec.kind,
        "labels": list(spec.labels),
        "adapter": adapter,
        "head": spec.head.model_dump(mode="json"),
        "backbone": spec.backbone.name,
    }
