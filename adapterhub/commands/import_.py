"""`adapterhub import`: what PEFT or transformers saved, made a task of a registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapterhub.commands.options import AsJson, Backbone, RegistryToWrite, one_of
from adapterhub.commands.printing import note, print_fields, print_json, size_text

if TYPE_CHECKING:
    from adapterhub.importing.import_task import ImportedTask

_PAIR = ("text", "text_pair")


def import_(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="An adapter that PEFT saved, or a fine-tuned ALBERT of transformers whose "
            "encoder is the backbone.",
        ),
    ],
    task: Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="Name of the task.")],
    registry: RegistryToWrite = None,
    backbone: Backbone = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Labels in the order of the outputs. [config.json]"),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="What it answers. [what it was trained for]"),
    ] = None,
    pair: Annotated[bool, typer.Option("--pair", help="It reads pairs of texts.")] = False,
    max_length: Annotated[
        int | None,
        typer.Option(metavar="N", help="Window in tokens. [what the backbone reads, at most 512]"),
    ] = None,
    tied: Annotated[
        bool | None,
        typer.Option(
            "--tied/--per-depth",
            help="Whether one adapter serves all depths. [what its names say]",
        ),
    ] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="For people.")] = None,
    languages: Annotated[
        str | None, typer.Option(metavar="A,B", help="Languages of its texts, for instance en,zh.")
    ] = None,
    license: Annotated[  # noqa: A002  # the field's name
        str | None, typer.Option(metavar="NAME", help="Licence of the task.")
    ] = None,
    aliases: Annotated[
        str | None, typer.Option(metavar="A,B", help="Aliases that shall point to it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import an adapter of PEFT, or a classifier of transformers, as a task.

    The folder is checked before anything of it is used, pickles are never opened, and what the
    task answers to a few probe texts is kept in its file. In brackets: what holds where an option
    is not given.
    """
    from adapterhub.importing.description import import_options
    from adapterhub.specs import KINDS
    from adapterhub.store.registry import NEAREST

    given: dict[str, object] = {
        "kind": None if kind is None else one_of("--kind", kind, KINDS),
        "labels": _split(labels),
        "fields": _PAIR if pair else None,
        "max_length": max_length,
        "tied": tied,
        "description": description,
        "languages": _split(languages),
        "license": license,
        "aliases": _split(aliases),
    }
    options = import_options(**{name: value for name, value in given.items() if value is not None})
    # From here on it takes seconds: torch.
    from adapterhub.importing.import_task import import_task

    where = registry or NEAREST
    done = import_task(folder, task=task, options=options, registry=where, backbone=backbone)
    if as_json:
        print_json(_values(done))
    else:
        _print(done, "" if registry is None else f" --registry {registry}")


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


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
